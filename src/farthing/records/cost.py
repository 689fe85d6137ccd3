"""What units cost, and what a call cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from farthing.records.fees import Fee
from farthing.records.shown import Shown
from farthing.records.usage import Usage

__all__ = ["Band", "Cost", "CostLine", "CostSource", "RateStatus", "Rates", "Unit"]

CostSource = Literal["reported", "priced", "free", "partial", "unpriced", "none"]
RateStatus = Literal["priced", "free", "unpriced"]
Unit = Literal[
    Fee,
    "input",
    "cached",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_cached",
    "audio_output",
    "image_input",
    "image_output",
    "citation",
    "training",
    "image_gen_input",
    "image_gen_output",
    "svg_input",
    "svg_output",
    "request",
    "second",
    "character",
    "image",
]
"""What a rate is for. `input` and `output` price what no more specific unit prices; a `Fee` is billed beside
them, and so is what another model did (`image_gen_*`, `svg_*`)."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Band(Shown):
    """Rates of whole requests whose input is larger than `above` tokens (a cliff, not a margin)."""

    above: int
    prices: Mapping[str, int | Fraction]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Rates(Shown):
    """What a model costs at an instant.

    Attributes:
        provider, model: whose rates these are, as the source names them.
        prices: unit -> pico-dollars for one unit (a Fraction where that is no integer), for requests
            in no band.
        bands: rates of long requests, ascending by `above`.
        status: "priced", "free" (somebody stated a zero) or "unpriced".
        source: where they come from, with its version ("genai-prices 0.2.3").
        starts_at, ends_at: from when until when they hold, where the source says so.
        tier: the service tier that they are of; None is standard.
        notes: what a reader must know, such as a multiplier that was applied.
        flags: of the row that is priced with them ("multiplier").
        region, base_url: where alone they hold: calls that are processed there, or sent there.
    """

    provider: str | None
    model: str
    prices: Mapping[str, int | Fraction] = field(default_factory=dict)
    bands: tuple[Band, ...] = ()
    status: RateStatus = "priced"
    source: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    tier: str | None = None
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    region: str | None = None
    base_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CostLine(Shown):
    """One unit of a cost: `quantity` x `rate` (USD for one unit) = `amount` (USD, exact, not rounded)."""

    unit: str
    quantity: int | Decimal
    rate: Decimal
    amount: Decimal

    @classmethod
    def of(cls, unit: str, quantity: int | Decimal, rate: Decimal, amount: Decimal) -> CostLine:
        """All fields in their order: half the time of the keywords, and each call has a few."""
        new = object.__new__(cls)
        _unit(new, unit)
        _quantity(new, quantity)
        _rate(new, rate)
        _amount(new, amount)
        return new


_unit, _quantity, _rate, _amount = (
    vars(CostLine)[name].__set__ for name in ("unit", "quantity", "rate", "amount")
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cost(Shown):
    """What a call cost.

    Attributes:
        usd: USD; None if the cost is unknown. `partial` is a lower bound.
        nano: the same in nano-dollars.
        cost_source: "reported" (the provider stated it), "priced", "free" (somebody stated a zero),
            "partial" (a unit has no price; `notes` name it), "unpriced" (unknown), "none" (an error).
        lines: one for each unit, exact.
        rates: what it was priced with; None where nothing was.
        usage: what was priced.
        notes: sentences for a reader.
    """

    usd: Decimal | None
    nano: int | None
    cost_source: CostSource
    lines: tuple[CostLine, ...] = ()
    rates: Rates | None = field(default=None, repr=False)
    usage: Usage | None = None
    notes: tuple[str, ...] = ()
