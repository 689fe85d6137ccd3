"""The catalog: the user's prices over stated zeros over genai-prices over our own rows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from farthing.catalog import limits, names
from farthing.catalog.compiled import status_of
from farthing.catalog.hosts import endpoint, provider_at
from farthing.catalog.own import FINE_TUNED, Multiplier, multiplier, stated_free
from farthing.catalog.schedule import ALWAYS, Schedule
from farthing.catalog.source import Source, load, source_name
from farthing.catalog.user import UNITS, UserPrice, matching, rates_of
from farthing.log import say_once
from farthing.money import rate_pico
from farthing.records import Rates

__all__ = ["Catalog", "default"]

_MOST_KEPT = 4096
_LONGEST_NAME = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Key = tuple[str, str | None, str | None, str | None]


class Catalog:
    """Rates of models. Pure but for the first lookup, which loads the price source once per process.

    Args:
        overrides: the user's prices; they outrank the source.
    """

    def __init__(self, overrides: Sequence[UserPrice] = ()) -> None:
        self._overrides = tuple(overrides)
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

    def rates(
        self,
        model: str,
        *,
        provider: str | None = None,
        base_url: str | None = None,
        at_ns: int,
        tier: str | None = None,
    ) -> Rates:
        """The rates of a model at an instant (nanoseconds since 1970, UTC) at the tier that served it.

        Never raises; what nobody knows has the status "unpriced" and no prices. The same question gets the
        same object, for as long as the rates hold.
        """
        try:
            schedule = self._kept.get((model, provider, base_url, tier))
            if schedule is None:
                schedule = self._look_up((model, provider, base_url, tier))
            return schedule.only or schedule.at(at_ns)
        except Exception:  # noqa: BLE001 - a price that cannot be found must not cost a paid answer
            say_once(("catalog", type(model).__name__), logging.ERROR, "no rates for %.100r", model)
            return Rates(provider=None, model=str(model)[:_LONGEST_NAME], status="unpriced")

    def canonical(self, model: str, provider: str | None = None) -> str:
        """The name in budgets and reports: "gpt-4o" of " openai/gpt-4o"; a snapshot keeps its date."""
        return names.canonical(model, provider)

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
        return known.max_output if known is not None else None

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
        """Whether a model bills output that it does not show: o1 and later, gpt-5 and later, gpt-oss."""
        return limits.is_reasoning(names.canonical(model))

    def _provider_of(self, model: str, base_url: str | None) -> str | None:
        at = provider_at(base_url) if base_url else None
        if at is not None:
            return at
        name = names.tidy(model)
        try:
            source = load()
        except ImportError:
            return names.split(name)[0] or names.maker(name)
        if base_url and (listed := source.provider_at(f"https://{endpoint(base_url)}")):
            return listed
        return names.split(name)[0] or source.maker(name)

    def _listed_window(self, model: str, provider: str | None) -> int | None:
        try:
            source = load()
        except ImportError:
            return None
        serving = source.provider(provider) or self.provider_of(model)
        for name in _spellings(model):
            entry = source.find(serving, name) if serving is not None else None
            if entry is not None:
                return entry.context_window
        return None

    def _look_up(self, key: Key) -> Schedule:
        model, provider, base_url, tier = key
        schedule = self._resolve(model, provider, str(base_url) if base_url else None, names.usual_tier(tier))
        if len(self._kept) >= _MOST_KEPT:
            self._kept = {}
        return self._kept.setdefault(key, schedule)

    def _resolve(self, model: str, provider: str | None, base_url: str | None, tier: str | None) -> Schedule:
        serving = names.provider_id(provider) or self.provider_of(model, base_url)
        users = matching(self._overrides, model, serving, base_url)
        if not users:
            return self._sourced(model, serving, tier)
        chosen: list[tuple[int, int | None, Rates]] = []
        for user in users:
            rates = self._of_user(user, model, serving, tier)
            if rates is not None:
                end = None if user.ends_at is None else _ns(user.ends_at)
                chosen.append((ALWAYS if user.starts_at is None else _ns(user.starts_at), end, rates))
        if chosen and chosen[0][:2] == (ALWAYS, None):
            return Schedule.constant(chosen[0][2])
        edges = [edge for start, end, _ in chosen for edge in (start, end) if edge is not None]
        return self._sourced(model, serving, tier).overlaid(edges, lambda at: _first(chosen, at))

    def _of_user(self, user: UserPrice, model: str, serving: str | None, tier: str | None) -> Rates | None:
        key = (id(user), names.canonical(model, serving), serving, tier)
        if len(self._users) >= _MOST_KEPT:
            self._users = {}
        return self._users.setdefault(key, rates_of(user, model=key[1], provider=serving, tier=tier))

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
        source = load()
        known = source.provider(serving)
        if known is None:
            seller = "who sells it is not known" if serving is None else f"no prices of {serving!r} are known"
            return _unknown(model, serving, tier, seller)
        for name in _spellings(model):
            entry = source.find(known, name)
            if entry is not None:
                return source.schedule(known, entry, tier)
        return (
            _fine_tuned(model, known, tier)
            or _snapshot(source, model, known, tier)
            or _unknown(model, known, tier, f"{source.name} has no price of {model!r} at {known!r}")
        )


_default: Catalog | None = None
_default_lock = threading.Lock()


def default() -> Catalog:
    """The catalog of this process without prices of the user's; built once."""
    global _default  # noqa: PLW0603 - the one of the process
    if _default is None:
        with _default_lock:
            if _default is None:
                _default = Catalog()
    return _default


def _spellings(model: str) -> list[str]:
    """As it came, and without what may stand before it: providers name their models with and without."""
    name = names.tidy(model)
    spellings = [name]
    while (split := names.split(spellings[-1]))[0] is not None:
        spellings.append(names.tidy(split[1]))
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


def _unknown(model: str, provider: str | None, tier: str | None, note: str) -> Schedule:
    return Schedule.constant(
        Rates(provider=provider, model=model, status="unpriced", tier=tier, source="", notes=(note,))
    )


def _first(chosen: Sequence[tuple[int, int | None, Rates]], at: int) -> Rates | None:
    return next((r for start, end, r in chosen if start <= at and (end is None or at < end)), None)


def _ns(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000
