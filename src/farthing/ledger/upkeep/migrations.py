"""The schema's versions: named steps, applied in order, recorded beside the tables by sqlite-utils."""

from __future__ import annotations

import os
import sqlite3
from typing import Any, Final

from farthing.errors import LedgerCorrupt, LedgerTooNew
from farthing.ledger.upkeep.schema import APPLICATION_ID, TABLES, VIEWS

__all__ = ["STEPS", "is_current", "migrate"]

_SET: Final = "farthing"


def _first(db: Any) -> None:
    """Tables of the first release."""
    for statement in TABLES:
        db.conn.execute(statement)
    db.conn.execute("INSERT INTO meta (key, text) VALUES ('ledger_id', ?)", (os.urandom(16).hex(),))


def _views(db: Any) -> None:
    """The views; a release that changes them adds a step that runs this again."""
    for name, select in VIEWS:
        db.conn.execute(f"DROP VIEW IF EXISTS {name}")
        db.conn.execute(f"CREATE VIEW {name} AS {select}")


STEPS: Final = (("0001 tables", _first), ("0001 views", _views))


def is_current(conn: sqlite3.Connection, where: str) -> bool:
    """Whether the ledger has every step. Reads only.

    Raises:
        LedgerCorrupt: for a SQLite database that is no ledger, and for what is no database. That is for
            SQLite to say: this process may have the file open already (see `writing.connection`).
        LedgerTooNew: for one with steps that this release does not know.
    """
    try:
        tables = conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise LedgerCorrupt(
            f"{where} is not a SQLite database, so it is not a ledger; it was left as it is."
        ) from error
    if not tables:
        return False
    if conn.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerCorrupt(
            f"{where} is a SQLite database, but not a ledger of farthing; it was left as it is."
        )
    applied = {
        name
        for (name,) in conn.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (_SET,))
    }
    known = {name for name, _ in STEPS}
    if newer := sorted(applied - known):
        raise LedgerTooNew(
            f"{where} was written by a newer farthing (it has {', '.join(newer)}); upgrade to use it."
        )
    return applied == known


def migrate(conn: sqlite3.Connection) -> None:
    """Apply what is missing, inside the caller's transaction.

    `Migrations.apply` reads what is pending outside of any transaction and begins deferred ones, so two
    processes that open a new file at once would collide; inside BEGIN IMMEDIATE its own become savepoints.
    """
    from sqlite_utils import Database, Migrations  # noqa: PLC0415  only where something is missing

    migrations = Migrations(_SET)
    for name, step in STEPS:
        migrations(name=name)(step)
    migrations.apply(Database(conn, recursive_triggers=False, execute_plugins=False))
    conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
