"""One process's connections to one SQLite ledger, and the way in and out of a write.

No code in a process that has the ledger open may open that file by other means: closing any descriptor of
it drops the POSIX locks that SQLite holds (https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from farthing.errors import LedgerError, LedgerLocked, LedgerMoved
from farthing.forks import Quiet
from farthing.ledger.upkeep.migrations import is_current, migrate
from farthing.ledger.writing.faults import translated
from farthing.ledger.writing.inherited import close_inherited, leave_alone, put_by
from farthing.ledger.writing.lock import Busy, FileLock
from farthing.ledger.writing.place import make_file, prepare, refuse_other_names
from farthing.ledger.writing.posting import Posting
from farthing.ledger.writing.reader import Reader, to_read

__all__ = ["MEMORY", "Connections"]

MEMORY: Final = ":memory:"

_T = TypeVar("_T")


class Connections:
    """The write connection, the read connection, the mutex and the lock file of one ledger.

    Args:
        where: a resolved path, or ":memory:".
        timeout: seconds that a write waits for other writers, of this process and of others.
        ready: called with the write connection inside a transaction when it has been (re)opened.
    """

    def __init__(self, where: str, *, timeout: float, ready: Callable[[sqlite3.Connection], None]) -> None:
        self.where = where
        self.timeout = timeout
        self.memory = where == MEMORY
        self.mutex = threading.Lock()
        self._writer = 0  # the thread that is writing
        self._reader, self._brief = self._readers()
        self._quiet = Quiet()
        self._ready = ready
        self._conn: Posting | None = None
        self._lock: FileLock | None = None
        self._identity: tuple[int, int] = (0, 0)
        self.closed = False
        self.before_commit: Callable[[Posting], None] = _raises_nothing
        self.on_commit: Callable[[], None] = _nothing
        self.on_rollback: Callable[[], None] = _nothing

    def _readers(self) -> tuple[Reader, Reader]:
        how = (self.where, self._look, self._connected)
        return Reader(*how), Reader(*how)

    # Writing

    def write(
        self,
        operation: Callable[[sqlite3.Connection, Any], _T],
        argument: Any,
        *,
        full: bool,
        patient: bool = True,
        at_once: bool = False,
        held: FileLock | None = None,
    ) -> _T:
        """Run `operation(conn, argument)` in a transaction of its own, committed when it returns.

        Args:
            full: True if the commit must survive a power cut.
            at_once: for an event loop: whatever has to be waited for is left to others.
            held: the lock file, if the caller has locked it.

        Raises:
            LedgerError: of the fitting kind; nothing was written.
            Busy: if another process is writing, for a caller that is not `patient` or writes `at_once`; for
                the latter also if the file is to be opened, synced or checkpointed.
        """
        deadline = time.monotonic() + self.timeout
        # `with` takes and gives back the mutex without a gap into which a signal handler could raise.
        me = threading.get_ident()
        if self._writer == me:
            self._refuse_in_write()
        if at_once:
            self._refuse_to_wait(full=full)
        with self.mutex:
            conn = self._conn
            if conn is None:
                conn = self._open(deadline)
            lock = self._lock
            self._writer = me
            try:
                if lock is not None:
                    if held is None:
                        lock.acquire(deadline if patient and not at_once else None)
                    (held or lock).check_place(self._identity)
                if conn.in_transaction:  # an asynchronous exception struck between BEGIN and its handler
                    self._undo(conn)
                seconds = 0.0 if at_once else self.timeout
                if full is not conn.full or seconds != conn.seconds:
                    conn.suit(full=full, seconds=seconds)
                conn.execute("BEGIN IMMEDIATE")
                answer = operation(conn, argument)
                self._commit(conn)
                if conn.is_due and not at_once:
                    conn.checkpoint()
                return answer
            except BaseException as error:
                self._undo(conn)
                known = translated(error, self.where)
                if known is error:
                    raise
                raise known from error
            finally:
                self._writer = 0
                if lock is not None and held is None:
                    lock.release()

    def _refuse_to_wait(self, *, full: bool) -> None:
        conn = self._conn
        if conn is None or full or conn.is_long() or self.mutex.locked():
            raise Busy

    def _commit(self, conn: Posting) -> None:
        if conn.in_transaction:
            if conn.due:
                self.before_commit(conn)
            conn.execute("COMMIT")
        self.on_commit()
        conn.commits += 1

    def writing_here(self) -> bool:
        """True if this thread is in the middle of a write: what a garbage collection or a signal handler runs
        there must not wait for its end."""
        return self._writer == threading.get_ident() and self.mutex.locked()

    def refuse_below(self) -> None:
        """To be asked by what would wait for writes and questions.

        Raises:
            LedgerLocked: if this very thread is in the middle of one.
        """
        self._refuse_in_write()
        if self._reader.asks_here() or self._brief.asks_here():
            raise LedgerLocked(f"{self.where} is being read by this very thread, below us.")

    def _refuse_in_write(self) -> None:
        if self.writing_here():
            raise LedgerLocked(f"{self.where} is being written by this very thread, below us.")

    def cancel(self, conn: sqlite3.Connection) -> None:
        """End the transaction of an operation that decided to write nothing."""
        conn.execute("ROLLBACK")
        if self._conn is not None:
            self._conn.due.clear()
        self.on_rollback()

    def _undo(self, conn: Posting) -> None:
        conn.due.clear()
        try:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                conn.rollback()
        self.on_rollback()

    def give_back(self) -> None:
        """Unlock the lock file if a write was struck before it could; not while one is at work."""
        if not self.mutex.locked():
            with self.mutex:  # see `write`; who takes it in between is waited for
                if self._lock is not None:
                    self._lock.release()

    def another_lock(self) -> FileLock | None:
        """The lock file opened once more, for a thread that waits for it; None in memory.

        The ledger is open then: whoever opens it waits for the lock file with the mutex taken.
        """
        self.open()
        return None if self.memory else FileLock(f"{self.where}.lock", self.where)

    # Reading

    def read(self, question: Callable[[sqlite3.Connection], _T], *, brief: bool = False) -> _T:
        """Run `question(conn)` on one snapshot, without waiting for writers.

        Args:
            brief: it takes no time, and is not to wait for those that do.
        """
        if self.memory:
            return self._read_in_memory(question)
        return (self._brief if brief else self._reader).ask(question)

    def _read_in_memory(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        self._refuse_in_write()
        with self.mutex:
            self._writer = threading.get_ident()
            try:
                return question(self._conn or self._open(time.monotonic() + self.timeout))
            except sqlite3.Error as error:
                raise translated(error, self.where) from error
            finally:
                self._writer = 0

    def _look(self) -> None:
        if self._conn is None:
            self.open()
        lock = self._lock
        if lock is not None:
            lock.check_place(self._identity)

    def _connected(self) -> sqlite3.Connection:
        return to_read(self.where, self.timeout)

    # Opening and closing

    def open(self) -> None:
        """Open now, to learn at once what is wrong with the file."""
        self._refuse_in_write()
        with self.mutex:
            if self._conn is None:
                self._open(time.monotonic() + self.timeout)

    def _open(self, deadline: float) -> Posting:
        """Called with the mutex held."""
        if self.closed:
            raise LedgerError(f"{self.where} has been closed.")
        try:
            return self._open_memory() if self.memory else self._open_file(deadline)
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.where) from error

    def _open_memory(self) -> Posting:
        conn = sqlite3.connect(
            MEMORY, isolation_level=None, check_same_thread=False, cached_statements=256, factory=Posting
        )
        self._settle_in(conn)
        return conn

    def _open_file(self, deadline: float) -> Posting:
        close_inherited()
        prepare(self.where)
        lock = FileLock(f"{self.where}.lock", self.where)
        conn: Posting | None = None
        try:
            lock.acquire(deadline)
            try:
                make_file(self.where)  # SQLite gives its other files the mode of this one
                stat = os.stat(self.where)  # noqa: PTH116  a str, on the hot path
                refuse_other_names(self.where, stat)
                conn = sqlite3.connect(
                    self.where,
                    isolation_level=None,
                    check_same_thread=False,
                    cached_statements=256,
                    timeout=self.timeout,
                    factory=Posting,
                )
                self._identity = (stat.st_dev, stat.st_ino)
                self._settle_in(conn)
                self._lock = lock
            except BaseException:
                if conn is not None:
                    conn.close()
                self._conn = None
                raise
            finally:
                lock.release()
        except BaseException:
            lock.close()
            raise
        return conn

    def _settle_in(self, conn: Posting) -> None:
        current = is_current(conn, self.where)  # before anything is changed in a file that may be foreign
        conn.execute("PRAGMA page_size = 2048")  # of a new file: half as many bytes to log as by default
        conn.execute("PRAGMA mmap_size = 0")
        conn.execute("PRAGMA foreign_keys = ON")
        if not self.memory:
            mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise LedgerError(
                    f"{self.where} is in a place where SQLite cannot keep a write-ahead log ({mode})."
                )
            conn.execute("PRAGMA wal_autocheckpoint = 16000")
            conn.execute("PRAGMA journal_size_limit = 67108864")
            if sys.platform == "darwin":
                conn.execute("PRAGMA fullfsync = ON")
                conn.execute("PRAGMA checkpoint_fullfsync = ON")
        conn.suit(full=False, seconds=self.timeout)
        conn.execute("BEGIN IMMEDIATE")
        try:
            if not current and not is_current(conn, self.where):
                migrate(conn)
            self._ready(conn)
            self._commit(conn)
        except BaseException:
            self._undo(conn)
            raise
        self._conn = conn

    def close(self, farewell: Callable[[sqlite3.Connection], None]) -> None:
        """Close all connections under the lock file, after a last transaction; the lock file stays.

        Raises:
            LedgerLocked: see `refuse_below`.
            LedgerError: of the fitting kind.
        """
        self.refuse_below()
        with self._reader.lock, self._brief.lock, self.mutex:
            self.closed = True
            conn, lock = self._conn, self._lock
            self._conn = self._lock = None
            try:
                if lock is not None:
                    lock.acquire(time.monotonic() + self.timeout)
                    lock.check_place(self._identity)
                if conn is not None:
                    if conn.in_transaction:
                        self._undo(conn)
                    conn.execute("BEGIN IMMEDIATE")
                    farewell(conn)
                    conn.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                raise translated(error, self.where) from error
            finally:
                self._reader.close()
                self._brief.close()
                if conn is not None:
                    conn.close()
                if lock is not None:
                    lock.release()
                    lock.close()

    def in_place(self) -> bool:
        """False if the file under the path is not the one that was opened."""
        lock = self._lock
        if lock is None:
            return True
        try:
            lock.check_place(self._identity)
        except LedgerMoved:
            return False
        return True

    # Forking

    def before_fork(self) -> None:
        """Wait until nothing is written or read: SQLite's own locks, if a thread held one at the fork, would
        stay locked in the child for ever."""
        with contextlib.suppress(LedgerLocked):  # this thread would wait for itself
            self.refuse_below()
            self._quiet.take((self._reader.lock, self._brief.lock, self.mutex), self.timeout)

    def after_fork_in_parent(self) -> None:
        self._quiet.give_back()

    def after_fork_in_child(self) -> None:
        """Let go of what is the parent's, and open anew at the next use. If something was written or read
        at the fork, the connections must not be touched."""
        quiet, self._quiet = self._quiet.is_whole, Quiet()
        readers = (self._reader.conn, self._brief.conn)
        self.mutex = threading.Lock()
        self._writer = 0
        self._reader, self._brief = self._readers()
        if self.memory:
            return  # a copy of its own
        for conn in (self._conn, *readers):
            if conn is not None:
                put_by(conn, self.where) if quiet else leave_alone(conn)
        if self._lock is not None:
            self._lock.close()
        self._conn = self._lock = None


def _nothing() -> None:
    return None


def _raises_nothing(conn: Posting) -> None:
    conn.due.clear()
