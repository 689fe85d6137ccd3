"""Word that a budget is being used up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from farthing.records.shown import Shown

__all__ = ["Alert"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Alert(Shown):
    """What was spent in a window of a budget has reached a share of its limit.

    Attributes:
        id: unique; the same alert may be delivered more than once, under the same id.
        budget: its name, or `surface|account|period`.
        key: which of its windows: "" or the account, the value of the tag, the id of the run.
        threshold: the share of the limit, one of `Budget.alerts`.
        limit, spent, held: USD, when it was reached; `held` by running calls.
        starts_at, ends_at: of the window (aware, UTC); None where it does not end by itself.
        raised_at: when it was reached (aware, UTC).
    """

    id: str
    budget: str
    key: str = ""
    threshold: float
    limit: Decimal
    spent: Decimal
    held: Decimal
    starts_at: datetime | None
    ends_at: datetime | None
    raised_at: datetime
