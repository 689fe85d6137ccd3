"""The durable store of calls, budgets and their windows. `store.Ledger` says what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from farthing.errors import LedgerError
from farthing.ledger.store import Clock, Ledger

__all__ = ["Clock", "Ledger", "open_ledger"]


def open_ledger(
    where: str | Path,
    *,
    clock: Clock,
    durability: Literal["safe", "fast", "strict"] = "safe",
    timeout: float = 5.0,
) -> Ledger:
    """Open a ledger, made if it is not there.

    The same file opened twice in a process is one store; each opening is closed once.

    Args:
        where: the path of a SQLite file, or ":memory:" for a private one that ends with the process.
        clock: tells the time for leases and changes of budgets.
        durability: "fast" survives a killed process, "safe" also keeps a power cut from freeing money.
        timeout: seconds that a write waits for other writers.

    Raises:
        LedgerError: (or a subclass) if it cannot be used.
        ValueError: for a durability that there is not.
    """
    if str(where).startswith(("postgres://", "postgresql://")):
        raise LedgerError("A ledger in PostgreSQL is not supported by this release; give the path of a file.")
    if durability == "strict":
        raise LedgerError("durability='strict' is not supported by this release; use 'safe' or 'fast'.")
    if durability not in ("safe", "fast"):
        raise ValueError(f"durability must be 'safe' or 'fast'; got {durability!r}")
    from farthing.ledger.opened import open_sqlite  # noqa: PLC0415  sqlite3 only when a ledger is opened

    return open_sqlite(where, clock=clock, durability=durability, timeout=timeout)
