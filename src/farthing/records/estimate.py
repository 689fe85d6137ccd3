"""What is known of a call before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from farthing.records.shown import Shown

__all__ = ["Affordability", "Candidate", "Estimate", "Method"]

Method = Literal["exact", "approximate", "heuristic"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Estimate(Shown):
    """What a call would cost.

    Attributes:
        expected: USD for the expected input and, where `max_output_tokens` was given, that much output;
            None if the model has no price.
        upper: USD that the guard would hold; None if the model has no price.
        input_tokens, input_tokens_upper: expected and at most.
        method: how the input was counted: "exact", "approximate" or "heuristic".
    """

    expected: Decimal | None
    upper: Decimal | None
    input_tokens: int
    input_tokens_upper: int
    max_output_tokens: int | None = None
    method: Method = "heuristic"
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Candidate(Shown):
    """A model that was asked about, with its estimate."""

    model: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Affordability(Shown):
    """Whether all budgets that would bind a call have room for it. Truthy if so.

    Attributes:
        affordable: the answer.
        unknown: True if the ledger could not say; then `affordable` is True.
        remaining: USD left in the tightest budget; None without one.
        limited_by: the name of that budget.
        as_of: when the ledger was asked.
    """

    affordable: bool
    unknown: bool = False
    remaining: Decimal | None = None
    limited_by: str | None = None
    as_of: datetime | None = None

    def __bool__(self) -> bool:
        return self.affordable
