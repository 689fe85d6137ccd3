"""Upkeep of a ledger: what it promises about copies and about leaving out what is old."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Keeping", "Waiting"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What lies beside a ledger.

    Attributes:
        calls: that were spilled.
        bad: files with lines that cannot be booked, of whichever ledger.
    """

    calls: int
    bad: tuple[str, ...]


class Keeping(Protocol):
    """The verbs of upkeep."""

    read_only: bool
    """True if it was opened to ask only; then everything that writes raises `LedgerError`."""

    def backup(self, target: str) -> int:
        """Write a sound and compact copy to `target`, which must not be there; its size in bytes. Programs go
        on writing meanwhile: it is the ledger as it was at one instant. The file is the user's alone (0600).

        Raises:
            LedgerError: if it cannot be written (`LedgerFull` without room), or is there already.
        """
        ...

    def sizes(self) -> dict[str, int]:
        """Bytes by table, indexes included, largest first; empty where SQLite was built without `dbstat`."""
        ...

    def locked(self) -> bool | None:
        """Whether somebody is writing at this moment, or holds the lock file; None if there is none."""
        ...

    def spill(self) -> Waiting:
        """What was spilled and is not booked yet."""
        ...

    def prune(self, before_day: int) -> int:
        """Delete the finished calls of the days (since 1970, UTC) before this one; how many there were.

        Sums by day, what windows have spent and the keys of `transaction_id`s stay; so does the window of a
        run, until the run has made no call for 30 days, none of which is left. In small commits, so that
        others can write in between.
        """
        ...
