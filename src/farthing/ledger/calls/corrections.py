"""Finished calls are changed: the row, its windows and the totals of its day, and what they said is kept."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from operator import add
from typing import Any, Final, Protocol, TypeVar

from farthing.errors import UnknownCall
from farthing.ledger.amending import Correction, Finished, Repricing
from farthing.ledger.calls import booking, sql
from farthing.ledger.calls.codes import (
    CORRECTED,
    COST_SOURCE,
    COST_SOURCES,
    MULTIPLIER,
    OUTCOME,
    REPRICED,
    USAGE_SOURCE,
    USAGE_SOURCES,
    clean,
    flag_bits,
    flag_names,
    rates_from_json,
    usage_from,
)
from farthing.ledger.calls.ids import find
from farthing.ledger.calls.keys import DAY, bound, started_ns
from farthing.ledger.calls.names import Names
from farthing.ledger.calls.summing import SUMMED, add_sums, sums_of
from farthing.ledger.questions.reading import rows
from farthing.ledger.store import Clock
from farthing.ledger.upkeep.schema import CALL_FROM, CALL_SELECT, KINDS, UNCERTAIN
from farthing.ledger.writing.connection import Connections
from farthing.ledger.writing.faults import sure
from farthing.records import OPERATIONS, OUTCOMES, Rates

__all__ = ["Corrections"]

_T = TypeVar("_T")

_ERROR: Final = OUTCOME["error"]
_UNKNOWN: Final = OUTCOME["unknown"]
_NONE: Final = COST_SOURCE["none"]
_REPORTED: Final = COST_SOURCE["reported"]
_FAR: Final = 2**63 - 1

_MOST: Final = 500
_SECONDS: Final = 0.01
"""Rows of a repricing in one commit, and how long the others may have to wait for it."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A finished row, as far as it may be changed or says where to; in the order of `_READ`."""

    seq: int
    account: int
    context: int
    operation: int
    provider: int | None
    model: int
    held: int
    state: int
    outcome: int
    input: int | None
    cached: int | None
    cache_write: int | None
    output: int | None
    reasoning: int | None
    usage_source: int
    cost: int | None
    counted: int
    cost_source: int
    price: int | None
    overrun: int | None
    flags: int
    units: str | None

    def sums(self) -> tuple[int, ...]:
        """What it adds to the totals of its day."""
        counts = (self.input, self.cached, self.output, self.cost, self.counted)
        return sums_of(self.outcome, self.usage_source, self.cost_source, self.flags, counts)

    def amount(self, *, expected: int) -> int:
        """What a window is charged for it."""
        return self.cost if expected and self.cost is not None else self.counted


_READ: Final = """SELECT seq, account, context, operation, provider, model, held, state, outcome, input,
  cached, cache_write, output, reasoning, usage_source, cost, counted, cost_source, price, overrun, flags,
  units FROM call WHERE seq = ? AND state <> 0"""

_READ_NAMED: Final = f"{_READ} AND id = ?"

_NO_CALL: Final = "there is no call"

_LINES: Final = """SELECT l.budget_window, w.expected FROM line AS l
JOIN budget_window AS w ON w.id = l.budget_window WHERE l.call = ? ORDER BY l.budget_window"""

_WRITE: Final = """UPDATE call SET state = ?, outcome = ?, input = ?, cached = ?, cache_write = ?, output = ?,
  reasoning = ?, usage_source = ?, cost = ?, counted = ?, cost_source = ?, price = ?, overrun = ?, flags = ?,
  units = ? WHERE seq = ?"""

_KEEP: Final = """INSERT INTO correction (call, at, kind, reason, outcome, cost, counted, cost_source, price,
  old_outcome, old_cost, old_counted, old_cost_source, old_price, old_usage)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_HISTORY: Final = """SELECT c.id, k.at, k.kind, k.reason, k.outcome, k.cost, k.counted, k.cost_source,
  p.source, k.old_outcome, k.old_cost, k.old_counted, k.old_cost_source, o.source, k.old_usage
FROM correction AS k JOIN call AS c ON c.seq = k.call LEFT JOIN price AS p ON p.id = k.price
  LEFT JOIN price AS o ON o.id = k.old_price WHERE k.call = ? ORDER BY k.id"""

_FINISHED: Final = f"""SELECT c.seq, c.id, provider.name, requested.name, asked.name, model.name, c.operation,
  tier.name, c.outcome, c.input, c.cached, c.cache_write, c.output, c.reasoning, c.usage_source, c.cost,
  c.counted, c.cost_source, c.held, price.json, c.units, c.raw, c.flags,
  EXISTS (SELECT 1 FROM job WHERE job.call = c.seq)
FROM call AS c
  JOIN name AS requested ON requested.id = c.requested
  JOIN name AS asked ON asked.id = c.asked
  JOIN name AS model ON model.id = c.model
  LEFT JOIN name AS provider ON provider.id = c.provider
  LEFT JOIN name AS tier ON tier.id = c.tier
  LEFT JOIN price ON price.id = c.price
