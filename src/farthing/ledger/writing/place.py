"""Where a ledger lies: what has to be known of its file before SQLite opens it, and without opening it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Final, NamedTuple

from farthing.errors import LedgerError

__all__ = ["make_file", "prepare", "refuse_other_names"]

_NETWORK: Final = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.ceph",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.mount-s3",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "fuse.vmhgfs-fuse",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
        "vboxsf",
    }
)
"""Types of mounts of which several hosts, or a host and its guest, see the files: what one of them maps into
memory the other does not see (https://sqlite.org/wal.html#overview)."""


def prepare(path: str) -> None:
    """Make the folders (0700) where there are none.

    Raises:
        LedgerError: on a network file system, on which SQLite's shared memory does not work, and of a file
            that is mounted by itself, whose log is another one on each side.
    """
    folder = Path(path).parent
    for each in reversed([folder, *folder.parents]):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)
    mounts = _mounts()
    if any(mount.point == path for mount in mounts):
        raise LedgerError(
            f"{path} is mounted by itself: SQLite keeps its log beside it, where the other side does not see "
            "it. Mount the folder that it is in."
        )
    device = folder.stat().st_dev
    kind = next((mount.kind for mount in mounts if mount.device == device), None)
    if kind in _NETWORK:
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


def refuse_other_names(path: str, stat: os.stat_result) -> None:
    """See that a file has but one name.

    Raises:
        LedgerError: if programs could open it by different names: each name has a log and a lock of its own.
    """
    if stat.st_nlink > 1:
        raise LedgerError(
            f"{path} has {stat.st_nlink} names (hard links): programs that use different ones would not see "
            "each other. Remove all but one."
        )


_ESCAPED: Final = re.compile(r"\\(\d{3})")


class _Mount(NamedTuple):
    device: int
    point: str
    kind: str


def _mounts() -> list[_Mount]:
    """What is mounted, where Linux says so
    (https://www.kernel.org/doc/html/latest/filesystems/proc.html#proc-pid-mountinfo)."""
    if not sys.platform.startswith("linux"):
        return []
    try:
        told = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in told.splitlines():
        left, _, right = line.partition(" - ")
        _, _, numbers, _, point, *_ = left.split(" ")
        major, minor = map(int, numbers.split(":"))
        kind = right.split(" ", 1)[0]
        found.append(_Mount(os.makedev(major, minor), _ESCAPED.sub(_unescaped, point), kind))
    return found


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 8))
