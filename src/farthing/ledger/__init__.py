"""The durable store of calls, budgets and their windows.

`store.Ledger` says what it promises, with `alerting`, `amending`, `keeping`, `parking`, `pricestore`,
`spilled` and `figures` for its parts. All else is the ledger in SQLite, `sqlite`: `writing` has who writes
and how, `calls` their rows, `budgets` their windows, `questions` what is read, `upkeep` the schema and the
files.
"""

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
    read_only: bool = False,
) -> Ledger:
    """Open a ledger, made if it is not there.

    The same file opened twice in a process is one store; each opening is closed once.

    Args:
        where: the path of a SQLite file, or ":memory:" for a private one that ends with the process.
        clock: tells the time for leases and changes of budgets.
        durability: "fast" survives a killed process, "safe" also keeps a power cut from freeing money, and
            with "strict" every row survives one, at one wait for the disk more for each call.
        timeout: seconds that a write waits for other writers.
        read_only: to ask only: nothing is made or changed.

    Raises:
        LedgerError: (or a subclass) if it cannot be used.
        ValueError: for a durability that there is not.
    """
    if str(where).startswith(("postgres://", "postgresql://")):
        raise LedgerError("A ledger in PostgreSQL is not supported by this release; give the path of a file.")
    if "://" in str(where):
        scheme = str(where).partition("://")[0]
        raise LedgerError(f"A ledger is named by the path of its file, not by a URL ({scheme}://...).")
    if durability not in ("safe", "fast", "strict"):
        raise ValueError(f"durability must be 'safe', 'fast' or 'strict'; got {durability!r}")
    from farthing.ledger.opened import open_sqlite, open_to_read  # noqa: PLC0415  sqlite3 only when it is used

    if read_only:
        return open_to_read(where, clock=clock, timeout=timeout)
    return open_sqlite(where, clock=clock, durability=durability, timeout=timeout)
