"""What a new window of a standing budget starts with: the rows and open holds of its period.

Budgets match by rules that SQL does not know (globs, tags, keys), so they are asked once for each
distinct combination of dimensions in the period, and the rows are then taken in one statement. Calls
that cost nothing are among them: a correction may say that they did.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from farthing.ledger.calls.keys import bound
from farthing.limits import key_of, matches
from farthing.records import CONTEXTS, Budget

__all__ = ["FOREVER", "Dims", "Pruned", "carry", "seed", "seed_key"]

FOREVER: Final = 2**63 - 1

_COMBINATIONS: Final = """SELECT d.account, d.context, d.provider, d.asked, d.tags,
  account.name, provider.name, asked.name, tagset.json
FROM (SELECT DISTINCT c.account, c.context, c.provider, c.asked, c.tags FROM call AS c
    WHERE c.seq >= ?1 AND c.seq < ?2{of}) AS d
  JOIN name AS account ON account.id = d.account
  JOIN name AS asked ON asked.id = d.asked
  LEFT JOIN name AS provider ON provider.id = d.provider
  LEFT JOIN tagset ON tagset.id = d.tags"""

_OF: Final = """ AND EXISTS (
  SELECT 1 FROM line AS l JOIN budget_window AS o ON o.id = l.budget_window
  WHERE l.call = c.seq AND o.budget = ?3)"""

_DISTINCT: Final = _COMBINATIONS.format(of="")
_DISTINCT_OF: Final = _COMBINATIONS.format(of=_OF)

_TARGET: Final = """CREATE TEMP TABLE IF NOT EXISTS seed_target (
  account INTEGER, context INTEGER, provider INTEGER, asked INTEGER, tags INTEGER, budget_window INTEGER)"""

_LINES: Final = """INSERT INTO more_line (call, budget_window)
SELECT c.seq, t.budget_window
FROM call AS c JOIN temp.seed_target AS t ON t.account = c.account AND t.context = c.context
  AND t.provider IS c.provider AND t.asked = c.asked AND t.tags IS c.tags
WHERE c.seq >= ?1 AND c.seq < ?2"""

_LINES_OF: Final = f"{_LINES}{_OF}"

_SUMS: Final = """SELECT
  sum(CASE WHEN c.state = 0 THEN 0 WHEN ? THEN coalesce(c.cost, c.counted) ELSE c.counted END),
  sum(CASE WHEN c.state = 0 THEN c.held ELSE 0 END),
  sum(CASE WHEN c.state = 0 THEN 0 ELSE coalesce(c.cost, 0) END), l.budget_window
FROM call AS c JOIN more_line AS l ON l.call = c.seq
WHERE c.seq >= ? AND c.seq < ?
  AND l.budget_window IN (SELECT budget_window FROM temp.seed_target)
GROUP BY l.budget_window"""

_PUT: Final = """UPDATE budget_window SET spent = ?1, held = ?2, cost = ?3,
  alert_at = CASE WHEN ?1 > 0 THEN coalesce(alert_due(id), 0) ELSE alert_at END WHERE id = ?4"""


class Pruned(NamedTuple):
    """What calls that are there no more have spent, and cost, in a window; `last` is the key of the last."""

    spent: int
    cost: int
    last: int


@dataclass(frozen=True, slots=True)
class Dims:
    """The distinct dimensions of the calls with keys in [first, after), with their names."""

    first: int
    after: int
    rows: tuple[tuple[tuple[int | None, ...], str, str, str | None, str, Mapping[str, str]], ...]

    @classmethod
    def read(cls, conn: sqlite3.Connection, starts: int, ends: int | None, *, of: int | None = None) -> Dims:
        """Of the calls that started in [starts, ends); of an attached budget (by its row), of those that
        named it."""
        first, after = bound(starts), FOREVER if ends is None else bound(ends)
        found = (
            conn.execute(_DISTINCT, (first, after))
            if of is None
            else conn.execute(_DISTINCT_OF, (first, after, of))
        )
        rows = tuple(
            (
                (account, context, provider, asked, tags),
                account_name,
                CONTEXTS[context],
                provider_name,
                asked_name,
                json.loads(tags_json) if tags_json else {},
            )
            for (
                account, context, provider, asked, tags, account_name, provider_name, asked_name, tags_json
            ) in found
        )  # fmt: skip
        return cls(first, after, rows)

    def keys(self, budget: Budget) -> dict[str, list[tuple[int | None, ...]]]:
        """The dimensions that the budget binds, by its key for them."""
        found: dict[str, list[tuple[int | None, ...]]] = {}
        for ids, account, context, provider, model, tags in self.rows:
            if matches(budget, account=account, context=context, provider=provider, model=model, tags=tags):
                key = key_of(budget, account=account, tags=tags)
                if key is not None:
                    found.setdefault(key, []).append(ids)
        return found


_KEY_LINES: Final = """INSERT INTO more_line (call, budget_window)
SELECT DISTINCT l.call, ?3 FROM budget_window AS o JOIN line AS l ON l.budget_window = o.id
  JOIN call AS c ON c.seq = l.call
