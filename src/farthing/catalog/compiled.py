"""One entry of genai-prices as a schedule of integer rates.

Resolved as its own `ModelInfo.get_prices` does: of the conditional prices the last active one, else the
first; of the variants, for each price the first active one. But where a tier has no variant, it takes
the standard price without a word; here that is said, or there is no price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from farthing.catalog.own import tool_fees
from farthing.catalog.schedule import ALWAYS, Schedule, merged
from farthing.catalog.tiers import Multiplier, multiplier
from farthing.money import rate_pico
from farthing.records import Band, Rates
from farthing.records.cost import RateStatus

if TYPE_CHECKING:
    from genai_prices.types import (
        ModelInfo,
        ModelPrice,
        PriceVariant,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

    Constraint = StartDateConstraint | TimeOfDateConstraint
    Amount = Decimal | TieredPrices

__all__ = ["compiled", "status_of"]

_KEYS: dict[str, tuple[str, int]] = {
    "input_mtok": ("input", 1_000_000),
    "cache_read_mtok": ("cached", 1_000_000),
    "cache_write_mtok": ("cache_write", 1_000_000),
    "cache_write_1h_mtok": ("cache_write_1h", 1_000_000),
    "output_mtok": ("output", 1_000_000),
    "input_audio_mtok": ("audio_input", 1_000_000),
    "cache_audio_read_mtok": ("audio_cached", 1_000_000),
    "output_audio_mtok": ("audio_output", 1_000_000),
    "input_image_mtok": ("image_input", 1_000_000),
    "output_image_mtok": ("image_output", 1_000_000),
    "output_reasoning_mtok": ("reasoning", 1_000_000),
    "output_citation_mtok": ("citation", 1_000_000),
    "web_searches_kcount": ("web_search", 1000),
    "storage_searches_kcount": ("file_search", 1000),
    "input_document_kpages": ("page", 1000),
    "requests_kcount": ("request", 1000),
    "audio_hours": ("second", 3600),
    "input_audio_hours": ("second", 3600),
    "input_mchars": ("character", 1_000_000),
}
"""genai_prices.data_units: price key -> (our unit, units in one price); the later of two counts."""

_SURCHARGES = frozenset({"web_search", "file_search", "request"})
_LONG_AGO = date(2000, 1, 1)
_MIDNIGHT = time(0, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Prices = dict[str, int | Fraction]


@dataclass(frozen=True, slots=True)
class _Choice:
    """What of an entry holds at an instant."""

    standard: ModelPrice
    active: tuple[PriceVariant, ...]
    discounted: bool

    @property
    def key(self) -> tuple[int | bool, ...]:
        return (id(self.standard), *map(id, self.active), self.discounted)


@dataclass(frozen=True, slots=True)
class _Entry:
    provider: str
    model: ModelInfo
    tier: str | None
    variants: tuple[PriceVariant, ...]
    multiplier: Multiplier | None
    source: str


def status_of(prices: Mapping[str, int | Fraction]) -> RateStatus:
    """ "unpriced" where at most surcharges have a price, "free" if all that is stated is zero."""
    if not prices.keys() - _SURCHARGES:
        return "unpriced"
    return "priced" if any(prices.values()) else "free"


def compiled(
    provider: str, model: ModelInfo, tier: str | None, variants: Sequence[PriceVariant], source: str
) -> Schedule:
    """The rates of a model at a tier (None is standard), given the variants that may speak for it."""
    asked = () if tier is None else tuple(v for v in variants if _asks_for(v, tier))
    factor = None if tier is None else multiplier(provider, tier)
    entry = _Entry(provider, model, tier, asked, factor, source)
    dates = sorted(_dates(entry))
    hours = sorted(_times(entry))
    periods: list[tuple[date | None, tuple[_Choice, ...]]] = []
    before = dates[0] - timedelta(days=1) if dates else _LONG_AGO
    for start in (None, *dates):
        choices = tuple(_choose(entry, datetime.combine(start or before, hour)) for hour in hours)
        if not periods or [c.key for c in choices] != [c.key for c in periods[-1][1]]:
            periods.append((start, choices))
    pieces = []
    for (start, choices), end in zip(periods, [*(s for s, _ in periods[1:]), None], strict=True):
        built: dict[tuple[int | bool, ...], Rates] = {}
        for choice in choices:
            if choice.key not in built:
                rates = _rates(entry, choice, start, end)
                built[choice.key] = next((known for known in built.values() if known == rates), rates)
        day = tuple((_since_midnight(hour), built[c.key]) for hour, c in zip(hours, choices, strict=True))
        pieces.append((ALWAYS if start is None else _ns(start), day))
    return Schedule(merged(pieces))


def _asks_for(variant: PriceVariant, tier: str) -> bool:
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier, "speed": tier}
    return all(context.get(key) == value for key, value in variant.when.items())


def _constraints(entry: _Entry) -> list[Constraint]:
    conditional = entry.model.prices if isinstance(entry.model.prices, list) else []
    found = [*(c.constraint for c in conditional), *(v.constraint for v in entry.variants)]
    return [constraint for constraint in found if constraint is not None]


def _dates(entry: _Entry) -> set[date]:
    return _starts(_constraints(entry)) | ({entry.multiplier.since} if entry.multiplier else set())


def _starts(constraints: Iterable[Constraint | None]) -> set[date]:
    from genai_prices.types import StartDateConstraint  # noqa: PLC0415 - heavy: at first use

    return {c.start_date for c in constraints if isinstance(c, StartDateConstraint)}


def _times(entry: _Entry) -> set[time]:
    from genai_prices.types import TimeOfDateConstraint  # noqa: PLC0415 - heavy: at first use

    windows = [c for c in _constraints(entry) if isinstance(c, TimeOfDateConstraint)]
    return {_MIDNIGHT, *(_utc(t) for window in windows for t in (window.start_time, window.end_time))}


def _choose(entry: _Entry, instant: datetime) -> _Choice:
    prices = entry.model.prices
    if isinstance(prices, list):
        standard = prices[0].prices
        for conditional in reversed(prices):
            if conditional.constraint is None or conditional.constraint.active(instant):
                standard = conditional.prices
                break
    else:
        standard = prices
    active = tuple(v for v in entry.variants if v.constraint is None or v.constraint.active(instant))
    factor = entry.multiplier
    return _Choice(standard, active, not active and factor is not None and instant.date() >= factor.since)


def _rates(entry: _Entry, choice: _Choice, start: date | None, end: date | None) -> Rates:
    stated: dict[str, Amount] = {}
    for price in (*(variant.prices for variant in choice.active), choice.standard):
        for key, value in vars(price).items():
            if value is not None:
                stated.setdefault(key, value)
    prices, bands = _converted(stated)
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    if entry.tier is not None and not choice.active:
        later = _starts(variant.constraint for variant in entry.variants)
        if choice.discounted and entry.multiplier is not None:
            factor = entry.multiplier
            prices = factor.on(prices)
            bands = tuple(Band(above=band.above, prices=factor.on(band.prices)) for band in bands)
            notes, flags = (factor.note,), ("multiplier",)
        elif later:
            since = f"{entry.source} has a price of the service tier {entry.tier!r} from {min(later)} on"
            notes = (f"{since}; before, it has the standard price alone, which is used",)
        else:
            prices, bands = {}, ()
            notes = (f"{entry.source} has no price of the service tier {entry.tier!r}",)
    fees = tool_fees(entry.provider, entry.model.id) if "output" in prices else None
    if fees:
        prices = {**prices, **fees, **prices}
        bands = tuple(Band(above=b.above, prices={**b.prices, **fees, **b.prices}) for b in bands)
    return Rates(
        provider=entry.provider,
        model=entry.model.id,
        prices=prices,
        bands=bands,
        status=status_of(prices),
        source=entry.source,
        starts_at=_instant(start),
        ends_at=_instant(end),
        tier=entry.tier,
        notes=notes,
        flags=flags,
    )


def _converted(stated: Mapping[str, Amount]) -> tuple[Prices, tuple[Band, ...]]:
    """Prices in pico-dollars for one unit; bands repeat what does not change in them."""
    known = [(key, unit, per) for key, (unit, per) in _KEYS.items() if key in stated]
    starts = sorted({tier.start for key, _, _ in known for tier in getattr(stated[key], "tiers", ())})
    base = {unit: rate_pico(_price(stated[key], None), per) for key, unit, per in known}
    bands = tuple(
        Band(above=start, prices={u: rate_pico(_price(stated[key], start), per) for key, u, per in known})
        for start in starts
    )
    return base, bands


def _price(value: Amount, above: int | None) -> Decimal:
    if isinstance(value, Decimal):
        return value
    price = value.base
    for tier in value.tiers:
        if above is not None and tier.start <= above:
            price = tier.price
    return price


def _utc(value: time) -> time:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return datetime.combine(_LONG_AGO, value).astimezone(UTC).timetz()


def _since_midnight(value: time) -> int:
    seconds = value.hour * 3600 + value.minute * 60 + value.second
    return seconds * 10**9 + value.microsecond * 1000


def _instant(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, _MIDNIGHT)


def _ns(day: date) -> int:
    return (datetime.combine(day, _MIDNIGHT) - _EPOCH) // timedelta(microseconds=1) * 1000
