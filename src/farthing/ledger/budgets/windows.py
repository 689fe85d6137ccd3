"""Which stored window of a budget an instant falls into; made where there is none.

A stored window that contains the instant always wins, whatever the budget's rules say today; a new one
never overlaps its neighbours. So an instant has one window, also after a change of rules or of the clock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from farthing.errors import LedgerError
from farthing.ledger.budgets.attached import Given, inherit, same_rules
from farthing.ledger.budgets.seeding import FOREVER, Dims, seed
from farthing.ledger.calls.codes import budget_from_json, budget_to_json, clean
from farthing.ledger.store import Bound
from farthing.limits import Window, window_at
from farthing.records import Budget

__all__ = ["Place", "Windows", "between", "counted_at", "make", "place_of"]

_MOST: Final = 8_192
"""Windows that are remembered; a run has one of its own."""


class Place(NamedTuple):
    """A stored window: `expected` if it is charged a call's cost instead of what is counted."""

    id: int
    starts: int
    ends: int
    expected: bool


_CONTAINING: Final = """SELECT w.id, w.starts, coalesce(w.ends, ?4), w.expected
FROM budget_window AS w WHERE w.budget = ?1 AND w.key = ?2 AND w.starts <= ?3
  AND (w.ends IS NULL OR w.ends > ?3) ORDER BY w.starts DESC LIMIT 1"""

_ENDLESS: Final = """SELECT w.id, w.starts, ?3, w.expected
FROM budget_window AS w WHERE w.budget = ?1 AND w.key = ?2 AND w.ends IS NULL"""

_LOWER: Final = """UPDATE budget_window SET starts = ?2 WHERE id = ?1
  AND NOT EXISTS (SELECT 1 FROM budget_window AS o, budget_window AS me
    WHERE me.id = ?1 AND o.budget = me.budget AND o.key = me.key AND o.id <> me.id AND o.ends > ?2)"""

_NEIGHBOURS: Final = """SELECT max(CASE WHEN ends <= ?3 THEN ends END),
  min(CASE WHEN starts > ?3 THEN starts END)
FROM budget_window WHERE budget = ?1 AND key = ?2"""

_MAKE: Final = """INSERT INTO budget_window (budget, key, starts, ends, expected, limit_nano, run)
VALUES (?, ?, ?, ?, ?, ?, ?)"""


