"""Further holds of one call: before an attempt is made again that may have been billed, money for the next is
set aside on a row of its own, which is taken back when the call ends.

A process that is killed meanwhile leaves several rows of one call. Which call a row is of stands in `top_up`,
so that it becomes one again: what was held for its attempts is counted for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from farthing.ledger.calls import sql
from farthing.ledger.calls.codes import LOST_NANO, LOST_TRIES, units_to_json

__all__ = ["add", "gathered", "take_back", "topped", "units_of"]

_ADD: Final = "INSERT INTO top_up (call, topped) VALUES (?, ?)"

_OF: Final = """SELECT t.call, c.held, c.expected FROM top_up AS t JOIN call AS c ON c.seq = t.call
WHERE t.topped = ? AND c.state = 0 ORDER BY t.call"""

_TOPPED: Final = "SELECT topped FROM top_up WHERE call = ?"

_LINES: Final = "SELECT budget_window FROM line WHERE call = ? ORDER BY budget_window"


def add(conn: sqlite3.Connection, seq: int, topped: int) -> None:
    """The row that was just inserted is held for a further attempt of another."""
    conn.execute(_ADD, (seq, topped))


def take_back(conn: sqlite3.Connection, seq: int, held: int) -> None:
    """Take away a pending row, with its hold, as if it had never been."""
    for (window,) in conn.execute(_LINES, (seq,)).fetchall():
        conn.execute(sql.BOOK_WINDOW, (held, 0, 0, window))
    conn.execute("DELETE FROM more_line WHERE call = ?", (seq,))
    conn.execute("DELETE FROM top_up WHERE call = ?", (seq,))
    conn.execute("DELETE FROM call WHERE seq = ?", (seq,))


def gathered(conn: sqlite3.Connection, seq: int) -> list[tuple[int, int | None]]:
    """Take back the further holds of a call that ends now: (held, expected) of each."""
    found = conn.execute(_OF, (seq,)).fetchall()
    for call, held, _ in found:
        take_back(conn, call, held)
    return [(held, expected) for _, held, expected in found]


def units_of(more: Sequence[tuple[int, int | None]]) -> str | None:
    """What the row of a call says of the attempts of which `gathered` has told."""
    if not more:
        return None
    known = [expected for _, expected in more if expected is not None]
    estimate = {LOST_NANO: sum(known)} if len(known) == len(more) else {}
    return units_to_json(None, {LOST_TRIES: len(more), **estimate})


def topped(conn: sqlite3.Connection, seq: int) -> int | None:
    """The call of which a row is a further hold; None of any other row."""
    row = conn.execute(_TOPPED, (seq,)).fetchone()
    return None if row is None else int(row[0])
