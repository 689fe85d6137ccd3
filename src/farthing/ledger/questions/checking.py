"""Whether a ledger adds up, and what can be said of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from farthing.ledger.calls.keys import DAY
from farthing.ledger.calls.summing import ROW_SUMS, SUMS

__all__ = ["check", "facts"]

_MOST: Final = 20
"""Sentences of each kind: a ledger with a million of the same fault has one fault."""

_WINDOWS: Final = """SELECT b.name, w.key, w.id, w.spent, w.held, w.cost,
  coalesce(t.spent, 0) + coalesce(p.spent, 0), coalesce(t.held, 0), coalesce(t.cost, 0) + coalesce(p.cost, 0)
FROM budget_window AS w JOIN budget AS b ON b.id = w.budget LEFT JOIN (
  SELECT l.budget_window AS id,
    sum(CASE WHEN c.state = 0 THEN 0 WHEN o.expected THEN coalesce(c.cost, c.counted) ELSE c.counted END)
      AS spent,
    sum(CASE WHEN c.state = 0 THEN c.held ELSE 0 END) AS held,
    sum(CASE WHEN c.state = 0 THEN 0 ELSE coalesce(c.cost, 0) END) AS cost
  FROM line AS l JOIN call AS c ON c.seq = l.call JOIN budget_window AS o ON o.id = l.budget_window
  GROUP BY l.budget_window) AS t ON t.id = w.id
  LEFT JOIN pruned_window AS p ON p.budget_window = w.id
WHERE w.spent <> coalesce(t.spent, 0) + coalesce(p.spent, 0) OR w.held <> coalesce(t.held, 0)
  OR w.cost <> coalesce(t.cost, 0) + coalesce(p.cost, 0)"""

_LINES: Final = """SELECT l.call, l.budget_window FROM line AS l LEFT JOIN call AS c ON c.seq = l.call
LEFT JOIN budget_window AS w ON w.id = l.budget_window WHERE c.seq IS NULL OR w.id IS NULL
UNION ALL SELECT seq, windows FROM call WHERE windows < 0 AND -windows NOT IN (SELECT id FROM window_set)"""

_OVERLAPS: Final = """SELECT b.name, a.key FROM budget_window AS a
JOIN budget_window AS o ON o.budget = a.budget AND o.key = a.key AND o.id <> a.id
  AND o.starts >= a.starts AND o.starts < coalesce(a.ends, 9223372036854775807)
