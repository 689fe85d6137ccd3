"""The user's prices, as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.catalog import UserPrice
from farthing.errors import FarthingError

__all__ = ["user_prices"]


def user_prices(given: Any) -> tuple[UserPrice, ...]:
    """Prices by model or glob: a dict of USD per million tokens, "free", or `UserPrice` objects.

    Raises:
        FarthingError: for anything else.
    """
    if given is None:
        return ()
    if isinstance(given, UserPrice):
        return (given,)
    if isinstance(given, Mapping):
        return tuple(_one(model, price) for model, price in given.items())
    if isinstance(given, (list, tuple)) and all(isinstance(price, UserPrice) for price in given):
        return tuple(given)
    raise FarthingError(
        f"prices are given by model, in USD per million tokens: {{'my-model': {{'input': 2, 'output': 8}}}}; "
        f"got {given!r}"
    )


def _one(model: Any, price: Any) -> UserPrice:
    try:
        if isinstance(price, UserPrice):
            return price
        if price == "free":
            return UserPrice(model=model, free=True)
        return UserPrice(model=model, prices=dict(price))
    except (TypeError, ValueError) as error:
        raise FarthingError(f"the price of {model!r} is not understood: {error}") from None
