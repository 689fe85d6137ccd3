"""What answers are made of. Money is `Decimal` USD; what is unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import Literal, TypedDict

from farthing import money
from farthing.ledger.amending import Kind
from farthing.ledger.store import Origin, Totals, WindowRow
from farthing.records import Budget, Receipt
from farthing.records.shown import Shown

__all__ = [
    "BudgetState",
    "Corrected",
    "ModelSpend",
    "Page",
    "Spend",
    "State",
    "Summary",
    "known_cost",
    "state_of",
    "used",
]

State = Literal["ok", "caution", "warning", "exhausted"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Spend(Shown):
    """Sums over the finished calls of one group.

    Attributes:
        group: what was asked by -> its value; None where it is unknown.
        calls: of every outcome; `errors` of them were not billed.
        input_tokens, cached_tokens, output_tokens: as far as they are known.
        cost: USD, the sum of the known costs; None if no call of the group has a known cost.
        counted: USD that budgets were charged.
        unpriced_calls: calls whose cost is unknown, so that `cost` is a lower bound.
        partial_calls: calls of whose cost only a part is known, so that `cost` is a lower bound.
        estimated_calls: calls whose cost rests on estimated counts.
    """

    group: Mapping[str, str | None]
    calls: int
    errors: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: Decimal | None
    counted: Decimal
    unpriced_calls: int
    estimated_calls: int
    partial_calls: int = 0

    @property
    def uncertain(self) -> Decimal:
        """USD that budgets were charged above the cost, for calls whose end is not certain."""
        return self.counted - (self.cost or 0)

    @property
    def cost_per_1k_tokens(self) -> Decimal | None:
        """USD for 1,000 tokens of input and output, to the nano-dollar; None where one is not known whole."""
        tokens = self.input_tokens + self.output_tokens
        if self.cost is None or self.unpriced_calls or self.partial_calls or not tokens:
            return None
        return money.usd(money.round_nano(Fraction(self.cost) * 1000 * money.PICO / tokens))


class ModelSpend(TypedDict):
    """One model of a summary: USD (None if no call has a known cost), and calls."""

    cost_usd: Decimal | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Summary(Shown):
    """All calls of a range at a glance.

    Attributes:
        total_cost_usd: the sum of the known costs; None if there are calls but no known cost.
        by_context: USD by "customer" and "system", both always there, whatever context was asked for.
        by_model: by the model that served.
        unpriced_calls: calls whose cost is unknown and in no sum.
        partial_calls: calls of whose cost only a part is known: sums with them are lower bounds.
        estimated_calls: calls whose cost rests on estimated counts.
        uncertain_usd: what budgets were charged above the cost, for calls whose end is not certain.
    """

    calls: int
    errors: int
    total_cost_usd: Decimal | None
    total_input_tokens: int
    total_output_tokens: int
    total_cached_tokens: int
    by_context: Mapping[str, Decimal | None]
    by_model: Mapping[str, ModelSpend]
    unpriced_calls: int
    estimated_calls: int
    uncertain_usd: Decimal
    partial_calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BudgetState(Shown):
    """One window of one budget now.

    Attributes:
        name: of the standing budget; an attached one shows its identity, such as "client|acme|day".
        attached: True if it was given to `wrap`, `track_usage` or `scope`.
        budget, origin: the standing budget and who set it; None for an attached one.
        key: which of its parallel windows: the account or the value of the tag of a budget `per` those, else
            "". None for such a budget of which no window is in use.
        limit, spent, held, remaining: USD; held by running calls; remaining is below zero once calls were
            billed above their holds.
        used_percent: `spent` of `limit`, cut (not rounded) to two digits; 100 for a limit of 0.
        state: by `spent`: "ok", "caution" from 75 %, "warning" from 90 %, "exhausted" from the limit on.
        uncertain: USD of `spent` above the cost of its calls.
        starts_at, resets_at: of the window (aware, UTC); None where nothing resets.
    """

    name: str
    attached: bool
    budget: Budget | None
    origin: Origin | None
    key: str | None
    limit: Decimal
    spent: Decimal
    held: Decimal
    remaining: Decimal
    used_percent: Decimal
    state: State
    uncertain: Decimal
    starts_at: datetime | None
    resets_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Corrected(Shown):
    """A change of a finished call: what it says since, and what it said before.

    Attributes:
        at: when it was changed (aware, UTC).
        kind: "correct" (somebody stated the cost) or "reprice" (its price became known, or changed).
        reason: in words.
        outcome, cost, counted, cost_source: as in `Receipt`; USD, None if unknown.
        old_outcome, old_cost, old_counted, old_cost_source: before.
    """

    at: datetime
    kind: Kind
    reason: str
    outcome: str
    cost: Decimal | None
    counted: Decimal
    cost_source: str
    old_outcome: str
    old_cost: Decimal | None
    old_counted: Decimal
    old_cost_source: str


class Page(list[Receipt]):
    """Calls, newest first. `cursor` asks for the next page; None if this is the last."""

    def __init__(self, calls: Iterable[Receipt], cursor: str | None) -> None:
        super().__init__(calls)
        self.cursor = cursor


def known_cost(totals: Totals) -> Decimal | None:
    """The sum of the known costs; None if there are calls that cost something and none is known."""
    if totals.unpriced and totals.unpriced == totals.calls - totals.errors and not totals.cost:
        return None
    return money.usd(totals.cost)


def used(spent: int, limit: int) -> Decimal:
    """Percent of a limit, cut so that 100 is shown only where it is reached."""
    if not limit:
        return Decimal(100)
    return Decimal(spent * 10_000 // limit).scaleb(-2).quantize(Decimal("0.01"), ROUND_DOWN)


def state_of(window: WindowRow) -> State:
    """How much of a window's limit is spent, in a word."""
    if window.spent >= window.limit:
        return "exhausted"
    if window.spent * 100 >= window.limit * 90:
        return "warning"
    return "caution" if window.spent * 100 >= window.limit * 75 else "ok"
