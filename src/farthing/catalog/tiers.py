"""What tiers cost of which the price source has no price: a multiplier of the standard one, with its date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from farthing.records.fees import SINGLE

__all__ = ["MULTIPLIERS", "Multiplier", "multiplier", "times"]


@dataclass(frozen=True, slots=True)
class Multiplier:
    """Tokens at `tier` of `provider` cost `factor` x standard, where the source has no price of that tier.

    `kept` are units whose price is the standard one there too.
    """

    provider: str
    tier: str
    factor: Fraction
    since: date
    source: str
    kept: frozenset[str] = frozenset()

    @property
    def note(self) -> str:
        """What a reader of the cost must know."""
        return f"{self.tier} at {self.factor} x the standard price, since {self.since} ({self.source})"

    def on(self, prices: Mapping[str, int | Fraction]) -> dict[str, int | Fraction]:
        """Prices of tokens x `factor`; searches and the like are not discounted with them."""
        kept = {unit: prices[unit] for unit in prices if unit in self.kept}
        return {**times(self.factor, prices), **kept}


_HALF = Fraction(1, 2)
_CACHES = frozenset({"cached", "audio_cached"})

MULTIPLIERS: tuple[Multiplier, ...] = (
    Multiplier("openai", "batch", _HALF, date(2024, 4, 15), "platform.openai.com/docs/guides/batch"),
    Multiplier("openai", "flex", _HALF, date(2025, 4, 17), "platform.openai.com/docs/guides/flex-processing"),
    Multiplier("azure", "batch", _HALF, date(2024, 8, 1), "learn.microsoft.com, Azure OpenAI global batch"),
    Multiplier("anthropic", "batch", _HALF, date(2024, 10, 8), "docs.anthropic.com, Message Batches"),
    Multiplier(
        "google",
        "batch",
        _HALF,
        date(2025, 7, 7),
        "developers.googleblog.com/scale-your-ai-workloads-batch-mode-gemini-api; the discounts of cache and "
        "batch do not add up: docs.cloud.google.com, batch inference",
        _CACHES,
    ),
    Multiplier("google", "flex", _HALF, date(2026, 4, 1), "ai.google.dev/gemini-api/docs/optimization"),
    # No page gives the day: the beginning of the year in which it was read first.
    Multiplier("groq", "flex", Fraction(1), date(2025, 1, 1), "console.groq.com/docs/flex-processing"),
)
"""No row for priority or fast: OpenAI charges 1.67 to 2.5 x for them and Google 1.75 to 2 x, by model; and
none for the tiers of Bedrock, whose page has a price by model and no factor."""


def multiplier(provider: str | None, tier: str) -> Multiplier | None:
    """The row of a provider's tier, if there is one."""
    return next((row for row in MULTIPLIERS if (row.provider, row.tier) == (provider, tier)), None)


def times(factor: Fraction, prices: Mapping[str, int | Fraction]) -> dict[str, int | Fraction]:
    """Prices of tokens x `factor`; what is no token keeps its price."""
    return {
        unit: price if unit in SINGLE else _whole(Fraction(price) * factor) for unit, price in prices.items()
    }


def _whole(price: Fraction) -> int | Fraction:
    return price.numerator if price.denominator == 1 else price
