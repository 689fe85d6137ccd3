"""Calls that wait for money which running calls hold: in order of arrival within a process.

A call waits for one window, and nobody who came later and needs that window goes before it. It is woken by
whatever gives money back in this process; for what other processes give back it looks again after a nap, of a
random length so that they do not all look at once. Nothing here locks: a wake-up may come from a finalizer.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median_low
from typing import Final
from weakref import WeakKeyDictionary

from farthing.ledger.store import Bound, Clock, Ledger

__all__ = ["Key", "Line", "Pace", "Place", "key_of", "line_of"]

Key = tuple[str, bool, str]
"""A budget and which of its windows: identity, attached, key."""

_NAPS: Final = (0.010, 0.250)
"""Seconds, shortest and longest."""

_LATEST: Final = 101
"""Calls whose durations are remembered."""

_UNKNOWN: Final = 1.0
"""Seconds that a call is taken to last before one of this process has ended."""


def key_of(bound: Bound) -> Key:
    """The window that a call waits for."""
    return bound.identity, bound.attached, bound.key


def _nobody() -> None:
    return None


class Place:
    """One call in line.

    Args:
        keys: the hard windows that bind it.
        short: the one that it waits for.
        seconds: how long it may wait in all.
        clock: tells how much of that has passed. Naps count as well, so that nobody waits for ever by a clock
            that stands still.
        news: what the line had heard before the call was tried; -1 for one that was not.
    """

    __slots__ = ("_clock", "_napped", "_seconds", "_since", "keys", "news", "short", "wake")

    def __init__(  # noqa: PLR0917  its fields
        self, keys: Iterable[Key], short: Key, seconds: float, clock: Clock, since_ns: int, news: int
    ) -> None:
        self.keys = frozenset(keys)
        self.short = short
        self.news = news
        self.wake: Callable[[], None] = _nobody
        self._seconds = seconds
        self._clock = clock
        self._since = since_ns
        self._napped = 0.0

    def sleeps(self) -> None:
        """Nobody is to be woken here for now."""
        self.wake = _nobody

    def until(self, seconds: float) -> None:
        """It may wait so long in all, as it waits for another window now."""
        self._seconds = seconds

    def left(self) -> float:
        """Seconds that it may still wait."""
        passed = (self._clock.monotonic_ns() - self._since) / 1e9
        return max(self._seconds - max(passed, self._napped), 0.0)

    def nap(self) -> float:
        """Seconds after which to look again."""
        return min(random.uniform(*_NAPS), self.left())  # noqa: S311  it spreads processes, and hides nothing

    def napped(self, seconds: float) -> None:
        """It was not woken for so long."""
        self._napped += seconds


class Line:
    """The calls of a process that wait for money on one ledger, first come first served."""

    __slots__ = ("__weakref__", "_places", "news")

    def __init__(self) -> None:
        self.news = 0
        self._places: dict[Place, None] = {}  # adding, removing and copying are atomic

    @property
    def busy(self) -> bool:
        """True if anybody waits."""
        return bool(self._places)

    def ahead_of(self, keys: Iterable[Key]) -> Key | None:
        """The window that somebody waits for, of these; None if nobody does."""
        mine = frozenset(keys)
        there = (place for place in list(self._places) if place.short in mine)
        return next((place.short for place in there if place.left() > 0), None)

    def join(self, place: Place) -> None:
        """Stand at the end; one who stands in line already stays where it is."""
        self._places[place] = None

    def leave(self, place: Place) -> None:
        """Served or refused: the next one may be first now."""
        self._places.pop(place, None)
        self._wake()

    def freed(self) -> None:
        """Money may be free: whoever is first tries again."""
        self.news += 1
        if self._places:
            self._wake()

    def may_try(self, place: Place) -> bool:
        """True if it is the first for its windows, and something has happened since it was tried."""
        return self.news != place.news and self.is_first(place)

    def is_first(self, place: Place) -> bool:
        """True if nobody who came before it waits for a window that it needs."""
        for other in list(self._places):
            if other is place:
                break
            if other.short in place.keys and other.left() > 0:  # or its loop was dropped while it waited
                return False
        return True

    def _wake(self) -> None:
        awaited: set[Key] = set()
        for place in list(self._places):
            if place.keys.isdisjoint(awaited):
                place.wake()
            awaited.add(place.short)


_lines: WeakKeyDictionary[Ledger, tuple[int, Line]] = WeakKeyDictionary()


def line_of(ledger: Ledger) -> Line:
    """The line of this process for a ledger. Who stood in line before a fork stands there in the parent."""
    pid = os.getpid()
    known = _lines.get(ledger)
    if known is None or known[0] != pid:
        known = _lines[ledger] = pid, Line()
    return known[1]


class Pace:
    """How long calls take, by the latest that ended in this process."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: deque[int] = deque(maxlen=_LATEST)

    def note(self, duration_ns: int) -> None:
        """A call has ended."""
        self._latest.append(duration_ns)

    def seconds(self) -> float:
        """The median; a second where none has ended yet."""
        return median_low(list(self._latest)) / 1e9 if self._latest else _UNKNOWN
