"""Many reserves and settles in one transaction: what they write is collected, and written once for all.

A window is read when the first call of the transaction needs it; from then on its money is counted here,
with what the calls before have taken and given back. Only what is usual is done so: a call that is matched
against the budgets of now, whose windows are known, and the settle of a pending call of late. For anything
else what has been collected is written first, and then it is done as if alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from farthing.ledger.budgets.windows import Place
from farthing.ledger.calls import sql
from farthing.ledger.calls.holding import left_of, shortest
from farthing.ledger.calls.summing import SUMMED
from farthing.ledger.store import Bound, Grant, Short

__all__ = ["Apart", "Batch", "Money"]

_STATE: Final = f"""SELECT m.number, ({SUMMED}), o.first_seq, o.last_seq
FROM meta AS m LEFT JOIN owner AS o ON o.id = ? WHERE m.key = 'budget_epoch'"""  # noqa: S608  constant names


class Apart(Exception):
    """A write of several has to be done, or taken back, on its own."""


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
    """What a transaction has collected and not yet written.

    Args:
        owner: of the calls that are reserved in it.

    Attributes:
        epoch: which budgets there are now.
        summed: the key below which calls are in the sums by day.
        first, last: the keys that calls of the owner may have.
    """

    __slots__ = ("_begun", "_conn", "_ended", "_windows", "epoch", "first", "last", "summed")

    def __init__(self, conn: sqlite3.Connection, owner: int | None) -> None:
        self._conn = conn
        self._windows: dict[int, Money] = {}
        self._begun: list[tuple[Any, ...]] = []
        self._ended: list[tuple[Any, ...]] = []
        self.epoch: int = 0
        self.summed: int = 0
        self.first: int = 0
        self.last: int = 0
        self.look(owner)

    def look(self, owner: int | None) -> None:
        """Read the attributes."""
        self.epoch, self.summed, first, last = self._conn.execute(_STATE, (owner,)).fetchone()
        self.first, self.last = (1, 0) if first is None else (first, last)

    def hold(self, lo: int, hi: int, taken: Sequence[tuple[Place, Bound]]) -> int | Short | None:
        """As `holding.hold`; nothing is taken yet."""
        held = hi
        if lo != hi:
            shorts = self._stand(taken)
            if shorts:
                left = min(map(left_of, shorts))
                if lo > 0 and left < lo:
                    return shortest(shorts, lo)
                held = min(held, max(lo, left // 4))
        if held == 0:
            return 0
        windows = self._windows
        for place, bound in taken:
            money = windows.get(place.id) or self._read(place.id)
            if money is None:
                return None
            if bound.hard and not money.affords(held, bound.limit):
                return shortest(self._stand(taken), held)
        return held

    def begin(self, row: tuple[Any, ...], held: int, taken: Sequence[tuple[Place, Bound]]) -> None:
        """A call, as the values of `sql.INSERT_CALL`, that takes what `hold` answered."""
        self._begun.append(row)
        if held:
            for place, bound in taken:
                money = self._windows[place.id]
                money.held += held
                money.returned -= held
                money.limit = bound.limit

    def end(self, grant: Grant, ending: tuple[Any, ...], counted: int, cost: int | None) -> None:
        """A pending call ends with the values of `sql.BOOK`: it gives back what it held, and is charged."""
        self._ended.append(ending)
        held = grant.held
        for window, expected in grant.lines:
            money = self._windows.get(window) or self._read(window)
            if money is not None:
                amount = cost if expected and cost is not None else counted
                money.held -= held
                money.returned += held
                money.spent += amount
                money.posted += amount
                if cost is not None:
                    money.cost += cost

    def flush(self) -> None:
        """Write what has been collected; what follows is read anew.

        Raises:
            Apart: if a call that ends is pending no more.
        """
        conn = self._conn
        ended, begun = self._ended, self._begun
        if ended:
            if conn.executemany(sql.BOOK, ended).rowcount != len(ended):
                raise Apart
            ended.clear()
        if begun:
            conn.executemany(sql.INSERT_CALL, begun)
            begun.clear()
        for window, money in self._windows.items():
            if money.limit != money.limit_before:
                conn.execute(sql.SET_LIMIT, (money.limit, window))
            conn.execute(sql.BOOK_WINDOW, (money.returned, money.posted, money.cost, window))
        self._windows.clear()

    def _read(self, window: int) -> Money | None:
        row = self._conn.execute(sql.WINDOW_MONEY, (window,)).fetchone()
        if row is None:
            return None
        money = self._windows[window] = Money(*row)
        return money

    def _stand(self, taken: Sequence[tuple[Place, Bound]]) -> list[Short]:
        """How the hard windows stand."""
        found = []
        for place, bound in taken:
            if bound.hard:
                money = self._windows.get(place.id) or self._read(place.id)
                if money is not None:
                    found.append(Short(bound, bound.limit, money.spent, money.held, money.ends))
        return found
