"""How calls are booked: the row, its lines, its windows and the totals by day, always together.

`book` is the short way of a call that ends as it began: its windows are those of its grant, and the calls
of its time are still summed from their rows. `_rebook` is the way of everything else (expired calls, late
settles, windows that were replaced meanwhile): it reads what stands and books the difference.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any, Final

from farthing.errors import TransactionConflict
from farthing.ledger.budgets.windows import Windows
from farthing.ledger.calls import sql, topped
from farthing.ledger.calls.codes import (
    CONTEXT,
    CORRECTED,
    COST_SOURCE,
    LOST,
    OPERATION,
    OUTCOME,
    USAGE_SOURCE,
    clean,
    flag_bits,
    units_to_json,
)
from farthing.ledger.calls.keys import DAY as DAY_OF_KEYS
from farthing.ledger.calls.keys import Keys, key_at
from farthing.ledger.calls.names import ACCOUNT, MODEL, PROVIDER, TIER, Names
from farthing.ledger.calls.summing import SUMMED, add_sums, sums_of, unless_too_large
from farthing.ledger.store import Entry, Grant, Reservation, Settlement
from farthing.money import MAX_CALL
from farthing.records import Usage

__all__ = [
    "DAY",
    "POSTED",
    "VOIDED",
    "as_ended",
    "as_pending",
    "book",
    "expire",
    "give_up",
    "insert",
    "is_open",
    "late",
    "overwrite",
    "record",
    "release",
    "voided",
]

PENDING, POSTED, VOIDED, EXPIRED = range(4)

DAY: Final = 86_400 * 10**9
_ERROR: Final = OUTCOME["error"]
_UNKNOWN: Final = OUTCOME["unknown"]
_ESTIMATED: Final = USAGE_SOURCE["estimated"]
_NO_USAGE: Final = Usage()

_Ending = tuple[Any, ...]
_FLAGS: Final = 23
"""The place of the flags in it."""


def as_pending(
    conn: sqlite3.Connection,
    names: Names,
    want: Reservation,
    held: int,
    *,
    owner: int | None,
    windows: Sequence[int],
    digest: bytes | None = None,
) -> tuple[Any, ...]:
    """The values of `sql.INSERT_CALL` after the key."""
    name = names.name
    accounts, providers, models, tiers = names.known
    account, provider, asked = want.account, want.provider, want.model
    requested, tier, fallback = want.requested_model, want.service_tier, want.fallback_from
    model = models.get(asked) or name(conn, MODEL, asked)
    return (
        owner,
        want.id,
        accounts.get(account) or name(conn, ACCOUNT, account),
        CONTEXT[want.context],
        names.tagset(conn, want.tags) if want.tags else None,
        want.run and clean(want.run),
        None if provider is None else providers.get(provider) or name(conn, PROVIDER, provider),
        model if requested == asked else models.get(requested) or name(conn, MODEL, requested),
        model,
        OPERATION[want.operation],
        None if tier is None else tiers.get(tier) or name(conn, TIER, tier),
        want.input_tokens,
        want.expected,
        held,
        names.price(conn, want.rates),
        names.windows(conn, windows),
        None if fallback is None else name(conn, MODEL, fallback),
        want.transaction_id and clean(want.transaction_id),
        digest,
        flag_bits(want.flags) if want.flags else 0,
        want.counted_input,
    )


def insert(
    conn: sqlite3.Connection,
    names: Names,
    want: Reservation,
    held: int,
    *,
    keys: Keys,
    owner: int | None,
    windows: Sequence[int],
    digest: bytes | None = None,
) -> int | None:
    """The key of the row of a call, pending, with its lines; None, with nothing written, if a call of an
    `owner` may not be inserted now (see `sql.RESERVE_CALL`).

    Raises:
        sqlite3.IntegrityError: if its transaction_id is there.
    """
    base = key_at(want.started_ns)
    values = as_pending(conn, names, want, held, owner=owner, windows=windows, digest=digest)
    statement = sql.INSERT_CALL
    if owner is not None:
        statement = sql.RESERVE_CALL
        values = (*values, want.epoch)
    seq = keys.propose(base)
    try:
        inserted = conn.execute(statement, (seq, *values)).rowcount
    except sqlite3.IntegrityError as error:
        if "call.seq" not in str(error):
            raise
        seq = keys.free(conn, base)
        inserted = conn.execute(statement, (seq, *values)).rowcount
    if not inserted:
        return None
    if want.topped is not None:
        topped.add(conn, seq, want.topped)
    return seq


def as_ended(
    conn: sqlite3.Connection, names: Names, want: Reservation, end: Settlement, state: int
) -> _Ending:
    """The values of `sql.BOOK` up to the row's key."""
    _, providers, models, tiers = names.known
    usage = end.usage or _NO_USAGE
    provider = end.provider or want.provider
    model = end.model or want.model
    tier = end.service_tier or want.service_tier
    return (
        state,
        OUTCOME[end.outcome],
        end.ended_ns,
        None if end.duration_ns is None else end.duration_ns // 1000,
        None if provider is None else providers.get(provider) or names.name(conn, PROVIDER, provider),
        models.get(model) or names.name(conn, MODEL, model),
        None if tier is None else tiers.get(tier) or names.name(conn, TIER, tier),
        end.attempts,
        usage.input_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        USAGE_SOURCE[end.usage_source],
        end.cost,
        end.counted,
        COST_SOURCE[end.cost_source],
        names.price(conn, end.rates),
        end.overrun,
        end.capped_at,
        end.request_id and clean(end.request_id),
        end.response_id and clean(end.response_id),
        end.error and clean(end.error),
        flag_bits(end.flags) if end.flags else 0,
        units_to_json(end.usage, end.units),
        end.raw and clean(end.raw),
    )


