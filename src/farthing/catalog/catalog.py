"""The catalog: the user's prices over stated zeros over genai-prices over our own rows over a file of the
user's; and over all but the user's prices, what a region costs more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from farthing.catalog import limits, names
from farthing.catalog.compiled import status_of
from farthing.catalog.hosts import endpoint, provider_at
from farthing.catalog.own import FINE_TUNED, stated_free
from farthing.catalog.pricefile import Listed, PriceFile
from farthing.catalog.regions import Uplift, region_at, uplift
from farthing.catalog.schedule import ALWAYS, Schedule
from farthing.catalog.source import Source, load, source_name
from farthing.catalog.tiers import Multiplier, multiplier
from farthing.catalog.user import UNITS, UserPrice, matching, rates_of
from farthing.log import say_once
from farthing.money import rate_pico
from farthing.records import Rates
from farthing.struck import pass_on

__all__ = ["Catalog", "default"]

_MOST_KEPT = 4096
_LONGEST_NAME = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Key = tuple[str, str | None, str | None, str | None, str | None, str | None]
Layers = tuple[tuple[UserPrice, ...], ...]


def _none_stored() -> tuple[UserPrice, ...]:
    return ()


class Catalog:
    """Rates of models. Pure but for the first lookup, which loads the price source once per process.

    Args:
        overrides: the user's prices; they outrank the source.
        below: further ones, which those outrank.
        stored: gives those that a ledger holds, which all of these outrank; the same object until they
            change.
        file: a price file of the user's, asked for what the source does not know.
    """

    def __init__(
        self,
        overrides: Sequence[UserPrice] = (),
        *,
        below: Sequence[UserPrice] = (),
        stored: Callable[[], Sequence[UserPrice]] | None = None,
        file: PriceFile | None = None,
    ) -> None:
        self._stated: Layers = (tuple(overrides), tuple(below))
        self._find_stored = stored or _none_stored
        self._stored: Sequence[UserPrice] = ()
        self._file = file
        self._kept: dict[Key, Schedule] = {}
        self._users: dict[tuple[int, str, str | None, str | None], Rates | None] = {}
        self._providers: dict[tuple[str, str | None], str | None] = {}
        self._windows: dict[tuple[str, str | None], int | None] = {}
        self._version: str | None = None

    @property
    def version(self) -> str:
        """The price source and its version, such as "genai-prices 0.2.3"."""
        if self._version is None:
            self._version = source_name()
        return self._version

    def stated(self) -> list[tuple[UserPrice, str]]:
        """The user's prices in their order of rank, each with where it is stated: "code", "settings",
        "ledger"."""
        layers = zip((*self._stated, self._find_stored()), ("code", "settings", "ledger"), strict=True)
        return [(price, where) for layer, where in layers for price in layer]

    @property
    def file(self) -> PriceFile | None:
        """The price file of the user's."""
        return self._file

    def rates(
        self,
        model: str,
        *,
        provider: str | None = None,
        base_url: str | None = None,
        at_ns: int,
        tier: str | None = None,
        region: str | None = None,
        asked: str | None = None,
    ) -> Rates:
        """The rates of a model at an instant (nanoseconds since 1970, UTC) at the tier that served it.

        Never raises; what nobody knows has the status "unpriced" and no prices. The same question gets the
        same object, for as long as the rates hold.

        Args:
            region: where the answer says that it was made; else it is known by the host of `base_url`.
            asked: the name in the request, where the answer has another: the user's prices of it count too,
                such as those of a deployment.
        """
        try:
            if self._find_stored() is not self._stored:
                self._stored, self._kept = self._find_stored(), {}
            key = (model, provider, base_url, tier, region, asked)
            schedule = self._kept.get(key)
            if schedule is None:
                schedule = self._look_up(key)
            return schedule.only or schedule.at(at_ns)
        except Exception as error:  # noqa: BLE001 - a price that cannot be found must not cost a paid answer
            pass_on(error)
            say_once(("catalog", type(model).__name__), logging.ERROR, "no rates for %.100r", model)
            return Rates(provider=None, model=str(model)[:_LONGEST_NAME], status="unpriced")

    canonical = staticmethod(names.canonical)
    """The name in budgets and reports: "gpt-4o" of " openai/gpt-4o"; a snapshot keeps its date."""

    def provider_of(self, model: str, base_url: str | None = None) -> str | None:
        """Who sends the bill: the provider at a known URL, else the one before a slash, else the maker.

        None if nobody knows. An unknown host (a proxy, a local server) decides nothing.
        """
        key = (model, base_url)
        kept = self._providers
        if key in kept:
            return kept[key]
        provider = self._provider_of(model, base_url)
        if len(kept) >= _MOST_KEPT:
            self._providers = kept = {}
        kept[key] = provider
        return provider

    def max_output(self, model: str, *, provider: str | None = None) -> int | None:
        """The most output tokens that a model gives, reasoning included; None if we do not know."""
        known = limits.limits_of(names.canonical(model, provider))
        if known is not None:
            return known.max_output
        listed = self._listed(model, names.provider_id(provider) or self.provider_of(model))
        return listed.max_output if listed is not None else None

    def context_window(self, model: str, *, provider: str | None = None) -> int | None:
        """The tokens that input and output of a model share; None if nobody says."""
        known = limits.limits_of(names.canonical(model, provider))
        if known is not None:
            return known.context_window
        kept, key = self._windows, (model, provider)
        if key in kept:
            return kept[key]
        if len(kept) >= _MOST_KEPT:
            self._windows = kept = {}
        kept[key] = window = self._listed_window(model, provider)
        return window

    def is_reasoning(self, model: str) -> bool:
        """Whether a model bills output that it does not show, unless it is told not to think."""
        return limits.is_reasoning(names.canonical(model))

    def _provider_of(self, model: str, base_url: str | None) -> str | None:
        at = provider_at(base_url) if base_url else None
        if at is not None:
            return at
        prefix, name = names.split(names.tidy(model))
        try:
            source = load()
        except ImportError:
            return prefix or names.maker(name)
        if base_url and (listed := source.provider_at(f"https://{endpoint(base_url)}")):
            return listed
        return prefix or source.maker(name)

    def _listed_window(self, model: str, provider: str | None) -> int | None:
        listed = self._listed(model, names.provider_id(provider) or self.provider_of(model))
        fallback = listed.context_window if listed is not None else None
        try:
            source = load()
        except ImportError:
            return fallback
        serving = source.provider(provider) or self.provider_of(model)
        for name in _spellings(model):
            entry = source.find(serving, name) if serving is not None else None
            if entry is not None and entry.context_window:
                return entry.context_window
        return fallback

    def _listed(self, model: str, serving: str | None) -> Listed | None:
        """The entry in the user's price file."""
        if self._file is None:
            return None
        for name in _spellings(model):
            entry = self._file.find(serving, name)
            if entry is not None:
                return entry
        return None

    def _look_up(self, key: Key) -> Schedule:
        kept = self._kept  # which is another by the time that stored prices have changed
        schedule = _placed(self._resolve(key), key[2])
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        return kept.setdefault(key, schedule)

    def _resolve(self, key: Key) -> Schedule:
        model, provider, at_url, asked_tier, region, asked = key
        base_url, tier = str(at_url) if at_url else None, names.usual_tier(asked_tier)
        serving = names.provider_id(provider) or self.provider_of(model, base_url)
        layers = (*self._stated, tuple(self._stored))
        called = (model,) if asked is None else (model, asked)
        users = [user for layer in layers for user in matching(layer, called, serving, base_url)]
        if not users:
            return self._in_region(model, serving, base_url, tier, region)
        chosen: list[tuple[int, int | None, Rates]] = []
        for user in users:
            rates = self._of_user(user, model, serving, tier)
            if rates is not None:
                end = None if user.ends_at is None else _ns(user.ends_at)
                chosen.append((ALWAYS if user.starts_at is None else _ns(user.starts_at), end, rates))
        if chosen and chosen[0][:2] == (ALWAYS, None):
            return Schedule.constant(chosen[0][2])
        edges = [edge for start, end, _ in chosen for edge in (start, end) if edge is not None]
        listed = self._in_region(model, serving, base_url, tier, region)
        return listed.overlaid(edges, lambda at: _first(chosen, at))

    def _of_user(self, user: UserPrice, model: str, serving: str | None, tier: str | None) -> Rates | None:
        key = (id(user), names.canonical(model, serving), serving, tier)
        if len(self._users) >= _MOST_KEPT:
            self._users = {}
        return self._users.setdefault(key, rates_of(user, model=key[1], provider=serving, tier=tier))

    def _in_region(
        self, model: str, serving: str | None, base_url: str | None, tier: str | None, region: str | None
    ) -> Schedule:
        """The list price, with what the region costs more. The user's own prices are what the user pays."""
        schedule = self._sourced(model, serving, tier)
        where = region or region_at(serving, base_url)
        row = uplift(serving, names.canonical(model, serving), where)
        if where is None or row is None or (schedule.only is not None and schedule.only.status != "priced"):
            return schedule
        key = (id(schedule), where, row)
        known = _uplifted.get(key)
        if known is None or known[0] is not schedule:
            if len(_uplifted) >= _MOST_KEPT:
                _uplifted.clear()
            known = _uplifted[key] = (schedule, row.on(schedule, where))
        return known[1]

    def _sourced(self, model: str, serving: str | None, tier: str | None) -> Schedule:
        free = stated_free(serving, names.tidy(model))
        if free is not None:
            return Schedule.constant(
                Rates(
                    provider=serving,
                    model=names.canonical(model, serving),
                    prices=dict.fromkeys(UNITS, 0),
                    status="free",
                    source=free.source,
                    tier=tier,
                )
            )
        if len(model) > _LONGEST_NAME:
            return _unknown(model[:_LONGEST_NAME], serving, tier, "the name is too long to be a model's")
        try:
            source = load()
        except ImportError:
            return self._filed(model, serving, tier) or _unknown(
                model, serving, tier, "genai-prices is not installed"
            )
        known = source.provider(serving)
        if known is None:
            filed = self._filed(model, serving, tier)
            if filed is not None:
                return filed
            seller = "who sells it is not known" if serving is None else f"no prices of {serving!r} are known"
            return _unknown(model, serving, tier, seller)
        for name in _spellings(model):
            entry = source.find(known, name)
            if entry is not None:
                found = source.schedule(known, entry, tier)
                unknown = found.only is not None and found.only.status == "unpriced"
                return (self._filed(model, known, tier) or found) if unknown else found
        return (
            _fine_tuned(model, known, tier)
            or self._filed(model, known, tier)
            or _snapshot(source, model, known, tier)
            or _routed(source, model, known, tier)
            or _unknown(model, known, tier, f"{source.name} has no price of {model!r} at {known!r}")
        )

    def _filed(self, model: str, serving: str | None, tier: str | None) -> Schedule | None:
        listed = self._listed(model, serving)
        return listed.schedule(tier) if listed is not None else None


