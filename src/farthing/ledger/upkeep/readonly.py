"""A ledger that is only asked: nothing is made, locked or changed, so it may be on a disk that cannot be
written."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from farthing.catalog import UserPrice
from farthing.errors import LedgerError, LedgerMoved
from farthing.forks import finished_before_forks
from farthing.ledger.sqlite import SqliteLedger
from farthing.ledger.store import Clock, StandingBudget
from farthing.ledger.upkeep.migrations import is_current
from farthing.ledger.writing.connection import Connections
from farthing.ledger.writing.faults import sure, translated
from farthing.ledger.writing.inherited import close_inherited
from farthing.ledger.writing.place import refuse_other_names

__all__ = ["ReadOnlyLedger", "asking", "id_at"]

asking = threading.RLock()
"""Held while a file is asked through a connection that no store has: SQLite's own locks may be taken then."""
finished_before_forks(sys.modules[__name__], "asking")

_UNOPENED: Final = (0, 0)

_T = TypeVar("_T")


class _Reading(Connections):
    """One read connection. Its file is never opened by other means (see `connection`)."""

    older = False

    def open(self) -> None:
        """Also a ledger of an older release, which can be copied."""
        super().read(_nothing)

    def read(self, question: Callable[[sqlite3.Connection], _T], *, brief: bool = False) -> _T:
        def asked(conn: sqlite3.Connection) -> _T:
            self._refuse_older(conn)
            return question(conn)

        return super().read(asked, brief=brief)

    def write(self, *_: Any, **__: Any) -> Any:
        raise LedgerError(f"{self.where} was opened to be read only.")

    def _look(self) -> None:
        if self.closed:
            raise LedgerError(f"{self.where} has been closed.")
        if self._identity == _UNOPENED:
            return
        stat = os.stat(self.where)  # noqa: PTH116  as `Connections`
        if (stat.st_dev, stat.st_ino) != self._identity:
            raise LedgerMoved(f"The file under {self.where} is another one than was opened; open it anew.")

    def _connected(self) -> sqlite3.Connection:
        path = Path(self.where)
        if path.is_dir():
            raise LedgerError(f"{self.where} is a folder; a ledger is a file.")
        if not path.is_file() or not path.stat().st_size:
            raise LedgerError(f"There is no ledger at {self.where}.")
        stat = path.stat()
        refuse_other_names(self.where, stat)
        self._identity = (stat.st_dev, stat.st_ino)
        close_inherited()
        conn = sqlite3.connect(
            f"file:{quote(self.where)}?mode=ro{self._unchanging()}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=self.timeout,
        )
        try:
            conn.execute("PRAGMA query_only = ON")
            conn.execute("PRAGMA mmap_size = 0")
            self.older = self._is_older(conn)
        except BaseException:
            conn.close()
            raise
        return conn

    def _is_older(self, conn: sqlite3.Connection) -> bool:
        if is_current(conn, self.where):
            return False
        if conn.execute("SELECT 1 FROM sqlite_master").fetchone() is None:  # a program is making it
            raise LedgerError(f"There is no ledger at {self.where}.")
        return True

    def _refuse_older(self, conn: sqlite3.Connection) -> None:
        if self.older and not is_current(conn, self.where):
            raise LedgerError(
                f"{self.where} was written by an older farthing; it is brought up to date when a program "
                "next makes a call."
            )
        self.older = False

    def _unchanging(self) -> str:
        """Where nobody can write, and no log waits, SQLite must not look for a log that it would have to
        make: https://sqlite.org/wal.html#readonly."""
        path = Path(self.where)
        log = path.with_name(f"{path.name}-wal")
        if os.access(path.parent, os.W_OK) or (log.exists() and log.stat().st_size):
            return ""
        return "&immutable=1"

    def close(self, farewell: Callable[[sqlite3.Connection], None]) -> None:  # noqa: ARG002  as it is
        with self._reader.lock, self._brief.lock:
            self.closed = True
            self._reader.close()
            self._brief.close()

    def in_place(self) -> bool:
        return True


class ReadOnlyLedger(SqliteLedger):
    """See `farthing.ledger.store.Ledger`; what writes raises `LedgerError`.

    One of an older release is opened, too, but answers nothing: it can be copied by `backup` before a program
    brings it up to date.

    Raises:
        LedgerError: if there is no ledger, or it cannot be read.
    """

    read_only = True

    _connected_by = _Reading
    _connections: _Reading

    def __init__(self, where: str, *, clock: Clock, timeout: float) -> None:
        super().__init__(where, clock=clock, durability="safe", timeout=timeout)
        if not self._connections.older:
            self.standing(fresh=True)

    def standing(self, *, fresh: bool = False) -> tuple[int, Sequence[StandingBudget]]:
        if fresh or self._connections.older:
            self._connections.read(self._standing.read)
        return self._standing.epoch, self._standing.budgets

    def prices(self) -> Sequence[UserPrice]:
        if self._connections.older:
            self.standing(fresh=True)
        return super().prices()

    def _be_in_place(self) -> None:
        self._connections.open()

    def renew(self, now_ns: int) -> None:
        """It holds nothing."""

    def expire(self, now_ns: int) -> int:  # noqa: ARG002  as it is
        """That is for those who write."""
        return 0

    def close(self) -> None:
        try:
            self._connections.close(self._farewell)
        except sqlite3.Error as error:
            raise translated(error, self.where) from error


_PATIENCE: Final = 1.0
"""Seconds that a mere question waits for another program's exclusive lock, which is brief and rare."""

_ID: Final = "SELECT text FROM meta WHERE key = 'ledger_id'"


def id_at(path: str) -> str | None:
    """The id of the ledger at a path; None if there is no file.

    Raises:
        LedgerError: if it cannot be read; `LedgerCorrupt` if there is no ledger in it.
    """
    try:
        if not Path(path).is_file() or not Path(path).stat().st_size:
            return None
        connection = _Reading(path, timeout=_PATIENCE, ready=_nothing)
        with asking:
            try:
                found: str = connection.read(lambda conn: sure(conn, _ID)[0])
            finally:
                connection.close(_nothing)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise translated(error, path) from error
    return found


def _nothing(conn: sqlite3.Connection) -> None:
    conn.execute("SELECT 1 FROM meta").fetchone()
