"""A connection that only reads."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from farthing.errors import LedgerLocked
from farthing.ledger.writing.faults import translated

__all__ = ["Reader", "to_read"]

_T = TypeVar("_T")


class Reader:
    """Made at its first question. Threads ask it one after the other.

    Args:
        where: the ledger.
        in_place: raises if the file is not the one that was opened.
        connect: makes the connection.
    """

    def __init__(
        self, where: str, in_place: Callable[[], None], connect: Callable[[], sqlite3.Connection]
    ) -> None:
        self.lock = threading.Lock()
        self.conn: sqlite3.Connection | None = None
        self._where = where
        self._in_place = in_place
        self._connect = connect
        self._asking = 0  # the thread that asks

    def ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `question(conn)` on one snapshot.

        Raises:
            LedgerError: of the fitting kind.
        """
        if self.asks_here():
            raise LedgerLocked(f"{self._where} is being read by this very thread, below us.")
        with self.lock:
            self._asking = threading.get_ident()
            try:
                self._in_place()
                conn = self.conn
                if conn is None:
                    conn = self.conn = self._connect()
                if conn.in_transaction:  # a signal handler struck who asked before
                    conn.execute("ROLLBACK")
                conn.execute("BEGIN")
                try:
                    return question(conn)
                finally:
                    conn.execute("ROLLBACK")
            except (sqlite3.Error, OSError) as error:
                raise translated(error, self._where) from error
            finally:
                self._asking = 0

    def asks_here(self) -> bool:
        """True if this thread is in the middle of a question: what a signal handler or a collection runs
        there must not wait for its end."""
        return self._asking == threading.get_ident() and self.lock.locked()

    def close(self) -> None:
        """With the lock taken."""
        conn, self.conn = self.conn, None
        if conn is not None:
            conn.close()


def to_read(path: str, timeout: float) -> sqlite3.Connection:
    """A connection through which nothing can be written."""
    conn = sqlite3.connect(
        f"{Path(path).as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        timeout=timeout,
    )
    conn.execute("PRAGMA query_only = ON")
    conn.execute("PRAGMA mmap_size = 0")
    return conn
