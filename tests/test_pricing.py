"""Pricing is exact, says what it does not know, and behaves like money."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.money import round_nano
from farthing.pricing import has_rate, price, price_of, total, total_of, upper_rate
from farthing.records import Band, Rates, Usage

UNITS = (
    "input",
    "cached",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_cached",
    "audio_output",
    "image_input",
    "image_output",
    "web_search",
    "request",
    "second",
    "character",
    "image",
)


def rates(status="priced", bands=(), **prices):
    return Rates(provider="p", model="m", prices=prices, bands=bands, status=status)


SIMPLE = rates(input=2_500_000, cached=1_250_000, output=10_000_000)


def test_the_cost_is_the_sum_of_its_lines():
    cost = price(Usage(input_tokens=1200, cached_tokens=1024, output_tokens=150), SIMPLE)
    assert [(line.unit, line.quantity, line.rate, line.amount) for line in cost.lines] == [
        ("input", 176, Decimal("0.0000025"), Decimal("0.00044")),
        ("cached", 1024, Decimal("0.00000125"), Decimal("0.00128")),
        ("output", 150, Decimal("0.00001"), Decimal("0.0015")),
    ]
    assert (cost.usd, cost.nano, cost.cost_source) == (Decimal("0.00322"), 3_220_000, "priced")


def test_a_cost_is_rounded_once_and_half_to_even():
    half = rates(input=500)
    assert [total(Usage(input_tokens=n), half)[0] for n in (1, 2, 3, 4, 5)] == [0, 1, 2, 2, 2]
    # three lines of half a nano-dollar each are 1.5, so 2: not three times a rounded half
    thirds = rates(input=500, cached=500, output=500)
    assert total(Usage(input_tokens=2, cached_tokens=1, output_tokens=1), thirds)[0] == 2


def test_cached_tokens_without_a_price_cost_as_much_as_others():
    usage = Usage(input_tokens=100, cached_tokens=60)
    assert (
        total(usage, rates(input=1_000_000))[0] == total(Usage(input_tokens=100), rates(input=1_000_000))[0]
    )


def test_cached_tokens_that_are_stated_to_be_free_are_free():
    assert total(Usage(input_tokens=100, cached_tokens=100), rates(input=1_000_000, cached=0))[:2] == (
        0,
        "priced",
    )


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        ({"input": 1000, "cache_write": 3000, "cache_write_1h": 5000}, 60 * 1 + 30 * 3 + 10 * 5),
        ({"input": 1000, "cache_write": 3000}, 60 * 1 + 40 * 3),
        ({"input": 1000}, 100),
    ],
)
def test_writing_to_a_cache_falls_back_to_the_next_wider_price(prices, cost):
    usage = Usage(input_tokens=100, cache_write_tokens=40, cache_write_1h_tokens=10)
    assert total(usage, rates(**prices))[0] == cost


def test_audio_is_split_off_only_where_it_has_a_price():
    usage = Usage(input_tokens=100, audio_input_tokens=40, output_tokens=50, audio_output_tokens=20)
    assert total(usage, rates(input=1000, output=2000))[0] == 100 + 100
    dear = rates(input=1000, output=2000, audio_input=7000, audio_output=9000)
    assert total(usage, dear)[0] == 60 + 40 * 7 + 30 * 2 + 20 * 9


def test_audio_that_was_read_from_a_cache_is_not_counted_twice():
    usage = Usage(input_tokens=100, cached_tokens=80, audio_input_tokens=50)
    cost = price(usage, rates(input=1000, cached=100, audio_input=7000, audio_cached=400))
    assert {line.unit: line.quantity for line in cost.lines} == {
        "audio_input": 20,
        "audio_cached": 30,
        "cached": 50,
    }


def test_images_are_split_off_where_they_have_a_price():
    usage = Usage(input_tokens=100, image_input_tokens=90, output_tokens=300, image_output_tokens=300)
    assert (
        total(usage, rates(input=1000, output=1000, image_input=2000, image_output=5000))[0]
        == 10 + 180 + 1500
    )


@pytest.mark.parametrize(("tokens", "cost"), [(200, 200 * 1), (201, 201 * 2), (1000, 2000), (1001, 3003)])
def test_a_band_prices_the_whole_request(tokens, cost):
    banded = rates(
        input=1000, bands=(Band(above=200, prices={"input": 2000}), Band(above=1000, prices={"input": 3000}))
    )
    assert total(Usage(input_tokens=tokens), banded)[0] == cost


def test_cached_tokens_count_towards_the_band():
    banded = rates(input=1000, cached=100, bands=(Band(above=200, prices={"input": 2000, "cached": 200}),))
    assert total(Usage(input_tokens=201, cached_tokens=200), banded)[0] == 2 + 40


def test_a_unit_without_a_price_makes_the_cost_a_lower_bound():
    cost = price(Usage(input_tokens=10, output_tokens=5, web_searches=2), rates(input=1000))
    assert (cost.nano, cost.cost_source) == (10, "partial")
    assert "output, web_search" in cost.notes[-1]
    assert total(Usage(input_tokens=10, output_tokens=5), rates(input=1000)) == (10, "partial", ("output",))


def test_nothing_priced_is_unknown_and_not_zero():
    assert total(Usage(input_tokens=0, output_tokens=5), rates(input=1000)) == (None, "unpriced", ("output",))
    assert total(Usage(input_tokens=5), rates("unpriced")) == (None, "unpriced", ("input",))
    assert total(Usage(input_tokens=0), rates("unpriced")) == (None, "unpriced", ())


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (Usage(input_tokens=1000), (2_500_000, "partial", ("output",))),
        (Usage(output_tokens=100), (1_000_000, "partial", ("input",))),
        (Usage(input_tokens=1000, output_tokens=0), (2_500_000, "priced", ())),
        (Usage(input_tokens=0), (None, "unpriced", ("output",))),
        (Usage(web_searches=1), (None, "unpriced", ("web_search",))),
    ],
)
def test_half_a_usage_is_a_lower_bound_and_not_a_zero(usage, found):
    assert total(usage, SIMPLE) == found


def test_what_has_no_price_was_not_left_out():
    embedding = rates(input=1000)
    assert total(Usage(input_tokens=5), embedding) == (5, "priced", ())
    free = rates("free", input=0, output=0)
    assert total(Usage(input_tokens=5), free) == (0, "free", ())
    note = price(Usage(input_tokens=5), SIMPLE).notes[-1]
    assert "output" in note
    assert "price" not in note


def other(name="n", **prices):
    return replace(rates(**prices), model=name)


def test_steps_are_summed_exactly_and_rounded_once():
    half = rates(input=500, output=500)
    one = Usage(input_tokens=1, output_tokens=0)
    assert total_of([(one, half, None)] * 3)[0] == 2  # 1.5, half to even
    assert total_of([(one, half, None)])[0] == 0
    found = price_of([(one, half, None), (one, other(input=700, output=0), None), (one, half, None)], one)
    assert found.nano == 2  # 1.7
    assert [(line.unit, line.quantity) for line in found.lines] == [("input", 2), ("input of n", 1)]
    assert sum(line.amount for line in found.lines) == Decimal("0.0000000017")


def test_a_step_without_a_price_makes_the_sum_a_lower_bound():
    one = Usage(input_tokens=1000, output_tokens=0)
    unknown = replace(rates("unpriced"), model="n")
    steps = [(one, SIMPLE, None), (one, unknown, None), (None, SIMPLE, None)]
    assert total_of(steps) == (2_500_000, "partial", ("input of n",))
    assert total_of([(one, unknown, None)] * 2) == (None, "unpriced", ("input",))
    assert total_of([(None, SIMPLE, None)] * 2) == (None, "unpriced", ())
    free = rates("free", input=0, output=0)
    assert total_of([(one, free, None)] * 2) == (0, "free", ())
    assert total_of([(one, free, None), (one, SIMPLE, None)]) == (2_500_000, "priced", ())


def test_each_step_is_in_the_band_of_its_own_length():
    banded = rates(input=1000, output=0, bands=(Band(above=200, prices={"input": 2000, "output": 0}),))
    short, long = Usage(input_tokens=150, output_tokens=0), Usage(input_tokens=300, output_tokens=0)
    assert total_of([(short, banded, None), (short, banded, None)])[0] == 300
    assert total_of([(short, banded, None), (long, banded, None)])[0] == 150 + 600


def test_reasoning_is_split_off_only_where_it_has_a_price():
    usage = Usage(input_tokens=0, output_tokens=100, reasoning_tokens=60)
    assert total(usage, rates(output=1000))[0] == 100
    assert total(usage, rates(output=1000, reasoning=3000))[0] == 40 + 180


def test_no_usage_is_unknown_and_no_tokens_are_nothing():
    assert total(None, SIMPLE) == (None, "unpriced", ())
    assert total(Usage(), SIMPLE) == (None, "unpriced", ())
    assert total(Usage(input_tokens=0, output_tokens=0), SIMPLE) == (0, "priced", ())


def test_no_tokens_of_what_is_billed_by_another_measure_are_unknown():
    """A transcription whose server states zeros of tokens and nothing of its seconds was not free."""
    by_time, nothing = rates(second=100_000_000), Usage(input_tokens=0, output_tokens=0)
    assert total(nothing, by_time) == (None, "unpriced", ())
    assert price(nothing, by_time).nano is None
    assert total(Usage(seconds=0), by_time) == (0, "priced", ())
    assert total(nothing, rates("free", second=0)) == (0, "free", ())


def test_a_fee_for_each_request_is_no_price_of_an_unknown_usage():
    fee = rates(input=1000, output=1000, request=12_000_000)
    assert total(Usage(), fee)[0] is None
    assert total(Usage(input_tokens=1), fee)[0] == 12_001


def test_free_is_only_what_somebody_stated_to_be():
    free = rates("free", input=0, output=0)
    assert total(Usage(input_tokens=5, output_tokens=7), free) == (0, "free", ())
    assert total(Usage(input_tokens=5, web_searches=1), free) == (0, "partial", ("web_search",))


def test_seconds_are_priced_or_only_told():
    by_hour = rates(second=Fraction(360_000_000_000, 3600) + Fraction(1, 3))
    cost = price(Usage(seconds=Decimal("12.5")), by_hour)
    assert cost.nano == round_nano((Fraction(100_000_000) + Fraction(1, 3)) * Fraction(25, 2))
    told = Usage(input_tokens=1, output_tokens=0, seconds=Decimal(9))
    assert total(told, SIMPLE) == (2500, "priced", ())
    assert total(Usage(seconds=Decimal(9)), SIMPLE) == (None, "unpriced", ("second",))


def test_what_the_provider_states_stands():
    cost = price(Usage(input_tokens=1000), SIMPLE, reported_nano=0)
    assert (cost.usd, cost.nano, cost.cost_source, cost.lines) == (Decimal(0), 0, "reported", ())
    assert "0.0025" in cost.notes[-1]
    agreed = price(Usage(input_tokens=1000), SIMPLE, reported_nano=2_500_000)
    assert (agreed.cost_source, agreed.notes) == ("reported", ())
    assert price(None, rates("unpriced"), reported_nano=7).nano == 7


def test_an_unknown_cost_has_no_lines_and_says_why():
    cost = price(Usage(input_tokens=3), rates("unpriced"))
    assert (cost.usd, cost.nano, cost.lines, cost.rates) == (None, None, (), None)
    assert "input" in cost.notes[-1]
    assert price(None, SIMPLE).notes


def test_a_hold_takes_the_dearest_rate_that_may_apply():
    banded = rates(
        input=1000,
        cached=100,
        cache_write=1250,
        output=5000,
        bands=(Band(above=200, prices={"input": 2000, "cache_write": 2500, "output": 7500}),),
    )
    assert (upper_rate(banded, "input"), upper_rate(banded, "output")) == (2500, 7500)
    assert upper_rate(banded, "input", input_tokens=200) == 1250
    assert upper_rate(banded, "input", input_tokens=201) == 2500


@pytest.mark.parametrize("unit", ["audio_output", "image_output", "reasoning"])
def test_whatever_output_may_be_billed_as_can_be_its_dearest_rate(unit):
    dear = rates(input=1000, output=5000, **{unit: 7000})
    assert (upper_rate(dear, "output"), upper_rate(dear, "input")) == (7000, 1000)
    assert total(Usage(input_tokens=0, output_tokens=10, **{f"{unit}_tokens": 10}), dear)[0] == 70
    assert upper_rate(rates(output=5000, **{unit: 3000}), "output") == 5000


def test_a_rate_that_nobody_states_can_be_told_from_zero():
    embedding = rates(input=1000)
    assert upper_rate(embedding, "output") == 0
    assert (has_rate(embedding, "input"), has_rate(embedding, "output")) == (True, False)
    assert has_rate(rates("free", output=0), "output")


rate = st.integers(0, 10**9) | st.fractions(0, 10**6, max_denominator=3600)
some_prices = st.dictionaries(st.sampled_from(UNITS), rate)


@st.composite
def usages(draw):
    counts = st.integers(0, 10**7)
    cached, written, plain = draw(counts), draw(counts), draw(counts)
    whole = cached + written + plain
    hour = draw(st.integers(0, written))
    output = draw(counts)
    return Usage(
        input_tokens=whole,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        audio_input_tokens=draw(st.integers(0, whole)),
        image_input_tokens=draw(st.integers(0, whole)),
        output_tokens=output,
        reasoning_tokens=draw(st.integers(0, output)),
        audio_output_tokens=draw(st.integers(0, output)),
        image_output_tokens=draw(st.integers(0, output)),
        web_searches=draw(st.none() | st.integers(0, 100)),
        seconds=draw(st.none() | st.decimals(0, 10**5, places=3)),
        characters=draw(st.none() | st.integers(0, 10**6)),
        images=draw(st.none() | st.integers(0, 10)),
    )


@st.composite
def any_rates(draw):
    prices = draw(some_prices)
    starts = sorted(draw(st.lists(st.integers(0, 10**7), max_size=2, unique=True)))
    bands = tuple(Band(above=start, prices=draw(some_prices)) for start in starts)
    status = draw(st.sampled_from(["priced", "unpriced", "free"])) if prices else "unpriced"
    return rates(status, bands, **prices)


@given(usages() | st.none(), any_rates())
def test_any_usage_at_any_rates_has_a_cost_or_says_that_it_has_none(usage, anyhow):
    nano, source, missing = total(usage, anyhow)
    cost = price(usage, anyhow)
    assert (cost.nano, cost.cost_source) == (nano, source)
    assert (nano is None) == (source == "unpriced")
    assert nano is None or nano >= 0
    assert (source == "partial") == (nano is not None and bool(missing))


@given(usages(), any_rates())
def test_the_lines_add_up_and_count_every_token_once(usage, anyhow):
    cost = price(usage, anyhow)
    if cost.nano is None:
        assert cost.lines == ()
        return
    exact = sum((Fraction(line.amount) for line in cost.lines), Fraction(0))
    assert abs(exact * 10**9 - cost.nano) <= Fraction(1, 2) + Fraction(1, 10**20)
    assert len({line.unit for line in cost.lines}) == len(cost.lines)
    if cost.cost_source != "partial":
        tokens = sum(
            line.quantity for line in cost.lines if line.unit not in {"web_search", "request", *MEASURES}
        )
        assert tokens == usage.total_tokens


MEASURES = ("second", "character", "image")

whole_prices = st.fixed_dictionaries({unit: st.integers(0, 10**9) for unit in UNITS})
GROWING = (
    ("input_tokens",),
    ("output_tokens",),
    ("reasoning_tokens", "output_tokens"),
    ("cached_tokens", "input_tokens"),
    ("cache_write_tokens", "input_tokens"),
    ("cache_write_1h_tokens", "cache_write_tokens", "input_tokens"),
    ("audio_output_tokens", "output_tokens"),
    ("image_output_tokens", "output_tokens"),
    ("web_searches",),
    ("characters",),
    ("images",),
)


@given(usages(), whole_prices, st.sampled_from(GROWING), st.integers(1, 10**6))
def test_more_of_anything_never_costs_less(usage, prices, grown, by):
    # Audio and images may be counted in what came from the cache too, if only in part: a token more of text
    # then tells that one of them did not. It is dearer if media cost more than text, as they do.
    usage = replace(usage, audio_input_tokens=None, image_input_tokens=None)
    more = replace(usage, **{name: (getattr(usage, name) or 0) + by for name in grown})
    before, after = total(usage, rates(**prices))[0], total(more, rates(**prices))[0]
    assert before is not None
    assert after is not None
    assert after >= before


@given(usages(), usages(), whole_prices)
def test_two_calls_together_cost_what_they_cost_apart(one, other, prices):
    media = ("audio_input_tokens", "image_input_tokens", "audio_output_tokens", "image_output_tokens")
    one, other = (replace(u, seconds=None, **dict.fromkeys(media)) for u in (one, other))
    flat = rates(**{unit: rate * 1000 for unit, rate in prices.items() if unit != "request"})
    apart = [total(u, flat)[0] or 0 for u in (one, other)]
    assert sum(apart) == (total(one + other, flat)[0] or 0)
