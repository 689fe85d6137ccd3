"""How finished calls become sums by day, and how long they wait for it.

Both rollups together are two pages more in each commit, if each call adds itself to them. So calls are added
up many at a time: those with keys below `summed` of `meta` are in `day_sum`, all later ones are still summed
from their rows, which are never more than some thousands (the views `day_model` and `day_account` show both
as one). What happens to a call below that key, which ends or is changed afterwards, is added at once.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from farthing.ledger.calls.codes import CORRECTED, COST_SOURCE, LOST, USAGE_SOURCE
from farthing.ledger.calls.keys import DAY
from farthing.ledger.writing.faults import sure
from farthing.log import say_once
from farthing.records import OUTCOMES

__all__ = ["ROW_SUMS", "SUMMED", "SUMS", "Summing", "add_sums", "add_up", "sums_of", "unless_too_large"]

SUMS: Final = (
    "calls", "errors", "input", "cached", "output", "cost", "counted", "unpriced", "estimated", "partial"
)  # fmt: skip
"""What is summed: the columns of `day_sum`."""

_ERROR: Final = OUTCOMES.index("error")
_ESTIMATED: Final = USAGE_SOURCE["estimated"]
_PARTIAL: Final = COST_SOURCE["partial"]

ROW_SUMS: Final = f"""1 AS calls, outcome = {_ERROR} AS errors, coalesce(input, 0) AS input,
  coalesce(cached, 0) AS cached, coalesce(output, 0) AS output, coalesce(cost, 0) AS cost,
  counted, cost IS NULL AND outcome <> {_ERROR} AS unpriced,
  (usage_source = {_ESTIMATED} OR flags & {LOST}) AND flags & {CORRECTED} = 0
    AND outcome <> {_ERROR} AS estimated,
  cost_source = {_PARTIAL} AS partial"""
"""What a finished row of `call` adds to the totals; the same as `sums_of`."""

SUMMED: Final = "SELECT number FROM meta WHERE key = 'summed'"

_NEXT: Final = f"SELECT seq FROM call WHERE seq > ({SUMMED}) ORDER BY seq DESC LIMIT 1 OFFSET ?"  # noqa: S608  constant names

_KEY: Final = "day, account, context, operation, provider, model"
_COLUMNS: Final = ", ".join(SUMS)
_TOTALS: Final = ", ".join(f"sum({name})" for name in SUMS)
_MORE: Final = ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)

_ADD: Final = f"""INSERT INTO day_sum ({_KEY}, {_COLUMNS})
VALUES (?1, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16),
  (?1, ?2, ?3, 0, 0, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
ON CONFLICT ({_KEY}) DO UPDATE SET {_MORE}"""  # noqa: S608  constant names


def _adding_up(account: str, operation: str, provider: str, model: str) -> str:
    return f"""INSERT INTO day_sum ({_KEY}, {_COLUMNS})
SELECT {_KEY}, {_TOTALS} FROM (
  SELECT seq / {DAY} AS day, {account} AS account, context, {operation} AS operation,
    {provider} AS provider, {model} AS model, {ROW_SUMS}
  FROM call WHERE seq >= ({SUMMED}) AND seq < ? AND state <> 0)
WHERE true GROUP BY {_KEY} ON CONFLICT ({_KEY}) DO UPDATE SET {_MORE}"""  # noqa: S608  constant names


_ADD_UP: Final = (
    _adding_up("0", "operation", "coalesce(provider, 0)", "model"),
    _adding_up("account", "0", "0", "0"),
)

_TOO_LARGE: Final = {1, 3091}
"""SQLITE_ERROR of a `sum`, and SQLITE_CONSTRAINT_DATATYPE of an addition whose result has become a REAL
(https://sqlite.org/rescode.html)."""

_MOVE: Final = "UPDATE meta SET number = ? WHERE key = 'summed'"

Sums = tuple[int, ...]


def sums_of(outcome: int, usage_source: int, cost_source: int, flags: int, row: Sequence[int | None]) -> Sums:
    """What a finished row adds to the totals of its day; row is input, cached, output, cost, counted."""
    tokens_in, cached, tokens_out, cost, counted = row
    error = outcome == _ERROR
    estimated = (usage_source == _ESTIMATED or flags & LOST != 0) and not flags & CORRECTED
    return (
        1,
        int(error),
        tokens_in or 0,
        cached or 0,
        tokens_out or 0,
        cost or 0,
        counted or 0,
        int(cost is None and not error),
        int(estimated and not error),
        int(cost_source == _PARTIAL),
    )


def add_sums(conn: sqlite3.Connection, key: Sequence[int], sums: Sums) -> None:
    """Add to both rollups of (day, account, context, operation, provider, model) what a call below `summed`
    adds, or what it has changed by."""
    conn.execute(_ADD, (*key, *sums))


def add_up(conn: sqlite3.Connection, before: int) -> None:
    """Add the finished calls up to a key."""
    if before > sure(conn, SUMMED)[0]:
        for statement in _ADD_UP:
            conn.execute(statement, (before,))
        conn.execute(_MOVE, (before,))


def unless_too_large(conn: sqlite3.Connection, what: str, step: Callable[[], object]) -> bool:
    """Do what nobody waits for, or nothing of it if a sum would be above 63 bits: that must not keep the
    ledger from being opened, nor other calls from being booked. False if it was too large."""
    conn.execute("SAVEPOINT step")
    try:
        step()
    except sqlite3.Error as error:
        if error.sqlite_errorcode not in _TOO_LARGE:
            raise
        conn.execute("ROLLBACK TO step")
        say_once(("sums", what), logging.ERROR, "%s: a sum is too large to be kept: %s", what, error)
        return False
    finally:
        if conn.in_transaction:
            conn.execute("RELEASE step")
    return True


class Summing:
    """When to add up. Per connection; used under the writer's mutex.

    Attributes:
        often: calls that a process ends between two times of adding up.
        latest: calls that are left as they are: many of them are still running, and would have to be added
            one by one.
    """

    often = 1_000
    latest = 1_024

    def __init__(self) -> None:
        self._ended = 0

    def ended(self, conn: sqlite3.Connection, calls: int) -> None:
        """Some calls have ended in this transaction."""
        self._ended += calls
        if self._ended >= self.often:
            self._ended = 0
            self._add_up(conn, self.latest)

    def catch_up(self, conn: sqlite3.Connection) -> None:
        """The ledger has been opened: add up what programs have left that ended too few calls."""
        self._add_up(conn, self.latest + self.often)

    @staticmethod
    def _add_up(conn: sqlite3.Connection, latest: int) -> None:
        first = conn.execute(_NEXT, (latest,)).fetchone()
        if first is not None:
            unless_too_large(conn, "calls are not added up", lambda: add_up(conn, first[0]))
