"""Prices that the user has stored: what a ledger promises about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farthing.catalog import UserPrice

__all__ = ["PriceStore"]


class PriceStore(Protocol):
    """What a ledger promises about stored prices."""

    def prices(self) -> Sequence[UserPrice]:
        """Those that were last read, oldest first; the same object until they change. From memory: another
        process's change is noticed at the next reserve."""
        ...

    def set_price(self, price: UserPrice) -> bool:
        """Store a price, in the place of one with the same `key`; True if it replaced one."""
        ...

    def remove_price(self, key: str) -> bool:
        """Forget a stored price; False if there was none."""
        ...
