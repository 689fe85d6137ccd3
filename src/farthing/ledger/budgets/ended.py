"""Windows of runs that have ended: there is one for each run, and nobody says when a run is over.

A window that ends by itself is the figure of its period, and stays as sums by day do. That of a run is of no
interest when the run has ended and its calls have been pruned. It has ended if it has made no call for
`IDLE`: one that went on later would start with nothing spent.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from farthing.ledger.calls import sql
from farthing.ledger.calls.keys import bound

__all__ = ["BEFORE_ALL", "IDLE", "forget", "over", "put_away"]

IDLE: Final = 30 * 86_400 * 10**9
"""Nanoseconds."""

BEFORE_ALL: Final = 2**40
"""Nanoseconds before 1970, and more than there are windows: one that begins so much before its id is where no
call can be, and in nobody's place."""

_OVER: Final = """SELECT w.id FROM budget_window AS w LEFT JOIN pruned_window AS p ON p.budget_window = w.id
WHERE w.run = 1 AND w.held = 0 AND w.spent = coalesce(p.spent, 0) AND w.cost = coalesce(p.cost, 0)
  AND w.starts < ? AND coalesce(p.last, 0) < ? ORDER BY w.id"""

_PUT_AWAY: Final = "UPDATE budget_window SET starts = id - ?1, ends = id - ?1 + 1 WHERE id = ?2"

_AWAY: Final = "SELECT id FROM budget_window WHERE id = ? AND starts < 0"

_FORGET: Final = (
    "DELETE FROM delivery WHERE alert IN (SELECT id FROM alert WHERE budget_window = ?)",
    "DELETE FROM alert WHERE budget_window = ?",
    "DELETE FROM pruned_window WHERE budget_window = ?",
    "DELETE FROM budget_window WHERE id = ?",
    "DELETE FROM window_set WHERE id IN (SELECT window_set FROM set_line WHERE budget_window = ?)",
)


def over(conn: sqlite3.Connection, before: int) -> list[int]:
    """The windows of runs of which no call is left, the last having begun before an instant."""
    found = dict.fromkeys(row[0] for row in conn.execute(_OVER, (before, bound(before))))
    if found:
        for (window,) in conn.execute("SELECT DISTINCT budget_window FROM line"):
            found.pop(window, None)
    return list(found)


def put_away(conn: sqlite3.Connection, windows: Sequence[int]) -> None:
    """Let no call find these windows from now on, in whichever process it is made."""
    conn.executemany(_PUT_AWAY, [(BEFORE_ALL, window) for window in windows])
    conn.execute(sql.RAISE_EPOCH)


def forget(conn: sqlite3.Connection, windows: Sequence[int]) -> None:
    """Delete those of these windows that have been put away, with their alerts and the sets they are in."""
    away = [row for window in windows for row in conn.execute(_AWAY, (window,)).fetchall()]
    for statement in _FORGET:
        conn.executemany(statement, away)
