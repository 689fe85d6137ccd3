"""Standing budgets: stored by name, with where each came from, and an epoch that every change raises."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from farthing.catalog import UserPrice
from farthing.ledger import prices
from farthing.ledger.budgets.ended import BEFORE_ALL
from farthing.ledger.budgets.seeding import Dims, Pruned, carry, seed
from farthing.ledger.budgets.windows import between, make
from farthing.ledger.calls import sql
from farthing.ledger.calls.codes import budget_from_json, budget_to_json, clean
from farthing.ledger.calls.keys import bound, started_ns
from farthing.ledger.store import Origin, StandingBudget
from farthing.ledger.writing.faults import sure
from farthing.limits import Window, alert_amount, window_at
from farthing.money import usd
from farthing.records import Budget

__all__ = ["Standing", "redefine", "release", "remove", "write"]

_DECLARED: Final = ("code", "config")

_PINS: Final = {"code": 1, "config": 2}
"""What `pinned` says of a budget that was set at run time: whose declaration it is released to; else 0."""

_NOT_COUNTED: Final = ("limit", "alerts", "fallback", "wait")
"""What may change without changing which calls a window counts, and at what amount."""

_RULES: Final = "SELECT rules FROM budget WHERE id = ?"

_FIND: Final = """SELECT id, rules, origin, pinned, declared, removed FROM budget
WHERE attached = 0 AND name = ?"""

_ALL: Final = """SELECT b.rules, b.origin, b.pinned FROM budget AS b
WHERE b.attached = 0 AND b.removed IS NULL ORDER BY b.id"""

_SET_LIMITS: Final = """UPDATE budget_window SET limit_nano = ?1,
  alert_at = CASE WHEN spent >= ?2 THEN coalesce(alert_due(id), 0) ELSE 0 END
WHERE budget = ?3 AND (ends IS NULL OR ends > ?4)"""
"""If nothing may be spent any more, nothing will be posted that tells of it."""

_SELECTING: Final = ("period", "anchor", "per", "account", "context", "provider", "model", "tags")

_ZONES: Final = 2 * 86_400 * 10**9
"""Nanoseconds, and more than the 26 hours by which the same date begins earlier in one time zone than in
another."""

_PRUNED_NOW: Final = """SELECT w.key, p.spent, p.cost, p.last FROM budget_window AS w
JOIN pruned_window AS p ON p.budget_window = w.id
WHERE w.budget = ?1 AND w.starts >= ?3 AND (w.ends IS NULL OR w.starts <= ?2 AND w.ends > ?2)"""

_TAKE_AWAY: Final = """UPDATE call SET windows = NULL
WHERE windows IN (SELECT id FROM budget_window WHERE budget = ? AND starts >= ?)"""

_NEXT: Final = "SELECT seq FROM call WHERE seq >= ? ORDER BY seq LIMIT 1"


@dataclass(slots=True)
class Standing:
    """What was last read of them, and of the stored prices, which the same epoch tells of."""

    epoch: int = 0
    budgets: tuple[StandingBudget, ...] = field(default=())
    prices: tuple[UserPrice, ...] = field(default=())

    def read(self, conn: sqlite3.Connection) -> None:
        epoch = sure(conn, sql.EPOCH)[0]
        self.budgets = tuple(
            StandingBudget(budget=budget_from_json(rules), origin=origin, pinned=bool(pinned))
            for rules, origin, pinned in conn.execute(_ALL)
        )
        stored = prices.read(conn)
        if stored != self.prices:  # the same object says that nothing has changed
            self.prices = stored
        self.epoch = epoch


def write(conn: sqlite3.Connection, budget: Budget, origin: Origin, now: int) -> bool:
    """Store a budget inside the caller's transaction; False if it stands as it is."""
    row = conn.execute(_FIND, (clean(budget.name),)).fetchone()
    wanted = budget_to_json(budget)
    if row is None:
        declared = wanted if origin in _DECLARED else None
        made = conn.execute(
            "INSERT INTO budget (attached, name, rules, origin, declared, since) VALUES (0, ?, ?, ?, ?, ?)",
            (clean(budget.name), wanted, origin, declared, now),
        ).lastrowid
        assert made is not None  # noqa: S101  an INSERT has one
        _open(conn, made, budget, now, {})
        return _changed(conn)
    number, rules, stored_origin, pinned, declared, removed = row
    if removed is not None:
        stored_origin, pinned, declared = None, 0, None
    if origin in _DECLARED:
        if declared == wanted:
            return False
        if stored_origin in {"cli", "http"}:
            # Its limit was set at run time: that stands until it is released.
            pinned, origin = _PINS[origin], stored_origin
            budget = _with_limit(budget, budget_from_json(rules))
        declared = wanted
    else:
        pinned = 0 if declared is None else pinned or _PINS[stored_origin]
        if removed is None and rules == wanted and stored_origin == origin and pinned == row[3]:
            return False
    conn.execute(
        "UPDATE budget SET rules = ?, origin = ?, pinned = ?, declared = ?, removed = NULL WHERE id = ?",
        (budget_to_json(budget), origin, pinned, declared, number),
    )
    _apply(conn, number, budget, None if removed is not None else budget_from_json(rules), now)
    return _changed(conn)


