"""Copies of a ledger, and leaving out what is old."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from farthing.errors import LedgerError
from farthing.forks import finished_before_forks
from farthing.ledger.budgets import ended
from farthing.ledger.calls.keys import DAY
from farthing.ledger.calls.summing import add_up
from farthing.ledger.keeping import Waiting
from farthing.ledger.store import Clock
from farthing.ledger.upkeep.spill import waiting
from farthing.ledger.writing.connection import MEMORY, Connections
from farthing.ledger.writing.faults import sure, translated
from farthing.ledger.writing.lock import try_lock

__all__ = ["Upkeep"]

_T = TypeVar("_T")

_copying = threading.RLock()
finished_before_forks(sys.modules[__name__], "_copying")

_MOST: Final = 500
"""Calls that are deleted in one commit."""

_LEDGER_ID: Final = "SELECT text FROM meta WHERE key = 'ledger_id'"

_SIZES: Final = """SELECT coalesce(m.tbl_name, s.name) AS name, sum(s.pgsize) FROM dbstat AS s
LEFT JOIN sqlite_master AS m ON m.name = s.name GROUP BY 1 ORDER BY 2 DESC"""

_MARK: Final = """INSERT INTO meta (key, number) VALUES ('pruned_before', ?1)
ON CONFLICT (key) DO UPDATE SET number = max(number, excluded.number)"""

_CHUNK: Final = """SELECT max(seq), count(*) FROM (
  SELECT seq FROM call WHERE seq > ? AND seq < ? AND state <> 0 ORDER BY seq LIMIT ?)"""

_KEYS: Final = """INSERT INTO pruned_key (account, transaction_id, call, digest)
SELECT account, transaction_id, id, digest FROM call
WHERE seq > ?1 AND seq <= ?2 AND state <> 0 AND transaction_id IS NOT NULL"""

_WINDOWS: Final = """INSERT INTO pruned_window (budget_window, spent, cost, last)
SELECT w.id, sum(CASE WHEN w.expected THEN coalesce(c.cost, c.counted) ELSE c.counted END),
  sum(coalesce(c.cost, 0)), max(c.seq)
FROM line AS l JOIN call AS c ON c.seq = l.call JOIN budget_window AS w ON w.id = l.budget_window
WHERE l.call > ?1 AND l.call <= ?2 AND c.state <> 0 GROUP BY w.id
ON CONFLICT (budget_window) DO UPDATE SET spent = spent + excluded.spent, cost = cost + excluded.cost,
  last = max(last, excluded.last)"""

_DONE: Final = "SELECT seq FROM call WHERE seq > ?1 AND seq <= ?2 AND state <> 0"

_DELETIONS: Final = (
    f"DELETE FROM more_line WHERE call IN ({_DONE})",  # noqa: S608  constant names
    f"DELETE FROM job WHERE call IN ({_DONE})",  # noqa: S608  constant names
    f"DELETE FROM correction WHERE call IN ({_DONE})",  # noqa: S608  constant names
    "DELETE FROM call WHERE seq > ?1 AND seq <= ?2 AND state <> 0",
)


class _Writes(Protocol):
    def __call__(
        self, operation: Callable[[sqlite3.Connection, Any], _T], argument: Any, *, full: bool
    ) -> _T: ...


class Upkeep:
    """The part of `farthing.ledger.store.Ledger` that is about upkeep."""

    read_only = False
    where: str
    _clock: Clock
    _connections: Connections
    _write: _Writes

    def backup(self, target: str) -> int:
        """See `farthing.ledger.keeping.Keeping`."""
        if self.where == MEMORY:
            raise LedgerError("A ledger in memory cannot be copied to a file.")
        self._be_in_place()
        path = Path(target)
        part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
        try:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            try:
                with _copying:
                    self._copied(str(part))
                _synced(part)
                _named(part, path)
            finally:
                part.unlink(missing_ok=True)
            _synced(path.parent)
        except FileExistsError:
            raise LedgerError(f"{path} is there already; a backup never writes over a file.") from None
        except (sqlite3.Error, OSError) as error:
            raise translated(error, str(path)) from error
        return path.stat().st_size

    def _be_in_place(self) -> None:
        """Open the ledger, if it is not open.

        Raises:
            LedgerError: of the fitting kind, if it cannot be read, or another file is in its place.
        """
        self._connections.read(lambda conn: conn.execute("SELECT 1 FROM meta").fetchone())

    def _copied(self, part: str) -> None:
        # A connection of its own: a copy takes a while, and the others shall not wait for it.
        source = f"{Path(self.where).as_uri()}?mode=ro"
        with closing(sqlite3.connect(source, uri=True, isolation_level=None)) as conn:
            conn.execute("VACUUM INTO ?", (part,))
        with closing(sqlite3.connect(part)) as copy:
            found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise LedgerError(f"{self.where} is damaged, and so would be its copy: {found}.")

    def sizes(self) -> dict[str, int]:
        """See `farthing.ledger.keeping.Keeping`."""
        try:
            return self._connections.read(lambda conn: dict(conn.execute(_SIZES).fetchall()))
        except LedgerError as error:
            if isinstance(error.__cause__, sqlite3.OperationalError):
                return {}
            raise

    def locked(self) -> bool | None:
        """See `farthing.ledger.keeping.Keeping`."""
        try:
            fd = os.open(f"{self.where}.lock", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError:
            return None
        try:
            return not try_lock(fd)
        finally:
            os.close(fd)

    def spill(self) -> Waiting:
        """See `farthing.ledger.keeping.Keeping`."""
        ledger_id = self._connections.read(lambda conn: sure(conn, _LEDGER_ID)[0])
        return waiting(self.where, ledger_id)

    def prune(self, before_day: int) -> int:
        """See `farthing.ledger.keeping.Keeping`."""
        deleted = after = 0
        while True:
            last, some = self._write(_pruned, (after, before_day), full=False)
            deleted += some
            if some < _MOST:
                break
            after = last
        self._forget_runs()
        return deleted

    def _forget_runs(self) -> None:
        """Take away the windows of runs that have ended: first from whoever might still ask for them, and
        then those of which no call was made in between."""
        before = self._clock.time_ns() - ended.IDLE
        for step in (ended.put_away, ended.forget):
            over = self._connections.read(lambda conn: ended.over(conn, before))
            for first in range(0, len(over), _MOST):
                self._write(step, over[first : first + _MOST], full=False)


def _pruned(conn: sqlite3.Connection, span: tuple[int, int]) -> tuple[int, int]:
    """The key up to which finished calls are deleted now, and how many they were."""
    after, day = span
    add_up(conn, day * DAY)
    last, some = conn.execute(_CHUNK, (after, day * DAY, _MOST)).fetchone()
    conn.execute(_MARK, (day,))
    if some:
        for statement in (_KEYS, _WINDOWS, *_DELETIONS):
            conn.execute(statement, (after, last))
    return last or after, some


def _named(part: Path, path: Path) -> None:
    """Give a finished file its name, never over one that is there.

    Raises:
        FileExistsError: if there is one.
    """
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # FAT and others have no hard links: the name is taken first, then given away
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            os.replace(part, path)  # noqa: PTH105  as `os.link`
        except BaseException:
            path.unlink()
            raise


def _synced(path: Path) -> None:
    """Make it survive a power cut, where the system lets us."""
    with suppress(PermissionError):  # folders on Windows
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
