"""A disk that forgets what was not synced, under SQLite: a VFS that keeps what would survive a power cut.

The files are real, and SQLite reads and writes them as ever. Beside each stands its durable content (as of
its last xSync) and the writes since. At a cut, of those writes any sectors are there and any are not, in any
order, whatever the file's new length; a file that was never synced may be missing. A sector of 512 bytes is
written whole or not at all, and no other byte changes: that is what SQLite takes for granted by default
(https://sqlite.org/psow.html).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import apsw

SECTOR = 512
NAME = "cut"

Write = tuple[int, bytes | None]
"""Where, and what; None for a truncation to that length."""


@dataclass
class Content:
    """What of a file is durable, and what was written to it since."""

    durable: bytearray
    synced: bool
    pending: list[Write] = field(default_factory=list)

    def sync(self) -> None:
        """All of it is durable."""
        for write in self.pending:
            _apply(self.durable, *write)
        self.pending.clear()
        self.synced = True

    def after_a_cut(self, rng: random.Random) -> bytes | None:
        """What the next boot finds; None for no file."""
        survives = rng.choice((0.0, 0.3, 0.7, 0.95, 1.0))
        if not self.synced and rng.random() >= survives:
            return None
        found = bytearray(self.durable)
        for offset, data in self.pending:
            if data is None:
                if rng.random() < survives:
                    _apply(found, offset, None)
                continue
            start = offset
            while start < offset + len(data):
                end = min(offset + len(data), (start // SECTOR + 1) * SECTOR)
                if rng.random() < survives:
                    _apply(found, start, data[start - offset : end - offset])
                start = end
        return bytes(found)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class Disk(apsw.VFS):
    """Registered as `NAME`. `before_event` is called before each write, truncation and sync."""

    def __init__(self) -> None:
        self.files: dict[Path, Content] = {}
        self.syncs: Counter[str] = Counter()
        self.before_event: Callable[[], None] = lambda: None
        super().__init__(NAME, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  apsw's
        """A file of SQLite's; only the database and its log are watched."""
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        if text is None or not flags[0] & (apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL):
            return apsw.VFSFile("", name, flags)
        path = Path(text)
        if path not in self.files:
            there = path.exists()
            self.files[path] = Content(bytearray(path.read_bytes() if there else b""), there)
        return _File(self, self.files[path], path.suffix, name, flags)

    def cut(self, folder: Path, rng: random.Random) -> None:
        """Write what the next boot would find into a folder."""
        folder.mkdir()
        for path, content in self.files.items():
            found = content.after_a_cut(rng)
            if found is not None:
                (folder / path.name).write_bytes(found)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: Disk, content: Content, kind: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._content = content
        self._kind = kind

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  apsw's
        self._disk.before_event()
        self._content.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.before_event()
        self._content.pending.append((newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.before_event()
        self._content.sync()
        self._disk.syncs[self._kind] += 1