def release(conn: sqlite3.Connection, name: str, now: int) -> bool:
    """Give a budget that was set at run time back to its declaration; False if nothing is."""
    row = conn.execute(_FIND, (clean(name),)).fetchone()
    if row is None or row[5] is not None or not row[3] or row[4] is None:
        return False
    number, rules, _, pinned, declared, _ = row
    budget = budget_from_json(declared)
    origin = _DECLARED[pinned - 1]
    conn.execute(
        "UPDATE budget SET rules = ?, origin = ?, pinned = 0 WHERE id = ?", (declared, origin, number)
    )
    _apply(conn, number, budget, budget_from_json(rules), now)
    return _changed(conn)


def remove(conn: sqlite3.Connection, name: str, now: int) -> bool:
    """Forget a budget; its row and windows stay for the calls that are still charged to them."""
    row = conn.execute(_FIND, (clean(name),)).fetchone()
    if row is None or row[5] is not None:
        return False
    conn.execute("UPDATE budget SET removed = ?, declared = NULL, pinned = 0 WHERE id = ?", (now, row[0]))
    _close(conn, row[0], now)
    return _changed(conn)


def _apply(conn: sqlite3.Connection, number: int, budget: Budget, old: Budget | None, now: int) -> None:
    if old is not None and _counts(old) == _counts(budget):
        first = alert_amount(budget.limit_nano, min(budget.alerts)) if budget.alerts else None
        conn.execute(_SET_LIMITS, (budget.limit_nano, first, number, now))
        return
    pruned = _pruned(conn, number, old, budget, now)
    _close(conn, number, now)
    conn.execute("UPDATE budget SET since = ? WHERE id = ?", (now, number))
    _open(conn, number, budget, now, pruned)


def redefine(conn: sqlite3.Connection, number: int, budget: Budget, now: int) -> None:
    """Give an attached budget (by its row) other rules, and windows that start from the calls of those
    before: also of one that begins only now, which is put where no call can be.

    They are made at once, whether or not the call that asks for it is let through: what calls spent that are
    pruned until another asks would be forgotten. Those of a run are made when calls ask: they take over what
    was pruned, too (see `seed_key`).
    """
    old = budget_from_json(sure(conn, _RULES, (number,))[0])
    pruned = _pruned(conn, number, old, budget, now)
    conn.execute(
        "UPDATE budget_window SET starts = id - ?1, ends = id - ?1 + 1 WHERE budget = ?2 AND starts >= ?3",
        (BEFORE_ALL, number, now),
    )
    _close(conn, number, now)
    conn.execute("UPDATE budget SET rules = ?, since = ? WHERE id = ?", (budget_to_json(budget), now, number))
    _open(conn, number, budget, now, pruned, of=number)
    _changed(conn)


def _counts(budget: Budget) -> dict[str, Any]:
    return {name: value for name, value in budget.to_dict().items() if name not in _NOT_COUNTED} | {
        "expected": budget.charges_expected
    }


def _with_limit(budget: Budget, other: Budget) -> Budget:
    return Budget(**{**budget.to_dict(), "limit": usd(other.limit_nano)})


def _changed(conn: sqlite3.Connection) -> bool:
    conn.execute(sql.RAISE_EPOCH)
    return True


