"""The price of a prompt alone is what the price of a usage of nothing else is."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from farthing import pricing
from farthing.records import Band, Rates, Usage

AMOUNTS = st.one_of(st.integers(0, 10**9), st.fractions(0, 10**6, max_denominator=997))
PRICES = st.dictionaries(st.sampled_from(["input", "cached", "output", "audio_input", "request"]), AMOUNTS)
RATES = st.builds(
    Rates,
    provider=st.just("p"),
    model=st.just("m"),
    prices=PRICES,
    bands=st.one_of(st.just(()), st.builds(lambda above, prices: (Band(above=above, prices=prices),),
                                           st.integers(1, 5_000), PRICES)),
    status=st.sampled_from(["priced", "free", "unpriced"]),
)  # fmt: skip


@given(st.integers(0, 10_000), RATES)
def test_a_prompt_costs_what_its_usage_costs(tokens, rates):
    assert pricing.prompt(tokens, rates) == pricing.total(Usage(input_tokens=tokens), rates)[0]


@given(RATES, st.sampled_from(["input", "output"]), st.one_of(st.none(), st.integers(0, 10_000)))
def test_no_rate_of_a_kind_is_above_the_dearest(rates, unit, tokens):
    kinds = pricing._INPUT if unit == "input" else pricing._OUTPUT
    reached = [band.prices for band in rates.bands if tokens is None or tokens > band.above]
    every = [prices[kind] for prices in (rates.prices, *reached) for kind in kinds if kind in prices]
    assert pricing.upper_rate(rates, unit, input_tokens=tokens) == max(every, default=Fraction(0))
