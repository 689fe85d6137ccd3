"""Prices that the user gives; they outrank every other source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any, get_args

from farthing.catalog.hosts import endpoint
from farthing.catalog.names import canonical, provider_id, tidy, usual_tier
from farthing.catalog.tiers import multiplier
from farthing.money import rate_pico
from farthing.records import Rates
from farthing.records.cost import Unit
from farthing.records.fees import SINGLE
from farthing.records.shown import Shown

__all__ = ["UNITS", "Amount", "UserPrice", "matching", "rates_of"]

Amount = Decimal | int | float | str

UNITS: tuple[str, ...] = get_args(Unit)

_SINGLE = SINGLE - {"character"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UserPrice(Shown):
    """What a model costs here.

    Attributes:
        model: its name, or a glob such as "llama-*"; any case.
        prices: unit -> USD: per million for tokens and characters ("input", "cached", "cache_write",
            "cache_write_1h", "output", "audio_input", "audio_output", "image_input", "image_output",
            "character"), for one of "request", "second", "image" and of each fee ("web_search", ...:
            `farthing.records.fees`). A float is read by its repr.
        free: True states that every use of it costs nothing; then `prices` stays empty.
        provider, base_url: only for calls to this provider, or to URLs that begin so; None for all.
        tier: the service tier that they are of; None is standard.
        starts_at, ends_at: from when until before when they hold; aware; None for ever.
        aliases: further names or globs, such as deployment names.

    Raises:
        ValueError: for an unknown unit, a price that is no number from 0 on, no price at all, and for
            instants without a time zone or in the wrong order.
    """

    model: str
    prices: Mapping[str, Amount] = field(default_factory=dict)
    free: bool = False
    provider: str | None = None
    base_url: str | None = None
    tier: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    aliases: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, stated: Mapping[str, Any]) -> UserPrice:
        """What `to_dict` made.

        Raises:
            ValueError, KeyError, TypeError: for what it did not make.
        """
        known = dict(stated)
        for name in ("starts_at", "ends_at"):
            if known.get(name) is not None:
                known[name] = datetime.fromisoformat(known[name])
        return cls(**{**known, "aliases": tuple(known.get("aliases", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Everything that is stated, for JSON: prices as exact decimal text, instants in ISO 8601."""
        return {
            "model": self.model,
            "prices": {unit: f"{_exact(amount):f}" for unit, amount in self.prices.items()},
            "free": self.free,
            "provider": self.provider,
            "base_url": self.base_url,
            "tier": self.tier,
            "starts_at": None if self.starts_at is None else self.starts_at.isoformat(),
            "ends_at": None if self.ends_at is None else self.ends_at.isoformat(),
            "aliases": list(self.aliases),
        }

    @property
    def key(self) -> str:
        """What it is for. Of two stored prices for the same the later replaces the earlier."""
        since = "" if self.starts_at is None else self.starts_at.isoformat()
        parts = (self.model.lower(), self.provider, self.base_url, self.tier, since)
        return "|".join(part or "" for part in parts)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise ValueError(f"a price is for a model or a glob; got {self.model!r}")
        if self.free == bool(self.prices):
            raise ValueError(f"the price of {self.model!r} needs either prices or free=True")
        for unit, amount in self.prices.items():
            pico(unit, amount)
        for instant in (self.starts_at, self.ends_at):
            if instant is not None and instant.tzinfo is None:
                raise ValueError(
                    f"the price of {self.model!r} needs instants with a time zone; got {instant}"
                )
        if self.starts_at and self.ends_at and self.starts_at >= self.ends_at:
            raise ValueError(f"the price of {self.model!r} ends before it starts")


def pico(unit: str, amount: Amount) -> int | Fraction:
    """A price as people write it, in pico-dollars for one unit.

    Raises:
        ValueError: for an unknown unit and for what is no number from 0 to a billion.
    """
    if unit not in UNITS:
        raise ValueError(f"a price is for one of {', '.join(UNITS)}; got {unit!r}")
    exact = _exact(amount)
    if not exact.is_finite() or not 0 <= exact <= 10**9:
        raise ValueError(f"the price of {unit} must be a number of USD from 0 to a billion; got {amount!r}")
    return rate_pico(exact, 1 if unit in _SINGLE else 1_000_000)


def _exact(amount: Amount) -> Decimal:
    """Not a number for what is none."""
    try:
        return Decimal("NaN") if isinstance(amount, bool) else Decimal(str(amount).strip().removeprefix("$"))
    except InvalidOperation:
        return Decimal("NaN")


def matching(
    prices: tuple[UserPrice, ...], called: tuple[str, ...], provider: str | None, base_url: str | None
) -> list[UserPrice]:
    """Those that may apply to a call by one of its model's names, the most specific first, the later of two
    equals first.

    A name outranks a glob, then a URL a provider, and a provider none.
    """
    names = {spelt.lower() for name in called for spelt in (tidy(name), canonical(name, provider))}
    at = endpoint(base_url) if base_url else None
    found: list[tuple[tuple[bool, bool, bool, int], UserPrice]] = []
    for position, price in enumerate(prices):
        if price.provider is not None and provider_id(price.provider) != provider:
            continue
        if price.base_url is not None and not (at and _begins(at, endpoint(price.base_url))):
            continue
        patterns = [pattern.lower() for pattern in (price.model, *price.aliases)]
        exact = not names.isdisjoint(patterns)
        if exact or any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
            rank = (exact, price.base_url is not None, price.provider is not None, position)
            found.append((rank, price))
    return [price for _, price in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _begins(url: str, start: str) -> bool:
    return url == start or url.startswith(f"{start}/")


def rates_of(price: UserPrice, *, model: str, provider: str | None, tier: str | None) -> Rates | None:
    """A user's price for a tier; None where it does not speak of that tier.

    A standard price serves a tier for which a multiplier is declared; `free` serves every tier.
    """
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    stated: Mapping[str, int | Fraction]
    if price.free:
        stated = dict.fromkeys(UNITS, 0)
    else:
        stated = {unit: pico(unit, amount) for unit, amount in price.prices.items()}
    if tier != usual_tier(price.tier) and not price.free:
        row = multiplier(provider, tier) if tier is not None and usual_tier(price.tier) is None else None
        if row is None:
            return None
        stated = row.on(stated)
        notes = (row.note,)
        flags = ("multiplier",)
    return Rates(
        provider=provider,
        model=model,
        prices=stated,
        status="priced" if any(stated.values()) else "free",
        source="user",
        starts_at=price.starts_at,
        ends_at=price.ends_at,
        tier=tier,
        notes=notes,
        flags=flags,
        base_url=None if price.base_url is None else endpoint(price.base_url),
    )
