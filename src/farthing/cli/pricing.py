"""`farthing prices set` and `remove`: prices of your own, in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from farthing.cli.dates import When
from farthing.cli.options import opened, output_options
from farthing.cli.sheet import Column, Field, Sheet, emit
from farthing.cli.tariff import iso
from farthing.cli.told import Told
from farthing.errors import FarthingError
from farthing.records.cost import Unit

if TYPE_CHECKING:
    from farthing.catalog import UserPrice

__all__ = ["checked_url", "described", "remove", "set_"]


UNITS: Final[tuple[str, ...]] = get_args(Unit)
USUAL: Final = ("input", "cached", "cache_write", "output", "audio_input", "audio_output", "character",
                "request", "second", "image")  # fmt: skip


def _which(command: Any) -> Any:
    """The options that say which price is meant."""
    for option in (
        click.option("--from", "since", type=When(), help="Holds from this date (UTC) or instant on."),
        click.option("--tier", help="Is of this service tier; else of the standard one."),
        click.option("--base-url", metavar="URL", help="Only for servers whose URL begins so."),
        click.option("--provider", help="Only for calls to this provider."),
    ):
        command = option(command)
    return command


@click.command("set", short_help="State what a model costs.")
@click.argument("model")
@click.argument("rates", nargs=-1, metavar="UNIT=USD...")
@click.option("--free", is_flag=True, help="It costs nothing.")
@_which
@click.option("--until", type=When(), help="Holds to the end of this date (UTC), or to before this instant.")
@click.option("--alias", "aliases", multiple=True, help="A further name, such as a deployment's.")
@output_options
def set_(
    model: str, rates: tuple[str, ...], *, free: bool, until: date | datetime | None,
    aliases: tuple[str, ...], ledger: str | None, form: str | None, **which: Any,
) -> None:  # fmt: skip
    """State what MODEL costs, a name or a glob such as 'llama-*': input=2.50 output=10 cached=1.25.

    Units are input, cached, cache_write, cache_write_1h, output, audio_input, audio_output, image_input,
    image_output and character, in USD for a million; and request, second, image, web_search and the other
    fees, in USD for one. What is cached costs what other input does, unless it is stated.

    It replaces the price that was set for the same model, provider, URL, tier and beginning, and holds for
    the next call of every program on the ledger.
    """
    price = _price(model, _rates(rates), free=free, until=until, aliases=aliases, **which)
    with opened(ledger, make=True) as meter:
        replaced = meter.engine.ledger.set_price(price)
    emit(described([(price, "ledger")], title="Replaced." if replaced else "Set."), form)


@click.command("remove", short_help="Forget what was set for a model.")
@click.argument("model")
@_which
@output_options
def remove(model: str, ledger: str | None, form: str | None, **which: Any) -> None:
    """Forget what was set for MODEL. Calls that were priced with it keep their cost."""
    key = _price(model, {}, free=True, **which).key
    with opened(ledger) as meter:
        if not meter.engine.ledger.remove_price(key):
            raise Told(f"no such price of {model!r} is stored: `farthing prices show` lists those there are")
    emit(
        Sheet(
            fields=[Field("removed", str)],
            columns=[Column("Removed", str)],
            rows=[model],
            document={"removed": model},
        ),
        form,
    )


def _rates(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        unit, equals, usd = text.partition("=")
        if not equals or not unit or not usd:
            raise click.BadParameter(
                f"{text!r} is not of the form UNIT=USD, such as input=2.50", param_hint="'RATES'"
            )
        if unit not in UNITS:
            near = get_close_matches(unit, UNITS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"a price is for one of {', '.join(USUAL)} or a fee; got {unit!r}{hint}")
        if unit in found:
            raise click.UsageError(f"the price of {unit} is given twice: {found[unit]} and {usd}")
        found[unit] = usd
    return found


def checked_url(url: str | None) -> None:
    """Raises:
    UsageError: for a URL that no call can be sent to.
    """
    from farthing.catalog.hosts import host_of  # noqa: PLC0415  help needs none of it

    if url is not None and not host_of(url):
        raise click.UsageError(
            f"--base-url is that of a server, such as https://llm.acme.example; got {url!r}"
        )


def _price(
    model: str,
    rates: dict[str, str],
    *,
    free: bool,
    since: date | datetime | None,
    until: date | datetime | None = None,
    **more: Any,
) -> UserPrice:
    from farthing.meter.prices import user_price  # noqa: PLC0415  help needs none of it

    given = {**rates, **{name: value for name, value in more.items() if value}}
    given |= {name: when for name, when in (("from", since), ("until", until)) if when is not None}
    if free:
        given["free"] = True
    checked_url(more.get("base_url"))
    if free is bool(rates):
        wrong = (
            "either state prices or --free, not both"
            if free
            else "say what it costs: input=2.50 output=10, or --free"
        )
        raise click.UsageError(wrong)
    try:
        return user_price(model, given)
    except FarthingError as error:
        raise click.UsageError(str(error)) from None


def described(rows: Sequence[tuple[UserPrice, str]], title: str = "") -> Sheet:
    """Prices of the user's, with who states them: in their order of rank."""
    columns = [
        Column("Model", lambda row: ", ".join((row[0].model, *row[0].aliases))),
        Column("Prices", lambda row: _prices(row[0])),
        Column("For", lambda row: _for(row[0])),
        Column("Stated in", lambda row: row[1]),
    ]
    if not any(_for(price) for price, _ in rows):
        del columns[2]
    return Sheet(
        fields=_FIELDS,
        columns=columns,
        rows=rows,
        title=title,
        empty="No prices of your own. `farthing prices set MODEL input=2.50 output=10` states one.",
    )


def _prices(price: UserPrice) -> str:
    return (
        "free"
        if price.free
        else ", ".join(f"{unit} {usd}" for unit, usd in price.to_dict()["prices"].items())
    )


def _for(price: UserPrice) -> str:
    told = [text for text in (price.provider, price.base_url, price.tier) if text]
    if price.starts_at is not None:
        told.append(f"from {_day(price.starts_at)}")
    if price.ends_at is not None:
        told.append(f"before {_day(price.ends_at)}")
    return ", ".join(told)


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}" if not (instant.hour or instant.minute) else f"{instant:%Y-%m-%d %H:%M %Z}"


_FIELDS: Final = [
    Field("model", lambda row: row[0].model),
    Field("aliases", lambda row: list(row[0].aliases)),
    Field("prices", lambda row: row[0].to_dict()["prices"]),
    Field("free", lambda row: row[0].free),
    Field("provider", lambda row: row[0].provider),
    Field("baseUrl", lambda row: row[0].base_url),
    Field("tier", lambda row: row[0].tier),
    Field("startsAt", lambda row: iso(row[0].starts_at)),
    Field("endsAt", lambda row: iso(row[0].ends_at)),
    Field("statedIn", lambda row: row[1]),
]