WHERE o.budget = ?1 AND o.key = ?2 AND o.id <> ?3"""

_KEY_SUMS: Final = """UPDATE budget_window SET (spent, held, cost) = (SELECT
  coalesce(sum(CASE WHEN c.state = 0 THEN 0 WHEN expected THEN coalesce(c.cost, c.counted)
    ELSE c.counted END), 0),
  coalesce(sum(CASE WHEN c.state = 0 THEN c.held ELSE 0 END), 0),
  coalesce(sum(CASE WHEN c.state = 0 THEN 0 ELSE coalesce(c.cost, 0) END), 0)
  FROM call AS c JOIN more_line AS l ON l.call = c.seq WHERE l.budget_window = ?1) WHERE id = ?1"""

_KEY_PRUNED: Final = """SELECT p.spent, p.cost, p.last FROM budget_window AS o
JOIN pruned_window AS p ON p.budget_window = o.id
WHERE o.budget = ?1 AND o.key = ?2 AND o.id < ?3 AND o.run = 1 ORDER BY o.id DESC LIMIT 1"""

_ADD: Final = "UPDATE budget_window SET spent = spent + ?, cost = cost + ? WHERE id = ?"

_KEEP_PRUNED: Final = "INSERT INTO pruned_window (budget_window, spent, cost, last) VALUES (?, ?, ?, ?)"


def seed_key(conn: sqlite3.Connection, budget: int, key: str, window: int) -> None:
    """Give a new window of a run the calls of the windows that its budget (by its row) had for the same key,
    and what those had spent that have been pruned."""
    conn.execute(_KEY_LINES, (budget, key, window))
    conn.execute(_KEY_SUMS, (window,))
    pruned = conn.execute(_KEY_PRUNED, (budget, key, window)).fetchone()
    if pruned is not None:
        carry(conn, window, Pruned(*pruned))


def carry(conn: sqlite3.Connection, window: int, pruned: Pruned) -> None:
    """Let a new window begin with what pruned calls have spent in the one that it follows."""
    conn.execute(_ADD, (pruned.spent, pruned.cost, window))
    conn.execute(_KEEP_PRUNED, (window, *pruned))


def seed(
    conn: sqlite3.Connection, budget: Budget, windows: Mapping[str, int], dims: Dims, *, of: int | None = None
) -> None:
    """Give the budget's new windows (id by key) the lines and sums of the calls that `dims` is of; of an
    attached one (by its row), of those that named it."""
    conn.execute(_TARGET)
    conn.execute("DELETE FROM temp.seed_target")
    for key, combinations in dims.keys(budget).items():
        window = windows.get(key)
        if window is not None:
            conn.executemany(
                "INSERT INTO temp.seed_target VALUES (?, ?, ?, ?, ?, ?)",
                [(*combination, window) for combination in combinations],
            )
    if of is None:
        conn.execute(_LINES, (dims.first, dims.after))
    else:
        conn.execute(_LINES_OF, (dims.first, dims.after, of))
    sums = conn.execute(_SUMS, (budget.charges_expected, dims.first, dims.after)).fetchall()
    conn.executemany(_PUT, sums)
