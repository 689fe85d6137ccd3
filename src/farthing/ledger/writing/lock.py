"""The lock file beside a ledger, and what else can be known of files without opening the database.

SQLite's own busy handler sleeps and polls and so starves writers; all writes, checkpoints, migrations and
closes of all processes pass one exclusive lock on `<ledger>.lock` instead. It also keeps two connections
from writing and checkpointing at the same instant, which can corrupt a database before SQLite 3.51.3
(https://sqlite.org/wal.html#walresetbug). The lock file is never unlinked: whoever holds the old one would
be alone with it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Final

from farthing.errors import LedgerError, LedgerLocked, LedgerMoved

__all__ = ["Busy", "FileLock", "make_file", "network_file_system", "try_lock"]

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
_NETWORK: Final = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
        "gpfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.gcsfuse",
    }
)


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


def network_file_system(path: str) -> str | None:
    """The type of the network file system that `path` is on, where Linux can tell; else None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        device = os.stat(Path(path).parent).st_dev  # noqa: PTH116  a str, on the hot path
        wanted = f"{os.major(device)}:{os.minor(device)}"
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for mount in mounts.splitlines():
        left, _, right = mount.partition(" - ")
        if left.split(" ", 3)[2] == wanted:
            kind = right.split(" ", 1)[0]
            return kind if kind in _NETWORK else None
    return None


def prepare(path: str) -> None:
    """Make the folder (0700) where there is none.

    Raises:
        LedgerError: on a network file system, on which SQLite's shared memory does not work.
    """
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if kind := network_file_system(path):
        raise LedgerError(
            f"{path} is on a network file system ({kind}), where SQLite cannot keep several processes apart; "
            "put the ledger on a local disk, or in PostgreSQL by its URL."
        )


def make_file(path: str) -> None:
    """Make an empty file (0600) where there is none. One that is there is left to SQLite: this process may
    have it open already, by the program's own means, too, and to close it would drop their locks.

    Raises:
        LedgerError: for a folder.
    """
    if Path(path).is_dir():
        raise LedgerError(f"{path} is a folder; a ledger is a file.")
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
