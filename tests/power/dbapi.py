"""As much of the standard library's `sqlite3` as a ledger uses, on apsw, whose SQLite takes a VFS of ours.

A process that imports this in the place of `sqlite3` runs the product's own code and statements; the library
beneath is apsw's SQLite instead of the interpreter's, and nothing else in that process opens the files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import apsw

from power.disk import NAME

CHECKPOINT_PAGES = 60
"""Instead of the product's number, so that short runs have checkpoints."""


class Error(Exception):
    """As `sqlite3.Error`."""


class DatabaseError(Error):
    """As `sqlite3.DatabaseError`."""


class OperationalError(DatabaseError):
    """As `sqlite3.OperationalError`."""


class IntegrityError(DatabaseError):
    """As `sqlite3.IntegrityError`."""


def _raised(error: apsw.Error) -> Error:
    known = (IntegrityError if isinstance(error, apsw.ConstraintError) else OperationalError)(str(error))
    known.sqlite_errorcode = getattr(error, "extendedresult", 0)  # type: ignore[union-attr]
    return known


class Cursor:
    """What `execute` returns."""

    def __init__(self, conn: apsw.Connection, statement: str, values: Sequence[Any]) -> None:
        self._cursor = conn.cursor()
        try:
            self._cursor.execute(statement, tuple(values))
        except apsw.Error as error:
            raise _raised(error) from error
        self.rowcount = conn.changes()
        self.lastrowid = conn.last_insert_rowid()

    def fetchone(self) -> Any:
        return next(iter(self), None)

    def fetchall(self) -> list[Any]:
        return list(self)

    def fetchmany(self, size: int) -> list[Any]:
        return [row for _, row in zip(range(size), self, strict=False)]

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._cursor
        except apsw.Error as error:
            raise _raised(error) from error


class Connection:
    """As `sqlite3.Connection`, with the arguments that a ledger gives."""

    def __init__(self, path: str, *, uri: bool = False, timeout: float = 5.0, **_: Any) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | (apsw.SQLITE_OPEN_URI if uri else 0)
        self._conn = apsw.Connection(path, flags=flags, vfs=NAME, statementcachesize=256)
        self._conn.set_busy_timeout(int(timeout * 1000))

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Cursor:
        if statement.startswith("PRAGMA wal_autocheckpoint"):
            statement = f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}"
        return Cursor(self._conn, statement, values)

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        for values in rows:
            Cursor(self._conn, statement, values)

    def create_function(self, name: str, arguments: int, function: Callable[..., Any], **_: Any) -> None:
        self._conn.create_scalar_function(name, function, arguments)

    @property
    def in_transaction(self) -> bool:
        return self._conn.in_transaction

    @property
    def total_changes(self) -> int:
        return self._conn.total_changes()

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        self._conn.close()


def connect(path: str, *, factory: type[Connection] = Connection, **options: Any) -> Connection:
    """As `sqlite3.connect`."""
    return factory(path, **options)


def install() -> None:
    """Be `sqlite3` from now on, for whoever imports it."""
    module = ModuleType("sqlite3")
    for name in (
        "Connection",
        "Cursor",
        "DatabaseError",
        "Error",
        "IntegrityError",
        "OperationalError",
        "connect",
    ):
        setattr(module, name, globals()[name])
    for name in vars(apsw):
        if name.startswith("SQLITE_"):
            setattr(module, name, getattr(apsw, name))
    module.sqlite_version = apsw.sqlite_lib_version()  # type: ignore[attr-defined]
    assert "farthing.ledger.writing.connection" not in sys.modules
    sys.modules["sqlite3"] = module
