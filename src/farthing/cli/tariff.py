"""Prices as a person reads them: USD for a million, or for one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from farthing import money
from farthing.records.fees import SINGLE

__all__ = ["Price", "iso", "price_of", "usd_of"]

_ONE: Final = SINGLE - {"character"}
"""Units whose price is stated for one; all others are tokens or characters, by the million."""

_DIGITS: Final = Context(prec=30)


@dataclass(frozen=True, slots=True)
class Price:
    """`pico` for one of a unit, for requests of more than `above` input tokens."""

    unit: str
    above: int
    pico: int | Fraction

    @property
    def per(self) -> int:
        """How many units `usd` is for."""
        return price_of(self.unit)

    @property
    def usd(self) -> Decimal:
        """Exact where it has a last digit."""
        return usd_of(self.unit, self.pico)


def price_of(unit: str) -> int:
    """For how many of a unit a price is stated."""
    return 1 if unit in _ONE else 1_000_000


def usd_of(unit: str, pico: int | Fraction) -> Decimal:
    """USD for as many of a unit as its price is stated for."""
    whole = Fraction(pico) * price_of(unit)
    if whole.denominator == 1:
        return money.usd_from_pico(whole.numerator)
    return _DIGITS.divide(Decimal(whole.numerator), Decimal(whole.denominator * money.PICO))


def iso(instant: datetime | None) -> str | None:
    """For machines."""
    return None if instant is None else instant.isoformat().replace("+00:00", "Z")
