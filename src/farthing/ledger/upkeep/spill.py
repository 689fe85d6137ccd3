"""Files for calls that cannot be written into the ledger now: one for each process and ledger.

A file is only appended to, by the process that has it locked; when that has died its lock is free, and the
next process that opens the ledger takes its lines in. So nobody asks whether a process lives by its number,
and no line is brought by two at once. Each line has a checksum (CRC-32), the id of the ledger if it was known
(else its path), the owner of the file, the line's number and the instant; what is torn is kept as `.bad`.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from farthing.errors import LedgerCorrupt, LedgerError
from farthing.forks import finished_before_forks
from farthing.ledger.keeping import Waiting
from farthing.ledger.spilled import Spilled, from_document, to_document
from farthing.ledger.writing.lock import try_lock
from farthing.struck import pass_on

__all__ = ["Line", "SpillFile", "folders", "is_at", "left_behind", "line_of", "openings", "waiting"]

SUFFIX: Final = ".spill"
BAD: Final = ".bad"
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_MODE: Final = 0o600

_lock = threading.RLock()
finished_before_forks(sys.modules[__name__], "_lock")


@dataclass(slots=True)
class Line:
    """One line as it stands in a file; `spilled` is None if it cannot be read."""

    raw: bytes
    spilled: Spilled | None = None
    ledger_id: str | None = None
    path: str | None = None

    def belongs_to(
        self, ledger_id: str, path: str, elsewhere: Callable[[str, str], bool] | None = None
    ) -> bool:
        """Whether it is of the ledger with this id at this path. One that was written before the ledger could
        be opened goes by the path.

        Args:
            elsewhere: whether a ledger is at another path, `is_at` by default: a copy has the id of the
                ledger that it was made of, and must not take what is that one's.
        """
        if not self.ledger_id or self.path == path:
            return self.path == path and self.ledger_id in {None, "", ledger_id}
        elsewhere = elsewhere or is_at
        return self.ledger_id == ledger_id and not (
            self.path and not _is_same(self.path, path) and elsewhere(self.path, ledger_id)
        )


def is_at(path: str, ledger_id: str) -> bool:
    """Whether the ledger with this id is at a path; True, too, if nobody can tell now."""
    from farthing.ledger.upkeep.readonly import id_at  # noqa: PLC0415  a ledger, which has this

    try:
        return id_at(path) == ledger_id
    except LedgerCorrupt:  # it can take nothing in
        return False
    except LedgerError:
        return True


def _is_same(path: str, other: str) -> bool:
    try:
        return Path(path).samefile(other)
    except OSError:
        return False


def line_of(  # noqa: PLR0917  the fields of a line
    spilled: Spilled, ledger_id: str | None, path: str, owner: str, number: int, at_ns: int
) -> bytes:
    """A line, its end of line included."""
    head = {"ledger_id": ledger_id, "path": path, "owner": owner, "n": number, "at": at_ns}
    body = json.dumps([head, to_document(spilled)], separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


def parsed(raw: bytes) -> Line:
    """A line of a file."""
    try:
        checksum, body = raw[:8], raw[9:]
        if int(checksum, 16) != zlib.crc32(body):
            return Line(raw)
        head, call = json.loads(body)
        spilled = from_document(call)
        return Line(raw, spilled, head["ledger_id"], head["path"])
    except Exception as error:  # noqa: BLE001  whatever another release may have written
        pass_on(error)
        return Line(raw)


def folders(ledger: str) -> list[Path]:
    """Where spills of a ledger may lie: the user's state folder, beside the ledger, the temporary folder."""
    import platformdirs  # noqa: PLC0415  only where something is spilled

    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    found = [Path(ledger).parent]
    with contextlib.suppress(OSError), _lock:  # tempfile has one, too, which would stay taken in a child
        found.append(Path(tempfile.gettempdir()) / f"farthing-{user}")
    with contextlib.suppress(OSError, RuntimeError):
        found.insert(0, platformdirs.user_state_path("farthing", appauthor=False) / "spill")
    return found


def waiting(ledger: str, ledger_id: str) -> Waiting:
    """What lies in the files, also in those of processes that live; nothing is locked."""
    calls: set[str] = set()
    gone: set[str] = set()
    bad: list[str] = []
    elsewhere = cache(is_at)
    for folder in dict.fromkeys(folders(ledger)):
        try:
            found = sorted(folder.iterdir())
        except OSError:
            continue
        bad += [str(path) for path in found if path.suffix == BAD]
        for path in found:
            if path.suffix != SUFFIX:
                continue
            with contextlib.suppress(OSError), path.open("rb") as file:
                for raw in file:
                    line = parsed(raw.rstrip(b"\n"))
                    if line.spilled is not None and line.belongs_to(ledger_id, ledger, elsewhere):
                        of_it = gone if line.spilled.state == "gone" else calls
                        of_it.add(line.spilled.reservation.id)
    return Waiting(len(calls - gone), tuple(bad))


class SpillFile:
    """A file that this process has locked.

    Raises:
        OSError: if it cannot be made, opened or locked.
    """

    def __init__(self, path: Path, *, made: bool) -> None:
        self.path = path
        if made:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | _CLOEXEC | _NOFOLLOW | (os.O_CREAT | os.O_EXCL if made else 0)
        self._fd = os.open(path, flags, _MODE)
        try:
            self._check()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def closed(self) -> bool:
        """Whether it was removed, or left to others."""
        return self._fd < 0

    def _check(self) -> None:
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode) or (hasattr(os, "geteuid") and found.st_uid != os.geteuid()):
            raise PermissionError(f"{self.path} is not the user's own file")
        if not try_lock(self._fd) or not os.fstat(self._fd).st_nlink:
            raise BlockingIOError(f"{self.path} belongs to another process")

    def append(self, line: bytes) -> None:
        """Add a line whole, or leave the file as it is.

        Raises:
            OSError: if there is no room.
        """
        before = os.fstat(self._fd).st_size
        written = os.write(self._fd, line)
        if written != len(line):
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, before)
            raise OSError(f"{self.path}: {written} of {len(line)} bytes were written")

    def lines(self) -> Iterator[Line]:
        """All lines, from the first."""
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for raw in file:
                stripped = raw.rstrip(b"\n")
                if stripped:
                    yield parsed(stripped) if raw.endswith(b"\n") else Line(stripped)

    def keep(self, lines: Sequence[bytes]) -> None:
        """Keep lines that cannot be booked, beside the file."""
        if lines:
            fd = os.open(
                self.path.with_suffix(BAD),
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | _CLOEXEC | _NOFOLLOW,
                _MODE,
            )
            with os.fdopen(fd, "ab") as file:
                file.writelines(line + b"\n" for line in lines)

    def remove(self) -> None:
        """Everything in it is booked."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Leave it to whoever comes next. In a forked child the parent keeps the lock."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def openings(ledger: str, owner: str) -> Iterator[SpillFile]:
    """New files for this process, in each folder that takes one; whoever gets one closes or removes it."""
    for folder in folders(ledger):
        try:
            file = SpillFile(folder / f"{owner}{SUFFIX}", made=True)
        except OSError:
            continue
        yield file


def left_behind(ledger: str) -> Iterator[SpillFile]:
    """The files of processes that have ended, one after the other; whoever gets one closes or removes it."""
    for folder in dict.fromkeys(folders(ledger)):
        try:
            found = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
        except OSError:
            continue
        for path in found:
            try:
                file = SpillFile(path, made=False)
            except OSError:
                continue
            yield file
