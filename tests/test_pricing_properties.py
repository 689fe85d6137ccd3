"""What holds of a cost whatever the counts and the rates are, and of the rates of every model there is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from farthing.catalog.source import load
from farthing.money import round_nano
from farthing.pricing import price, total, upper_rate
from farthing.records import Band, Rates, Usage

KINDS = ("plain", "cached", "written_5m", "written_1h", "audio", "output", "spoken", "searches")
COUNTS = st.integers(0, 2_000_000)
RATE = st.one_of(st.integers(0, 10**9), st.fractions(0, 10**6, max_denominator=997))
OPTIONAL = ("cached", "cache_write", "cache_write_1h", "audio_input", "audio_output", "web_search")
PRICES = st.fixed_dictionaries({"input": RATE, "output": RATE}, optional=dict.fromkeys(OPTIONAL, RATE))


@dataclass(frozen=True)
class Counts:
    """A call as counts that do not contain each other."""

    plain: int = 0
    cached: int = 0
    written_5m: int = 0
    written_1h: int = 0
    audio: int = 0
    output: int = 0
    spoken: int = 0
    searches: int = 0

    def usage(self) -> Usage:
        written = self.written_5m + self.written_1h
        return Usage(
            input_tokens=self.plain + self.cached + written + self.audio,
            cached_tokens=self.cached,
            cache_write_tokens=written,
            cache_write_5m_tokens=self.written_5m,
            cache_write_1h_tokens=self.written_1h,
            audio_input_tokens=self.audio,
            output_tokens=self.output + self.spoken,
            audio_output_tokens=self.spoken,
            web_searches=self.searches,
        )


CALLS = st.builds(Counts, **dict.fromkeys(KINDS, COUNTS))


def of(prices, bands=()) -> Rates:
    return Rates(provider="p", model="m", prices=prices, bands=tuple(bands))


@st.composite
def tariffs(draw) -> Rates:
    """Rates with up to two bands; long requests are never cheaper, as on every page that has bands."""
    prices = draw(PRICES)
    bands, last = [], prices
    for above in sorted(draw(st.sets(st.integers(1, 3_000_000), max_size=2))):
        factor = draw(st.integers(1, 4))
        last = {unit: rate * factor for unit, rate in last.items()}
        bands.append(Band(above=above, prices=last))
    return of(prices, bands)


def exact(call: Counts, rates: Rates) -> Decimal:
    return sum((line.amount for line in price(call.usage(), rates).lines), Decimal(0))


@given(CALLS, tariffs(), st.sampled_from(KINDS), st.integers(1, 10_000))
def test_more_of_anything_never_costs_less(call, rates, kind, more):
    fewer = total(call.usage(), rates)[0] or 0
    grown = total(replace(call, **{kind: getattr(call, kind) + more}).usage(), rates)[0] or 0
    assert grown >= fewer


@given(CALLS, tariffs())
def test_a_cost_is_never_negative_and_is_its_lines_rounded_once(call, rates):
    nano, source, missing = total(call.usage(), rates)
    cost = price(call.usage(), rates)
    assert (cost.nano, cost.cost_source) == (nano, source)
    if nano is not None:
        assert nano >= 0
        assert all(line.quantity > 0 and line.rate >= 0 and line.amount >= 0 for line in cost.lines)
        assert abs(exact(call, rates) - cost.usd) <= Decimal("5.00001e-10")
        assert len({line.unit for line in cost.lines}) == len(cost.lines)
    assert source != "partial" or missing


@given(CALLS, CALLS, PRICES)
def test_two_calls_cost_what_both_cost_where_no_band_comes_between(one, two, prices):
    whole = {unit: rate for unit, rate in prices.items() if isinstance(rate, int)}  # which have a last digit
    rates = of({"input": 5, "output": 7} | whole)
    both = Counts(**{kind: getattr(one, kind) + getattr(two, kind) for kind in KINDS})
    assert exact(both, rates) == exact(one, rates) + exact(two, rates)


@given(CALLS, CALLS, tariffs())
def test_the_order_of_calls_and_of_rates_changes_nothing(one, two, rates):
    turned = of(
        dict(reversed(rates.prices.items())),
        [Band(above=band.above, prices=dict(reversed(band.prices.items()))) for band in rates.bands],
    )
    assert total(one.usage(), turned)[:2] == total(one.usage(), rates)[:2]
    assert one.usage() + two.usage() == two.usage() + one.usage()
    assert total(one.usage() + two.usage(), rates) == total(two.usage() + one.usage(), rates)


@given(CALLS, tariffs(), st.integers(1, 10_000))
def test_what_is_read_from_a_cache_is_never_dearer_unless_the_rates_say_so(call, rates, moved):
    every = [rates.prices, *(band.prices for band in rates.bands)]
    assume(all(prices.get("cached", prices["input"]) <= prices["input"] for prices in every))
    assume(call.plain >= moved)
    from_cache = replace(call, plain=call.plain - moved, cached=call.cached + moved)
    assert (total(from_cache.usage(), rates)[0] or 0) <= (total(call.usage(), rates)[0] or 0)


@given(CALLS, PRICES)
def test_without_a_price_of_the_cache_its_tokens_cost_what_others_do(call, prices):
    rates = of({unit: rate for unit, rate in prices.items() if not unit.startswith("cache")})
    moved = replace(call, plain=call.plain + call.cached + call.written_5m + call.written_1h, cached=0,
                    written_5m=0, written_1h=0)  # fmt: skip
    assert total(call.usage(), rates) == total(moved.usage(), rates)


@given(CALLS, tariffs())
def test_no_bill_of_tokens_is_above_the_dearest_rates(call, rates):
    call = replace(call, searches=0)
    usage = call.usage()
    most = usage.input_tokens * upper_rate(rates, "input", input_tokens=usage.input_tokens)
    most += usage.output_tokens * upper_rate(rates, "output", input_tokens=usage.input_tokens)
    assert (total(usage, rates)[0] or 0) <= round_nano(most)


def every_rate() -> list[Rates]:
    found: dict[int, Rates] = {}
    for provider, model in load().entries():
        for tier in (None, "batch", "flex", "priority"):
            for _, cycle in load().schedule(provider, model, tier).pieces:
                found |= {id(rates): rates for _, rates in cycle}
    return [rates for rates in found.values() if rates.status == "priced"]


@pytest.fixture(scope="module")
def rates_of_today():
    return every_rate()


def test_of_every_model_longer_requests_cost_no_less(rates_of_today):
    for rates in rates_of_today:
        edges = [tokens for band in rates.bands for tokens in (band.above, band.above + 1)]
        costs = [total(Usage(input_tokens=tokens, output_tokens=10), rates)[0] for tokens in edges]
        known = [cost for cost in costs if cost is not None]
        assert known == sorted(known), rates


def test_of_every_model_an_hour_in_the_cache_costs_no_less_than_five_minutes(rates_of_today):
    for rates in rates_of_today:
        if "cache_write_1h" in rates.prices and "cache_write" in rates.prices:
            short = Usage(input_tokens=1000, cache_write_tokens=1000, cache_write_5m_tokens=1000)
            long = Usage(input_tokens=1000, cache_write_tokens=1000, cache_write_1h_tokens=1000)
            assert total(long, rates)[0] >= total(short, rates)[0], rates


def test_of_every_model_halving_the_counts_never_costs_more(rates_of_today):
    whole = Usage(input_tokens=100_000, cached_tokens=50_000, output_tokens=1000)
    half = Usage(input_tokens=50_000, cached_tokens=25_000, output_tokens=500)
    for rates in rates_of_today:
        costs = [total(usage, rates)[0] for usage in (half, whole)]
        if None not in costs:
            assert 0 <= costs[0] <= costs[1], rates


def test_of_every_model_a_rate_is_exact_and_the_lines_add_up(rates_of_today):
    usage = Usage(input_tokens=1234, cached_tokens=234, output_tokens=77)
    for rates in rates_of_today:
        cost = price(usage, rates)
        if cost.usd is not None and all(type(rate) is int for rate in rates.prices.values()):
            exactly = sum((line.amount for line in cost.lines), Decimal(0))
            assert cost.nano == round(Fraction(exactly) * 10**9), rates
