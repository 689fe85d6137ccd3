"""Budgets while the ledger cannot be used: what was last known of their windows, less what goes on unbooked.

It is the best that a process can know alone: it cannot see what others spend meanwhile, so a limit may be
passed. Only `on_ledger_error="allow"` comes here; a call that a hard budget binds is refused otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from farthing.guard.waiting import Key, key_of
from farthing.ledger.store import Bound, Short

__all__ = ["Unbooked"]

_FRESH: Final = 5 * 10**9
"""Nanoseconds for which what is known of a window is good enough."""

_MOST: Final = 10_000


class _Mine(NamedTuple):
    """A call that went on unbooked."""

    windows: frozenset[Key]
    amount: int
    at_ns: int
    ended: bool = False


class Unbooked:
    """Of one guard. Usable from any thread: whole values are replaced, and a race costs precision only."""

    __slots__ = ("_looked", "_mine", "_windows")

    def __init__(self) -> None:
        self._windows: dict[Key, Short] = {}
        self._looked: dict[Key, int] = {}
        self._mine: dict[str, _Mine] = {}

    def outdated(self, bounds: Sequence[Bound], now_ns: int) -> list[Bound]:
        """Those of the hard ones that it is time to look at."""
        return [
            bound
            for bound in bounds
            if bound.hard and not 0 <= now_ns - self._looked.get(key_of(bound), -_FRESH) < _FRESH
        ]

    def saw(self, shorts: Sequence[Short], now_ns: int) -> None:
        """How windows stood at an instant."""
        if len(self._windows) >= _MOST:
            self._windows.clear()
            self._looked.clear()
        for short in shorts:
            key = key_of(short.bound)
            self._windows[key], self._looked[key] = short, now_ns

    def short(self, bounds: Sequence[Bound], lo: int, now_ns: int) -> Short | None:
        """The hard window that has too little left, as far as is known."""
        for bound in bounds:
            if not bound.hard or lo <= 0:
                continue
            key = key_of(bound)
            known = self._windows.get(key)
            spent = held = since = 0
            if known is not None:
                if known.ends_ns is not None and known.ends_ns <= now_ns:
                    since = known.ends_ns
                else:
                    spent, held = known.spent, known.held
            for mine in list(self._mine.values()):
                if key in mine.windows and mine.at_ns >= since:
                    spent += mine.amount if mine.ended else 0
                    held += 0 if mine.ended else mine.amount
            if bound.limit - spent - held < lo:
                return Short(bound, bound.limit, spent, held, None if known is None else known.ends_ns)
        return None

    def goes_on(self, call_id: str, bounds: Sequence[Bound], held: int, now_ns: int) -> None:
        """A call is sent without the ledger."""
        windows = frozenset(key_of(bound) for bound in bounds if bound.hard)
        if windows:
            self._mine[call_id] = _Mine(windows, held, now_ns)

    def ended(self, call_id: str, counted: int) -> None:
        """It has ended, and is not booked yet."""
        mine = self._mine.get(call_id)
        if mine is not None:
            self._mine[call_id] = mine._replace(amount=counted, ended=True)

    def booked(self) -> None:
        """All that has ended is in the ledger: its windows are looked at anew."""
        for call_id, mine in list(self._mine.items()):
            if mine.ended:
                self._mine.pop(call_id, None)
        self._looked.clear()
