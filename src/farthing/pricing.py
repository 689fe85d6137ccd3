"""Usage x rates: exact integer arithmetic on pico-dollars, rounded once, half-even, to nano-dollars.

The parts of input and output are priced apart where they have a rate, else with the whole: tokens read from a
cache at `cached` or else `input`; written to it at `cache_write` or else `input`, those for an hour at
`cache_write_1h` or else as the others; audio and images at theirs or else as text. A band of long context is
a cliff: it sets the rates of the whole request by its total input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from farthing.money import PICO, round_nano, usd, usd_from_pico
from farthing.records import Cost, CostLine, CostSource, Rates, Usage
from farthing.records.fees import FEES, ONLY_IF_PRICED

__all__ = ["Step", "has_rate", "price", "price_of", "prompt", "total", "total_of", "upper_rate"]

Prices = Mapping[str, int | Fraction]
Counts = Mapping[str, int | str]
Step = tuple[Usage | None, Rates, Counts | None]
"""What one model was used for: (usage, its rates, further counts)."""

Part = tuple[str, int | Decimal, int | Fraction | None]
"""(unit, quantity, pico-dollars for one; None if nobody knows)."""

_INPUT = ("input", "cached", "cache_write", "cache_write_1h", "audio_input", "audio_cached", "image_input")
_OUTPUT = ("output", "audio_output", "image_output", "reasoning")
_WIDE = Context(prec=60)
_NOTHING = Usage()
_TOKENS = frozenset({"input", "output"})

_Tops = tuple[tuple[int, int | Fraction], ...]
"""(the input that is not above it has no such rates, the dearest of them), the rates outside bands first."""

_MOST_TOPS = 1024
_tops: dict[int, tuple[Rates, _Tops, _Tops]] = {}


def total(
    usage: Usage | None, rates: Rates, units: Counts | None = None
) -> tuple[int | None, CostSource, tuple[str, ...]]:
    """What a usage costs: (nano-dollars, where they come from, units without a price or without a count).

    None is unknown ("unpriced"): of no usage, of a usage without a count, of rates without a price for any of
    it. "partial" is a lower bound: a unit has no price, or the half of the tokens that the provider did not
    state has one. Never raises, never negative.

    Args:
        usage: what was used; None if nobody knows.
        rates: of the model, at the instant, at the tier that served.
        units: further counts of the call, of which some are fees (`farthing.records.fees`).
    """
    if usage is None:
        return None, "unpriced", ()
    if rates.status == "unpriced":
        return None, "unpriced", tuple(unit for unit, _, _ in _parts(usage, {}, units))
    prices = _prices(usage, rates) if rates.bands else rates.prices
    return _judged(usage, rates, _parts(usage, prices, units))


def _judged(
    usage: Usage, rates: Rates, parts: Sequence[Part]
) -> tuple[int | None, CostSource, tuple[str, ...]]:
    pico, used, missing = _exact(usage, rates, parts)
    if missing:
        return (round_nano(pico), "partial", tuple(missing)) if used else (None, "unpriced", tuple(missing))
    if rates.status == "free":
        return round_nano(pico), "free", ()
    if not used and (usage == _NOTHING or (usage.seconds is None and not rates.prices.keys() & _TOKENS)):
        return None, "unpriced", ()
    return round_nano(pico), "priced", ()


def total_of(steps: Sequence[Step]) -> tuple[int | None, CostSource, tuple[str, ...]]:
    """`total` of a call that is billed in steps, maybe of several models: their sum, rounded once."""
    if len(steps) == 1:
        return total(*steps[0])
    pico: int | Fraction = 0
    used, free = False, True
    missing: list[str] = []
    for usage, rates, units in steps:
        free = free and rates.status == "free"
        if usage is None or rates.status == "unpriced":
            missing += [_of(unit, rates, steps) for unit, _, _ in _parts(usage or _NOTHING, {}, units)]
            continue
        amount, priced, lacking = _exact(usage, rates, _parts(usage, _prices(usage, rates), units))
        pico, used = pico + amount, used or priced
        missing += [_of(unit, rates, steps) for unit in lacking]
    named = tuple(dict.fromkeys(missing))
    if not used and not (free and steps and not named):
        return None, "unpriced", named
    return round_nano(pico), "partial" if named else "free" if free else "priced", named


def price(
    usage: Usage | None,
    rates: Rates,
    *,
    units: Counts | None = None,
    reported_nano: int | None = None,
) -> Cost:
    """The same with one exact line for each unit.

    Args:
        usage, rates, units: as of `total`.
        reported_nano: what the provider itself says that it charged; it stands, without lines, because
            tokens x rates need not come to it.
    """
    return price_of(((usage, rates, units),), usage, reported_nano=reported_nano)


def price_of(steps: Sequence[Step], usage: Usage | None, *, reported_nano: int | None = None) -> Cost:
    """`price` of a call that is billed in steps, the first at the rates of the model that answered; `usage`
    is what they come to together."""
    first, rates, units = steps[0]
    if len(steps) == 1 and first is not None and rates.status != "unpriced":  # the usual case, looked at once
        parts = _parts(first, _prices(first, rates), units)
        nano, source, missing = _judged(first, rates, parts)
    else:
        parts = _all_parts(steps)
        nano, source, missing = total_of(steps)
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
    unsaid = [unit for unit in missing if len(steps) == 1 and unit in _halves(usage)]
    unknown = [unit for unit in missing if unit not in unsaid]
    if unknown:
        notes = (*notes, f"no price is known for: {', '.join(unknown)}")
    if unsaid:
        notes = (*notes, f"the provider does not say how much {unsaid[0]} there was: a lower bound")
    if nano is None and not missing and (usage is None or usage == _NOTHING):
        notes = (*notes, "nothing is known of the usage")
    return Cost(
        usd=None if nano is None else usd(nano),
        nano=nano,
        cost_source=source,
        lines=() if nano is None else _lines(parts, distinct=len(steps) == 1 and not units),
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

    Over audio, images, reasoning and caches, and over the bands; with `input_tokens`, the most that the
    request may have, over those bands only that it can reach. 0 where no price of the kind is stated, which
    is right for the output of embeddings and says nothing of other calls: `has_rate` tells.
    """
    kept = _tops.get(id(rates))
    if kept is None or kept[0] is not rates:
        kept = _keep_tops(rates)
    most: int | Fraction = 0
    for above, top in kept[1] if unit == "input" else kept[2]:
        if (input_tokens is None or input_tokens > above) and top > most:
            most = top
    return most


