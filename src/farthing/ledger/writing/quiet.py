"""Locks that are taken over a fork, whatever a signal handler raises meanwhile.

Python swallows what is raised in a hook of a fork, and goes on: whoever was struck there must know which
locks it has, or they stay taken for ever. A handler runs between two instructions, so an answer and the note
of it are one: `extend` and `deque` call what `map` is over without any in between.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from operator import call

__all__ = ["Quiet"]


class Quiet:
    """Some locks, taken one after the other by a thread that is about to fork, and given back by it."""

    def __init__(self) -> None:
        self._locks: tuple[threading.Lock, ...] = ()
        self._took: list[bool] = []
        self._releases: Iterator[Callable[[], None]] | None = None

    def take(self, locks: tuple[threading.Lock, ...], timeout: float) -> None:
        """Take as many as can be had in time."""
        self.give_back()
        self._locks = locks
        deadline = time.monotonic() + timeout
        for lock in locks:
            left = max(deadline - time.monotonic(), 0)
            self._took.extend(map(lock.acquire, (True,), (left,)))
            if not self._took[-1]:
                return

    @property
    def is_whole(self) -> bool:
        """Whether all of them are taken."""
        return bool(self._locks) and len(self._took) == len(self._locks) and all(self._took)

    def give_back(self) -> None:
        """What is taken. May be asked again if it was struck."""
        if self._releases is None:
            pairs = zip(self._locks, self._took, strict=False)
            self._releases = iter([lock.release for lock, taken in pairs if taken])
        deque(map(call, self._releases), maxlen=0)
        self._took.clear()
        self._locks = ()
        self._releases = None
