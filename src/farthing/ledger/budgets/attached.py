"""Attached budgets: stored under their name when a call first names one.

Whoever gives the name other rules redefines it, as a changed declaration does a standing one: its windows are
closed, and those that follow start from the calls that were in them (see `standing.redefine`). A process does
so once for each set of rules, so that two programs that give one name two meanings do not take turns: the
rules stated last stand.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from farthing.ledger.budgets.seeding import Dims, seed, seed_key
from farthing.ledger.calls.codes import budget_from_json, budget_to_json, clean
from farthing.ledger.store import Bound
from farthing.limits import Window
from farthing.records import Budget

__all__ = ["Given", "inherit", "same_rules"]

_MOST: Final = 8_192

_FIND: Final = "SELECT id, rules FROM budget WHERE attached = 1 AND name = ?"


def same_rules(one: Budget, other: Budget) -> bool:
    """Whether two budgets count the same calls, and tell of it at the same shares."""
    return one.alerts == other.alerts and _counts_alike(one, other)


def _counts_alike(one: Budget, other: Budget) -> bool:
    """Whether they count the same calls, in the same periods, at the same amounts."""
    return (
        one.period == other.period
        and one.per == other.per
        and one.mode == other.mode
        and one.timezone == other.timezone
        and one.anchor == other.anchor
        and one.account == other.account
        and one.context == other.context
        and one.provider == other.provider
        and one.model == other.model
        and (one.tags or None) == (other.tags or None)
        and one.charges_expected == other.charges_expected
    )


class Given:
    """The rules that this process has stated, by name. Per connection; used under the writer's mutex."""

    def __init__(self) -> None:
        self._stated: dict[str, list[Budget]] = {}
        self._fresh: list[tuple[str, Budget]] = []

    def keep(self) -> None:
        """The transaction was committed."""
        self._fresh.clear()

    def forget(self) -> None:
        """The transaction was rolled back."""
        for name, budget in self._fresh:
            self._stated[name] = [known for known in self._stated.get(name, ()) if known is not budget]
        self._fresh.clear()

    def changed(self, conn: sqlite3.Connection, bounds: Sequence[Bound]) -> list[tuple[int, Budget]]:
        """The budgets (by their rows) that these bounds redefine."""
        found: list[tuple[int, Budget]] = []
        for bound in bounds:
            if bound.attached and self._is_news(bound):
                row = conn.execute(_FIND, (clean(bound.identity),)).fetchone()
                if row is not None and not _stands(conn, row, bound.budget):
                    found.append((row[0], bound.budget))
        return found

    def _is_news(self, bound: Bound) -> bool:
        stated = self._stated.setdefault(bound.identity, [])
        if any(same_rules(known, bound.budget) for known in stated):
            return False
        if len(self._stated) > _MOST:
            self._stated = {bound.identity: stated}
        stated.append(bound.budget)
        self._fresh.append((bound.identity, bound.budget))
        return True


def _stands(conn: sqlite3.Connection, row: tuple[int, str], given: Budget) -> bool:
    """Whether the stored rules count as the given ones; then only what they tell of may be new."""
    number, rules = row
    stored = budget_from_json(rules)
    if not _counts_alike(stored, given):
        return False
    if stored.alerts != given.alerts:
        conn.execute("UPDATE budget SET rules = ? WHERE id = ?", (budget_to_json(given), number))
        conn.execute("UPDATE budget_window SET alert_at = 0 WHERE budget = ?", (number,))
    return True


def inherit(  # noqa: PLR0917  one caller
    conn: sqlite3.Connection, number: int, rules: Budget, key: str, window: int, period: Window
) -> None:
    """Give a new window of a redefined budget the calls that named it: those of its run, or of its period,
    which was over before."""
    if rules.period == "run":
        seed_key(conn, number, key, window)
        return
    dims = Dims.read(conn, period.starts_ns, period.ends_ns, of=number)
    seed(conn, rules, {key: window}, dims, of=number)