def _keep_tops(rates: Rates) -> tuple[Rates, _Tops, _Tops]:
    """The dearest rates, looked up once: the catalog gives out the same object while a price holds. What is
    kept keeps the object alive, so that no other has its id."""
    if len(_tops) >= _MOST_TOPS:
        _tops.clear()
    every = ((-1, rates.prices), *((band.above, band.prices) for band in rates.bands))
    read, made = (
        tuple([(above, _dearest(prices, kinds)) for above, prices in every]) for kinds in (_INPUT, _OUTPUT)
    )
    kept = _tops[id(rates)] = rates, read, made
    return kept


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


def _exact(
    usage: Usage, rates: Rates, parts: Sequence[Part]
) -> tuple[int | Fraction, bool, list[str] | tuple[str, ...]]:
    """Pico-dollars of what has a price, whether that is anything, and the units that lack one or a count."""
    pico: int | Fraction = 0
    used = False
    missing: list[str] = []
    for unit, quantity, rate in parts:
        if rate is None:
            missing.append(unit)
        else:
            used = used or unit != "request"
            pico += rate * (quantity if type(quantity) is int else Fraction(quantity))
    if (usage.input_tokens is None) is not (usage.output_tokens is None):
        prices = _prices(usage, rates)
        missing += [unit for unit in _halves(usage) if prices.get(unit)]
    return pico, used, missing


def _halves(usage: Usage | None) -> tuple[str, ...]:
    """The half of the tokens that nobody stated, where the other was. Embeddings have no output: there it has
    no price either, and nothing is missing."""
    if usage is None or (usage.input_tokens is None) is (usage.output_tokens is None):
        return ()
    return ("input",) if usage.input_tokens is None else ("output",)


def _of(unit: str, rates: Rates, steps: Sequence[Step]) -> str:
    """A unit, with its model where that is not the one that answered."""
    return unit if rates.model == steps[0][1].model else f"{unit} of {rates.model}"


