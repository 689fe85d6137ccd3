"""Money: exact integers inside, Decimal outside, one rounding."""

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing import money
from farthing.errors import InvalidBudget, InvalidUsage

PICOS = st.integers(-(10**24), 10**24)


@given(PICOS)
def test_a_cost_is_rounded_half_even_to_the_nano_dollar(pico):
    exact = Decimal(pico).scaleb(-3).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert money.round_nano(pico) == int(exact)
    assert money.round_nano(Fraction(pico)) == int(exact)


@given(PICOS)
def test_a_hold_is_rounded_up(pico):
    assert money.ceil_nano(pico) == int(Decimal(pico).scaleb(-3).quantize(Decimal(1), ROUND_CEILING))


@given(st.integers(0, money.MAX_NANO))
def test_an_amount_survives_the_way_out_and_in(nano):
    assert money.parse_usd(money.usd(nano)) == nano
    assert money.parse_usd(str(money.usd(nano))) == nano


@pytest.mark.parametrize(
    ("value", "nano"),
    [
        (5, 5_000_000_000),
        ("0.50", 500_000_000),
        (Decimal("1e-9"), 1),
        (0.1, 100_000_000),
        (" 2 ", 2 * 10**9),
        (0, 0),
    ],
)
def test_amounts_are_taken_as_int_text_decimal_or_float_by_its_repr(value, nano):
    assert money.parse_usd(value) == nano


@pytest.mark.parametrize(
    "value",
    ["abc", "€5", "", None, True, float("nan"), float("inf"), Decimal("NaN"), "1_000", [], "5 USD", b"5"],
)
def test_what_is_no_amount_is_refused_with_a_sentence(value):
    with pytest.raises(InvalidBudget, match="must be a number of USD"):
        money.parse_usd(value)


def test_negatives_and_absurd_amounts_are_refused_with_the_error_that_was_asked_for():
    with pytest.raises(InvalidUsage, match="cost must not be negative; got -5"):
        money.parse_usd(-5, what="cost", error=InvalidUsage)
    with pytest.raises(InvalidBudget, match="below a billion"):
        money.parse_usd(10**10)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (3_220_000, "$0.00322"),
        (5 * 10**9, "$5.00"),
        (0, "$0.00"),
        (-1, "-$0.000000001"),
        (1234 * 10**9, "$1,234.00"),
    ],
)
def test_amounts_are_shown_with_two_decimals_or_as_many_as_it_takes(nano, text):
    assert money.show(nano) == text


def test_an_unknown_amount_is_shown_as_unknown():
    assert money.show(None) == "unknown"


def test_a_rate_is_an_integer_of_pico_dollars_or_an_exact_fraction():
    assert money.rate_pico(Decimal("2.5"), 1_000_000) == 2_500_000
    assert money.rate_pico(Decimal("0.0375"), 1_000_000) == 37_500
    assert money.rate_pico(Decimal(1), 3_000_000) == Fraction(10**6, 3)


def test_usd_has_no_trailing_zeros_and_no_exponent_for_large_amounts():
    assert str(money.usd(3_220_000)) == "0.00322"
    assert str(money.usd(20 * 10**9)) == "20"
    assert str(money.usd_from_pico(2_500_000)) == "0.0000025"
