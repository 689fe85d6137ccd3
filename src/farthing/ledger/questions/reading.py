"""Questions to a SQLite ledger: rows of its views, windows, runs, refusals. Nothing here writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

from farthing.ledger.budgets.windows import counted_at, place_of
from farthing.ledger.calls import sql
from farthing.ledger.calls.codes import CONTEXT, CORRECTED, COST_SOURCE, LOST, clean
from farthing.ledger.calls.ids import find
from farthing.ledger.calls.names import ACCOUNT, MODEL
from farthing.ledger.store import Bound, Short, Totals, WindowRow
from farthing.ledger.upkeep.schema import CALL_FROM, CALL_SELECT
from farthing.limits import window_at
from farthing.records import Usage

__all__ = ["call", "calls", "look", "refusals", "run_calls", "run_totals", "windows"]

_DAY: Final = 86_400 * 10**9


def rows(conn: sqlite3.Connection, statement: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
    """Rows as dicts by column name."""
    cursor = conn.execute(statement, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def call(conn: sqlite3.Connection, call_id: str) -> dict[str, Any] | None:
    """The finished call with this id, with its stored rates and raw usage as JSON text."""
    found = rows(
        conn,
        f"{CALL_SELECT}, price.json AS rates, c.raw AS raw{CALL_FROM} WHERE c.seq = ? AND c.state <> 0",
        (find(conn, call_id),),
    )
    return found[0] if found else None


def calls(
    conn: sqlite3.Connection, where: Mapping[str, str | None], limit: int, before: str | None
) -> list[dict[str, Any]]:
    """Finished calls, newest first; `before` is the last id of a page."""
    terms: list[str] = ["c.state <> 0"]
    values: list[object] = []
    for name, value in where.items():
        if value is not None:
            terms.append(f"c.{name} = {'?' if name == 'context' else _NAMED[name]}")
            values.append(CONTEXT.get(value, -1) if name == "context" else clean(value))
    if before is not None:
        terms.append("c.seq < ?")
        values.append(find(conn, before))
    return rows(
        conn,
        f"{CALL_SELECT}{CALL_FROM} WHERE {' AND '.join(terms)} ORDER BY c.seq DESC LIMIT ?",
        (*values, limit),
    )


_NAMED: Final = {
    "account": f"(SELECT id FROM name WHERE kind = {ACCOUNT} AND name = ?)",  # noqa: S608  constant names
    "model": f"(SELECT id FROM name WHERE kind = {MODEL} AND name = ?)",  # noqa: S608  constant names
}

_RUN: Final = "c.state <> 0 AND (c.run = ?1 OR (c.run > ?1 || '/' AND c.run < ?1 || '0'))"
"""A run and everything below it: '0' is the character after '/'."""


def run_calls(conn: sqlite3.Connection, run: str) -> list[dict[str, Any]]:
    """The finished calls of a run and of everything below it, oldest first."""
    return rows(conn, f"{CALL_SELECT}{CALL_FROM} WHERE {_RUN} ORDER BY c.seq", (clean(run),))


_RUN_TOTALS: Final = f"""SELECT count(*) AS calls, coalesce(sum(c.outcome = 2), 0) AS errors,
  sum(c.input) AS input_tokens, sum(c.cached) AS cached_tokens, sum(c.cache_write) AS cache_write_tokens,
  sum(c.output) AS output_tokens, sum(c.reasoning) AS reasoning_tokens,
  coalesce(sum(c.cost), 0) AS cost, coalesce(sum(c.counted), 0) AS counted,
  coalesce(sum(c.cost IS NULL AND c.outcome <> 2), 0) AS unpriced,
  coalesce(sum((c.usage_source = 1 OR c.flags & {LOST}) AND c.flags & {CORRECTED} = 0 AND c.outcome <> 2), 0)
    AS estimated,
  coalesce(sum(c.cost_source = {COST_SOURCE["partial"]}), 0) AS partial