def _close(conn: sqlite3.Connection, number: int, now: int) -> None:
    """End the windows that reach past now; those that would begin only then are taken away, also from earlier
    calls that were counted in them (see `counted_at`)."""
    later = conn.execute(
        "SELECT id FROM budget_window WHERE budget = ? AND starts >= ?", (number, now)
    ).fetchall()
    if later:
        conn.execute(_TAKE_AWAY, (number, now))
    for window in later:
        conn.execute("DELETE FROM set_line WHERE budget_window = ?", window)
        conn.execute("DELETE FROM more_line WHERE budget_window = ?", window)
        conn.execute("DELETE FROM pruned_window WHERE budget_window = ?", window)
        conn.execute("DELETE FROM budget_window WHERE id = ?", window)
    conn.execute(
        "UPDATE budget_window SET ends = ? WHERE budget = ? AND (ends IS NULL OR ends > ?)",
        (now, number, now),
    )


def _open(
    conn: sqlite3.Connection,
    number: int,
    budget: Budget,
    now: int,
    pruned: Mapping[str, Pruned],
    *,
    of: int | None = None,
) -> None:
    """Make the windows of now, one for each key that calls of the period have, with those calls in them and
    what has been `pruned` of it; of an attached budget (`of` its row) with the calls that named it.

    So too for the later periods in which there are calls: some are recorded ahead, and a clock that went
    ahead may have been set back. The period counts from its own beginning, also where the window can only
    begin after the one that it replaces: otherwise a changed time zone would forget what was spent.
    """
    if budget.period == "run":
        return
    keys_of = of if budget.per else None  # the only key there is need not be looked for in each call
    for at, period in _periods(conn, budget, now):
        dims = Dims.read(conn, 0 if period.ends_ns is None else period.starts_ns, period.ends_ns, of=keys_of)
        carried = pruned if at == now else {}
        windows: dict[str, int] = {}
        for key in dict.fromkeys((*dims.keys(budget), *carried)):
            starts, ends = between(conn, number, key, period, at)
            if period.ends_ns is None and of is None:
                starts = _earliest(conn, number, key, now)
            windows[key] = make(conn, number, budget, key, starts, ends, budget.limit_nano)
        if windows:
            seed(conn, budget, windows, dims, of=of)
        for key, sums in carried.items():
            carry(conn, windows[key], sums)


def _periods(conn: sqlite3.Connection, budget: Budget, now: int) -> Iterator[tuple[int, Window]]:
    """The period of now, and the later ones in which calls begin, each with an instant in it."""
    at: int | None = now
    while at is not None:
        period = window_at(budget, at)
        yield at, period
        row = None if period.ends_ns is None else conn.execute(_NEXT, (bound(period.ends_ns),)).fetchone()
        at = None if row is None else started_ns(row[0])


def _selected(budget: Budget) -> tuple[Any, ...]:
    """Which calls a budget counts, and in which periods, give or take a time zone."""
    fields = budget.to_dict()
    return tuple(fields[name] for name in _SELECTING)


def _pruned(
    conn: sqlite3.Connection, number: int, old: Budget | None, budget: Budget, now: int
) -> dict[str, Pruned]:
    """By key, what pruned calls have spent, and cost, in the windows of now, if new rules count the same
    calls as the old ones: later nobody knows that. To be asked before they are closed."""
    if old is None or budget.period == "run" or _selected(old) != _selected(budget):
        return {}
    period = window_at(budget, now)
    since = -BEFORE_ALL if period.ends_ns is None else period.starts_ns - _ZONES
    return {key: Pruned(*sums) for key, *sums in conn.execute(_PRUNED_NOW, (number, now, since))}


def _earliest(conn: sqlite3.Connection, number: int, key: str, now: int) -> int:
    """Since when a window that never ends counts: its first row, or where the one before it ended."""
    before = conn.execute(
        "SELECT max(ends) FROM budget_window WHERE budget = ? AND key = ?", (number, key)
    ).fetchone()[0]
    if before is not None:
        return int(before)
    first = conn.execute("SELECT seq FROM call WHERE state <> 2 ORDER BY seq LIMIT 1").fetchone()
    return now if first is None else min(now, started_ns(first[0]))
