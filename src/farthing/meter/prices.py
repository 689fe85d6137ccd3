"""The user's prices, as people write them: in code, in a file of settings, in the ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from farthing.catalog import Catalog, PriceFile, UserPrice
from farthing.errors import FarthingError, LedgerError, shown
from farthing.ledger.store import Ledger
from farthing.loops import is_running

__all__ = ["Layered", "Stated", "Stored", "catalog_of", "stated_prices", "user_price", "user_prices"]

_FROM, _UNTIL = "from", "until"
_TEXTS: Final = ("provider", "base_url", "tier")
_FORM: Final = (
    "prices are given by model, in USD per million tokens: {'my-model': {'input': 2, 'output': 8}}, or as "
    "'free'; a list may hold these, UserPrice objects, tables with a 'model', and the path of a price file"
)


@dataclass(frozen=True, slots=True, repr=False)
class Layered:
    """Prices of several places, as they are written there: each outranks the next, the file comes last."""

    layers: tuple[Any, ...]
    file: Any = None

    def __repr__(self) -> str:
        """As it is written: a doctor shows it."""
        shown = [repr(layer) for layer in self.layers if layer is not None]
        return " over ".join([*shown, *([f"the price file {self.file}"] if self.file is not None else [])])


@dataclass(frozen=True, slots=True)
class Stated:
    """Prices that are understood, in their order of rank."""

    layers: tuple[tuple[UserPrice, ...], ...] = ()
    file: PriceFile | None = None


class Stored:
    """Gives the prices of a meter's ledger as last read: none as long as it is not open."""

    __slots__ = ("_ledger", "_none")

    def __init__(self) -> None:
        self._ledger: Ledger | None = None
        self._none: tuple[UserPrice, ...] = ()

    def look(self, where: str | Path, open_it: Callable[[], object]) -> None:
        """Open a ledger that is there, so that its prices are known before the first call.

        None is made for it. An event loop must not wait for one: there, warming up opens it.
        """
        if self._ledger is None and "://" not in str(where) and Path(where).is_file() and not is_running():
            with contextlib.suppress(LedgerError):  # the call that needs it will say so
                open_it()

    def of(self, ledger: Ledger) -> Ledger:
        """From now on, those of this ledger; returns it."""
        self._ledger = ledger
        return ledger

    def known(self) -> Sequence[UserPrice]:
        """Those of the ledger; none before it was opened. The same object until they change."""
        return self._none if self._ledger is None else self._ledger.prices()


def catalog_of(stated: Stated, stored: Callable[[], Sequence[UserPrice]]) -> Catalog:
    """The catalog with all of them: those in code over those in a file of settings over the ledger's."""
    first, *rest = stated.layers or ((),)
    return Catalog(first, below=[price for layer in rest for price in layer], stored=stored, file=stated.file)


def stated_prices(given: Any) -> Stated:
    """What a meter is given as its prices.

    Raises:
        FarthingError: for anything that is not understood, and for a price file that is not there.
    """
    if isinstance(given, Layered):
        found = [stated_prices(layer) for layer in given.layers]
        files = [stated.file for stated in found if stated.file is not None]
        if given.file is not None:
            files.append(_file(given.file))
        return Stated(tuple(_joined(stated.layers) for stated in found), files[0] if files else None)
    if isinstance(given, (str, Path)):
        return Stated(file=_file(given))
    if isinstance(given, (list, tuple)):
        files = [_file(one) for one in given if isinstance(one, (str, Path))]
        if len(files) > 1:
            raise FarthingError("prices may name one price file, not several")
        rest = [one for one in given if not isinstance(one, (str, Path))]
        return Stated((user_prices(rest),), files[0] if files else None)
    return Stated((user_prices(given),))


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
        return tuple(found for model, price in given.items() for found in _of_model(model, price))
    if isinstance(given, (list, tuple)):
        return _joined(_one(price) for price in given)
    raise FarthingError(f"{_FORM}; got {shown(given)}")


def _joined(layers: Iterable[Sequence[UserPrice]]) -> tuple[UserPrice, ...]:
    return tuple(price for layer in layers for price in layer)


def _one(price: Any) -> tuple[UserPrice, ...]:
    """An item of a list: a table that names its model, or prices by model."""
    if isinstance(price, Mapping) and isinstance(price.get("model"), str):
        return _of_model(price["model"], {key: value for key, value in price.items() if key != "model"})
    if isinstance(price, (UserPrice, Mapping)):
        return user_prices(price)
    raise FarthingError(f"{_FORM}; got {shown(price)}")


def _of_model(model: Any, price: Any) -> tuple[UserPrice, ...]:
    """One price of a model, or several with their dates, providers or tiers."""
    several = price if isinstance(price, (list, tuple)) else (price,)
    return tuple(user_price(model, one) for one in several)


def user_price(model: Any, price: Any) -> UserPrice:
    """One price: "free", or a table of units with `provider`, `base_url`, `tier`, `from`, `until`, `aliases`,
    `free`. A date is a day of UTC: a price holds from its beginning on, and to its end; an instant is itself,
    and ends a price before it.

    Raises:
        FarthingError: for what is not understood, with the reason.
    """
    try:
        if isinstance(price, UserPrice):
            return price
        if price == "free":
            return UserPrice(model=model, free=True)
        table = dict(price)
        texts = {name: _text(name, table.pop(name)) for name in _TEXTS if table.get(name) is not None}
        aliases = table.pop("aliases", ())
        return UserPrice(
            model=model,
            free=_truth(table.pop("free", False)),
            starts_at=_instant(_FROM, table.pop(_FROM, None)),
            ends_at=_instant(_UNTIL, table.pop(_UNTIL, None), days=1),
            aliases=(aliases,) if isinstance(aliases, str) else tuple(_text("aliases", a) for a in aliases),
            prices=table,
            **texts,
        )
    except (TypeError, ValueError) as error:
        raise FarthingError(f"the price of {shown(model)} is not understood: {error}") from None


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be text; got {shown(value)}")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(  # noqa: TRY004  one kind for its reader
            f"free must be true or false; got {shown(value)}"
        )
    return value


def _instant(name: str, value: Any, *, days: int = 0) -> datetime | None:
    """A date is the first instant, in UTC, of the day that comes so many days after it."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        try:
            value = datetime.fromisoformat(text) if len(text) > 10 else date.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{name} must be a date such as 2026-11-21; got {value!r}") from None
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        if days and value == date.max:
            return None  # for ever
        return datetime(value.year, value.month, value.day, tzinfo=UTC) + timedelta(days=days)
    raise ValueError(f"{name} must be a date such as 2026-11-21; got {shown(value)}")


def _file(path: Any) -> PriceFile:
    file = PriceFile(_text("a price file", str(path)))
    if not file.path.is_file():
        raise FarthingError(f"there is no price file {str(file.path)!r}")
    return file
