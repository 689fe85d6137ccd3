"""The key of a call says when it began: microseconds since 1970, then its place among the calls of that one.

So rows lie in the order of time, a range of time is a range of keys, and no index by time has to be written.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from farthing.errors import LedgerError

__all__ = ["BITS", "DAY", "Keys", "bound", "key_at", "started_ns"]

BITS: Final = 10
"""For the place in the microsecond; 53 bits are left for the instant: until the year 2255."""

DAY: Final = 86_400_000_000 << BITS
"""Keys of a day: `seq / DAY` is the day since 1970."""

_SECOND: Final = 1_000_000
_LAST: Final = (1 << BITS) - 1
_END: Final = 8_993_721_600 * _SECOND  # the start of 2255


def key_at(ns: int) -> int:
    """The first key of the microsecond of an instant.

    Raises:
        LedgerError: for one before 1970 or after 2254.
    """
    us = ns // 1000
    if not 0 <= us < _END:
        raise LedgerError(
            "A ledger holds calls of the years 1970 to 2254; the clock or date of this one is wrong."
        )
    return us << BITS


def bound(ns: int) -> int:
    """The least key that is not before an instant; any instant has one."""
    return min(max(-(-ns // 1000), 0), _END) << BITS


def started_ns(key: int) -> int:
    """When the call of a key began, to the microsecond."""
    return (key >> BITS) * 1000


class Keys:
    """Gives out keys, in rising order within a microsecond. Used under the writer's mutex."""

    def __init__(self) -> None:
        self._base = -1
        self._last = -1

    def propose(self, base: int) -> int:
        """A key for `base` (see `key_at`) that is most probably free."""
        key = self._last + 1 if base == self._base and self._last & _LAST != _LAST else base
        self._base, self._last = base, key
        return key

    def free(self, conn: sqlite3.Connection, base: int) -> int:
        """One that is free.

        Where a microsecond is full, its neighbours towards the middle of the second are taken: thousands of
        calls that were imported with one stamp, such as the last instant of a month, stay in their second.
        """
        us = base >> BITS
        step = -1 if us % _SECOND * 2 >= _SECOND else 1
        full, open_ = -1, 0
        while _is_full(conn, us + step * open_):
            full, open_ = open_, open_ * 2 + 1
        while open_ - full > 1:
            middle = (full + open_) // 2
            if _is_full(conn, us + step * middle):
                full = middle
            else:
                open_ = middle
        first = us + step * open_ << BITS
        last = conn.execute("SELECT max(seq) FROM call WHERE seq BETWEEN ? AND ?", (first, first | _LAST))
        taken = last.fetchone()[0]
        self._base, self._last = base, first if taken is None else taken + 1
        return self._last


def _is_full(conn: sqlite3.Connection, us: int) -> bool:
    key = us << BITS | _LAST
    return conn.execute("SELECT 1 FROM call WHERE seq = ?", (key,)).fetchone() is not None
