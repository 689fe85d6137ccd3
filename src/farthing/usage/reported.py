"""The provider's own money."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from farthing.errors import InvalidUsage
from farthing.money import parse_usd

__all__ = ["reported"]


def reported(usage: Mapping[str, Any]) -> int | None:
    """The provider's own money in nano-dollars: the bill as it states it, None where it does not.

    `cost`: OpenRouter (openrouter.ai/docs/use-cases/usage-accounting) and LiteLLM's proxy a number of
    USD, Perplexity an object with `total_cost`. `cost_in_usd_ticks`: xAI, 10**10 to the dollar (litellm's
    USD_TICKS_PER_DOLLAR). With a key of one's own at OpenRouter (`is_byok`) the upstream provider bills
    `upstream_inference_cost` beside `cost`; if it is not known, neither is the bill.
    """
    cost = usage.get("cost")
    if cost is None:
        ticks = usage.get("cost_in_usd_ticks")
        if type(ticks) is not int:
            return None
        return _nano(Decimal(ticks).scaleb(-10)) if 0 <= ticks <= 2**63 else None
    if isinstance(cost, Mapping):
        currency = cost.get("currency")
        cost = cost.get("total_cost") if currency in {None, "USD"} else None
    amount = _dollars(cost)
    if amount is not None and usage.get("is_byok") is True:
        details = usage.get("cost_details")
        upstream = _dollars(details.get("upstream_inference_cost")) if isinstance(details, Mapping) else None
        amount = None if upstream is None else amount + upstream
    return None if amount is None else _nano(amount)


def _dollars(value: object) -> Decimal | None:
    if type(value) is int:
        return Decimal(value) if 0 <= value < 10**10 else None
    if type(value) is float:
        value = Decimal(repr(value))
    return value if isinstance(value, Decimal) and value.is_finite() and value >= 0 else None


def _nano(amount: Decimal) -> int | None:
    try:
        return parse_usd(amount, error=InvalidUsage)
    except InvalidUsage:
        return None
