"""What an answer says of itself as what is to be paid for: one step, or several at rates of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from farthing import money, pricing
from farthing.records import Cost, CostSource, Rates, Usage
from farthing.usage import MANY, Part, Reading

__all__ = ["as_asked", "billed", "charged", "region_of", "steps_of"]

RatesOf = Callable[[str], Rates]
"""The rates of a further model, at the same provider, instant and tier."""


def steps_of(reading: Reading, rates: Rates, rates_of: RatesOf) -> list[pricing.Step]:
    """What is priced, step by step: compaction and advice are, each at its own model's rates
    (`Reading.parts`); what the whole answer states beside them comes last."""
    if not reading.parts:
        return [(reading.usage, rates, reading.units)]
    steps: list[pricing.Step] = [
        (part.usage, _without_bands(part, rates if part.model is None else rates_of(part.model)), None)
        for part in reading.parts
    ]
    whole = reading.usage or Usage()
    searches = (whole.web_searches or 0) - sum(part.usage.web_searches or 0 for part in reading.parts)
    if searches > 0 or reading.units:
        steps.append((Usage.trusted(web_searches=max(searches, 0)), rates, reading.units))
    return steps


def billed(reading: Reading, rates: Rates, rates_of: RatesOf) -> tuple[int | None, CostSource, bool]:
    """What an answer cost, as of `pricing.total` (the provider's own figure where it states one), and whether
    that is more than a call can cost: then it is unknown, as what it is the sum of cannot be true."""
    cost: int | None
    source: CostSource
    if reading.reported_nano is not None:
        cost, source = reading.reported_nano, "reported"
    elif not reading.parts:
        cost, source, _ = pricing.total(reading.usage, rates, reading.units)
    else:
        cost, source, _ = pricing.total_of(steps_of(reading, rates, rates_of))
        if source == "priced" and _may_be_long(reading, rates, rates_of):
            source = "partial"
    if cost is not None and cost > money.MAX_CALL:
        return None, "unpriced", True
    return cost, source, False


def _may_be_long(reading: Reading, rates: Rates, rates_of: RatesOf) -> bool:
    """Whether one of the requests that a part is the sum of may have reached a band of dearer, longer input:
    what they come to without it is a lower bound."""
    return any(
        _is_ambiguous(part, rates if part.model is None else rates_of(part.model)) for part in reading.parts
    )


def _is_ambiguous(part: Part, rates: Rates) -> bool:
    read = part.usage.input_tokens or 0
    return part.kind == MANY and any(read > band.above for band in rates.bands)


def _without_bands(part: Part, rates: Rates) -> Rates:
    return replace(rates, bands=()) if _is_ambiguous(part, rates) else rates


_NOTED_MOST: Final = 1_000
_noted: Final[dict[tuple[int, str], tuple[Rates, Rates]]] = {}
"""With the rates that are kept alive by it, so that no others have their id."""


def region_of(stated: Mapping[str, Any] | None) -> str | None:
    """Where a request wants its answer made, or the units of an answer say that it was, if not anywhere:
    Anthropic's `inference_geo`."""
    region = stated.get("inference_geo") if stated else None
    return region if isinstance(region, str) else None


def as_asked(rates: Rates, served: str) -> Rates:
    """The rates of the asked model for the answer of another that has no price, with a note that says so.

    The same object for the same rates and name, as the catalog gives: the ledger knows rates by it.
    """
    if rates.status == "unpriced":
        return rates
    known = _noted.get((id(rates), served))
    if known is None:
        note = (
            f"no price is known of {served!r}, which answered: priced as {rates.model!r}, which was asked for"
        )
        known = rates, replace(rates, notes=(*rates.notes, note))
        if len(_noted) >= _NOTED_MOST:
            _noted.clear()
        _noted[id(rates), served] = known
    return known[1]


def charged(reading: Reading, rates: Rates, rates_of: RatesOf) -> Cost:
    """The same with its lines."""
    cost = pricing.price_of(
        steps_of(reading, rates, rates_of), reading.usage, reported_nano=reading.reported_nano
    )
    if cost.cost_source == "priced" and _may_be_long(reading, rates, rates_of):
        note = "long input may have been dearer, and only the sum of the requests is known: a lower bound"
        return replace(cost, cost_source="partial", notes=(*cost.notes, note))
    return cost