FROM call AS c WHERE {_RUN}"""  # noqa: S608  constant names

_RUN_UNITS: Final = f"SELECT c.units FROM call AS c WHERE {_RUN} AND c.units IS NOT NULL"  # noqa: S608  constant

_COUNTS: Final = frozenset(f.name for f in fields(Usage))


def run_totals(conn: sqlite3.Connection, run: str) -> Totals:
    """Sums of the same, `usage` included."""
    run = clean(run) or ""
    [sums] = rows(conn, _RUN_TOTALS, (run,))
    counts: dict[str, Any] = {
        name: sums[name]
        for name in (
            "input_tokens",
            "cached_tokens",
            "cache_write_tokens",
            "output_tokens",
            "reasoning_tokens",
        )
    }
    for (text,) in conn.execute(_RUN_UNITS, (run,)):
        for name, value in json.loads(text).items():
            if name in _COUNTS:
                number = Decimal(value) if name == "seconds" else value
                counts[name] = number if counts.get(name) is None else counts[name] + number
    return Totals(
        calls=sums["calls"],
        errors=sums["errors"],
        input_tokens=sums["input_tokens"] or 0,
        cached_tokens=sums["cached_tokens"] or 0,
        output_tokens=sums["output_tokens"] or 0,
        cost=sums["cost"],
        counted=sums["counted"],
        unpriced=sums["unpriced"],
        estimated=sums["estimated"],
        partial=sums["partial"],
        usage=Usage(**counts),
    )


_WINDOWS: Final = """SELECT b.name, b.attached, w.key, w.starts, w.ends, w.limit_nano, w.spent, w.held, w.cost
FROM budget_window AS w JOIN budget AS b ON b.id = w.budget WHERE b.removed IS NULL"""


def windows(conn: sqlite3.Connection, at: int | None) -> list[WindowRow]:
    """All windows, or those that contain an instant."""
    statement = _WINDOWS
    values: tuple[int, ...] = ()
    if at is not None:
        statement, values = f"{_WINDOWS} AND w.starts <= ?1 AND (w.ends IS NULL OR w.ends > ?1)", (at,)
    return [
        WindowRow(
            budget=name,
            attached=bool(attached),
            key=key,
            starts_ns=starts,
            ends_ns=ends,
            limit=limit,
            spent=spent,
            held=held,
            cost=cost,
        )
        for name, attached, key, starts, ends, limit, spent, held, cost in conn.execute(
            f"{statement} ORDER BY w.id", values
        )
    ]


def look(conn: sqlite3.Connection, bounds: Sequence[Bound], at: int) -> list[Short]:
    """How each of these windows stands; one that does not exist yet is empty."""
    found: list[Short] = []
    for bound in bounds:
        spent = held = 0
        ends = window_at(bound.budget, at).ends_ns
        row = conn.execute(
            "SELECT id, since FROM budget WHERE attached = ? AND name = ?",
            (bound.attached, clean(bound.identity)),
        ).fetchone()
        if row is not None:
            counted = counted_at(bound.budget, row[1], at)
            place = place_of(conn, row[0], clean(bound.key) or "", bound.budget.period, counted)
            if place is not None:
                spent, held, ends = conn.execute(sql.WINDOW_LEFT, (place.id,)).fetchone()
        found.append(Short(bound, bound.limit, spent, held, ends))
    return found


def refusals(conn: sqlite3.Connection, start: int | None, end: int | None) -> list[dict[str, Any]]:
    """Counts of refusals by day, account, model, budget and reason."""
    return rows(
        conn,
        """SELECT strftime('%Y-%m-%d', r.day * 86400, 'unixepoch') AS day, account.name AS account,
  model.name AS model, r.budget AS budget, r.reason AS reason, r.calls AS calls
FROM refusal AS r JOIN name AS account ON account.id = r.account JOIN name AS model ON model.id = r.model
WHERE r.day >= ? AND r.day < ? ORDER BY r.day, account, model, r.budget, r.reason""",
        (0 if start is None else start // _DAY, 2**40 if end is None else -(-end // _DAY)),
    )
