"""Changes of finished calls: what a ledger promises about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from farthing.records import Rates, Usage

__all__ = ["Amending", "Correction", "Finished", "Kind", "Repricing"]

Kind = Literal["correct", "reprice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One change of a finished call: what it said before, and what it has said since.

    Attributes:
        call: its id.
        at_ns: when it was changed, in nanoseconds since 1970.
        kind: "correct" (somebody stated what it cost) or "reprice" (its price became known, or changed).
        reason: in words.
        outcome, cost, counted, cost_source, prices_version: from then on; amounts in nano-dollars, None if
            unknown.
        old_outcome, old_cost, old_counted, old_cost_source, old_prices_version: before.
        old_usage: the counts by column that were taken off a call which turned out not to be billed; None
            where they stayed.
    """

    call: str
    at_ns: int
    kind: Kind
    reason: str
    outcome: str
    cost: int | None
    counted: int
    cost_source: str
    prices_version: str | None
    old_outcome: str
    old_cost: int | None
    old_counted: int
    old_cost_source: str
    old_prices_version: str | None
    old_usage: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished call as far as its price goes; amounts in nano-dollars.

    Attributes:
        key: the ledger's own key of the row; keys rise with `started_ns`.
        asked: canonical name of the model in the request, whose name there is `requested_model`.
        model: that served it.
        rates: what it was priced with; None if nothing was.
        units: the counts without a column, by name.
        raw: the provider's usage object as JSON, where it was kept.
        is_job: it waited for the result of a job.
    """

    key: int
    id: str
    started_ns: int
    provider: str | None
    requested_model: str
    asked: str
    model: str
    operation: str
    service_tier: str | None
    outcome: str
    usage: Usage | None
    usage_source: str
    cost: int | None
    counted: int
    cost_source: str
    held: int
    rates: Rates | None
    units: Mapping[str, int | str]
    raw: str | None
    is_job: bool
    flags: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repricing:
    """What a finished call is to say from now on; nothing is changed if it is not as it `was` any more."""

    was: Finished
    cost: int | None
    counted: int
    cost_source: str
    rates: Rates
    reason: str


class Amending(Protocol):
    """The verbs that change finished calls. Windows follow `counted` (or the cost, where they charge the
    expected), totals follow the rows: both change on the day of the call. What it said before is kept."""

    def correct(self, call_id: str, *, cost: int | None = None, void: bool = False, reason: str) -> bool:
        """State what a finished call cost, in nano-dollars, or that it was not billed at all (`void`).

        From then on it is certain: no late settle and no repricing changes it, another correction does.
        False, with nothing written, if it says so already.

        Raises:
            UnknownCall: if there is no finished call with this id.
        """
        ...

    def finished(
        self, *, after: int = 0, start_ns: int | None = None, end_ns: int | None = None, limit: int = 500
    ) -> list[Finished]:
        """Calls that may have cost something and started in [start, end), by their keys, from the first that
        is larger than `after`."""
        ...

    def reprice(self, wanted: Sequence[Repricing]) -> list[bool]:
        """Change these, in several commits of a few milliseconds each; of each whether it was as expected."""
        ...

    def corrections(self, call_id: str) -> list[Correction]:
        """The changes of a call, oldest first; none of a call that there is not."""
        ...

    def uncertain(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Finished calls whose cost is unknown, a lower bound, or less than what is counted for them, newest
        first, as rows of the view `calls`. No other row is read."""
        ...
