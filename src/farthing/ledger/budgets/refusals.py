"""Refusals: counted by day, as a client in a loop can be refused thousands of times a second."""

from __future__ import annotations

import sqlite3
from typing import Final

from farthing.ledger.calls.codes import clean
from farthing.ledger.calls.names import ACCOUNT, MODEL, Names

__all__ = ["count"]

_COUNT: Final = """INSERT INTO refusal (day, account, model, budget, reason, calls) VALUES (?, ?, ?, ?, ?, 1)
ON CONFLICT (day, account, model, budget, reason) DO UPDATE SET calls = calls + 1"""


def count(conn: sqlite3.Connection, names: Names, refusal: tuple[int, str, str, str, str]) -> None:
    """Count one: day since 1970, account, model, budget, reason."""
    day, account, model, budget, reason = refusal
    conn.execute(
        _COUNT,
        (
            day,
            names.name(conn, ACCOUNT, account),
            names.name(conn, MODEL, model),
            clean(budget),
            clean(reason),
        ),
    )
