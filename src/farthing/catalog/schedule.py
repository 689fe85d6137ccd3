"""Rates over time: which `Rates` hold at an instant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from farthing.records import Rates

__all__ = ["ALWAYS", "DAY", "Day", "Piece", "Schedule", "merged"]

ALWAYS = -(1 << 80)
"""A start before every instant, in nanoseconds since 1970 (UTC)."""

DAY = 86_400 * 10**9

Day = tuple[tuple[int, Rates], ...]
"""Rates over a day of UTC: (nanoseconds since midnight, rates from then on), the first from 0."""

Piece = tuple[int, Day]
"""The days from an instant on."""


class Schedule:
    """Rates by date and time of day; the same object for the same period.

    Attributes:
        only: the rates, if they never change; asked first because most models have one price.
        pieces: ascending; the first starts at `ALWAYS`.
    """

    __slots__ = ("_starts", "only", "pieces")

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = tuple(pieces)
        self._starts = [start for start, _ in self.pieces]
        alone = len(self.pieces) == 1 and len(self.pieces[0][1]) == 1
        self.only: Rates | None = self.pieces[0][1][0][1] if alone else None

    @classmethod
    def constant(cls, rates: Rates) -> Schedule:
        """The same rates for ever."""
        return cls([(ALWAYS, ((0, rates),))])

    def day(self, at_ns: int) -> Day:
        """The day that holds at an instant."""
        return self.pieces[bisect_right(self._starts, at_ns) - 1][1]

    def at(self, at_ns: int) -> Rates:
        """The rates that hold at an instant (nanoseconds since 1970, UTC)."""
        if self.only is not None:
            return self.only
        day = self.day(at_ns)
        since_midnight = at_ns % DAY
        rates = day[0][1]
        for start, candidate in day:
            if start > since_midnight:
                break
            rates = candidate
        return rates

    def overlaid(self, starts: Iterable[int], choose: Callable[[int], Rates | None]) -> Schedule:
        """This schedule with the rates of `choose(instant)` in its place wherever that gives any.

        `starts` are the instants at which the answer of `choose` may change.
        """
        edges = sorted({ALWAYS, *starts, *self._starts})
        pieces: list[Piece] = []
        for edge in edges:
            chosen = choose(edge)
            pieces.append((edge, ((0, chosen),) if chosen is not None else self.day(edge)))
        return Schedule(merged(pieces))

    def noted(self, note: str) -> Schedule:
        """This schedule with one more note on its rates."""
        copies: dict[int, Rates] = {}

        def copy(rates: Rates) -> Rates:
            if id(rates) not in copies:
                copies[id(rates)] = replace(rates, notes=(*rates.notes, note))
            return copies[id(rates)]

        return Schedule([(start, tuple((since, copy(r)) for since, r in day)) for start, day in self.pieces])


def merged(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours that hold the same rates as one."""
    kept: list[Piece] = []
    for start, day in pieces:
        if kept and _same(kept[-1][1], day):
            continue
        kept.append((start, day))
    return kept


def _same(a: Day, b: Day) -> bool:
    return len(a) == len(b) and all(x == y and p is q for (x, p), (y, q) in zip(a, b, strict=True))
