"""Calls that wait for the result of a job: parked without an owner, found by what the provider calls it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from farthing.ledger.calls.codes import CORRECTED, OUTCOME, clean, flag_names, rates_from_json
from farthing.ledger.calls.keys import started_ns
from farthing.ledger.calls.owner import Owner
from farthing.ledger.parking import JobRef, Parked
from farthing.ledger.questions.asked import Questions
from farthing.ledger.store import Grant, Reservation
from farthing.records import CONTEXTS, OPERATIONS

__all__ = ["Jobs"]

_T = TypeVar("_T")

_LEAVE: Final = "UPDATE call SET owner = NULL WHERE seq = ? AND id = ? AND state = 0"

_KEEP: Final = """INSERT INTO job (call, address, kind, id, until, notes)
SELECT ?1, ?3, ?4, ?5, CASE state WHEN 0 THEN ?6 END, ?7 FROM call WHERE seq = ?1 AND id = ?2
ON CONFLICT (call) DO NOTHING"""

_FIND: Final = f"""SELECT c.seq, c.id, j.notes, c.state = 0, account.name, c.context, tagset.json, c.run,
  provider.name, requested.name, asked.name, c.operation, tier.name, c.input, c.expected, c.held, price.json,
  fallback.name, c.transaction_id, c.flags
FROM job AS j JOIN call AS c ON c.seq = j.call
  JOIN name AS account ON account.id = c.account
  JOIN name AS requested ON requested.id = c.requested
  JOIN name AS asked ON asked.id = c.asked
  LEFT JOIN name AS provider ON provider.id = c.provider
  LEFT JOIN name AS tier ON tier.id = c.tier
  LEFT JOIN name AS fallback ON fallback.id = c.fallback_from
  LEFT JOIN tagset ON tagset.id = c.tags
  LEFT JOIN price ON price.id = c.price
WHERE j.id = ? AND j.kind = ? AND j.address = ?
  AND (c.state IN (0, 3) OR (c.state = 1 AND c.outcome = {OUTCOME["unknown"]}))
  AND c.flags & {CORRECTED} = 0
ORDER BY c.state <> 0, c.seq LIMIT 1"""  # noqa: S608  constant names

_LINES: Final = """SELECT l.budget_window, w.expected FROM line AS l
JOIN budget_window AS w ON w.id = l.budget_window WHERE l.call = ? ORDER BY l.budget_window"""

_NO_EPOCH: Final = -1
"""Of no budgets: the settle then reads what stands, as for any call whose windows may be others by now."""


class _Writes(Protocol):
    def __call__(
        self, operation: Callable[[sqlite3.Connection, Any], _T], argument: Any, *, full: bool
    ) -> _T: ...


class Jobs(Questions):
    """The part of `farthing.ledger.store.Ledger` that is about jobs."""

    _owner: Owner
    _write: _Writes

    def park(self, grant: Grant, ref: JobRef, until_ns: int, notes: Mapping[str, str]) -> None:
        # A power cut must not give the call back to its owner, whose end would free the money early.
        self._write(_park, (grant, ref, until_ns, notes), full=bool(grant.lines))
        self._owner.ended(grant.reservation.id)

    def parked(self, refs: Sequence[JobRef]) -> list[Parked]:
        return self._connections.read(
            lambda conn: [found for ref in refs if (found := _find(conn, ref)) is not None]
        )


def _park(conn: sqlite3.Connection, wanted: tuple[Grant, JobRef, int, Mapping[str, str]]) -> None:
    grant, ref, until, notes = wanted
    key = (grant.call, grant.reservation.id)
    conn.execute(_LEAVE, key)
    text = clean(json.dumps(dict(notes), sort_keys=True, ensure_ascii=False, separators=(",", ":")))
    conn.execute(_KEEP, (*key, clean(ref.address), ref.kind, clean(ref.id), until, text))


def _find(conn: sqlite3.Connection, ref: JobRef) -> Parked | None:
    row = conn.execute(_FIND, (clean(ref.id), ref.kind, clean(ref.address))).fetchone()
    if row is None:
        return None
    (
        seq, call_id, notes, is_open, account, context, tags, run, provider, requested, asked, operation,
        tier, tokens, expected, held, rates, fallback, transaction_id, flags,
    ) = row  # fmt: skip
    reservation = Reservation(
        id=call_id,
        started_ns=started_ns(seq),
        account=account,
        context=CONTEXTS[context],
        tags=json.loads(tags) if tags else {},
        run=run,
        provider=provider,
        requested_model=requested,
        model=asked,
        operation=OPERATIONS[operation],
        service_tier=tier,
        lo=held,
        hi=held,
        expected=expected,
        input_tokens=tokens,
        rates=None if rates is None else rates_from_json(rates),
        epoch=_NO_EPOCH,
        transaction_id=transaction_id,
        fallback_from=fallback,
        flags=flag_names(flags),
    )
    lines = tuple((window, bool(one)) for window, one in conn.execute(_LINES, (seq,)).fetchall())
    return Parked(ref, Grant(seq, reservation, held, lines), json.loads(notes), bool(is_open))
