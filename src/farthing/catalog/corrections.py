"""Dated prices of our own where the price source is known to be wrong. Each row says where it was read.

A row stands for the whole price of an entry of the source between two instants; at other tiers than the
standard one a declared multiplier of it, or nothing. What a later release of the source gets right is taken
out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial

from farthing.catalog.schedule import ALWAYS, Schedule
from farthing.catalog.tiers import multiplier
from farthing.money import rate_pico
from farthing.records import Rates
from farthing.records.fees import SINGLE

__all__ = ["CORRECTIONS", "WEEKENDS", "Correction", "Weekend", "corrected"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Correction:
    """What an entry of the source cost from `since` to before `until` (None: for ever); USD per million."""

    provider: str
    entry: str
    since: datetime | None
    until: datetime | None
    prices: Mapping[str, Decimal]
    source: str


@dataclass(frozen=True, slots=True)
class Weekend:
    """From `since` on, an entry costs at weekends what it does on weekdays, `like` after midnight UTC."""

    provider: str
    entry: str
    since: datetime
    like: timedelta
    source: str


def _usd(price: str, cached: str, output: str) -> dict[str, Decimal]:
    return {"input": Decimal(price), "cached": Decimal(cached), "output": Decimal(output)}


def _heard(price: str, output: str, audio: str, spoken: str) -> dict[str, Decimal]:
    usd = {"input": price, "output": output, "audio_input": audio, "audio_output": spoken}
    return {unit: Decimal(each) for unit, each in usd.items()}


def _written(price: str, cached: str, output: str) -> dict[str, Decimal]:
    """With what Anthropic takes for writes to a cache: 1.25 x for five minutes, 2 x for an hour."""
    usd = _usd(price, cached, output)
    return usd | {"cache_write": usd["input"] * 5 / 4, "cache_write_1h": usd["input"] * 2}


_O3 = "platform.openai.com/docs/models/o3, as of its release on 2025-04-16"
_FINE_TUNED = "OpenAI pricing page, fine-tuning, as in litellm's price file of 2026"
_AUDIO = "developers.openai.com/api/docs/models, audio tokens, from the snapshots of 2024-12-17 on"
_V31 = "api-docs.deepseek.com/quick_start/pricing: from 2025-09-05 16:00 UTC, without night discount"
_V32 = "api-docs.deepseek.com/quick_start/pricing, DeepSeek-V3.2 of 2025-09-29"
_SEPT_5 = datetime(2025, 9, 5, 16, tzinfo=UTC)
_SEPT_29 = datetime(2025, 9, 29, tzinfo=UTC)
_V4 = (
    "api-docs.deepseek.com/quick_start/pricing, DeepSeek-V4 of 2026-04-24, which deepseek-chat and "
    "deepseek-reasoner are names of; reads from a cache at a tenth from 2026-04-26 12:15 UTC on"
)
_HOURS = (
    "api-docs.deepseek.com/quick_start/pricing: hours of the day from 2026-08-16 16:00 UTC on; "
    "deepseek-v4-flash is V4.1 from 2026-09-10 04:00 UTC on"
)
_APRIL_24 = datetime(2026, 4, 24, tzinfo=UTC)
_APRIL_26 = datetime(2026, 4, 26, 12, 15, tzinfo=UTC)
_AUG_16 = datetime(2026, 8, 16, 16, tzinfo=UTC)
_AUG_17 = datetime(2026, 8, 17, tzinfo=UTC)
_SEPT_10 = datetime(2026, 9, 10, 4, tzinfo=UTC)
_OCT_7 = datetime(2026, 10, 7, tzinfo=UTC)
_BEIJING_WEEKENDS = "api-docs.deepseek.com/quick_start/pricing: peak hours are on weekdays, from 2026-08-23"
_SONNET = (
    "platform.claude.com/docs/en/models/sonnet-5-5/overview at its release: reads from a cache at 0.2; "
    "the pricing page as quoted on 2026-10-24: at 0.1 from 2026-10-07 on"
)

_PEAKS = tuple(
    (day + timedelta(hours=start), day + timedelta(hours=end))
    for day in (datetime(2026, 8, 17, tzinfo=UTC) + timedelta(days=n) for n in range(25))
    if day.weekday() < 5 or day.day == 22
    for start, end in ((1, 4), (6, 10))
    if day + timedelta(hours=start) < _SEPT_10
)
"""Peak hours from the change in August until deepseek-v4-flash became V4.1; one Saturday still had them."""

_ALIASES = ("deepseek-chat", "deepseek-reasoner")

CORRECTIONS: tuple[Correction, ...] = (
    # The source has no price of cached input for o3 before it became cheaper.
    Correction("openai", "o3", None, datetime(2025, 6, 10, tzinfo=UTC), _usd("10", "2.5", "40"), _O3),
    # The source has no price of cached input for it.
    Correction("openai", "ft:gpt-4o-mini", None, None, _usd("0.3", "0.15", "1.2"), _FINE_TUNED),
    # The source has no price of audio for them, which would pass as text at a sixteenth of its price.
    Correction("openai", "gpt-4o-audio-preview", None, None, _heard("2.5", "10", "40", "80"), _AUDIO),
    Correction("openai", "gpt-4o-mini-audio-preview", None, None, _heard("0.15", "0.6", "10", "20"), _AUDIO),
    # The source kept the prices of DeepSeek-V3 and R1, with a night discount that was given up.
    *(Correction("deepseek", e, _SEPT_5, _SEPT_29, _usd("0.56", "0.07", "1.68"), _V31) for e in _ALIASES),
    *(Correction("deepseek", e, _SEPT_29, _APRIL_24, _usd("0.28", "0.028", "0.42"), _V32) for e in _ALIASES),
    *(Correction("deepseek", e, _APRIL_24, _APRIL_26, _usd("0.14", "0.028", "0.28"), _V4) for e in _ALIASES),
    *(Correction("deepseek", e, _APRIL_26, None, _usd("0.14", "0.0028", "0.28"), _V4) for e in _ALIASES),
    # The source has dates without hours. Before, it has peak prices, which DeepSeek says began in August;
    # costs that others recorded in June and August have them too, so they are left as they are.
    Correction("deepseek", "deepseek-v4-flash", _AUG_16, _SEPT_10, _usd("0.22", "0.007", "0.66"), _HOURS),
    *(
        Correction("deepseek", "deepseek-v4-flash", since, until, _usd("0.44", "0.014", "1.32"), _HOURS)
        for since, until in _PEAKS
    ),
    Correction("deepseek", "deepseek-v4-pro", _AUG_16, _AUG_17, _usd("0.66", "0.022", "1.98"), _HOURS),
    # The source has the cheaper reads for all time.
    Correction("anthropic", "claude-sonnet-5-5", None, _OCT_7, _written("2", "0.2", "10"), _SONNET),
)

WEEKENDS: tuple[Weekend, ...] = tuple(
    # The source has hours but no weekdays (pydantic/genai-prices#582). Peak hours lie on one day in Beijing
    # and in UTC; holidays of China, which are off-peak too, are in no table here.
    Weekend("deepseek", entry, datetime(2026, 8, 23, tzinfo=UTC), timedelta(0), _BEIJING_WEEKENDS)
    for entry in ("deepseek-flash", "deepseek-v4-flash", "deepseek-v4-pro")
)


def corrected(schedule: Schedule, provider: str, entry: str, tier: str | None) -> Schedule:
    """The schedule of an entry of the source with our own rows in it."""
    for weekend in WEEKENDS:
        if (weekend.provider, weekend.entry) == (provider, entry) and tier is None:
            like = weekend.like // timedelta(microseconds=1) * 1000
            schedule = schedule.with_weekends(like, _ns(weekend.since))
    rows = [row for row in CORRECTIONS if (row.provider, row.entry) == (provider, entry)]
    for row in rows:
        rates = _rates(row, tier, schedule.at(_ns(row.since)))
        if rates is not None:
            edges = [_ns(at) for at in (row.since, row.until) if at is not None]
            schedule = schedule.overlaid(edges, partial(_while, row, rates))
    return schedule


def _rates(row: Correction, tier: str | None, wrong: Rates) -> Rates | None:
    """With the fees of the source, which are no tokens."""
    prices: dict[str, int | Fraction]
    prices = {unit: rate_pico(usd, 1_000_000) for unit, usd in row.prices.items()}
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    if tier is not None:
        factor = multiplier(row.provider, tier)
        if factor is None:
            return None
        prices, notes, flags = factor.on(prices), (factor.note,), ("multiplier",)
    return Rates(
        provider=row.provider,
        model=row.entry,
        prices={**{unit: price for unit, price in wrong.prices.items() if unit in SINGLE}, **prices},
        source=f"farthing, {row.source}",
        starts_at=row.since,
        ends_at=row.until,
        tier=tier,
        notes=notes,
        flags=flags,
    )


def _while(row: Correction, rates: Rates, at: int) -> Rates | None:
    holds = (row.since is None or _ns(row.since) <= at) and (row.until is None or at < _ns(row.until))
    return rates if holds else None


def _ns(instant: datetime | None) -> int:
    return ALWAYS if instant is None else (instant - _EPOCH) // timedelta(microseconds=1) * 1000
