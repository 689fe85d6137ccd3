"""A price file in the format of litellm's model_prices_and_context_window.json, which a user names.

USD for one token, by model. Its zeros are no statements (models whose price is unknown have them), so an
entry of nothing but zeros is no price; nor has it dates.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from farthing.catalog.names import canonical, provider_id
from farthing.catalog.schedule import Schedule
from farthing.catalog.tiers import multiplier
from farthing.forks import renewed_in_children
from farthing.log import say_once
from farthing.money import rate_pico
from farthing.records import Band, Rates

__all__ = ["Listed", "PriceFile"]

_UNITS: Mapping[str, str] = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "cache_read_input_audio_token_cost": "audio_cached",
    "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
    "input_cost_per_character": "character",
    "input_cost_per_second": "second",
    "output_cost_per_image": "image",
}
_TIERS: Mapping[str, str] = {"batch": "_batches", "flex": "_flex", "priority": "_priority"}
_BAND = re.compile(r"_above_(?P<thousands>\d+)k_tokens")
_MOST_BYTES = 64 * 2**20

Prices = dict[str, int | Fraction]


class Listed:
    """One entry of the file."""

    __slots__ = ("_raw", "model", "provider", "source")

    def __init__(self, provider: str, model: str, raw: Mapping[str, Any], source: str) -> None:
        self.provider = provider
        self.model = model
        self.source = source
        self._raw = raw

    @property
    def max_output(self) -> int | None:
        """Tokens; None if it does not say."""
        return _tokens(self._raw.get("max_output_tokens"))

    @property
    def context_window(self) -> int | None:
        """Tokens of input; None if it does not say."""
        return _tokens(self._raw.get("max_input_tokens"))

    def schedule(self, tier: str | None) -> Schedule | None:
        """The rates at a tier; None where it has no price of it."""
        standard, bands = self._prices("")
        suffix = _TIERS.get(tier or "")
        notes: tuple[str, ...] = ()
        flags: tuple[str, ...] = ()
        if tier is not None:
            own, own_bands = self._prices(suffix) if suffix is not None else ({}, {})
            factor = multiplier(self.provider, tier)
            if own:
                standard = {**standard, **own}
                bands = {
                    above: {**bands.get(above, {}), **own_bands.get(above, {})}
                    for above in {*bands, *own_bands}
                }
            elif factor is not None:
                standard = factor.on(standard)
                bands = {above: factor.on(prices) for above, prices in bands.items()}
                notes, flags = (factor.note,), ("multiplier",)
            else:
                return None
        if not any(standard.values()):
            return None
        return Schedule.constant(
            Rates(
                provider=self.provider,
                model=self.model,
                prices=standard,
                bands=tuple(
                    Band(above=above, prices={**standard, **bands[above]}) for above in sorted(bands)
                ),
                source=self.source,
                tier=tier,
                notes=notes,
                flags=flags,
            )
        )

    def _prices(self, suffix: str) -> tuple[Prices, dict[int, Prices]]:
        base: Prices = {}
        bands: dict[int, Prices] = {}
        for key, value in self._raw.items():
            if type(value) not in {int, Decimal} or not key.endswith(suffix):
                continue
            name = key.removesuffix(suffix) if suffix else key
            found = _BAND.search(name)
            unit = _UNITS.get(_BAND.sub("", name))
            if unit is None or not 0 <= value <= 10**6:
                continue
            price = rate_pico(Decimal(value), 1)
            if found is None:
                base[unit] = price
            else:
                bands.setdefault(int(found["thousands"]) * 1000, {})[unit] = price
        searches = self._raw.get("search_context_cost_per_query")
        if not suffix and isinstance(searches, Mapping):
            each: Any = searches.get("search_context_size_medium")
            if type(each) in {int, Decimal} and 0 <= each <= 10**6:
                base["web_search"] = rate_pico(Decimal(each), 1)
        return base, bands


class PriceFile:
    """The entries of a file, read at the first question.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._lock = threading.Lock()
        renewed_in_children(self, _lock=threading.Lock)
        self._entries: dict[tuple[str, str], Listed] | None = None

    def find(self, provider: str | None, model: str) -> Listed | None:
        """The entry of a model at a provider (our id of it). Never raises: a file that cannot be read is said
        once, and has no entries."""
        entries = self._entries
        if entries is None:
            with self._lock:
                entries = self._entries = self._entries if self._entries is not None else self._read_or_say()
        return entries.get((provider or "", model.lower()))

    def check(self) -> None:
        """Read it now.

        Raises:
            ValueError: for a file of another format.
            OSError: for one that cannot be read.
        """
        self._entries = self._read()

    def entries(self) -> Iterator[Listed]:
        """Every entry.

        Raises:
            ValueError: for a file of another format.
            OSError: for one that cannot be read.
        """
        return iter(self._read().values())

    def _read_or_say(self) -> dict[tuple[str, str], Listed]:
        try:
            return self._read()
        except (OSError, ValueError) as error:
            say_once(("price file", str(self.path)), logging.ERROR, "no prices from %s: %s", self.path, error)
            return {}

    def _read(self) -> dict[tuple[str, str], Listed]:
        if self.path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large for a price file")
        content = self.path.read_bytes()
        try:
            data = json.loads(content, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise ValueError("it is no JSON") from None
        if not isinstance(data, dict):
            raise ValueError("it is not an object of models, as litellm's price file is")  # noqa: TRY004
        source = f"{self.path.name} {hashlib.sha256(content).hexdigest()[:8]}"
        entries: dict[tuple[str, str], Listed] = {}
        for key, raw in data.items():
            if not isinstance(raw, dict) or key == "sample_spec":
                continue
            provider = _provider(raw.get("litellm_provider"))
            if provider is not None:
                name = canonical(key, provider)
                entries.setdefault((provider, name.lower()), Listed(provider, name, raw, source))
        if data and not entries:
            raise ValueError("no entry of it names a litellm_provider")
        return entries


def _provider(spelt: object) -> str | None:
    """Our id: "vertex_ai-anthropic_models" is Google's, "bedrock_converse" Amazon's."""
    if not isinstance(spelt, str) or not spelt:
        return None
    return provider_id(spelt.partition("-")[0] if spelt.startswith("vertex_ai") else spelt)


def _tokens(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
