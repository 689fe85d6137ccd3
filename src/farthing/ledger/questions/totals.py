"""Sums of finished calls: from the rollups by day for whole days, from the rows for the edges of a range.

`day_model` has (day, context, operation, provider, model), `day_account` (day, account, context); what
neither can answer, such as accounts by model, is summed from the rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from farthing.errors import LedgerError
from farthing.ledger.calls.codes import CONTEXT, OPERATION, clean
from farthing.ledger.calls.keys import DAY, bound
from farthing.ledger.calls.names import ACCOUNT, MODEL, PROVIDER
from farthing.ledger.calls.summing import ROW_SUMS, SUMS
from farthing.ledger.store import Totals
from farthing.records import CONTEXTS, OPERATIONS

__all__ = ["DIMENSIONS", "totals"]

_DAY: Final = 86_400 * 10**9
_FAR: Final = 2**63 - 1

DIMENSIONS: Final = ("day", "account", "context", "provider", "model", "operation")
_OF_MODEL: Final = frozenset({"day", "context", "operation", "provider", "model"})
_OF_ACCOUNT: Final = frozenset({"day", "account", "context"})
_KINDS: Final = {"account": ACCOUNT, "provider": PROVIDER, "model": MODEL}
_WORDS: Final[dict[str, tuple[str, ...]]] = {"context": CONTEXTS, "operation": OPERATIONS}
_ROW_DIMENSION: Final = {"day": f"seq / {DAY} AS day", "provider": "coalesce(provider, 0) AS provider"}


def totals(
    conn: sqlite3.Connection,
    by: Sequence[str],
    start: int | None,
    end: int | None,
    where: Mapping[str, str],
) -> list[Totals]:
    """See `Ledger.totals`. Raises ValueError for a dimension that there is not."""
    for name in (*by, *where):
        if name not in DIMENSIONS:
            raise ValueError(f"totals know {', '.join(DIMENSIONS)}; got {name!r}")
    needed = tuple(dict.fromkeys((*by, *where)))
    parts, values = _parts(needed, 0 if start is None else start, _FAR if end is None else end)
    _refuse_pruned(conn, needed, parts, values)
    if not parts:
        return [] if by else [Totals()]
    terms, filters = _filters(where)
    sums = ", ".join(f"sum({name})" for name in SUMS)
    groups = ", ".join(by)
    statement = (
        f"SELECT {groups + ', ' if by else ''}{sums} FROM ({' UNION ALL '.join(parts)}){terms}"  # noqa: S608  names of DIMENSIONS only
        f"{f' GROUP BY {groups} HAVING sum(calls) <> 0 ORDER BY {groups}' if by else ''}"
    )
    shown = _Shown(conn)
    answers = []
    for row in conn.execute(statement, (*values, *filters)):
        group = tuple(shown.word(name, value) for name, value in zip(by, row, strict=False))
        numbers = [number or 0 for number in row[len(by) :]]
        answers.append(
            Totals(
                group=group,
                calls=numbers[0],
                errors=numbers[1],
                input_tokens=numbers[2],
                cached_tokens=numbers[3],
                output_tokens=numbers[4],
                cost=numbers[5],
                counted=numbers[6],
                unpriced=numbers[7],
                estimated=numbers[8],
                partial=numbers[9],
            )
        )
    return answers


def _refuse_pruned(
    conn: sqlite3.Connection, needed: Sequence[str], parts: Sequence[str], values: Sequence[int]
) -> None:
    """Sums of rows that are not there any more would be too small, and not say so."""
    pruned = conn.execute("SELECT number FROM meta WHERE key = 'pruned_before'").fetchone()
    if pruned is None:
        return
    for place, part in enumerate(parts):
        if " FROM call " in part and values[2 * place] < pruned[0] * DAY:
            day = (date(1970, 1, 1) + timedelta(days=pruned[0])).isoformat()
            raise LedgerError(
                f"Calls before {day} were pruned: of those days there are sums by model and by account, for "
                f"whole days in UTC. For {', '.join(needed) or 'a part of a day'} ask from {day} on."
            )


def _parts(needed: tuple[str, ...], start: int, end: int) -> tuple[list[str], list[int]]:
    """SELECTs that together hold every finished call of [start, end) once, and their values."""
    rollup = None
    if _OF_MODEL.issuperset(needed):
        rollup = "day_model"
    elif _OF_ACCOUNT.issuperset(needed):
        rollup = "day_account"
    first, after = -(-start // _DAY), end // _DAY
    if rollup is None or first >= after:
        return ([_rows_part(needed)], [bound(start), bound(end)]) if start < end else ([], [])
    columns = ", ".join((*needed, *SUMS))
    parts = [f"SELECT {columns} FROM {rollup} WHERE day >= ? AND day < ?"]  # noqa: S608  constant names
    values = [first, after]
    for low, high in ((start, first * _DAY), (after * _DAY, end)):
        if low < high:
            parts.append(_rows_part(needed))
            values += [bound(low), bound(high)]
    return parts, values


def _rows_part(needed: tuple[str, ...]) -> str:
    columns = ", ".join((*(_ROW_DIMENSION.get(name, name) for name in needed), ROW_SUMS))
    return f"SELECT {columns} FROM call WHERE state <> 0 AND seq >= ? AND seq < ?"  # noqa: S608  constant names


def _filters(where: Mapping[str, str]) -> tuple[str, list[object]]:
    terms: list[str] = []
    values: list[object] = []
    for name, value in where.items():
        if name in _KINDS:
            terms.append(f"{name} = (SELECT id FROM name WHERE kind = {_KINDS[name]} AND name = ?)")  # noqa: S608
            values.append(clean(value))
        else:
            terms.append(f"{name} = ?")
            values.append(_code(name, value))
    return (" WHERE " + " AND ".join(terms) if terms else ""), values


def _code(name: str, value: str) -> int:
    if name == "day":
        return (date.fromisoformat(value) - date(1970, 1, 1)).days
    return (CONTEXT if name == "context" else OPERATION).get(value, -1)


class _Shown:
    """The words for the codes and ids that were grouped by."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._known: dict[int, str | None] = {0: None}

    def word(self, dimension: str, value: int) -> str | None:
        if dimension == "day":
            return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
        if dimension in _WORDS:
            return _WORDS[dimension][value]
        if value not in self._known:
            row = self._conn.execute("SELECT name FROM name WHERE id = ?", (value,)).fetchone()
            self._known[value] = row[0] if row else None
        return self._known[value]