WHERE c.seq > ? AND c.seq >= ? AND c.seq < ? AND c.state <> 0 AND c.outcome <> {_ERROR}
ORDER BY c.seq LIMIT ?"""  # noqa: S608  constant names

_UNCERTAIN: Final = f"{CALL_SELECT}{CALL_FROM} WHERE {UNCERTAIN} ORDER BY c.seq DESC LIMIT ?"


class _Writes(Protocol):
    def __call__(
        self, operation: Callable[[sqlite3.Connection, Any], _T], argument: Any, *, full: bool
    ) -> _T: ...


class Corrections:
    """The part of `farthing.ledger.store.Ledger` that changes finished calls."""

    _clock: Clock
    _connections: Connections
    _names: Names
    _write: _Writes

    def correct(self, call_id: str, *, cost: int | None = None, void: bool = False, reason: str) -> bool:
        # Looked for before the lock is taken: an id that nobody knows is compared with those of all calls.
        seq = self._connections.read(lambda conn: find(conn, call_id))
        if seq is None:
            raise UnknownCall(f"{_NO_CALL} {call_id!r}")
        stated = None if void else cost
        return self._write(self._correct, (seq, call_id, stated, clean(reason)), full=True)

    def reprice(self, wanted: Sequence[Repricing]) -> list[bool]:
        changed: list[bool] = []
        while len(changed) < len(wanted):
            chunk = wanted[len(changed) : len(changed) + _MOST]
            upward = any(_is_upward(want) for want in chunk)
            changed += self._write(self._reprice, chunk, full=upward)
        return changed

    def finished(
        self, *, after: int = 0, start_ns: int | None = None, end_ns: int | None = None, limit: int = 500
    ) -> list[Finished]:
        first = 0 if start_ns is None else bound(start_ns)
        last = _FAR if end_ns is None else bound(end_ns)
        return self._connections.read(
            lambda conn: [_finished(row) for row in conn.execute(_FINISHED, (after, first, last, limit))]
        )

    def corrections(self, call_id: str) -> list[Correction]:
        return self._connections.read(
            lambda conn: [_correction(row) for row in conn.execute(_HISTORY, (find(conn, call_id),))]
        )

    def uncertain(self, *, limit: int = 100) -> list[dict[str, Any]]:
        return self._connections.read(lambda conn: rows(conn, _UNCERTAIN, (limit,)))

    # Inside a transaction

    def _correct(self, conn: sqlite3.Connection, wanted: tuple[int, str, int | None, str]) -> bool:
        seq, call_id, cost, reason = wanted
        row = conn.execute(_READ_NAMED, (seq, clean(call_id))).fetchone()
        if row is None:
            state = "nothing is booked yet for the running call"
            if not booking.is_open(conn, seq, clean(call_id) or ""):  # it has been pruned meanwhile
                state = _NO_CALL
            raise UnknownCall(f"{state} {call_id!r}")
        old = _Row(*row)
        new = _voided(old) if cost is None else _costing(old, cost)
        if new == old:
            return False
        books = _Books(conn)
        self._amend(conn, old, new, ("correct", reason), books)
        books.write(conn)
        return True

    def _reprice(self, conn: sqlite3.Connection, chunk: Sequence[Repricing]) -> list[bool]:
        """Of the first of them, as many as there is time for, whether they were as expected."""
        until = time.monotonic() + _SECONDS
        changed: list[bool] = []
        books = _Books(conn)
        for want in chunk:
            row = conn.execute(_READ, (want.was.key,)).fetchone()
            old = None if row is None else _Row(*row)
            changed.append(old is not None and _is_as(old, want.was))
            if old is not None and changed[-1]:
                new = _repriced(old, want, self._names.price(conn, want.rates))
                self._amend(conn, old, new, ("reprice", want.reason), books)
            if time.monotonic() >= until:
                break
        books.write(conn)
        return changed

    def _amend(
        self, conn: sqlite3.Connection, old: _Row, new: _Row, why: tuple[str, str], books: _Books
    ) -> None:
        books.add(old, new, conn.execute(_LINES, (old.seq,)))
        conn.execute(_WRITE, (*astuple(new)[7:], old.seq))
        kind, reason = why
        conn.execute(
            _KEEP,
            (
                old.seq, self._clock.time_ns(), KINDS.index(kind), reason,
                new.outcome, new.cost, new.counted, new.cost_source, new.price,
                old.outcome, old.cost, old.counted, old.cost_source, old.price, _taken(old, new),
            ),
        )  # fmt: skip


class _Books:
    """What windows and totals by day change by, once for all the calls of a commit."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._summed: int = sure(conn, SUMMED)[0]
        self._windows: dict[int, tuple[int, int]] = {}
        self._days: dict[tuple[int, ...], tuple[int, ...]] = {}

    def add(self, old: _Row, new: _Row, lines: Iterable[tuple[int, int]]) -> None:
        """The change of one call, with its lines: (window, whether it is charged the expected cost)."""
        cost = (new.cost or 0) - (old.cost or 0)
        for window, expected in lines:
            amount = new.amount(expected=expected) - old.amount(expected=expected)
            spent, billed = self._windows.get(window, (0, 0))
            self._windows[window] = (spent + amount, billed + cost)
        if old.seq >= self._summed:
            return
        day = (old.seq // DAY, old.account, old.context, old.operation, old.provider or 0, old.model)
        change = tuple(now - before for now, before in zip(new.sums(), old.sums(), strict=True))
        known = self._days.get(day)
        self._days[day] = change if known is None else tuple(map(add, known, change))

    def write(self, conn: sqlite3.Connection) -> None:
        """Into the transaction."""
        for window in sorted(self._windows):
            spent, billed = self._windows[window]
            conn.execute(sql.BOOK_WINDOW, (0, spent, billed, window))
        for day in sorted(self._days):
            add_sums(conn, day, self._days[day])


def _costing(old: _Row, cost: int) -> _Row:
    """Somebody states the bill. A call that was taken for an error has then been billed: nobody saw how."""
    return replace(
        old,
        state=booking.POSTED,
        outcome=_UNKNOWN if old.outcome == _ERROR else old.outcome,
        cost=cost,
        counted=cost,
        cost_source=_REPORTED,
        overrun=_overrun(old, cost),
        flags=old.flags | CORRECTED,
    )


def _voided(old: _Row) -> _Row:
    """As `booking.voided`: an `error` that cost nothing."""
    return replace(
        old, state=booking.VOIDED, outcome=_ERROR, input=None, cached=None, cache_write=None, output=None,
        reasoning=None, usage_source=USAGE_SOURCE["unknown"], cost=0, counted=0, cost_source=_NONE,
        overrun=None, flags=old.flags | CORRECTED, units=None,
    )  # fmt: skip


def _repriced(old: _Row, want: Repricing, price: int | None) -> _Row:
    kept = old.flags & ~MULTIPLIER
    return replace(
        old,
        cost=want.cost,
        counted=want.counted,
        cost_source=COST_SOURCE[want.cost_source],
        price=price,
        overrun=_overrun(old, want.cost),
        flags=kept | flag_bits(want.rates.flags) | REPRICED,
    )


def _is_upward(want: Repricing) -> bool:
    """Whether a window may be charged more: what is counted, or, under `expected`, the cost."""
    return want.counted > want.was.counted or (want.cost or 0) > (want.was.cost or 0)


def _overrun(old: _Row, cost: int | None) -> int | None:
    """What a call is billed above its hold, if it overran it when it ended."""
    if old.overrun is None or cost is None or cost <= old.held:
        return None
    return cost - old.held


def _is_as(old: _Row, was: Finished) -> bool:
    """Whether a row still says what was read, and by the same counts."""
    return (old.cost, old.counted, old.outcome, old.cost_source, old.usage_source, old.flags) == (
        was.cost,
        was.counted,
        OUTCOME[was.outcome],
        COST_SOURCE[was.cost_source],
        USAGE_SOURCE[was.usage_source],
        flag_bits(was.flags),
    )


def _taken(old: _Row, new: _Row) -> str | None:
    """The counts that are taken off a row, as JSON."""
    names = ("input", "cached", "cache_write", "output", "reasoning")
    counts = {name: getattr(old, name) for name in names if getattr(old, name) != getattr(new, name)}
    if old.units != new.units:
        counts["units"] = json.loads(old.units or "{}")
    return json.dumps(counts, separators=(",", ":"), ensure_ascii=False) if counts else None


def _correction(row: Sequence[Any]) -> Correction:
    return Correction(
        call=row[0],
        at_ns=row[1],
        kind=KINDS[row[2]],
        reason=row[3],
        outcome=OUTCOMES[row[4]],
        cost=row[5],
        counted=row[6],
        cost_source=COST_SOURCES[row[7]],
        prices_version=row[8],
        old_outcome=OUTCOMES[row[9]],
        old_cost=row[10],
        old_counted=row[11],
        old_cost_source=COST_SOURCES[row[12]],
        old_prices_version=row[13],
        old_usage=None if row[14] is None else json.loads(row[14]),
    )


def _finished(row: Sequence[Any]) -> Finished:
    units = json.loads(row[20] or "{}")
    return Finished(
        key=row[0],
        id=row[1],
        started_ns=started_ns(row[0]),
        provider=row[2],
        requested_model=row[3],
        asked=row[4],
        model=row[5],
        operation=OPERATIONS[row[6]],
        service_tier=row[7],
        outcome=OUTCOMES[row[8]],
        usage=usage_from(row[9:14], units),
        usage_source=USAGE_SOURCES[row[14]],
        cost=row[15],
        counted=row[16],
        cost_source=COST_SOURCES[row[17]],
        held=row[18],
        rates=None if row[19] is None else _rates(row[19]),
        units=units,
        raw=row[21],
        flags=flag_names(row[22]),
        is_job=bool(row[23]),
    )


@lru_cache(maxsize=1024)
def _rates(text: str) -> Rates:
    """There are few, and thousands of rows have the same."""
    return rates_from_json(text)
