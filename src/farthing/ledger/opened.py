"""The ledgers that this process has open: one store for each file, and what a fork does to them."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from pathlib import Path
from typing import Final

from farthing.errors import LedgerError
from farthing.forks import Quiet, wait_before_others
from farthing.ledger.sqlite import SqliteLedger
from farthing.ledger.store import Clock, Durability
from farthing.ledger.writing.connection import MEMORY

__all__ = ["open_sqlite", "open_to_read"]


class _Shared(SqliteLedger):
    """A store with as many users as it was opened times; the last one's `close` closes it."""

    def __init__(self, where: str, *, clock: Clock, durability: Durability, timeout: float) -> None:
        self.openings = 1
        super().__init__(where, clock=clock, durability=durability, timeout=timeout)
        _all.add(self)

    def close(self) -> None:
        with _registry.lock:
            if self.openings == 0:
                return
            self.openings -= 1
            if self.openings:
                return
            if _stores.get(self.where) is self:
                del _stores[self.where]
        super().close()


class _Registry:
    """Its lock is replaced in a forked child."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.quiet = Quiet()


_PATIENCE: Final = 5.0
"""Seconds for which a fork waits for a ledger that is being opened or closed."""

_SAFER: Final[tuple[Durability, ...]] = ("fast", "safe", "strict")
_registry: Final = _Registry()
_stores: Final[dict[str, _Shared]] = {}
_all: Final[weakref.WeakSet[SqliteLedger]] = weakref.WeakSet()


def open_sqlite(where: str | Path, *, clock: Clock, durability: Durability, timeout: float) -> SqliteLedger:
    """The store for a path; the one that this process has open already, if it has.

    Asked for with several durabilities, the store has the safest; with several timeouts, the longest.
    """
    if str(where) == MEMORY:
        return _Shared(MEMORY, clock=clock, durability=durability, timeout=timeout)
    path = _resolved(where)
    with _registry.lock:
        store = _stores.get(path)
        if store is not None and store.in_place():
            store.openings += 1
            store.durability = max(store.durability, durability, key=_SAFER.index)
            store.wait_longer(timeout)
            return store
        store = _Shared(path, clock=clock, durability=durability, timeout=timeout)
        _stores[path] = store
        return store


@atexit.register
def _at_exit() -> None:
    """What is queued is done; what comes after, by whoever comes with it: threads end before the program."""
    for store in list(_all):
        with contextlib.suppress(Exception):
            store.write_alone()


def open_to_read(where: str | Path, *, clock: Clock, timeout: float) -> SqliteLedger:
    """A store of its own, through which nothing can be written."""
    from farthing.ledger.upkeep import readonly  # noqa: PLC0415  only for those who ask

    with readonly.asking:
        store = readonly.ReadOnlyLedger(_resolved(where), clock=clock, timeout=timeout)
        _all.add(store)
    return store


def _resolved(where: str | Path) -> str:
    try:
        return str(Path(where).expanduser().resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL, a home of nobody
        raise LedgerError(f"{str(where)!r} is no path of a ledger: {error}.") from error


def _before_fork() -> None:
    """No write may be under way: a transaction that is open in the child could never end."""
    _registry.quiet.take((_registry.lock,), _PATIENCE)
    for store in list(_all):
        store.before_fork()


def _after_fork_in_parent() -> None:
    try:
        for store in list(_all):
            store.after_fork_in_parent()
        _registry.quiet.give_back()
    except BaseException:  # of a signal handler: whatever it is, nobody else gives them back
        _after_fork_in_parent()
        raise


def _after_fork_in_child() -> None:
    _registry.lock, _registry.quiet = threading.Lock(), Quiet()
    for store in list(_all):
        with contextlib.suppress(OSError):
            store.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
    wait_before_others()
