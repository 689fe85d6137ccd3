"""What a finished call left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from farthing.records.cost import Cost, CostSource
from farthing.records.shown import Shown
from farthing.records.usage import Usage, UsageSource

__all__ = ["CONTEXTS", "FLAGS", "OPERATIONS", "OUTCOMES", "Context", "Operation", "Outcome", "Receipt"]

Outcome = Literal["complete", "aborted", "error", "unknown", "expired"]
Operation = Literal[
    "chat",
    "responses",
    "completion",
    "embedding",
    "image",
    "speech",
    "transcription",
    "translation",
    "moderation",
    "video",
    "batch",
    "other",
]
Context = Literal["customer", "system"]

OUTCOMES: tuple[Outcome, ...] = ("complete", "aborted", "error", "unknown", "expired")
OPERATIONS: tuple[Operation, ...] = (
    "chat",
    "responses",
    "completion",
    "embedding",
    "image",
    "speech",
    "transcription",
    "translation",
    "moderation",
    "video",
    "batch",
    "other",
)
CONTEXTS: tuple[Context, ...] = ("customer", "system")
FLAGS: tuple[str, ...] = (
    "overrun",
    "lost_attempts",
    "unpriced_allowed",
    "unbounded_allowed",
    "ledger_error",
    "spilled",
    "recorded",
    "imported",
    "repriced",
    "corrected",
    "clamped",
    "suspect",
    "cap_ignored",
    "multiplier",
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Receipt(Shown):
    """What a finished call left in the ledger.

    Attributes:
        id: of the call; rises with the instant of its reserve.
        account, context, tags, run: whom it is booked on.
        provider, requested_model, model: who served it, what was asked for and what was served.
        operation, service_tier: what kind of call, at which tier it was served.
        outcome: "complete", "aborted", "error" (not billed), "unknown" (may have been billed), "expired".
        attempts: how often the SDK sent it.
        usage, usage_source: what it was billed on, and who says so.
        cost: USD, the best figure for the bill; None if it is unknown.
        counted: USD that budgets were charged: `cost`, or more while the cost is uncertain.
        cost_source, breakdown: where the cost comes from, and its lines.
        held: USD that were set aside while it ran.
        overrun: USD that it cost above its hold.
        capped_at: the output cap that farthing wrote into the request; None if it wrote none.
        fallback_from: the model that was asked for, if another one was called.
        started_at: when it was reserved (aware, UTC); `duration` until it ended.
        request_id, response_id: as the provider gave them.
        transaction_id: as the caller gave it.
        error: the class of the error that ended it.
        flags: from a closed set, `records.FLAGS`.
    """

    id: str
    account: str
    context: Context = "customer"
    tags: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None
    provider: str | None = None
    requested_model: str | None = None
    model: str | None = None
    operation: Operation = "other"
    service_tier: str | None = None
    outcome: Outcome = "complete"
    attempts: int = 1
    usage: Usage | None = None
    usage_source: UsageSource = "reported"
    cost: Decimal | None = None
    counted: Decimal | None = None
    cost_source: CostSource = "priced"
    breakdown: Cost | None = field(default=None, repr=False)
    held: Decimal | None = None
    overrun: Decimal | None = None
    capped_at: int | None = None
    fallback_from: str | None = None
    started_at: datetime | None = None
    duration: timedelta | None = None
    request_id: str | None = None
    response_id: str | None = None
    transaction_id: str | None = None
    error: str | None = None
    flags: tuple[str, ...] = ()