JOIN budget AS b ON b.id = a.budget"""

_ASTRAY: Final = """SELECT c.id FROM call AS c LEFT JOIN owner AS o ON o.id = c.owner
WHERE c.state = 0 AND c.owner IS NOT NULL
  AND (o.id IS NULL OR c.seq NOT BETWEEN o.first_seq AND o.last_seq)"""

_UNHEARD: Final = """SELECT c.id FROM call AS c LEFT JOIN job AS j ON j.call = c.seq
WHERE c.state = 0 AND c.owner IS NULL AND j.until IS NULL"""

_NO_CALL: Final = "SELECT j.call FROM job AS j LEFT JOIN call AS c ON c.seq = j.call WHERE c.seq IS NULL"

_FURTHER: Final = """SELECT t.call FROM top_up AS t LEFT JOIN call AS c ON c.seq = t.call
WHERE c.seq IS NULL OR c.state <> 0"""

_UNHEARD_OF: Final = """SELECT k.call FROM correction AS k LEFT JOIN call AS c ON c.seq = k.call
WHERE c.seq IS NULL"""

_TWICE: Final = "SELECT id FROM call GROUP BY id HAVING count(*) > 1"

_NAMED: Final = {
    "name": ("account", "requested", "asked", "model", "provider", "tier", "fallback_from"),
    "tagset": ("tags",),
    "price": ("price",),
}
"""Columns of `call` by the tables of which they have ids."""

_GONE: Final = " OR ".join(
    f"({column} IS NOT NULL AND {column} NOT IN (SELECT id FROM {table}))"  # noqa: S608  constant names
    for table, columns in _NAMED.items()
    for column in columns
)

_NAMELESS: Final = f"SELECT id FROM call WHERE {_GONE}"  # noqa: S608  constant names


def _rollup(table: str, keys: str, selected: str) -> str:
    """Days on which a rollup differs from its rows; rows with nothing in them are as good as none."""
    columns = ", ".join(SUMS)
    minus = ", ".join(f"-{name} AS {name}" for name in SUMS)
    totals = ", ".join(f"sum({name})" for name in SUMS)
    differs = " OR ".join(f"sum({name}) <> 0" for name in SUMS)
    return f"""SELECT day, {totals} FROM (
  SELECT {keys}, {columns} FROM {table} UNION ALL
  SELECT {keys}, {minus} FROM (SELECT {selected}, {ROW_SUMS} FROM call WHERE state <> 0)
) WHERE day >= coalesce((SELECT number FROM meta WHERE key = 'pruned_before'), 0)
GROUP BY {keys} HAVING {differs}"""  # noqa: S608  constant names


_DAY: Final = f"seq / {DAY} AS day"
_ROLLUPS: Final = {
    "day_model": _rollup(
        "day_model",
        "day, context, operation, provider, model",
        f"{_DAY}, context, operation, coalesce(provider, 0) AS provider, model",
    ),
    "day_account": _rollup("day_account", "day, account, context", f"{_DAY}, account, context"),
}


def check(conn: sqlite3.Connection) -> list[str]:
    """See `Ledger.check`."""
    faults = [
        f"SQLite finds damage: {row[0]}."
        for row in conn.execute("PRAGMA integrity_check(20)")
        if row[0] != "ok"
    ]
    faults += [
        f"A row of {table} refers to one of {parent} that is not there."
        for table, _, parent, _ in conn.execute("PRAGMA foreign_key_check").fetchmany(_MOST)
    ]
    faults += [
        f"Window {number} of budget {name!r} ({key!r}) says spent {spent}, held {held}, cost {cost}; "
        f"its lines say {spent_is}, {held_is}, {cost_is}."
        for name, key, number, spent, held, cost, spent_is, held_is, cost_is in conn.execute(
            _WINDOWS
        ).fetchmany(_MOST)
    ]
    faults += [
        f"A line joins call {call} and window {window}, one of which is not there."
        for call, window in conn.execute(_LINES).fetchmany(_MOST)
    ]
    faults += [
        f"Two windows of budget {name!r} ({key!r}) overlap."
        for name, key in conn.execute(_OVERLAPS).fetchmany(_MOST)
    ]
    faults += [
        f"The running call {call} is not where its owner would look for it, so it would never expire."
        for (call,) in conn.execute(_ASTRAY).fetchmany(_MOST)
    ]
    faults += [
        f"The running call {call} has no owner and waits for no job, so it would never expire."
        for (call,) in conn.execute(_UNHEARD).fetchmany(_MOST)
    ]
    faults += [
        f"A job waits for call {call}, which is not there."
        for (call,) in conn.execute(_NO_CALL).fetchmany(_MOST)
    ]
    faults += [
        f"A further attempt is on row {call}, which is not there or has ended."
        for (call,) in conn.execute(_FURTHER).fetchmany(_MOST)
    ]
    faults += [
        f"A correction is of call {call}, which is not there."
        for (call,) in conn.execute(_UNHEARD_OF).fetchmany(_MOST)
    ]
    faults += [
        f"What call {call} says of a name, its tags or its rates is not there."
        for (call,) in conn.execute(_NAMELESS).fetchmany(_MOST)
    ]
    faults += [f"Two calls have the id {call}." for (call,) in conn.execute(_TWICE).fetchmany(_MOST)]
    for table, statement in _ROLLUPS.items():
        faults += [
            f"{table} differs from the calls of day {row[0]} since 1970 by {row[1:]}."
            for row in conn.execute(statement).fetchmany(_MOST)
        ]
    return faults


_TABLES: Final = (
    "window_set",
    "set_line",
    "more_line",
    "budget",
    "budget_window",
    "name",
    "tagset",
    "price",
    "owner",
    "day_sum",
    "refusal",
    "job",
    "correction",
)


def facts(conn: sqlite3.Connection, path: str) -> dict[str, Any]:
    """See `Ledger.facts`. Sizes are in bytes; a file that is not there has None."""
    states = dict(conn.execute("SELECT state, count(*) FROM call GROUP BY state").fetchall())
    return {
        "sqlite_version": sqlite3.sqlite_version,
        "migrations": [row[0] for row in conn.execute("SELECT name FROM _sqlite_migrations ORDER BY id")],
        "ledger_id": (conn.execute("SELECT text FROM meta WHERE key = 'ledger_id'").fetchone() or (None,))[0],
        "file_bytes": {suffix or "ledger": _size(path + suffix) for suffix in ("", "-wal", "-shm", ".lock")},
        "rows": {"call": sum(states.values())}
        | {
            table: conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  constant names
            for table in _TABLES
        },
        "open_calls": states.get(0, 0),
        "expired_calls": states.get(3, 0),
        "owners": conn.execute("SELECT count(*) FROM owner").fetchone()[0],
    }


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except OSError:
        return None
