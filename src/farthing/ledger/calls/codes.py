"""How words and values stand in the tables: small integers for words, JSON for rates and budgets.

A word's code is its place in its tuple, so words may be added to a tuple's end only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, get_args

from farthing.records import (
    CONTEXTS,
    FLAGS,
    OPERATIONS,
    OUTCOMES,
    Band,
    Budget,
    CostSource,
    Rates,
    Usage,
    UsageSource,
)
from farthing.records.text import clean

__all__ = [
    "CONTEXT",
    "CORRECTED",
    "COST_SOURCE",
    "COST_SOURCES",
    "LOST",
    "LOST_NANO",
    "LOST_TRIES",
    "MULTIPLIER",
    "OPERATION",
    "OUTCOME",
    "REPRICED",
    "USAGE_SOURCE",
    "USAGE_SOURCES",
    "budget_from_json",
    "budget_to_json",
    "clean",
    "flag_bits",
    "flag_names",
    "rates_from_json",
    "rates_to_json",
    "tags_to_json",
    "units_of",
    "units_to_json",
    "usage_from",
]

USAGE_SOURCES: Final[tuple[str, ...]] = get_args(UsageSource)
COST_SOURCES: Final[tuple[str, ...]] = get_args(CostSource)

OUTCOME: Final[dict[str, int]] = {word: code for code, word in enumerate(OUTCOMES)}
CONTEXT: Final[dict[str, int]] = {word: code for code, word in enumerate(CONTEXTS)}
OPERATION: Final[dict[str, int]] = {word: code for code, word in enumerate(OPERATIONS)}
USAGE_SOURCE: Final[dict[str, int]] = {word: code for code, word in enumerate(USAGE_SOURCES)}
COST_SOURCE: Final[dict[str, int]] = {word: code for code, word in enumerate(COST_SOURCES)}
_FLAG: Final = {word: 1 << place for place, word in enumerate(FLAGS)}

CORRECTED: Final = _FLAG["corrected"]
"""The bit of rows whose cost a person has stated: it is no estimate, whatever the counts are."""

LOST: Final = _FLAG["lost_attempts"]
"""The bit of rows whose cost holds an estimate, for attempts before the one that stated its usage."""

LOST_TRIES: Final = "lost_attempts"
LOST_NANO: Final = "lost_attempts_nano"
"""The units of such a row that say how many they were, and their estimate."""

REPRICED: Final = _FLAG["repriced"]
MULTIPLIER: Final = _FLAG["multiplier"]

_COLUMNS: Final = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_UNITS: Final = tuple(f.name for f in fields(Usage) if f.name not in _COLUMNS)
_NO_UNITS: Final = (None,) * len(_UNITS)
_units: Final = attrgetter(*_UNITS)


def flag_bits(flags: Iterable[str]) -> int:
    """Flags as one integer. Raises ValueError for a word that is not in `records.FLAGS`."""
    bits = 0
    for flag in flags:
        bit = _FLAG.get(flag)
        if bit is None:
            raise ValueError(f"{flag!r} is no flag; flags are {', '.join(FLAGS)}")
        bits |= bit
    return bits


def flag_names(bits: int) -> tuple[str, ...]:
    """The words of a stored set of flags."""
    return tuple(word for word, bit in _FLAG.items() if bits & bit)


def tags_to_json(tags: Mapping[str, str]) -> str:
    """Tags by name, so that equal tags are equal texts."""
    cleaned = {clean(name): clean(value) for name, value in tags.items()}
    return json.dumps(cleaned, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def units_of(usage: Usage | None, more: Mapping[str, int | str] | None) -> dict[str, int | str]:
    """The counts without a column of their own."""
    units: dict[str, int | str] = {}
    if usage is not None:
        values = _units(usage)
        if values != _NO_UNITS:
            for name, value in zip(_UNITS, values, strict=True):
                if value is not None:
                    units[name] = str(value) if isinstance(value, Decimal) else value
    if more:
        units.update(more)
    return units


def usage_from(columns: Sequence[int | None], units: Mapping[str, int | str]) -> Usage | None:
    """The usage of a row: its columns input, cached, cache_write, output and reasoning, and its units. None
    if they say nothing."""
    counts: dict[str, Any] = {
        name: count for name, count in zip(_COLUMNS, columns, strict=True) if count is not None
    }
    for name in _UNITS:
        value = units.get(name)
        if value is not None:
            counts[name] = Decimal(str(value)) if name == "seconds" else value
    return Usage.trusted(**counts) if counts else None


def units_to_json(usage: Usage | None, more: Mapping[str, int | str] | None) -> str | None:
    """The same as JSON text; None if there are none."""
    units = units_of(usage, more)
    return _units_json(tuple(units.items())) if units else None


@lru_cache(maxsize=256)
def _units_json(units: tuple[tuple[str, int | str], ...]) -> str | None:
    """Remembered, because most answers state the same few zeros."""
    return clean(json.dumps(dict(units), separators=(",", ":"), ensure_ascii=False))


def rates_to_json(rates: Rates) -> tuple[bytes, str]:
    """The digest and the text of rates; equal rates have equal texts."""
    text = json.dumps(
        {
            "provider": rates.provider,
            "model": rates.model,
            "prices": _prices(rates.prices),
            "bands": [{"above": band.above, "prices": _prices(band.prices)} for band in rates.bands],
            "status": rates.status,
            "source": rates.source,
            "starts_at": rates.starts_at.isoformat() if rates.starts_at else None,
            "ends_at": rates.ends_at.isoformat() if rates.ends_at else None,
            "tier": rates.tier,
            "notes": list(rates.notes),
            "flags": list(rates.flags),
            "region": rates.region,
            "base_url": rates.base_url,
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )
    text = clean(text) or ""
    return hashlib.sha256(text.encode()).digest()[:16], text


def rates_from_json(text: str) -> Rates:
    """What `rates_to_json` wrote."""
    raw = json.loads(text)
    return Rates(
        provider=raw["provider"],
        model=raw["model"],
        prices=_rates(raw["prices"]),
        bands=tuple(Band(above=band["above"], prices=_rates(band["prices"])) for band in raw["bands"]),
        status=raw["status"],
        source=raw["source"],
        starts_at=datetime.fromisoformat(raw["starts_at"]) if raw["starts_at"] else None,
        ends_at=datetime.fromisoformat(raw["ends_at"]) if raw["ends_at"] else None,
        tier=raw["tier"],
        notes=tuple(raw["notes"]),
        flags=tuple(raw["flags"]),
        region=raw["region"],
        base_url=raw["base_url"],
    )


def _prices(prices: Mapping[str, int | Fraction]) -> dict[str, int | str]:
    return {
        unit: f"{price.numerator}/{price.denominator}" if isinstance(price, Fraction) else price
        for unit, price in sorted(prices.items())
    }


def _rates(prices: Mapping[str, int | str]) -> dict[str, int | Fraction]:
    return {unit: Fraction(price) if isinstance(price, str) else price for unit, price in prices.items()}


def budget_to_json(budget: Budget) -> str:
    """A budget as text; equal budgets are equal texts."""
    raw: dict[str, Any] = budget.to_dict()
    raw["limit"] = str(budget.limit)
    if isinstance(budget.period, timedelta):
        raw["period"] = {"us": budget.period // timedelta(microseconds=1)}
    if isinstance(budget.anchor, datetime):
        raw["anchor"] = {"at": budget.anchor.isoformat()}
    return json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def budget_from_json(text: str) -> Budget:
    """What `budget_to_json` wrote."""
    raw = json.loads(text)
    if isinstance(raw["period"], dict):
        raw["period"] = timedelta(microseconds=raw["period"]["us"])
    if isinstance(raw["anchor"], dict):
        raw["anchor"] = datetime.fromisoformat(raw["anchor"]["at"])
    raw["alerts"] = tuple(raw["alerts"])
    return Budget(**raw)
