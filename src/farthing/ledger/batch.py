"""Many reserves and settles in one transaction: rows one by one, windows and totals by day once for all.

A window is read when the first call of the transaction needs it; from then on its money is counted here,
with what the calls before have taken and given back, and written when all are done. Only what is usual is
done so: a call that is matched against the budgets of now, whose windows are known, and the settle of a
pending call. For anything else what has been counted is written first, and then it is done as if alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from farthing.ledger import sql
from farthing.ledger.store import Bound, Reservation, Short
from farthing.ledger.windows import Place

__all__ = ["Batch", "Money"]

_STATE: Final = """SELECT m.number, o.first_seq, o.last_seq
FROM meta AS m LEFT JOIN owner AS o ON o.id = ? WHERE m.key = 'budget_epoch'"""


class Money:
    """A window as it stands in the middle of the transaction."""

    __slots__ = ("cost", "ends", "held", "limit", "limit_before", "posted", "returned", "spent")

    def __init__(self, spent: int, held: int, ends: int | None, limit: int) -> None:
        self.spent = spent
        self.held = held
        self.ends = ends
        self.limit = self.limit_before = limit
        self.returned = self.posted = self.cost = 0  # what is to be written: held is less by `returned`

    def affords(self, held: int, limit: int) -> bool:
        """The guard: with what the calls before have taken, in this transaction too."""
        return limit - self.spent - self.held >= held


class Batch:
    """What a transaction has counted and not yet written.

    Args:
        owner: of the calls that are reserved in it.
    """

    __slots__ = ("_by_account", "_by_model", "_conn", "_windows", "epoch", "first", "last")

    def __init__(self, conn: sqlite3.Connection, owner: int | None) -> None:
        self._conn = conn
        self._windows: dict[int, Money] = {}
        self._by_model: dict[tuple[int, ...], list[int]] = {}
        self._by_account: dict[tuple[int, ...], list[int]] = {}
        self.epoch: int = 0
        self.first: int = 0
        self.last: int = 0
        self.look(owner)

    def look(self, owner: int | None) -> None:
        """Read which budgets there are now, and which keys the calls of the owner may have."""
        self.epoch, first, last = self._conn.execute(_STATE, (owner,)).fetchone()
        self.first, self.last = (1, 0) if first is None else (first, last)

    def hold(self, want: Reservation, taken: Sequence[tuple[Place, Bound]]) -> int | Short | None:
        """As `holding.hold`; nothing is taken yet."""
        held = want.hi
        if want.lo != held:
            least = self._least(taken)
            if least is not None:
                left = least.limit - least.spent - least.held
                if want.lo > 0 and left < want.lo:
                    return least
                held = min(held, max(want.lo, left // 4))
        if held == 0:
            return 0
        for place, bound in taken:
            money = self._windows.get(place.id) or self._read(place.id)
            if money is None:
                return None
            if bound.hard and not money.affords(held, bound.limit):
                return self._least(taken)
        return held

    def take(self, taken: Sequence[tuple[Place, Bound]], held: int) -> None:
        """Take what `hold` answered."""
        if held:
            for place, bound in taken:
                money = self._windows[place.id]
                money.held += held
                money.returned -= held
                money.limit = bound.limit

    def post(self, held: int, spent: int, cost: int, window: int) -> None:
        """Give back what a call held in a window, and charge it what it spent; `cost` is the bill."""
        money = self._windows.get(window) or self._read(window)
        if money is None:
            return
        money.held -= held
        money.returned += held
        money.spent += spent
        money.posted += spent
        money.cost += cost

    def add_sums(self, key: tuple[int, int, int, int, int, int], sums: tuple[int, ...]) -> None:
        """Add to the totals of (day, account, context, operation, provider, model)."""
        day, account, context, operation, provider, model = key
        _add(self._by_model, (day, 0, context, operation, provider, model), sums)
        _add(self._by_account, (day, account, context, 0, 0, 0), sums)

    def flush(self) -> None:
        """Write what has been counted; what follows is read anew."""
        conn = self._conn
        for window, money in self._windows.items():
            if money.limit != money.limit_before:
                conn.execute(sql.SET_LIMIT, (money.limit, window))
            conn.execute(sql.BOOK_WINDOW, (money.returned, money.posted, money.cost, window))
        for sums in (self._by_model, self._by_account):
            if sums:
                conn.executemany(sql.DAY_SUM, [(*key, *sums[key]) for key in sorted(sums)])
                sums.clear()
        self._windows.clear()

    def _read(self, window: int) -> Money | None:
        row = self._conn.execute(sql.WINDOW_MONEY, (window,)).fetchone()
        if row is None:
            return None
        money = self._windows[window] = Money(*row)
        return money

    def _least(self, taken: Sequence[tuple[Place, Bound]]) -> Short | None:
        """The hard window that has least left."""
        least: Short | None = None
        left = 0
        for place, bound in taken:
            if bound.hard:
                money = self._windows.get(place.id) or self._read(place.id)
                if money is None:
                    continue
                free = bound.limit - money.spent - money.held
                if least is None or free < left:
                    least, left = Short(bound, bound.limit, money.spent, money.held, money.ends), free
        return least


def _add(totals: dict[tuple[int, ...], list[int]], key: tuple[int, ...], sums: Sequence[Any]) -> None:
    known = totals.get(key)
    if known is None:
        totals[key] = list(sums)
    else:
        for place, value in enumerate(sums):
            known[place] += value
