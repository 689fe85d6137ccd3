"""Small dated tables of our own, for what the price source lacks. Each row says where it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction

__all__ = [
    "FINE_TUNED",
    "FREE",
    "MULTIPLIERS",
    "FineTuned",
    "Free",
    "Multiplier",
    "multiplier",
    "stated_free",
]


@dataclass(frozen=True, slots=True)
class Multiplier:
    """Tokens at `tier` of `provider` cost `factor` x standard, where the source has no price of that tier."""

    provider: str
    tier: str
    factor: Fraction
    since: date
    source: str

    @property
    def note(self) -> str:
        """What a reader of the cost must know."""
        return f"{self.tier} at {self.factor} x the standard price, since {self.since} ({self.source})"

    def on(self, prices: Mapping[str, int | Fraction]) -> dict[str, int | Fraction]:
        """Prices of tokens x `factor`; searches and the like are not discounted with them."""
        return {
            unit: price if unit in _NO_TOKENS else _whole(Fraction(price) * self.factor)
            for unit, price in prices.items()
        }


@dataclass(frozen=True, slots=True)
class Free:
    """Somebody who sends the bills says that these models cost nothing."""

    provider: str
    model: str
    source: str


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What the fine-tuned children of a base model cost; USD per million tokens."""

    base: str
    prices: Mapping[str, Decimal]
    source: str


_HALF = Fraction(1, 2)
_NO_TOKENS = frozenset({"web_search", "request", "second", "character", "image"})

MULTIPLIERS: tuple[Multiplier, ...] = (
    Multiplier("openai", "batch", _HALF, date(2024, 4, 15), "platform.openai.com/docs/guides/batch"),
    Multiplier("openai", "flex", _HALF, date(2025, 4, 17), "platform.openai.com/docs/guides/flex-processing"),
    Multiplier("azure", "batch", _HALF, date(2024, 8, 1), "learn.microsoft.com, Azure OpenAI global batch"),
    Multiplier("anthropic", "batch", _HALF, date(2024, 10, 8), "docs.anthropic.com, Message Batches"),
)
"""No row for priority or fast: OpenAI charges 1.67 to 2.5 x for them, by model."""

FREE: tuple[Free, ...] = (
    Free("openai", "*moderation*", "platform.openai.com/docs/guides/moderation: free to use"),
    Free("openrouter", "*:free", "openrouter.ai/docs/guides/routing/model-variants/free"),
)


def _ft(base: str, price: str, cached: str | None, output: str) -> FineTuned:
    prices = {"input": Decimal(price), "output": Decimal(output)}
    if cached is not None:
        prices["cached"] = Decimal(cached)
    return FineTuned(base, prices, "OpenAI pricing page, fine-tuning, as in litellm's price file of 2026")


FINE_TUNED: tuple[FineTuned, ...] = (
    _ft("gpt-4.1", "3", "0.75", "12"),
    _ft("gpt-4.1-mini", "0.8", "0.2", "3.2"),
    _ft("gpt-4.1-nano", "0.2", "0.05", "0.8"),
    _ft("gpt-4o", "3.75", "1.875", "15"),
    _ft("gpt-4o-mini", "0.3", "0.15", "1.2"),
    _ft("o4-mini", "4", "1", "16"),
)
"""Asked only where the source does not know the name, as with "ft:gpt-4.1-..." and "ft:gpt-4o:..."."""


def multiplier(provider: str | None, tier: str) -> Multiplier | None:
    """The row of a provider's tier, if there is one."""
    return next((row for row in MULTIPLIERS if (row.provider, row.tier) == (provider, tier)), None)


def stated_free(provider: str | None, model: str) -> Free | None:
    """The row that says that a model costs nothing, if there is one."""
    name = model.lower()
    return next((row for row in FREE if row.provider == provider and fnmatchcase(name, row.model)), None)


def _whole(price: Fraction) -> int | Fraction:
    return price.numerator if price.denominator == 1 else price
