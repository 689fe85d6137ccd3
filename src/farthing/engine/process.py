"""What a process owes its ledger: a lease that is renewed, and order at its exit and after a fork."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from farthing.log import logger

__all__ = ["Kept", "end", "keep", "nothing"]

LEASE_CHECK_SECONDS = 200.0
"""How often a process renews its lease and looks for calls that dead ones left: a third of the lease."""

_PATIENCE = 1.0
"""Seconds that a closing meter waits for the thread, which may be writing."""


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


def keep(kept: Kept, left: SimpleQueue[Callable[[], Any]], closed: threading.Event) -> threading.Thread:
    """Start the thread that renews the lease from time to time and books what arrives in `left` at once.

    It does not keep `kept` alive, and ends when `closed` is set and something arrives (see `end`).
    """
    _kept.add(kept)
    thread = threading.Thread(
        target=_run, args=(weakref.ref(kept), left, closed), name="farthing-lease", daemon=True
    )
    thread.start()
    return thread


def _run(kept: weakref.ref[Kept], left: SimpleQueue[Callable[[], Any]], closed: threading.Event) -> None:
    due = time.monotonic() + LEASE_CHECK_SECONDS
    while True:
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


@atexit.register
def _at_exit() -> None:
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
