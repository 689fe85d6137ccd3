"""The outbox of a SQLite ledger.

A window knows the amount at which its next alert is due (`alert_at`; NULL for never, 0 for "look"). What is
posted to it says whether that is reached, and only then is looked at its budget, before the commit. A window
that was over before the rules of its budget were stated raises none, nor does one of a removed budget: the
calls that still end in it count in the window that followed it, too, and that is told of by the rules of now.
"""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from farthing import money
from farthing.ledger.alerting import Channel, Due
from farthing.ledger.store import Clock
from farthing.ledger.writing.connection import Connections
from farthing.ledger.writing.faults import sure
from farthing.ledger.writing.posting import Posting
from farthing.limits import alert_amount
from farthing.records.alert import Alert

__all__ = ["SqliteOutbox"]

_T = TypeVar("_T")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLION: Final = 10**6
_MOST: Final = 1
"""Alerts that are undertaken at once: each has the whole time to itself, and waits for no other's attempt."""
_CHANNELS: Final[tuple[Channel, ...]] = ("call", "post")

_WINDOW: Final = """SELECT b.name, w.key, b.rules, w.limit_nano, w.spent, w.held, w.starts, w.ends,
  b.removed IS NULL AND (w.ends IS NULL OR w.ends > b.since)
FROM budget_window AS w JOIN budget AS b ON b.id = w.budget WHERE w.id = ?"""

_RAISE: Final = """INSERT INTO alert
  (budget_window, threshold, limit_nano, budget, key, spent, held, starts, ends, raised)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (budget_window, threshold, limit_nano) DO NOTHING"""

_OWE: Final = "INSERT INTO delivery (alert, channel, due, tries) VALUES (?, ?, ?, 0)"

_NEXT: Final = "UPDATE budget_window SET alert_at = ? WHERE id = ?"

_ALERT: Final = """SELECT a.id, a.budget, a.key, a.threshold, a.limit_nano, a.spent, a.held, a.starts, a.ends,
  a.raised, (SELECT text FROM meta WHERE key = 'ledger_id') FROM alert AS a WHERE a.id = ?"""

_CLAIM: Final = """UPDATE delivery SET due = ?3, tries = tries + 1 WHERE (alert, channel) IN (
  SELECT alert, channel FROM delivery WHERE channel = ?1 AND due <= ?2 ORDER BY due, alert LIMIT ?4)
RETURNING alert, tries"""

_SET_DUE: Final = "UPDATE delivery SET due = ? WHERE channel = ? AND alert = ? AND due IS NOT NULL"
"""What has arrived stays so, whoever else reports late that it failed."""

_FIRST_DUE: Final = "SELECT min(due) FROM delivery WHERE channel = ? AND due IS NOT NULL"


_SIGN_ONCE: Final = "INSERT INTO meta (key, text) VALUES ('alert_secret', ?) ON CONFLICT (key) DO NOTHING"
_SIGNED_WITH: Final = "SELECT text FROM meta WHERE key = 'alert_secret'"


class _Writes(Protocol):
    def __call__(
        self, operation: Callable[[sqlite3.Connection, Any], _T], argument: Any, *, full: bool
    ) -> _T: ...


class SqliteOutbox:
    """See `farthing.ledger.alerting.Outbox`."""

    def __init__(self, connections: Connections, write: _Writes, clock: Clock) -> None:
        self._connections = connections
        self._write = write
        self._clock = clock
        self._fresh: list[Alert] = []
        self._raised: deque[Alert] = deque()
        self._listeners: list[weakref.WeakMethod[Callable[[], None]]] = []
        connections.before_commit = self._raise

    # -- in the transaction that spends --------------------------------------------------------------

    def _raise(self, conn: Posting) -> None:
        """Raise what is due in the windows that have reached the amount."""
        now = self._clock.time_ns()
        while conn.due:
            window = conn.due.pop()
            name, key, rules, limit, spent, held, starts, ends, stands = sure(conn, _WINDOW, (window,))
            next_at = None
            for share in json.loads(rules)["alerts"] if stands else ():
                threshold = round(share * _MILLION)
                amount = alert_amount(limit, share)
                if spent < amount:
                    next_at = amount
                    break
                values = (window, threshold, limit, name, key, spent, held, starts, ends, now)
                cursor = conn.execute(_RAISE, values)
                if cursor.rowcount:
                    number = cursor.lastrowid
                    conn.executemany(_OWE, [(number, channel, now) for channel in _CHANNELS])
                    self._fresh.append(_alert(conn, number))
            conn.execute(_NEXT, (next_at, window))

    def keep(self) -> None:
        """The transaction was committed."""
        if self._fresh:
            self._raised.extend(self._fresh)
            self._fresh.clear()
            for listener in self._listeners:
                wake = listener()
                if wake is not None:
                    wake()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._fresh.clear()

    # -- for whoever delivers ------------------------------------------------------------------------

    def listen(self, wake: Callable[[], None]) -> None:
        self._listeners = [known for known in self._listeners if known() not in {None, wake}]
        self._listeners.append(weakref.WeakMethod(wake))

    def raised(self) -> list[Alert]:
        return [self._raised.popleft() for _ in range(len(self._raised))]

    def claim(self, channel: Channel, now_ns: int, until_ns: int) -> list[Due]:
        return self._write(_claim, (channel, now_ns, until_ns, _MOST), full=False)

    def delivered(self, channel: Channel, number: int) -> None:
        self._write(_set_due, (None, channel, number), full=False)

    def failed(self, channel: Channel, number: int, again_ns: int) -> None:
        self._write(_set_due, (again_ns, channel, number), full=False)

    def next_due(self, channel: Channel) -> int | None:
        due: int | None = self._connections.read(
            lambda conn: conn.execute(_FIRST_DUE, (channel,)).fetchone()[0]
        )
        return due

    def secret(self) -> str:
        return self._write(_secret, None, full=True)


def _secret(conn: sqlite3.Connection, _: None) -> str:
    conn.execute(_SIGN_ONCE, (os.urandom(32).hex(),))
    secret: str = conn.execute(_SIGNED_WITH).fetchone()[0]
    return secret


def _claim(conn: sqlite3.Connection, wanted: tuple[Channel, int, int, int]) -> list[Due]:
    claimed = conn.execute(_CLAIM, wanted).fetchall()
    return [Due(number, _alert(conn, number), tries) for number, tries in sorted(claimed)]


def _set_due(conn: sqlite3.Connection, wanted: tuple[int | None, Channel, int]) -> None:
    conn.execute(_SET_DUE, wanted)


def _alert(conn: sqlite3.Connection, number: int | None) -> Alert:
    row = sure(conn, _ALERT, (number,))
    _, budget, key, threshold, limit, spent, held, starts, ends, raised, ledger_id = row
    return Alert(
        id=f"{ledger_id}-{number}-{raised}",  # a copy that is used anew gives out its numbers once more
        budget=budget,
        key=key,
        threshold=threshold / _MILLION,
        limit=money.usd(limit),
        spent=money.usd(spent),
        held=money.usd(held),
        starts_at=_aware(starts),
        ends_at=None if ends is None else _aware(ends),
        raised_at=_EPOCH + timedelta(microseconds=raised // 1000),
    )


def _aware(ns: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=ns // 1000)
    except OverflowError:
        return None
