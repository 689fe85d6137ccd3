"""Two price lists side by side: where they disagree on the standard price of a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from farthing.catalog import refreshed
from farthing.catalog.pricefile import PriceFile
from farthing.catalog.source import Source, installed, load
from farthing.records import Rates

__all__ = ["Difference", "PriceList", "compared", "differences", "price_list"]

Cell = tuple[str, int]
"""(unit, above so many tokens of input)."""


class PriceList(Protocol):
    """A list that can be asked for a model's standard rates."""

    name: str
    has_usual_names: bool
    """True if its names are those that requests use; genai-prices' entries have names of their own."""

    def names(self) -> Iterable[tuple[str, str]]:
        """(provider, model) of every entry."""
        ...

    def rates(self, provider: str, model: str, at_ns: int) -> Rates | None:
        """The standard rates at an instant; None if it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """One price: pico-dollars for one unit in each list; None where a list has none of it."""

    provider: str
    model: str
    unit: str
    above: int
    left: int | Fraction | None
    right: int | Fraction | None


class _Genai:
    has_usual_names = False

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._source = source

    def names(self) -> Iterable[tuple[str, str]]:
        return ((provider, model.id) for provider, model in self._source.entries())

    def rates(self, provider: str, model: str, at_ns: int) -> Rates | None:
        known = self._source.provider(provider)
        entry = self._source.find(known, model) if known is not None else None
        if known is None or entry is None:
            return None
        rates = self._source.schedule(known, entry, None).at(at_ns)
        return rates if rates.status != "unpriced" else None


class _File:
    has_usual_names = True

    def __init__(self, file: PriceFile) -> None:
        entries = list(file.entries())
        self.name = entries[0].source if entries else file.path.name
        self._entries = {(entry.provider, entry.model.lower()): entry for entry in entries}

    def names(self) -> Iterable[tuple[str, str]]:
        return ((entry.provider, entry.model) for entry in self._entries.values())

    def rates(self, provider: str, model: str, at_ns: int) -> Rates | None:
        entry = self._entries.get((provider, model.lower()))
        schedule = entry.schedule(None) if entry is not None else None
        return schedule.at(at_ns) if schedule is not None else None


def price_list(where: str) -> PriceList:
    """A list: "installed", "current" (the installed one or a newer one that was put aside), or the path of a
    file in the format of litellm or of genai-prices.

    Raises:
        ValueError: for a file of neither format.
        OSError: for one that cannot be read.
        ImportError: if genai-prices is not installed.
    """
    if where == "installed":
        return _Genai(installed())
    if where == "current":
        return _Genai(load())
    path = Path(where).expanduser()
    content = path.read_bytes()
    try:
        is_list = isinstance(json.loads(content), list)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    return _Genai(Source(refreshed.parsed(content), path.name)) if is_list else _File(PriceFile(path))


def differences(left: PriceList, right: PriceList, at_ns: int, *, one_sided: bool) -> Iterator[Difference]:
    """What the two disagree on, by provider and model.

    Args:
        one_sided: also models and units that only one of them has.
    """
    for provider, model in _names(left, right):
        a, b = left.rates(provider, model, at_ns), right.rates(provider, model, at_ns)
        if (a is None or b is None) and not one_sided:
            continue
        ours, theirs = _cells(a), _cells(b)
        for unit, above in sorted(ours.keys() | theirs.keys(), key=lambda cell: (cell[1], cell[0])):
            mine, other = ours.get((unit, above)), theirs.get((unit, above))
            if mine != other and (one_sided or (mine is not None and other is not None)):
                yield Difference(provider, model, unit, above, mine, other)


def compared(left: PriceList, right: PriceList, at_ns: int) -> Iterator[tuple[str, str]]:
    """(provider, model) of what both have a price of."""
    for name in _names(left, right):
        if left.rates(*name, at_ns) is not None and right.rates(*name, at_ns) is not None:
            yield name


def _names(left: PriceList, right: PriceList) -> list[tuple[str, str]]:
    listed = [side for side in (left, right) if side.has_usual_names] or [left, right]
    return sorted({name for side in listed for name in side.names()})


def _cells(rates: Rates | None) -> Mapping[Cell, int | Fraction]:
    if rates is None:
        return {}
    cells: dict[Cell, int | Fraction] = {(unit, 0): price for unit, price in rates.prices.items()}
    for band in rates.bands:
        cells |= {(unit, band.above): price for unit, price in band.prices.items()}
    return cells
