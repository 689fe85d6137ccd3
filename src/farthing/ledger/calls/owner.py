"""In whose name a process holds money: its lease, and which of its calls are open.

Every open call of an owner has a key from `first_seq` to `last_seq` of its row, which the reserve checks as
it inserts; so whoever looks for the open calls of a dead process reads some minutes of rows and needs no
index. Each renewal draws the two together again around the calls that are open, which the process remembers.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Final

from farthing.ledger.calls import booking
from farthing.ledger.calls.keys import bound

__all__ = ["LEASE", "Owner"]

LEASE: Final = 600 * 10**9
"""Nanoseconds for which a process owns its calls; renewed when a third has passed."""

_EARLIER: Final = 60 * 10**9
"""How long before its reserve a call may have begun without its owner's row being written again."""

_SECOND: Final = 10**9

_RENEW: Final = "UPDATE owner SET lease_until = ?, first_seq = ?, last_seq = ? WHERE id = ?"
_BEGIN: Final = "INSERT INTO owner (lease_until, first_seq, last_seq, token) VALUES (?, ?, ?, ?)"


class Owner:
    """Per connection; used under the writer's mutex, apart from `ended`."""

    def __init__(self) -> None:
        self.id: int | None = None
        self.renew_at = 0
        self._open: dict[str, int] = {}
        self._begun = False
        self._renewed = False

    def keep(self) -> None:
        """The transaction was committed."""
        self._begun = self._renewed = False

    def forget(self) -> None:
        """The transaction was rolled back: its row may not be there, or belong to another process."""
        if self._begun:
            self.id = None
        if self._renewed:
            self.renew_at = 0
        self._begun = self._renewed = False

    def began(self, call_id: str, seq: int) -> None:
        """A call is reserved in this transaction. If that is rolled back, it is remembered in vain."""
        self._open[call_id] = seq

    def ended(self, call_id: str) -> None:
        """A call is open no more, by a transaction that was committed."""
        self._open.pop(call_id, None)

    def may_have(self, call_id: str) -> bool:
        """Whether a call with this id may be open in this process."""
        return call_id in self._open

    def open_key(self, conn: sqlite3.Connection, call_id: str) -> int | None:
        """The key of a call of this process that is open; None if there is none with this id."""
        seq = self._open.get(call_id)
        return seq if seq is not None and booking.is_open(conn, seq, call_id) else None

    def renew(self, conn: sqlite3.Connection, now: int, began: int | None = None) -> None:
        """Prolong the lease, or begin one; `began` is when a call began that is to be reserved under it."""
        first, last = bound(now - _EARLIER), bound(now + LEASE)
        if began is not None:  # with the second around it, in which its key will be
            first, last = min(first, bound(began - _SECOND)), max(last, bound(began + _SECOND))
        if still := self._still_open(conn):
            first, last = min(first, still[0]), max(last, still[-1])
        until = now + LEASE
        if not conn.execute(_RENEW, (until, first, last, self.id)).rowcount:
            self.id = conn.execute(_BEGIN, (until, first, last, os.urandom(16))).lastrowid
            self._begun = True
        self.renew_at = now + LEASE // 3
        self._renewed = True

    def leave(self, conn: sqlite3.Connection) -> None:
        """Take the row away if no call needs it any more."""
        if not self._still_open(conn):
            conn.execute("DELETE FROM owner WHERE id = ?", (self.id,))

    def _still_open(self, conn: sqlite3.Connection) -> list[int]:
        """Keys of the open calls in order, the least of which is open; others may not be any more."""
        remembered = sorted((seq, call_id) for call_id, seq in self._open.copy().items())
        for place, (seq, call_id) in enumerate(remembered):
            if booking.is_open(conn, seq, call_id):
                return [each for each, _ in remembered[place:]]
            self._open.pop(call_id, None)
        return []
