"""What it costs more to have a call processed in one region, and how the region of a call is known.

The region is the one that the answer states (Anthropic's `usage.inference_geo`), else the one in the host of
the base URL. Bedrock's regions are no rows here: they stand in its model ids, which the price source knows.
Azure's Data Zones are none either: no request or answer tells them, and their premium differs by model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache

from farthing.catalog.hosts import host_of
from farthing.catalog.schedule import Schedule
from farthing.catalog.tiers import times
from farthing.records import Band, Rates

__all__ = ["UPLIFTS", "Uplift", "region_at", "uplift"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_HOSTS: Mapping[str, re.Pattern[str]] = {
    "openai": re.compile(r"([a-z]{2})\.api\.openai\.com"),
    "google": re.compile(r"(?:aiplatform\.([a-z]+)\.rep|([a-z0-9-]+)-aiplatform)\.googleapis\.com"),
    "mistral": re.compile(r"api\.(eu|us)\.mistral\.ai"),
    "together": re.compile(r"(us|ca)-api\.together\.(?:ai|xyz)"),
    "x-ai": re.compile(r"(us)\.api\.x\.ai"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplift:
    """Tokens of `models` cost `factor` x their price in `regions`; both are patterns of the whole name."""

    provider: str
    models: re.Pattern[str]
    regions: re.Pattern[str]
    factor: Fraction
    since: date
    source: str

    def note(self, region: str) -> str:
        """What a reader of the cost must know."""
        return f"{self.factor} x the price, for region {region!r}, since {self.since} ({self.source})"

    def on(self, schedule: Schedule, region: str) -> Schedule:
        """A schedule with this multiplier on the prices of tokens."""
        start = datetime.combine(self.since, time(0, tzinfo=UTC))
        since = (start - _EPOCH) // timedelta(microseconds=1) * 1000
        return schedule.mapped(lambda rates: self._changed(rates, region), since)

    def _changed(self, rates: Rates, region: str) -> Rates:
        if rates.status != "priced":
            return rates
        return replace(
            rates,
            prices=times(self.factor, rates.prices),
            bands=tuple(Band(above=b.above, prices=times(self.factor, b.prices)) for b in rates.bands),
            notes=(*rates.notes, self.note(region)),
            flags=rates.flags if "multiplier" in rates.flags else (*rates.flags, "multiplier"),
            region=region,
        )


_ANY = re.compile(r".*")
_CLAUDE_4_5_ON = re.compile(
    r"(?:anthropic/)?claude-(?:(?:sonnet|opus|haiku)-(?:4[-.](?:[5-9]|\d{2})(?!\d)|[5-9])|fable|mythos).*"
)
_CLAUDE_4_6_ON = re.compile(
    r"claude-(?:(?:sonnet|opus|haiku)-(?:4[-.](?:[6-9]|\d{2})(?!\d)|[5-9])|fable|mythos).*"
)
_GPT_5_4_ON = re.compile(r"gpt-(?:5[-.](?:[4-9]|\d{2})(?!\d)|[6-9]|\d{2,}|realtime-2\.).*")
_GEMINI_3_5_ON = re.compile(r"gemini-(?:3[-.]1-flash-(?:lite|image)|3[-.][5-9]|[4-9]|\d{2}).*")
_GROK_4_6 = re.compile(r"grok-4[-.]6.*")
_TENTH = Fraction(11, 10)


def _in(regions: str) -> re.Pattern[str]:
    return re.compile(regions)


_NOT_GLOBAL = r"(?!global$).+"

UPLIFTS: tuple[Uplift, ...] = (
    # For models released from 2026-03-05 on; gpt-5.4 was, on that day.
    Uplift(
        provider="openai",
        models=_GPT_5_4_ON,
        regions=_in(r"[a-z]{2}"),
        factor=_TENTH,
        since=date(2026, 3, 5),
        source="developers.openai.com/api/docs/guides/data-residency",
    ),
    # claude-opus-4-6 was the first that takes `inference_geo`, on 2026-02-05.
    Uplift(
        provider="anthropic",
        models=_CLAUDE_4_6_ON,
        regions=_in("us"),
        factor=_TENTH,
        since=date(2026, 2, 5),
        source="platform.claude.com/docs/en/manage-claude/data-residency",
    ),
    Uplift(
        provider="google",
        models=_CLAUDE_4_5_ON,
        regions=_in(_NOT_GLOBAL),
        factor=_TENTH,
        since=date(2025, 9, 29),
        source="docs.claude.com/en/api/claude-on-vertex-ai: regional endpoints, from Claude Sonnet 4.5 on",
    ),
    Uplift(
        provider="google",
        models=_GEMINI_3_5_ON,
        regions=_in(_NOT_GLOBAL),
        factor=_TENTH,
        since=date(2026, 1, 1),
        source="cloud.google.com/gemini-enterprise-agent-platform/generative-ai/pricing, as quoted on "
        "2026-08-18; which models: litellm's price file of 2026-11",
    ),
    # In Mistral's documentation of that day for the first time, with "coming soon" for the United States.
    Uplift(
        provider="mistral",
        models=_ANY,
        regions=_in("eu"),
        factor=_TENTH,
        since=date(2026, 7, 17),
        source="docs.mistral.ai/inference/regional-inference, read in 2026-11",
    ),
    Uplift(
        provider="mistral",
        models=_ANY,
        regions=_in("us"),
        factor=_TENTH,
        since=date(2026, 8, 11),
        source="docs.mistral.ai/inference/regional-inference, read in 2026-11",
    ),
    Uplift(
        provider="together",
        models=_ANY,
        regions=_in("us|ca"),
        factor=Fraction(5, 4),
        since=date(2026, 1, 1),
        source="docs.together.ai/docs/serverless/geo-specific-inference, read in 2026-11",
    ),
    # The only model of that host; released on this day.
    Uplift(
        provider="x-ai",
        models=_GROK_4_6,
        regions=_in("us"),
        factor=_TENTH,
        since=date(2026, 8, 12),
        source="docs.x.ai/developers/advanced-api-usage/regions, read in 2026-11",
    ),
)
"""No page gives a day for Gemini and for Together: there the multiplier counts from the beginning of the year
in which it was read, before which none of those Gemini models was out.
"""


@lru_cache(maxsize=1024)
def region_at(provider: str | None, base_url: str | None) -> str | None:
    """The region in the host of a provider's base URL; None for its global endpoint and for other hosts."""
    pattern = _HOSTS.get(provider or "")
    if pattern is None or not base_url:
        return None
    found = pattern.fullmatch(host_of(base_url))
    return next((group for group in found.groups() if group), None) if found else None


def uplift(provider: str | None, model: str, region: str | None) -> Uplift | None:
    """The row for a model in a region; None where it costs what it costs everywhere."""
    if region is None:
        return None
    name = model.lower()
    for row in UPLIFTS:
        if row.provider == provider and row.models.fullmatch(name) and row.regions.fullmatch(region.lower()):
            return row
    return None