def voided(end: Settlement) -> Settlement:
    """An `error` that cost nothing."""
    return replace(
        end, outcome="error", cost=0, counted=0, cost_source="none", usage=None, usage_source="unknown",
        overrun=None, units=None, raw=None,
    )  # fmt: skip


def book(conn: sqlite3.Connection, names: Names, grant: Grant, end: Settlement, state: int) -> bool:
    """End a pending call in the windows of its grant.

    False, with nothing written, if it is pending no more, or its windows may be others by now because the
    standing budgets have changed since, or it has to be added to the sums: then `late` knows what to do.
    """
    want = grant.reservation
    ending = as_ended(conn, names, want, end, state)
    if conn.execute(sql.BOOK, (*ending, grant.call, want.id, want.epoch)).rowcount == 0:
        return False
    counted, cost = end.counted, end.cost
    lines = [
        (grant.held, cost if expected and cost is not None else counted, cost or 0, window)
        for window, expected in grant.lines
    ]
    conn.executemany(sql.BOOK_WINDOW, lines)
    return True


_STANDS: Final = f"""SELECT state, outcome, seq, account, context, operation, provider, model,
  usage_source, input, cached, output, cost, counted, held, flags, cost_source,
  seq < ({SUMMED})
  FROM call WHERE seq = ? AND id = ?"""  # noqa: S608  constant names

_LINES: Final = """SELECT l.budget_window, w.expected FROM line AS l
JOIN budget_window AS w ON w.id = l.budget_window WHERE l.call = ? ORDER BY l.budget_window"""


def late(conn: sqlite3.Connection, names: Names, grant: Grant, end: Settlement, state: int) -> bool:
    """End a call whatever stands of it: pending, expired or unknown. False if it has a certain end, which a
    person may have given it."""
    old = conn.execute(_STANDS, (grant.call, grant.reservation.id)).fetchone()
    if old is None or old[0] == VOIDED or old[15] & CORRECTED:
        return False
    if old[0] == POSTED and (old[1] != _UNKNOWN or end.outcome == "unknown"):
        return False
    ending = as_ended(conn, names, grant.reservation, end, state)
    _rebook(conn, grant.call, old, ending)
    return True


def overwrite(conn: sqlite3.Connection, names: Names, grant: Grant, end: Settlement) -> None:
    """Give a call another end than it has."""
    old = conn.execute(_STANDS, (grant.call, grant.reservation.id)).fetchone()
    _rebook(conn, grant.call, old, as_ended(conn, names, grant.reservation, end, POSTED))