class Windows:
    """Per connection; used under the writer's mutex, apart from `known`."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, bool, str], Place] = {}
        self._rules: dict[tuple[str, bool, str], Budget] = {}  # by which attached ones were found
        self._given = Given()
        self._fresh: list[tuple[str, bool, str]] = []

    def keep(self) -> None:
        """The transaction was committed."""
        self._given.keep()
        if self._fresh:
            self._fresh.clear()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._given.forget()
        for key in self._fresh:
            self._places.pop(key, None)
        self._fresh.clear()

    def clear(self) -> None:
        """Budgets have changed, and with them perhaps the ends of windows."""
        self._places.clear()
        self._fresh.clear()

    def known(self, bound: Bound, at: int) -> Place | None:
        """The window of `bound` at an instant, if it is remembered."""
        key = (bound.identity, bound.attached, bound.key)
        place = self._places.get(key)
        if place is None or not place[1] <= at < place[2]:
            return None
        if bound.attached:
            rules = self._rules.get(key)
            if rules is None or (rules is not bound.budget and not same_rules(rules, bound.budget)):
                return None
        return place

    def redefined(self, conn: sqlite3.Connection, bounds: Sequence[Bound]) -> list[tuple[int, Budget]]:
        """The attached budgets (by their rows) to which these bounds give other rules than they have."""
        return self._given.changed(conn, bounds)

    def find(self, conn: sqlite3.Connection, bound: Bound, at: int) -> Place:
        """The window of `bound` at an instant, made if need be."""
        if place := self.known(bound, at):
            return place
        key = (bound.identity, bound.attached, bound.key)
        budget, since, rules = _budget_row(conn, bound)
        place = _stored_or_made(conn, bound, budget, since, rules, at)
        if place.ends > since:  # not one that ended because the rules changed: see `counted_at`
            if len(self._places) >= _MOST:
                self._places.clear()
                self._rules.clear()
            if bound.attached:
                # Before the place: `known` is asked by other threads, too.
                self._rules[key] = bound.budget if same_rules(rules, bound.budget) else rules
            self._places[key] = place
            self._fresh.append(key)
        return place


def _stored_or_made(  # noqa: PLR0917  one caller
    conn: sqlite3.Connection, bound: Bound, budget: int, since: int, rules: Budget, at: int
) -> Place:
    key = clean(bound.key) or ""
    counted = counted_at(rules, since, at)
    if place := place_of(conn, budget, key, rules.period, counted):
        if place.starts > at and place.ends == FOREVER and conn.execute(_LOWER, (place.id, at)).rowcount:
            place = place._replace(starts=at)
        return place
    period = window_at(rules, counted)
    starts, ends = between(conn, budget, key, period, counted)
    made = make(conn, budget, rules, key, starts, ends, bound.limit)
    # Those of now and of later were made when the rules were stated (see `standing`). In a period that was
    # over before, nothing has been counted yet.
    over = period.ends_ns is not None and period.ends_ns <= since
    if bound.attached and since and (over or rules.period == "run"):
        inherit(conn, budget, rules, key, made, period)
    elif not bound.attached and over:
        seed(conn, bound.budget, {key: made}, Dims.read(conn, starts, period.ends_ns))
    return Place(made, starts, FOREVER if ends is None else ends, rules.charges_expected)


def make(  # noqa: PLR0917  as the columns are
    conn: sqlite3.Connection, budget: int, rules: Budget, key: str, starts: int, ends: int | None, limit: int
) -> int:
    """A new window of a budget (by its row), with nothing in it."""
    is_run = rules.period == "run"
    values = (budget, key, starts, ends, rules.charges_expected, limit, is_run)
    made = conn.execute(_MAKE, values).lastrowid
    assert made is not None  # noqa: S101  an INSERT has one
    return made


def counted_at(budget: Budget, since: int, at: int) -> int:
    """The instant at which a call of `at` is counted, for rules that stand since `since`.

    The window of the period in which the rules were made was seeded with all of that period, although it
    begins where the one before it was closed. A call that was matched anew with an instant of just before
    belongs there: in the closed window it would bind nobody.
    """
    if at < since:
        period = window_at(budget, since)
        if period.ends_ns is None or period.starts_ns <= at:
            return since
    return at


def place_of(conn: sqlite3.Connection, budget: int, key: str, period: object, at: int) -> Place | None:
    """The stored window that an instant falls into. One without an end takes what came before it, too."""
    row = conn.execute(_CONTAINING, (budget, key, at, FOREVER)).fetchone()
    if row is None and period in {"run", "total"}:
        row = conn.execute(_ENDLESS, (budget, key, FOREVER)).fetchone()
    return None if row is None else Place(row[0], row[1], row[2], bool(row[3]))


def between(
    conn: sqlite3.Connection, budget: int, key: str, period: Window, at: int
) -> tuple[int, int | None]:
    """A period cut to what its neighbours leave around an instant."""
    starts, ends = period.starts_ns, period.ends_ns
    before, after = conn.execute(_NEIGHBOURS, (budget, key, at)).fetchone()
    if before is not None:
        starts = max(starts, before)
    if after is not None:
        ends = after if ends is None else min(ends, after)
    return starts, ends


def _budget_row(conn: sqlite3.Connection, bound: Bound) -> tuple[int, int, Budget]:
    """Its row, since when its rules stand, and the rules."""
    name = clean(bound.identity)
    row: Sequence[Any] | None = conn.execute(
        "SELECT id, since, rules FROM budget WHERE attached = ? AND name = ?", (bound.attached, name)
    ).fetchone()
    if row is not None:
        return row[0], row[1], budget_from_json(row[2]) if bound.attached and row[1] else bound.budget
    if not bound.attached:
        raise LedgerError(f"There is no standing budget {bound.identity!r} in the ledger.")
    made = conn.execute(
        "INSERT INTO budget (attached, name, rules, since) VALUES (1, ?, ?, 0)",
        (name, budget_to_json(bound.budget)),
    ).lastrowid
    assert made is not None  # noqa: S101  an INSERT has one
    return made, 0, bound.budget
