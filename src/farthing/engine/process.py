"""What a process owes its ledger: a lease that is renewed, and order at its exit and after a fork."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from farthing.log import logger

__all__ = ["Kept", "at_exit", "end", "keep", "mind", "nothing"]

LEASE_CHECK_SECONDS = 200.0
"""How often a process renews its lease and looks for calls that dead ones left: a third of the lease."""

_PATIENCE = 1.0
"""Seconds that a closing meter waits for the thread, which may be writing."""


_LAST: Final = -100
"""The priority of what a child of multiprocessing does at its end: after what the program has it do."""


class Kept(Protocol):
    """What is kept going in a process."""

    def tick(self) -> None:
        """Renew the lease."""

    def book_left(self, abandon: Callable[[], Any]) -> None:
        """Book a stream that was garbage-collected."""

    def drain(self) -> None:
        """Book everything that is open or queued; no thread is needed afterwards."""

    def forked(self) -> None:
        """Start anew in a child."""


_kept: weakref.WeakSet[Any] = weakref.WeakSet()
_ends: Final[list[Callable[[], None]]] = []
_children: Final[dict[str, int]] = {}


def at_exit(do: Callable[[], None]) -> Callable[[], None]:
    """Have it done when the process ends; what was registered last is done first."""
    _ends.append(do)
    return atexit.register(do)


def _at_a_childs_end() -> None:
    """Children of multiprocessing, and of Celery's copy of it, end without `atexit`, by finalizers."""
    for name in ("multiprocessing", "billiard"):
        process, util = sys.modules.get(f"{name}.process"), sys.modules.get(f"{name}.util")
        with contextlib.suppress(AttributeError):  # of None, and in the middle of their import
            is_child = type(process.current_process()).__name__ != "_MainProcess"  # type: ignore[union-attr]
            if is_child and _children.get(name) != os.getpid():
                util.Finalize(None, _end_all, exitpriority=_LAST)  # type: ignore[union-attr]
                _children[name] = os.getpid()


def _end_all() -> None:
    for do in reversed(_ends):
        do()


def mind(kept: Kept) -> None:
    """From now on, set it in order at the exit of the process and after a fork."""
    # Not by the thread that opens a ledger first: what it is importing at a fork hangs in the child.
    import platformdirs  # noqa: F401, PLC0415

    import farthing.ledger.opened  # noqa: F401, PLC0415  it minds forks, too

    _kept.add(kept)


def keep(kept: Kept, left: SimpleQueue[Callable[[], Any]], closed: threading.Event) -> threading.Thread:
    """Start the thread that renews the lease from time to time and books what arrives in `left` at once.

    It does not keep `kept` alive, and ends when `closed` is set and something arrives (see `end`).

    Raises:
        RuntimeError: if no thread can be started.
    """
    _at_a_childs_end()
    thread = threading.Thread(
        target=_run, args=(weakref.ref(kept), left, closed), name="farthing-lease", daemon=True
    )
    thread.start()
    return thread


def _run(kept: weakref.ref[Kept], left: SimpleQueue[Callable[[], Any]], closed: threading.Event) -> None:
    due = time.monotonic() + LEASE_CHECK_SECONDS
    while not closed.is_set():  # what is to wake this thread may be taken by the next one
        abandon = None
        with contextlib.suppress(Empty):
            abandon = left.get(timeout=max(due - time.monotonic(), 0))
        alive = kept()
        if alive is None or closed.is_set():
            if abandon is not None and abandon is not nothing:
                left.put(abandon)  # for whoever comes next
            return
        if abandon is not None:
            alive.book_left(abandon)
        if time.monotonic() >= due:
            alive.tick()
            due = time.monotonic() + LEASE_CHECK_SECONDS
        del alive, abandon


def end(thread: threading.Thread | None, left: SimpleQueue[Callable[[], Any]]) -> None:
    """Have the thread end, whose `closed` is set, before another takes from `left`."""
    if thread is not None and thread.is_alive() and thread is not threading.current_thread():
        left.put(nothing)
        thread.join(_PATIENCE)


def nothing() -> None:
    """Wakes the thread, and is no stream."""


@at_exit
def _drain_all() -> None:
    for kept in list(_kept):
        try:
            kept.drain()
        except Exception:
            logger.debug("draining at exit failed", exc_info=True)


def _in_child() -> None:
    for kept in list(_kept):
        kept.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
