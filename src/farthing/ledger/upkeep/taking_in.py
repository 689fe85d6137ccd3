"""Calls that were spilled are booked: by their ids, each once, however often they are brought."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from farthing.ledger.calls import booking
from farthing.ledger.calls.codes import CORRECTED, OUTCOME
from farthing.ledger.calls.ids import find_begun
from farthing.ledger.calls.keys import DAY
from farthing.ledger.calls.names import Names
from farthing.ledger.calls.owner import Owner
from farthing.ledger.spilled import Spilled, flagged
from farthing.ledger.store import Ending, Entry, Grant, Settlement
from farthing.ledger.writing.connection import Connections
from farthing.ledger.writing.faults import sure
from farthing.ledger.writing.group import concerns_all
from farthing.records import Usage
from farthing.struck import pass_on

__all__ = ["TakingIn"]

_T = TypeVar("_T")

_MISTAKEN: Final = f"""SELECT state FROM call WHERE seq = ? AND
  (owner IS NOT NULL AND state = {booking.VOIDED} OR owner IS NULL AND outcome = {OUTCOME["expired"]})
  AND NOT flags & {CORRECTED}"""  # noqa: S608  constants
"""Whose reserve came too late for the call, which went on without it, and was voided for that; or which was
taken for lost, as it was read that it had been sent, and not yet how it ended."""

_PRUNED: Final = f"SELECT 1 FROM meta WHERE key = 'pruned_before' AND number > ? / {DAY}"  # noqa: S608  a constant

_LEDGER_ID: Final = "SELECT text FROM meta WHERE key = 'ledger_id'"

_ANYTHING: Final = "UPDATE meta SET number = number WHERE key = 'budget_epoch'"


class _Writes(Protocol):
    def __call__(
        self, operation: Callable[[sqlite3.Connection, Any], _T], argument: Any, *, full: bool
    ) -> _T: ...


class TakingIn:
    """The part of `farthing.ledger.store.Ledger` that is about what was spilled."""

    _connections: Connections
    _names: Names
    _owner: Owner
    _write: _Writes
    _settle: Callable[[sqlite3.Connection, Ending], bool]
    _book: Callable[[sqlite3.Connection, Entry], tuple[str, bool]]

    @property
    def patience(self) -> float:
        return self._connections.timeout

    def ledger_id(self) -> str:
        found: str = self._connections.read(lambda conn: sure(conn, _LEDGER_ID)[0])
        return found

    def take_in(self, spilled: Sequence[Spilled], now_ns: int) -> list[bool | Exception]:
        """See `farthing.ledger.spilled.Spills`."""
        some = [(each, now_ns) for each in spilled]
        answers: list[bool | Exception]
        try:
            answers = [*self._write(self._take_all, some, full=True)]
        except Exception as error:
            pass_on(error)
            if concerns_all(error):
                raise
            answers = [self._take_alone(each) for each in some]
        for each, answer in zip(spilled, answers, strict=True):
            if each.call is not None and not isinstance(answer, Exception):
                self._owner.ended(each.reservation.id)
        return answers

    def _take_alone(self, one: tuple[Spilled, int]) -> bool | Exception:
        try:
            return self._write(self._take, one, full=True)
        except Exception as error:
            pass_on(error)
            if concerns_all(error):
                raise
            # Of a line, whatever another release has written, only if anything else can be written now.
            self._write(_changes_nothing, None, full=True)
            return error

    # Inside a transaction

    def _take_all(self, conn: sqlite3.Connection, some: Sequence[tuple[Spilled, int]]) -> list[bool]:
        return [self._take(conn, one) for one in some]

    def _take(self, conn: sqlite3.Connection, one: tuple[Spilled, int]) -> bool:
        spilled, now = flagged(one[0]), one[1]
        if spilled.state == "gone":
            return False
        for key, call_id in spilled.also:
            booking.release(conn, Grant(key, replace(spilled.reservation, id=call_id), 0))
        end = spilled.end or _expired(spilled, now)
        end = replace(end, flags=[*end.flags, *spilled.reservation.flags])
        row = find_begun(conn, spilled.reservation.id, spilled.reservation.started_ns)
        if row is None:
            if spilled.call is not None and conn.execute(_PRUNED, (spilled.call,)).fetchone():
                return False  # booked as expired, and pruned since
            if spilled.void:
                end = booking.voided(end)
            return self._book(conn, Entry(reservation=spilled.reservation, settlement=end, digest=b""))[1]
        grant = spilled.grant() or Grant(row, spilled.reservation, spilled.held)
        mistaken = spilled.call is None and conn.execute(_MISTAKEN, (row,)).fetchone()
        if mistaken and (spilled.state == "ended" or mistaken[0] == booking.VOIDED):
            end = booking.voided(end) if spilled.void else end
            booking.overwrite(conn, self._names, grant, end)
            return True
        return self._settle(conn, (grant, end, spilled.void))


def _changes_nothing(conn: sqlite3.Connection, _: None) -> None:
    conn.execute(_ANYTHING)


def _expired(spilled: Spilled, now: int) -> Settlement:
    """The end of a call that was sent and never heard of again: the prompt, and the hold is counted."""
    want = spilled.reservation
    return Settlement(
        outcome="expired",
        ended_ns=now,
        duration_ns=None,
        cost=want.expected,
        counted=spilled.held,
        cost_source="unpriced" if want.expected is None else "priced",
        usage=None if want.input_tokens is None else Usage.trusted(input_tokens=want.input_tokens),
        usage_source="unknown" if want.input_tokens is None else "estimated",
        rates=want.rates,
    )