_uplifted: dict[tuple[int, str, Uplift], tuple[Schedule, Schedule]] = {}
"""Schedules of a region by that of everywhere, so that the same question gets the same object."""

_default: dict[None, Catalog] = {}


def default() -> Catalog:
    """The catalog of this process without prices of the user's; built once."""
    return _default.get(None) or _default.setdefault(None, Catalog())


def _spellings(model: str) -> list[str]:
    """As it came, and without what may stand before it: providers name their models with and without."""
    name = names.tidy(model)
    spellings = [name]
    while (rest := names.tidy(names.split(spellings[-1])[1])) != spellings[-1]:
        spellings.append(rest)
    return spellings


def _fine_tuned(model: str, provider: str, tier: str | None) -> Schedule | None:
    """A fine-tuned model that the source does not list; never at the price of its base."""
    base = names.base_of_fine_tuned(_spellings(model)[-1].lower())
    if base is None or provider != "openai":
        return None
    row = next((row for row in FINE_TUNED if row.base in {base, names.undated(base)}), None)
    if row is None:
        return _unknown(model, provider, tier, f"no price of fine-tuned {base!r} is known")
    prices: dict[str, int | Fraction] = {u: rate_pico(usd, 1_000_000) for u, usd in row.prices.items()}
    factor: Multiplier | None = None
    if tier is not None:
        factor = multiplier(provider, tier)
        if factor is None:
            return _unknown(
                model, provider, tier, f"no price of {model!r} at the service tier {tier!r} is known"
            )
        prices = factor.on(prices)
    return Schedule.constant(
        Rates(
            provider=provider,
            model=f"ft:{row.base}",
            prices=prices,
            status=status_of(prices),
            source=row.source,
            tier=tier,
            notes=() if factor is None else (factor.note,),
            flags=() if factor is None else ("multiplier",),
        )
    )


