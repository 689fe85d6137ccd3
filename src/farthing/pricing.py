"""Usage x rates: exact integer arithmetic on pico-dollars, rounded once, half-even, to nano-dollars.

The parts of input and output are priced apart where they have a rate, else with the whole: tokens read from a
cache at `cached` or else `input`; written to it at `cache_write` or else `input`, those for an hour at
`cache_write_1h` or else as the others; audio and images at theirs or else as text. A band of long context is
a cliff: it sets the rates of the whole request by its total input.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal
from fractions import Fraction

from farthing.money import PICO, round_nano, usd, usd_from_pico
from farthing.records import Cost, CostLine, CostSource, Rates, Usage

__all__ = ["has_rate", "price", "prompt", "total", "upper_rate"]

Prices = Mapping[str, int | Fraction]
Part = tuple[str, int | Decimal, int | Fraction | None]
"""(unit, quantity, pico-dollars for one; None if nobody knows)."""

_INPUT = ("input", "cached", "cache_write", "cache_write_1h", "audio_input", "audio_cached", "image_input")
_OUTPUT = ("output", "audio_output", "image_output")
_WIDE = Context(prec=60)
_NOTHING = Usage()


def total(usage: Usage | None, rates: Rates) -> tuple[int | None, CostSource, tuple[str, ...]]:
    """What a usage costs: (nano-dollars, where they come from, units that have no price).

    None is unknown ("unpriced"): of no usage, of a usage without a count, of rates without a price for any of
    it. "partial" is a lower bound. Never raises, never negative.
    """
    if usage is None:
        return None, "unpriced", ()
    if rates.status == "unpriced":
        return None, "unpriced", tuple(unit for unit, _, _ in _parts(usage, {}))
    pico: int | Fraction = 0
    used = False
    missing: list[str] = []
    for unit, quantity, rate in _parts(usage, _prices(usage, rates)):
        if rate is None:
            missing.append(unit)
        else:
            used = used or unit != "request"
            pico += rate * (quantity if type(quantity) is int else Fraction(quantity))
    if missing:
        return (round_nano(pico), "partial", tuple(missing)) if used else (None, "unpriced", tuple(missing))
    if rates.status == "free":
        return round_nano(pico), "free", ()
    if not used and usage == _NOTHING:
        return None, "unpriced", ()
    return round_nano(pico), "priced", ()


def price(usage: Usage | None, rates: Rates, *, reported_nano: int | None = None) -> Cost:
    """The same with one exact line for each unit.

    Args:
        usage: what was used; None if nobody knows.
        rates: of the model, at the instant, at the tier that served.
        reported_nano: what the provider itself says that it charged; it stands, without lines, because
            tokens x rates need not come to it.
    """
    nano, source, missing = total(usage, rates)
    notes = rates.notes
    if reported_nano is not None:
        if nano is not None and nano != reported_nano:
            notes = (*notes, f"charged as the provider states; its list prices give {usd(nano)} USD")
        return Cost(
            usd=usd(reported_nano),
            nano=reported_nano,
            cost_source="reported",
            rates=rates if rates.prices else None,
            usage=usage,
            notes=notes,
        )
    if missing:
        notes = (*notes, f"no price is known for: {', '.join(missing)}")
    elif usage is None or usage == _NOTHING:
        notes = (*notes, "nothing is known of the usage")
    parts = [] if usage is None or nano is None else _parts(usage, _prices(usage, rates))
    return Cost(
        usd=None if nano is None else usd(nano),
        nano=nano,
        cost_source=source,
        lines=tuple(_line(unit, quantity, rate) for unit, quantity, rate in parts if rate is not None),
        rates=rates if rates.prices else None,
        usage=usage,
        notes=notes,
    )


def prompt(tokens: int, rates: Rates) -> int | None:
    """Nano-dollars of so many tokens of input alone; None if unknown. What `total` says, in the usual case
    without making a `Usage`."""
    rate = rates.prices.get("input")
    if rate is None or not tokens or rates.bands or rates.status != "priced" or "request" in rates.prices:
        return total(Usage.trusted(input_tokens=tokens), rates)[0]
    return round_nano(rate * tokens)


def upper_rate(rates: Rates, unit: str, *, input_tokens: int | None = None) -> int | Fraction:
    """The dearest pico-dollars that one token of "input" or "output" may cost.

    Over audio, images and caches, and over the bands; with `input_tokens`, the most that the request may
    have, over those bands only that it can reach. 0 where no price of the kind is stated, which is right for
    the output of embeddings and says nothing of other calls: `has_rate` tells.
    """
    kinds = _INPUT if unit == "input" else _OUTPUT
    most = _dearest(rates.prices, kinds)
    for band in rates.bands:
        if input_tokens is None or input_tokens > band.above:
            most = max(most, _dearest(band.prices, kinds))
    return most


def _dearest(prices: Prices, kinds: tuple[str, ...]) -> int | Fraction:
    most: int | Fraction = 0
    for kind in kinds:
        rate = prices.get(kind)
        if rate is not None and rate > most:
            most = rate
    return most


def has_rate(rates: Rates, unit: str) -> bool:
    """Whether tokens of "input" or "output" have a price, if only a stated zero."""
    return unit in rates.prices


def _prices(usage: Usage, rates: Rates) -> Prices:
    prices = rates.prices
    if rates.bands:
        tokens = usage.input_tokens or 0
        for band in rates.bands:
            if tokens > band.above:
                prices = band.prices
    return prices


def _parts(usage: Usage, prices: Prices) -> list[Part]:
    """What is not zero, each unit once, with its rate."""
    parts: list[Part] = []
    rate = prices.get("input")
    plain = usage.input_tokens or 0
    if plain:
        cached = usage.cached_tokens or 0
        written = usage.cache_write_tokens or 0
        plain -= cached + written
        if usage.audio_input_tokens or usage.image_input_tokens:
            plain, cached = _media(usage, prices, parts, plain, cached)
        if plain:
            parts.append(("input", plain, rate))
        if cached:
            parts.append(("cached", cached, prices.get("cached", rate)))
        if written:
            _written(usage, prices, parts, written)
    output = usage.output_tokens or 0
    if output:
        if usage.audio_output_tokens or usage.image_output_tokens:
            output = _made(usage, prices, parts, output)
        if output:
            parts.append(("output", output, prices.get("output")))
    if usage.web_searches:
        parts.append(("web_search", usage.web_searches, prices.get("web_search")))
    if usage.seconds is not None or usage.characters or usage.images:
        _other(usage, prices, parts)
    if "request" in prices:
        parts.append(("request", 1, prices["request"]))
    return parts


def _media(usage: Usage, prices: Prices, parts: list[Part], plain: int, cached: int) -> tuple[int, int]:
    """Split audio and images off the input; returns the text that was not and that was read from a cache.

    How much of the audio came from the cache is not reported. It is taken as not cached as far as that can
    be, which never prices it too low.
    """
    audio, image = usage.audio_input_tokens or 0, usage.image_input_tokens or 0
    if "audio_input" in prices and audio:
        fresh = min(audio, plain)
        from_cache = min(audio - fresh, cached)
        _add(parts, "audio_input", fresh, prices["audio_input"])
        _add(
            parts,
            "audio_cached",
            from_cache,
            prices.get("audio_cached", prices.get("cached", prices.get("input"))),
        )
        plain, cached = plain - fresh, cached - from_cache
    if "image_input" in prices and image:
        fresh = min(image, plain)
        _add(parts, "image_input", fresh, prices["image_input"])
        plain -= fresh
    return plain, cached


def _written(usage: Usage, prices: Prices, parts: list[Part], written: int) -> None:
    rate = prices.get("cache_write", prices.get("input"))
    hour = usage.cache_write_1h_tokens or 0
    _add(parts, "cache_write", written - hour, rate)
    _add(parts, "cache_write_1h", hour, prices.get("cache_write_1h", rate))


def _made(usage: Usage, prices: Prices, parts: list[Part], output: int) -> int:
    """Split audio and images off the output; returns the rest."""
    for unit, count in (
        ("audio_output", usage.audio_output_tokens),
        ("image_output", usage.image_output_tokens),
    ):
        if count and unit in prices:
            taken = min(count, output)
            _add(parts, unit, taken, prices[unit])
            output -= taken
    return output


def _other(usage: Usage, prices: Prices, parts: list[Part]) -> None:
    """What is billed by another measure than tokens. Beside tokens it has a price or is only told."""
    told = bool(parts)
    for unit, count in (("second", usage.seconds), ("character", usage.characters), ("image", usage.images)):
        if count and (unit in prices or not told):
            parts.append((unit, count, prices.get(unit)))


def _add(parts: list[Part], unit: str, count: int, rate: int | Fraction | None) -> None:
    if count:
        parts.append((unit, count, rate))


def _line(unit: str, quantity: int | Decimal, rate: int | Fraction) -> CostLine:
    amount = rate * (quantity if isinstance(quantity, int) else Fraction(quantity))
    return CostLine(unit=unit, quantity=quantity, rate=_usd(rate), amount=_usd(amount))


def _usd(pico: int | Fraction) -> Decimal:
    """Exact; a fraction without a last digit (a price per hour, by the second) to sixty."""
    if isinstance(pico, int):
        return usd_from_pico(pico)
    if pico.denominator == 1:
        return usd_from_pico(pico.numerator)
    return _WIDE.divide(Decimal(pico.numerator), Decimal(pico.denominator * PICO))
