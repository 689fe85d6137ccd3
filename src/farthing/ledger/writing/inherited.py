"""What a forked child has of its parent's connections.

Left open, they would make SQLite believe that the child holds the locks which only the parent has, and take
none: the parent's close would then remove the log under it. Their close takes nothing from the parent, whose
locks keep it from the log; but it needs locks of SQLite's own, one of which any thread of the parent may have
held at the fork. So nothing is closed before the child opens a ledger itself, and never at its end.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from farthing.forks import renewed_in_children

try:
    import fcntl
except ImportError:  # Windows, which has no forks
    fcntl = None  # type: ignore[assignment]

_keep: Callable[[Any], object]
try:
    from _ctypes import Py_INCREF as _keep
except ImportError:  # another Python
    _keep = list[Any]().append

__all__ = ["close_inherited", "leave_alone", "put_by"]

_LOCK_OF_OPEN_FILE: Final[Any] = getattr(fcntl, "F_OFD_SETLK", None)
_SHARED: Final = (0x40000002, 510)
"""The bytes of a file that SQLite locks, to read it or to have it for itself (sqlite.org/fileformat.html)."""

_put_by: Final[list[tuple[sqlite3.Connection, str]]] = []
_lock = threading.Lock()
renewed_in_children(sys.modules[__name__], _lock=threading.Lock)


def leave_alone(conn: sqlite3.Connection) -> None:
    """Never close it: it is in the middle of what the parent is doing, in memory that both share."""
    _keep(conn)


def put_by(conn: sqlite3.Connection, where: str) -> None:
    """Nothing was written or read through it at the fork: `close_inherited` may close it. Where it could not
    do so safely, it is closed now, while the parent has the ledger open."""
    leave_alone(conn)
    if _LOCK_OF_OPEN_FILE is None and not hasattr(conn, "setconfig"):
        _close(conn)
    else:
        _put_by.append((conn, where))


def close_inherited() -> None:
    """To be called before this process opens a ledger.

    Raises:
        OSError: if a file cannot be opened.
    """
    if _put_by:
        with _lock:
            while _put_by:
                conn, where = _put_by[-1]
                with _not_the_last(conn, where):
                    _close(conn)
                _put_by.pop()


def _close(conn: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        conn.close()


@contextlib.contextmanager
def _not_the_last(conn: sqlite3.Connection, where: str) -> Iterator[None]:
    """Whoever closes a ledger as the last one removes its log, by name. If the parent has closed it since the
    fork, that may be the log of a process that was killed, with commits that are nowhere else."""
    if hasattr(conn, "setconfig"):  # since Python 3.12
        conn.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)  # type: ignore[attr-defined]  # noqa: FBT003
        yield
        return
    try:
        fd = os.open(where, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:  # moved, which SQLite sees itself
        yield
        return
    try:
        # Such a lock is in the way of this process's own, too: fcntl(2), "Open file description locks".
        with contextlib.suppress(BlockingIOError):  # somebody has it for himself
            lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, *_SHARED, 0)
            fcntl.fcntl(fd, _LOCK_OF_OPEN_FILE, lock)
        yield
    finally:
        os.close(fd)
