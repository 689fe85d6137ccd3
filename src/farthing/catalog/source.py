"""The price source: genai-prices (github.com/pydantic/genai-prices, MIT), a package that bundles its data.

Used of it: the matching of names and URLs, and the prices, which `compiled` turns into integer rates once for
each entry. Its own calculation takes 100 us a call and prices what it does not know as zero or as standard.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from farthing.catalog import refreshed
from farthing.catalog.compiled import compiled
from farthing.catalog.corrections import corrected
from farthing.catalog.names import maker, provider_id
from farthing.catalog.schedule import Schedule
from farthing.catalog.tiers import multiplier
from farthing.forks import finished_before_forks
from farthing.log import say_once

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

__all__ = ["Source", "installed", "load", "source_name"]

_lock = threading.RLock()
finished_before_forks(sys.modules[__name__], "_lock")
_loaded: Source | None = None


def source_name() -> str:
    """Name and version of the price source, without loading it."""
    if _loaded is not None:
        return _loaded.name
    with _lock:
        return refreshed.name_standing() or _installed_name()


def _installed_name() -> str:
    return f"genai-prices {refreshed.installed() or '(not installed)'}"


def load() -> Source:
    """The source of this process; the first call imports the data (some 200 ms, 26 MB).

    Raises:
        ImportError: if genai-prices is not installed.
    """
    global _loaded  # noqa: PLW0603 - one copy of the data for all catalogs of the process
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = _refreshed() or installed()
    return _loaded


def installed() -> Source:
    """The list that is installed, also where a newer one was put aside.

    Raises:
        ImportError: if genai-prices is not installed.
    """
    from genai_prices.data import providers  # noqa: PLC0415 - heavy: at first use

    return Source(providers, _installed_name())


def _refreshed() -> Source | None:
    newer = refreshed.standing()
    if newer is None:
        return None
    try:
        return Source(refreshed.parsed(newer[1]), newer[0])
    except ValueError as error:
        say_once(("refreshed",), logging.WARNING, "the updated price list cannot be used: %s", error)
        return None


class Source:
    """The entries of genai-prices, and the schedules that were compiled from them."""

    def __init__(self, providers: list[Provider], name: str) -> None:
        self.name = name
        self._providers = providers
        self._by_id = {provider.id: provider for provider in providers}
        self._schedules: dict[tuple[str, int, str | None], Schedule] = {}

    def provider(self, spelt: str | None) -> str | None:
        """The id of a provider, however it is spelt; None for one that the source does not have."""
        name = provider_id(spelt)
        if name is None or name in self._by_id:
            return name
        matches = (p.id for p in self._providers if p.provider_match and p.provider_match.is_match(name))
        return next(matches, None)

    def provider_at(self, url: str) -> str | None:
        """The provider whose `api_pattern` a URL has."""
        return next((p.id for p in self._providers if re.match(p.api_pattern, url, re.IGNORECASE)), None)

    def maker(self, model: str) -> str | None:
        """The provider whose models are named so."""
        by_name = maker(model)
        if by_name is not None:
            return by_name
        name = model.lower()
        return next((p.id for p in self._providers if p.model_match and p.model_match.is_match(name)), None)

    def find(self, provider: str, model: str) -> ModelInfo | None:
        """The entry of a model at a provider; the maker's, where a provider resells it without an own one."""
        known = self._by_id.get(provider)
        return known.find_model(model, all_providers=self._providers) if known is not None else None

    def entries(self) -> Iterator[tuple[str, ModelInfo]]:
        """Every provider's id with each of its entries."""
        return ((provider.id, model) for provider in self._providers for model in provider.models)

    def schedule(self, provider: str, model: ModelInfo, tier: str | None) -> Schedule:
        """The rates of an entry; the same objects at each call."""
        key = (provider, id(model), tier)
        known = self._schedules.get(key)
        if known is not None:
            return known
        # The maker's tiers say nothing of a reseller's.
        own = any(model is listed for listed in self._by_id[provider].models)
        variants = model.price_variants if own and model.price_variants else ()
        schedule = compiled(provider, model, tier, variants, self.name)
        if own:
            schedule = corrected(schedule, provider, model.id, tier)
        if tier in {None, "batch", "flex", "priority", "fast"} or multiplier(provider, tier or ""):
            return self._schedules.setdefault(key, schedule)
        return schedule  # any text can be asked for as a tier: not kept
