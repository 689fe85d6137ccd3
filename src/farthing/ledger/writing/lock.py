"""The lock file beside a ledger.

SQLite's own busy handler sleeps and polls and so starves writers; all writes, checkpoints, migrations and
closes of all processes pass one exclusive lock on `<ledger>.lock` instead. It also keeps two connections
from writing and checkpointing at the same instant, which can corrupt a database before SQLite 3.51.3
(https://sqlite.org/wal.html#walresetbug). The lock file is never unlinked: whoever holds the old one would
be alone with it.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from farthing.errors import LedgerLocked, LedgerMoved

__all__ = ["Busy", "FileLock", "try_lock"]

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from None

    def _wait_for(fd: int) -> None:
        while True:
            try:
                return _lock(fd)
            except BlockingIOError:
                time.sleep(_FIRST_WAIT)

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
        except OSError:
            return  # it was not held

else:
    import fcntl

    _EXCLUSIVE: Final = fcntl.LOCK_EX | fcntl.LOCK_NB

    def _lock(fd: int) -> None:
        fcntl.flock(fd, _EXCLUSIVE)

    def _wait_for(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


_FIRST_WAIT: Final = 30e-6
_LONGEST_WAIT: Final = 5e-4


class Busy(Exception):
    """Somebody holds it, and the caller did not want to wait."""


def try_lock(fd: int) -> bool:
    """Lock an open file if nobody has; closing it, or the end of the process, gives it back."""
    try:
        _lock(fd)
    except BlockingIOError:
        return False
    return True


class FileLock:
    """An exclusive lock between processes. Threads of one process need a mutex of their own around it."""

    __slots__ = ("_fd", "_identity", "_path", "_where")

    def __init__(self, path: str, where: str) -> None:
        self._path = path
        self._where = where
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        stat = os.fstat(self._fd)
        self._identity = (stat.st_dev, stat.st_ino)

    def acquire(self, deadline: float | None) -> None:
        """Take it, at the latest at `deadline` of `time.monotonic`; None to take it only if it is free.

        Raises:
            LedgerLocked: if somebody holds it for longer.
            Busy: if it is not free.
        """
        try:
            _lock(self._fd)
        except BlockingIOError:
            if deadline is None:
                raise Busy from None
            self._wait(deadline)

    def wait(self) -> None:
        """Take it, however long that takes: the system wakes those that wait in their order. For a thread
        that nothing else depends on."""
        _wait_for(self._fd)

    def _wait(self, deadline: float) -> None:
        wait = _FIRST_WAIT
        while time.monotonic() < deadline:
            time.sleep(wait)
            try:
                _lock(self._fd)
            except BlockingIOError:
                wait = min(wait * 1.5, _LONGEST_WAIT)
            else:
                return
        raise LedgerLocked(f"Another program has held {self._where} for too long; nothing was written.")

    def check_place(self, ledger: tuple[int, int]) -> None:
        """See that the paths still lead to the files that were opened.

        Args:
            ledger: device and inode of the ledger.

        Raises:
            LedgerMoved: if they do not.
        """
        try:
            here, there = os.stat(self._where), os.stat(self._path)  # noqa: PTH116  a str, on the hot path
        except FileNotFoundError:
            raise LedgerMoved(
                f"{self._where} or its lock file has been removed or moved; open it anew."
            ) from None
        if (here.st_dev, here.st_ino) != ledger or (there.st_dev, there.st_ino) != self._identity:
            raise LedgerMoved(f"The file under {self._where} is another one than was opened; open it anew.")

    def release(self) -> None:
        """Give it back; harmless if it is not held."""
        _unlock(self._fd)

    def close(self) -> None:
        """Close the descriptor. In a forked child this is all that may be done: unlocking would unlock the
        parent, which shares the open file."""
        os.close(self._fd)