def _rebook(conn: sqlite3.Connection, seq: int, old: tuple[Any, ...], ending: _Ending) -> None:
    pending = old[0] == PENDING
    outcome, provider, model, usage_source, cost, counted = (ending[i] for i in (1, 4, 5, 13, 14, 15))
    held, cost_before, counted_before = (old[14], 0, 0) if pending else (0, old[12] or 0, old[13])
    for window, expected in conn.execute(_LINES, (seq,)).fetchall():
        amount = cost if expected and cost is not None else counted
        before = old[12] if expected and not pending and old[12] is not None else counted_before
        conn.execute(sql.BOOK_WINDOW, (held, amount - before, (cost or 0) - cost_before, window))
    conn.execute(sql.REBOOK, (*ending, seq))
    if not old[17]:
        return
    account, context, operation = old[3:6]
    day = seq // DAY_OF_KEYS
    if not pending:
        back = tuple(-n for n in sums_of(old[1], old[8], old[16], old[15], old[9:14]))
        add_sums(conn, (day, account, context, operation, old[6] or 0, old[7]), back)
    flags = old[15] | ending[_FLAGS]
    counts = (ending[8], ending[9], ending[11], cost, counted)
    sums = sums_of(outcome, usage_source, ending[16], flags, counts)
    add_sums(conn, (day, account, context, operation, provider or 0, model), sums)


def release(conn: sqlite3.Connection, grant: Grant) -> bool:
    """Take back a pending call as if it had never been; False if it is pending no more."""
    old = conn.execute(_STANDS, (grant.call, grant.reservation.id)).fetchone()
    if old is None or old[0] != PENDING:
        return False
    topped.take_back(conn, grant.call, old[14])
    return True


_ENDED_LEASES: Final = "SELECT id, first_seq, last_seq FROM owner WHERE lease_until < ? ORDER BY id"

_DEAD: Final = """SELECT seq, id, attempts, provider, model, tier, input, expected, held
FROM call WHERE seq BETWEEN ? AND ? AND owner = ? AND state = 0 ORDER BY seq LIMIT ?"""


_OVERDUE: Final = """SELECT c.seq, c.id, c.attempts, c.provider, c.model, c.tier, c.input, c.expected, c.held
FROM job AS j JOIN call AS c ON c.seq = j.call WHERE j.until < ? AND c.state = 0 ORDER BY c.seq LIMIT ?"""


_UNHEARD: Final = """UPDATE job SET until = NULL
WHERE until < ? AND NOT EXISTS (SELECT 1 FROM call WHERE seq = job.call AND state = 0)"""


def expire(conn: sqlite3.Connection, now: int, most: int) -> int:
    """Book up to `most` calls that dead processes left, or whose job has not been heard of in time; fewer are
    the last, and then the owners are gone. A call stays, and its owner, if no sum can hold it."""
    overdue = conn.execute(_OVERDUE, (now, most)).fetchall()
    booked = _expire(conn, now, overdue)
    looked = len(overdue)
    if looked == most:
        return booked
    conn.execute(_UNHEARD, (now,))
    for owner, first, last in conn.execute(_ENDED_LEASES, (now,)).fetchall():
        dead = conn.execute(_DEAD, (first, last, owner, most - looked)).fetchall()
        done = _expire(conn, now, dead)
        booked, looked = booked + done, looked + len(dead)
        if looked == most:
            if done == len(dead):
                conn.execute("UPDATE owner SET first_seq = ? WHERE id = ?", (dead[-1][0] + 1, owner))
            break
        if done == len(dead):
            conn.execute("DELETE FROM owner WHERE id = ?", (owner,))
    return booked


def _expire(conn: sqlite3.Connection, now: int, dead: Sequence[tuple[Any, ...]]) -> int:
    running = {row[0] for row in dead}

    def expired(row: tuple[Any, ...]) -> bool:
        return unless_too_large(
            conn, f"call {row[1]} is left running", lambda: _expire_one(conn, now, row, running)
        )

    return sum(map(expired, dead))