def _all_parts(steps: Sequence[Step]) -> list[Part]:
    """The parts of all steps, each unit with its model where that is not the one that answered."""
    return [
        (_of(unit, rates, steps), quantity, rate)
        for usage, rates, units in steps
        if usage is not None and rates.status != "unpriced"
        for unit, quantity, rate in _parts(usage, _prices(usage, rates), units)
    ]


def _lines(parts: Sequence[Part], *, distinct: bool) -> tuple[CostLine, ...]:
    """One for each unit of each model and rate; `distinct` if the parts have each unit once."""
    if distinct:
        return tuple([_line(unit, quantity, rate) for unit, quantity, rate in parts if rate is not None])
    sums: dict[tuple[str, int | Fraction], int | Decimal] = {}
    for unit, quantity, rate in parts:
        if rate is not None:
            key = (unit, rate)
            sums[key] = sums[key] + quantity if key in sums else quantity
    return tuple(_line(unit, quantity, rate) for (unit, rate), quantity in sums.items())


def _prices(usage: Usage, rates: Rates) -> Prices:
    prices = rates.prices
    if rates.bands:
        tokens = usage.input_tokens or 0
        for band in rates.bands:
            if tokens > band.above:
                prices = band.prices
    return prices


def _parts(usage: Usage, prices: Prices, units: Counts | None) -> list[Part]:
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
    if usage.output_tokens:
        if "reasoning" in prices or usage.audio_output_tokens or usage.image_output_tokens:
            _made(usage, prices, parts, usage.output_tokens)
        else:
            parts.append(("output", usage.output_tokens, prices.get("output")))
    if usage.web_searches:
        parts.append(("web_search", usage.web_searches, prices.get("web_search")))
    if usage.seconds is not None or usage.characters or usage.images:
        _other(usage, prices, parts)
    if units:
        _fees(usage, units, prices, parts)
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


def _made(usage: Usage, prices: Prices, parts: list[Part], output: int) -> None:
    """The output, and apart from it what has a price of its own: audio, images, reasoning."""
    for unit, count in (
        ("audio_output", usage.audio_output_tokens),
        ("image_output", usage.image_output_tokens),
        ("reasoning", usage.reasoning_tokens),
    ):
        if count and unit in prices:
            taken = min(count, output)
            _add(parts, unit, taken, prices[unit])
            output -= taken
    _add(parts, "output", output, prices.get("output"))


def _other(usage: Usage, prices: Prices, parts: list[Part]) -> None:
    """What is billed by another measure than tokens. Beside tokens it has a price or is only told."""
    told = bool(parts)
    for unit, count in (("second", usage.seconds), ("character", usage.characters), ("image", usage.images)):
        if count and (unit in prices or not told):
            parts.append((unit, count, prices.get(unit)))


def _fees(usage: Usage, units: Counts, prices: Prices, parts: list[Part]) -> None:
    """What is billed beside the tokens. Searches that the usage counts are not counted a second time."""
    for name, count in units.items():
        unit = FEES.get(name)
        if (
            unit is None
            or type(count) is not int
            or not count
            or (unit == "web_search" and usage.web_searches)
        ):
            continue
        rate = prices.get(unit)
        if rate is not None or unit not in ONLY_IF_PRICED:
            parts.append((unit, count, rate))


def _add(parts: list[Part], unit: str, count: int, rate: int | Fraction | None) -> None:
    if count:
        parts.append((unit, count, rate))


def _line(unit: str, quantity: int | Decimal, rate: int | Fraction) -> CostLine:
    amount = rate * (quantity if type(quantity) is int else Fraction(quantity))
    return CostLine.of(unit, quantity, _rate_usd(rate), _usd(amount))


@lru_cache(maxsize=4096)
def _rate_usd(rate: int | Fraction) -> Decimal:
    """There are few rates, and each is asked for with every call of its model."""
    return _usd(rate)


def _usd(pico: int | Fraction) -> Decimal:
    """Exact; a fraction without a last digit (a price per hour, by the second) to sixty."""
    if isinstance(pico, int):
        return usd_from_pico(pico)
    if pico.denominator == 1:
        return usd_from_pico(pico.numerator)
    return _WIDE.divide(Decimal(pico.numerator), Decimal(pico.denominator * PICO))
