"""A connection that writes: what it is set to, how long its log is, what to look at before a commit."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any, Final

__all__ = ["Posting"]

_COMMITS: Final = 1_500
"""After so many, those who must not wait leave the checkpoint to somebody who may: well before SQLite's own
turn comes at 16,000 pages, of which a commit has two and more."""


_COUNT: Final = """INSERT INTO meta (key, number) VALUES ('checkpoints', 1)
ON CONFLICT (key) DO UPDATE SET number = number + 1"""
"""Something that changes a page: SQLite would not write what is as it was."""


class Posting(sqlite3.Connection):
    """A connection of the writer.

    Attributes:
        due: windows in which the transaction has reached the amount at which the next alert is due.
        full: whether a commit survives a power cut.
        seconds: that it waits for programs which lock the file without the lock file.
        commits: since the last checkpoint that was made on purpose.
        is_due: whether the next writer who may wait is to make one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        due: set[int] = set()
        self.due = due
        self.full = True
        self.seconds = -1.0
        self.commits = 0
        self.is_due = False

        # Not one of Python's: a signal handler that raised in it would be SQLite's error of the statement.
        self.create_function("alert_due", 1, due.add)

    def suit(self, *, full: bool, seconds: float) -> None:
        """Have commits survive a power cut or only the end of the process, and transactions wait so long for
        those of other programs."""
        if full is not self.full:
            self.execute("PRAGMA synchronous = FULL" if full else "PRAGMA synchronous = NORMAL")
            self.full = full
        if seconds != self.seconds:
            self.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
            self.seconds = seconds

    def is_long(self) -> bool:
        """Whether the log has grown so much that a commit may have to write all of it back, and to wait for
        the disk."""
        self.is_due = self.commits >= _COMMITS
        return self.is_due

    def checkpoint(self) -> None:
        """Write the log back, as far as readers let it be, and begin it anew: whoever does that waits for its
        head to be synced."""
        self.is_due, self.commits = False, 0
        with contextlib.suppress(sqlite3.Error):  # what was to be written is committed; SQLite tries again
            self.execute("PRAGMA wal_checkpoint (PASSIVE)").fetchone()
            self.execute(_COUNT)
