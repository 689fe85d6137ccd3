"""The row of a call by its id, without an index of ids that every call would have to write.

A call's id is a UUIDv7 whose first 48 bits are the millisecond of its making, and the row's key says when the
call began: the two are moments apart (RFC 9562, section 5.7). Calls that were recorded may have begun at any
time, so theirs have an index. What is neither, such as the ids of a test, is looked for in all rows.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from farthing.ledger.calls.codes import clean
from farthing.ledger.calls.keys import bound

__all__ = ["find", "find_begun"]

_RECORDED: Final = "SELECT seq FROM call WHERE id = ? AND owner IS NULL"
_NEAR: Final = "SELECT seq FROM call WHERE id = ? AND seq >= ? AND seq < ?"
_ALL: Final = "SELECT seq FROM call WHERE id = ? ORDER BY seq DESC LIMIT 1"

_MILLISECOND: Final = 10**6
_SECOND: Final = 1_000 * _MILLISECOND
_AROUND: Final = (50 * _MILLISECOND, 60_000 * _MILLISECOND)
"""Nanoseconds to either side, tried in turn: at once, and after a wait for money or a busy machine."""


def find(conn: sqlite3.Connection, call_id: str) -> int | None:
    """The key of the call with this id; None if there is none."""
    text = clean(call_id)
    row = conn.execute(_RECORDED, (text,)).fetchone()
    made = _made_ns(call_id)
    if made is not None:
        for around in _AROUND:
            row = row or conn.execute(_NEAR, (text, bound(made - around), bound(made + around))).fetchone()
    row = row or conn.execute(_ALL, (text,)).fetchone()
    return None if row is None else int(row[0])


def find_begun(conn: sqlite3.Connection, call_id: str, started_ns: int) -> int | None:
    """As `find`, for a call that began at this instant: of one that is not there only its second is read."""
    text = clean(call_id)
    near = (text, bound(started_ns - _SECOND), bound(started_ns + _SECOND))
    row = conn.execute(_RECORDED, (text,)).fetchone() or conn.execute(_NEAR, near).fetchone()
    return None if row is None else int(row[0])


def _made_ns(call_id: str) -> int | None:
    if len(call_id) != 36 or call_id[14] != "7":
        return None
    try:
        return int(call_id[:8] + call_id[9:13], 16) * _MILLISECOND
    except ValueError:
        return None
