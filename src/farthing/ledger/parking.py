"""Calls that wait for a later answer, of whichever process: what a ledger promises about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farthing.ledger.store import Grant

__all__ = ["JobRef", "Parked", "Parking"]


@dataclass(frozen=True, slots=True)
class JobRef:
    """What a provider knows a job by.

    Attributes:
        address: base URL of the provider, without credentials.
        kind: "batch", "video", ...: ids of two kinds are never compared.
        id: as the provider gave it.
    """

    address: str
    kind: str
    id: str


@dataclass(slots=True)
class Parked:
    """A call that a later answer may end.

    Attributes:
        grant: to settle it with.
        notes: what was kept of its request.
        open: False if it has expired or was booked as unknown, so that only a certain end is news.
    """

    ref: JobRef
    grant: Grant
    notes: Mapping[str, str]
    open: bool


class Parking(Protocol):
    """The verbs for work that is billed later than its first answer."""

    def park(self, grant: Grant, ref: JobRef, until_ns: int, notes: Mapping[str, str]) -> None:
        """Let a pending call belong to no process, and wait for its result until `until_ns`: then `expire`
        books it as any other. One that has ended already is only remembered, for a late settle."""
        ...

    def parked(self, refs: Sequence[JobRef]) -> list[Parked]:
        """Those of these jobs whose call has no certain end yet. Where several calls were given the same job,
        the oldest open one stands for them. Reads only."""
        ...
