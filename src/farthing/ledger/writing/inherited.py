"""What a forked child has of its parent's connections.

Left open, they would make SQLite believe that the child holds the locks which only the parent has, and take
none: the parent's close would then remove the log under it. Their close takes nothing from the parent, whose
locks keep it from the log; but it needs locks of SQLite's own, one of which any thread of the parent may have
held at the fork. So nothing is closed before the child opens a ledger itself, and never at its end.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from farthing.forks import renewed_in_children

_keep: Callable[[Any], object]
try:
    from _ctypes import Py_INCREF as _keep
except ImportError:  # another Python
    _keep = list[Any]().append

__all__ = ["close_inherited", "leave_alone", "put_by"]

_put_by: Final[list[sqlite3.Connection]] = []
_lock = threading.Lock()
renewed_in_children(sys.modules[__name__], _lock=threading.Lock)


def leave_alone(conn: sqlite3.Connection) -> None:
    """Never close it: it is in the middle of what the parent is doing, in memory that both share."""
    _keep(conn)


def put_by(conn: sqlite3.Connection) -> None:
    """Nothing was written or read through it at the fork: `close_inherited` may close it."""
    leave_alone(conn)
    _put_by.append(conn)


def close_inherited() -> None:
    """To be called before this process opens a ledger."""
    if _put_by:
        with _lock:
            while _put_by:
                with contextlib.suppress(sqlite3.Error):
                    _put_by[-1].close()
                _put_by.pop()
