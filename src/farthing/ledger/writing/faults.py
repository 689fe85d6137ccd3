"""What SQLite and the system raise, as a ledger's own errors with one clear sentence each."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Sequence
from typing import Any

from farthing.errors import LedgerCorrupt, LedgerError, LedgerFull, LedgerLocked
from farthing.struck import pass_on

__all__ = ["sure", "translated"]

_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DENIED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN}
_FULL_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED_ERRNO = {errno.EACCES, errno.EPERM, errno.EROFS}


def translated(error: BaseException, where: str) -> BaseException:
    """The error to raise instead of `error`; itself if it is none of SQLite's or the system's. One of
    the system's kinds that a signal handler raised is none of its errors: it is raised on at once.
    """
    if isinstance(error, (OSError, OverflowError, UnicodeError)):
        pass_on(error)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, where)
    if isinstance(error, OSError):
        return _of_system(error, where)
    if isinstance(error, (OverflowError, UnicodeError)):
        return LedgerError(f"{where} cannot hold a value of this call: {error}.")
    return error


def sure(conn: sqlite3.Connection, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
    """A row that every sound ledger has.

    Raises:
        LedgerCorrupt: if it is not there: a page that was overwritten by zeros is an empty table to SQLite.
    """
    row: tuple[Any, ...] | None = conn.execute(statement, values).fetchone()
    if row is None:
        where = conn.execute("PRAGMA database_list").fetchone()[2]
        raise LedgerCorrupt(f"{where} is damaged: rows are missing; restore it from a backup.")
    return row


def _of_sqlite(error: sqlite3.Error, where: str) -> LedgerError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return LedgerFull(f"There is no room on the disk for {where}; nothing was written.")
    if code in _CORRUPT:
        return LedgerCorrupt(f"{where} is damaged or not a ledger ({error}); restore it from a backup.")
    if code in _LOCKED:
        return LedgerLocked(f"Another program has locked {where} for too long; nothing was written.")
    if code in _DENIED:
        return LedgerError(
            f"{where} cannot be opened or written ({error}); check its permissions and folder."
        )
    return LedgerError(f"{where} cannot be used: {error}.")


def _of_system(error: OSError, where: str) -> LedgerError:
    if error.errno in _FULL_ERRNO:
        return LedgerFull(f"There is no room on the disk for {where}; nothing was written.")
    if error.errno in _DENIED_ERRNO:
        return LedgerError(f"{where} cannot be opened or written ({error.strerror}); check its permissions.")
    return LedgerError(f"{where} cannot be used: {error}.")