def _expire_one(conn: sqlite3.Connection, now: int, row: tuple[Any, ...], running: Container[int]) -> None:
    """The prompt as cost, the whole hold as counted; both for each of its attempts."""
    seq, call_id, attempts, provider, model, tier, tokens, expected, held = row
    old = conn.execute(_STANDS, (seq, call_id)).fetchone()
    if old is None:  # a further hold of one before it
        return
    whole = topped.topped(conn, seq)
    if whole is not None:
        if whole not in running:  # it has ended, and says what this attempt cost
            topped.take_back(conn, seq, held)
        return
    more = topped.gathered(conn, seq)
    prompts = [expected, *(each for _, each in more)]
    cost = None if None in prompts else sum(prompts)
    counted = min(held + sum(each for each, _ in more), MAX_CALL)
    source = COST_SOURCE["unpriced" if cost is None else "priced"]
    of_usage = USAGE_SOURCE["unknown"] if tokens is None else _ESTIMATED
    ending = (
        EXPIRED, OUTCOME["expired"], now, None, provider, model, tier, attempts + len(more), tokens, None,
        None, None, None, of_usage, cost, counted, source, None, None, None, None, None, None,
        LOST if more else 0, topped.units_of(more), None,
    )  # fmt: skip
    _rebook(conn, seq, old, ending)


_KNOWN: Final = """SELECT id, digest FROM call WHERE account = ?1 AND transaction_id = ?2
UNION ALL SELECT call, digest FROM pruned_key WHERE account = ?1 AND transaction_id = ?2"""


_RECORDED: Final = "SELECT 1 FROM call WHERE id = ? AND owner IS NULL"


def record(
    conn: sqlite3.Connection, names: Names, windows: Windows, keys: Keys, entry: Entry
) -> tuple[str, bool]:
    """Book a call that was made elsewhere, unguarded; (id of its row, True if it is new)."""
    want, end = entry.reservation, entry.settlement
    if want.transaction_id is not None:
        account = names.name(conn, ACCOUNT, want.account)
        known = conn.execute(_KNOWN, (account, clean(want.transaction_id))).fetchone()
        if known is not None:
            if known[1] != entry.digest:
                raise TransactionConflict(
                    f"transaction_id {want.transaction_id!r} of account {want.account!r} was recorded before "
                    f"with other content (call {known[0]}); correct that call, or use another transaction_id."
                )
            return known[0], False
    if conn.execute(_RECORDED, (want.id,)).fetchone():
        return want.id, False
    # Windows first: one that is made now is seeded from the rows that are there, without this one.
    places = dict.fromkeys(windows.find(conn, bound, want.started_ns).id for bound in want.bounds)
    seq = insert(conn, names, want, 0, keys=keys, owner=None, windows=sorted(places), digest=entry.digest)
    assert seq is not None  # noqa: S101  nothing keeps it from being inserted
    old = conn.execute(_STANDS, (seq, want.id)).fetchone()
    _rebook(conn, seq, old, as_ended(conn, names, want, end, POSTED))
    return want.id, True


def is_open(conn: sqlite3.Connection, seq: int, call_id: str) -> bool:
    """Whether a call is pending."""
    old = conn.execute(_STANDS, (seq, call_id)).fetchone()
    return old is not None and old[0] == PENDING


def give_up(conn: sqlite3.Connection, seq: int, call_id: str, now: int) -> None:
    """Void a call that nobody will ever settle, if it is there and pending."""
    old = conn.execute(_STANDS, (seq, call_id)).fetchone()
    if old is None or old[0] != PENDING:
        return
    if topped.topped(conn, seq) is not None:  # the call itself has another row
        topped.take_back(conn, seq, old[14])
        return
    ending = (
        VOIDED, _ERROR, now, None, old[6], old[7], None, 1, None, None, None, None, None,
        USAGE_SOURCE["unknown"], 0, 0, COST_SOURCE["none"], None, None, None, None, None, None, 0, None, None,
    )  # fmt: skip
    _rebook(conn, seq, old, ending)