def _snapshot(source: Source, model: str, provider: str, tier: str | None) -> Schedule | None:
    """The rates of the undated model for a dated snapshot that the source does not list, with a note."""
    name = _spellings(model)[-1]
    base = names.undated(name)
    entry = source.find(provider, base) if base is not None and not name.startswith("ft:") else None
    if entry is None:
        return None
    note = f"{source.name} does not list {name!r}: priced as {base!r}"
    return source.schedule(provider, entry, tier).noted(note)


def _routed(source: Source, model: str, provider: str, tier: str | None) -> Schedule | None:
    """The rates of a model for a variant of OpenRouter's that only chooses its host, with a note."""
    bases = [names.unrouted(name) for name in _spellings(model)] if provider == "openrouter" else []
    for name in filter(None, bases):
        entry = source.find(provider, name)
        if entry is not None:
            note = f"priced as {name!r}: what its host costs is in the answer's own `usage.cost` only"
            return source.schedule(provider, entry, tier).noted(note)
    return None


def _placed(schedule: Schedule, base_url: str | None) -> Schedule:
    """Of what nobody knows the price of, the address is kept: a price may be stated for it later."""
    rates = schedule.only
    if base_url is None or rates is None or rates.status != "unpriced":
        return schedule
    return Schedule.constant(replace(rates, base_url=endpoint(base_url)))


def _unknown(model: str, provider: str | None, tier: str | None, note: str) -> Schedule:
    return Schedule.constant(
        Rates(provider=provider, model=model, status="unpriced", tier=tier, source="", notes=(note,))
    )


def _first(chosen: Sequence[tuple[int, int | None, Rates]], at: int) -> Rates | None:
    return next((r for start, end, r in chosen if start <= at and (end is None or at < end)), None)


def _ns(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000
