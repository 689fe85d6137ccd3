"""Rates over time: which `Rates` hold at an instant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from farthing.records import Rates

__all__ = ["ALWAYS", "DAY", "WEEK", "Cycle", "Piece", "Schedule", "merged"]

ALWAYS = -(1 << 80)
"""A start before every instant, in nanoseconds since 1970 (UTC)."""

DAY = 86_400 * 10**9
WEEK = 7 * DAY
_MONDAY = 4 * DAY
"""1970-01-05 was the first Monday after 1970 began."""

Cycle = tuple[tuple[int, Rates], ...]
"""Rates over a day, or over a week from Monday, of UTC: (nanoseconds since its beginning, rates from then
on), the first from 0."""

Piece = tuple[int, Cycle]
"""The cycles from an instant on."""


class Schedule:
    """Rates by date, weekday and time of day; the same object for the same period.

    Attributes:
        only: the rates, if they never change; asked first because most models have one price.
        pieces: ascending; the first starts at `ALWAYS`.
        length: of every cycle, `DAY` or `WEEK`.
    """

    __slots__ = ("_starts", "length", "only", "pieces")

    def __init__(self, pieces: Sequence[Piece], length: int = DAY) -> None:
        self.pieces = tuple(pieces)
        self.length = length
        self._starts = [start for start, _ in self.pieces]
        alone = len(self.pieces) == 1 and len(self.pieces[0][1]) == 1
        self.only: Rates | None = self.pieces[0][1][0][1] if alone else None

    @classmethod
    def constant(cls, rates: Rates) -> Schedule:
        """The same rates for ever."""
        return cls([(ALWAYS, ((0, rates),))])

    def cycle(self, at_ns: int) -> Cycle:
        """The cycle that holds at an instant."""
        return self.pieces[bisect_right(self._starts, at_ns) - 1][1]

    def at(self, at_ns: int) -> Rates:
        """The rates that hold at an instant (nanoseconds since 1970, UTC)."""
        if self.only is not None:
            return self.only
        cycle = self.cycle(at_ns)
        since = (at_ns - _MONDAY) % self.length
        rates = cycle[0][1]
        for start, candidate in cycle:
            if start > since:
                break
            rates = candidate
        return rates

    def overlaid(self, starts: Iterable[int], choose: Callable[[int], Rates | None]) -> Schedule:
        """This schedule with the rates of `choose(instant)` in its place wherever that gives any.

        `starts` are the instants at which the answer of `choose` may change.
        """
        pieces: list[Piece] = []
        for edge in sorted({ALWAYS, *starts, *self._starts}):
            chosen = choose(edge)
            pieces.append((edge, ((0, chosen),) if chosen is not None else self.cycle(edge)))
        return Schedule(merged(pieces), self.length)

    def mapped(self, change: Callable[[Rates], Rates], since: int = ALWAYS) -> Schedule:
        """This schedule with every rate changed from an instant on; equal rates stay one object."""
        changed: dict[int, Rates] = {}

        def new(rates: Rates) -> Rates:
            if id(rates) not in changed:
                changed[id(rates)] = change(rates)
            return changed[id(rates)]

        pieces: list[Piece] = []
        for edge in sorted({ALWAYS, since, *self._starts}):
            cycle = self.cycle(edge)
            pieces.append((edge, tuple((at, new(r)) for at, r in cycle) if edge >= since else cycle))
        return Schedule(merged(pieces), self.length)

    def noted(self, note: str) -> Schedule:
        """This schedule with one more note on its rates."""
        return self.mapped(lambda rates: replace(rates, notes=(*rates.notes, note)))

    def with_weekends(self, rates_at: int, since: int) -> Schedule:
        """From an instant on, Saturdays and Sundays (UTC) have all day the rates of one time of day.

        `rates_at` is that time, in nanoseconds since midnight. Of a schedule by the day.
        """
        pieces: list[Piece] = []
        for edge in sorted({ALWAYS, since, *self._starts}):
            day = self.cycle(edge)
            week = [(number * DAY + at, rates) for number in range(5) for at, rates in day]
            if edge >= since:
                week.append((5 * DAY, [rates for at, rates in day if at <= rates_at][-1]))
            else:
                week += [(number * DAY + at, rates) for number in (5, 6) for at, rates in day]
            pieces.append((edge, _joined(week)))
        return Schedule(merged(pieces), WEEK)


def _joined(cycle: Sequence[tuple[int, Rates]]) -> Cycle:
    kept: list[tuple[int, Rates]] = []
    for start, rates in cycle:
        if not kept or kept[-1][1] is not rates:
            kept.append((start, rates))
    return tuple(kept)


def merged(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours that hold the same rates as one."""
    kept: list[Piece] = []
    for start, cycle in pieces:
        if kept and _same(kept[-1][1], cycle):
            continue
        kept.append((start, cycle))
    return kept


def _same(a: Cycle, b: Cycle) -> bool:
    return len(a) == len(b) and all(x == y and p is q for (x, p), (y, q) in zip(a, b, strict=True))
