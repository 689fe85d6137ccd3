"""Money: exact, in integers, and rounded in this file only.

Amounts are integer nano-dollars (1 USD = 10**9), rates integer pico-dollars per unit (1 USD = 10**12).
At the border they are `Decimal` USD.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from fractions import Fraction

from farthing.errors import FarthingError, InvalidBudget, InvalidUsage, shown

__all__ = [
    "MAX_CALL",
    "MAX_NANO",
    "NANO",
    "PICO",
    "Amount",
    "ceil_nano",
    "parse_cost",
    "parse_usd",
    "rate_pico",
    "round_nano",
    "show",
    "usd",
    "usd_from_pico",
]

Amount = Decimal | int | str | float
"""USD, as `parse_usd` reads them."""

NANO = 10**9
PICO = 10**12
MAX_NANO = 10**18
"""A billion dollars: above any amount that makes sense, with room below 2**63 for sums."""
MAX_CALL = 10**16
"""Ten million dollars, for one call: above what a full batch of the dearest model costs. Hundreds of such
calls still add up below 2**63."""

_EXACT = Context(prec=60)
_NANO_USD = Decimal("1e-9")
_PICO_USD = Decimal("1e-12")


def round_nano(pico: int | Fraction) -> int:
    """The cost of one call: pico-dollars to nano-dollars, half-even."""
    if type(pico) is not int:  # asked so, as `isinstance` of a Fraction goes through the checks of an ABC
        return round(Fraction(pico, 1000))
    nano, rest = divmod(pico, 1000)
    if rest > 500 or (rest == 500 and nano & 1):
        return nano + 1
    return nano


def ceil_nano(pico: int | Fraction) -> int:
    """A hold: pico-dollars to nano-dollars, up."""
    return int(-(-pico // 1000))


def usd(nano: int) -> Decimal:
    """Nano-dollars as USD, without trailing zeros."""
    amount = _EXACT.normalize(_EXACT.multiply(nano, _NANO_USD))
    return amount if -NANO < nano < NANO else _whole(amount)


def usd_from_pico(pico: int) -> Decimal:
    """Pico-dollars as USD, without trailing zeros."""
    amount = _EXACT.normalize(_EXACT.multiply(pico, _PICO_USD))
    return amount if -PICO < pico < PICO else _whole(amount)


def _whole(amount: Decimal) -> Decimal:
    """100 instead of 1E+2."""
    return amount.quantize(Decimal(1), context=_EXACT) if amount.as_tuple().exponent > 0 else amount  # type: ignore[operator]


def parse_usd(value: object, *, what: str = "an amount", error: type[FarthingError] = InvalidBudget) -> int:
    """An int, str, Decimal or float (read by its repr) in USD as nano-dollars, half-even below one; a str may
    begin with a "$".

    Raises:
        InvalidBudget: (or `error`) for NaN, infinity, negatives and anything that is no number.
    """
    amount: Decimal | None = None
    if isinstance(value, bool):
        amount = None
    elif isinstance(value, (int, Decimal)):
        amount = Decimal(value)
    elif isinstance(value, (float, str)):
        try:
            amount = Decimal(str(value).strip().removeprefix("$").replace("_", "x"))
        except InvalidOperation:
            amount = None
    if amount is None or not amount.is_finite():
        raise error(f"{what} must be a number of USD, such as 5 or '0.50'; got {shown(value)}")
    if amount < 0:
        raise error(f"{what} must not be negative; got {shown(value)}")
    if amount.adjusted() > 12 or amount.scaleb(9, _EXACT) > MAX_NANO:
        raise error(f"{what} must be below a billion USD; got {shown(value)}")
    return int(amount.scaleb(9, _EXACT).quantize(Decimal(1), ROUND_HALF_EVEN, _EXACT))


def parse_cost(value: object, *, what: str = "cost") -> int:
    """What one call costs or holds: as `parse_usd`, and no more than any call can.

    Raises:
        InvalidUsage: for anything else.
    """
    nano = parse_usd(value, what=what, error=InvalidUsage)
    if nano > MAX_CALL:
        raise InvalidUsage(f"{what} of one call must be at most {MAX_CALL // NANO:,} USD; got {shown(value)}")
    return nano


def rate_pico(amount: Decimal, per: int) -> int | Fraction:
    """A price of `amount` USD per `per` units as pico-dollars for one unit; a Fraction if no integer."""
    exact = Fraction(amount) * PICO / per
    return exact.numerator if exact.denominator == 1 else exact


def show(nano: int | None) -> str:
    """Nano-dollars for a person: at least two decimals, as many as it takes."""
    if nano is None:
        return "unknown"
    sign = "-" if nano < 0 else ""
    whole, rest = divmod(abs(nano), NANO)
    digits = f"{rest:09d}".rstrip("0")
    return f"{sign}${whole:,}.{digits:<02}".replace(" ", "0")
