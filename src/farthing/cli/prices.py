"""`farthing prices`: show; `set`, `remove`, `diff` and `update` are in files of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from farthing.cli.dates import When, midnight
from farthing.cli.options import output_options, priced
from farthing.cli.pricelists import diff, update
from farthing.cli.pricing import checked_url, described, remove, set_
from farthing.cli.sheet import Column, Field, Sheet, emit
from farthing.cli.tariff import Price, iso
from farthing.cli.told import Told
from farthing.records.cost import Unit

if TYPE_CHECKING:
    from farthing.meter.meter import Meter
    from farthing.records import Rates

__all__ = ["prices"]


@click.group(invoke_without_command=True)
@click.pass_context
def prices(ctx: click.Context) -> None:
    """What models cost."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (set_, remove, diff, update):
    prices.add_command(_command)


@prices.command("show", short_help="What a model costs, and who says so.")
@click.argument("model", required=False)
@click.option("--provider", help="Who sends the bill; else the maker of the model.")
@click.option("--base-url", metavar="URL", help="Of the server: prices may depend on it.")
@click.option("--tier", help="The service tier that served it, such as batch or flex; else standard.")
@click.option("--at", type=When(), help="On this date (UTC) or at this instant; else now.")
@click.option("--file", "path", metavar="PATH", help="Beside it, what a price file in litellm's format says.")
@output_options
def show(
    model: str | None, at: date | datetime | None, path: str | None, ledger: str | None, form: str | None,
    **asked: str | None,
) -> None:  # fmt: skip
    """The prices of MODEL, your own before those of the price list; without MODEL all of your own.

    Exit status 1 if nobody knows them.
    """
    from farthing.quote import instant_ns  # noqa: PLC0415  help needs none of it

    if model is not None and not model.strip():
        raise click.UsageError("MODEL has no name")
    checked_url(asked["base_url"])
    with priced(ledger) as meter:
        if model is None:
            emit(described(meter.engine.catalog.stated()), form)
            return
        at_ns = instant_ns(None if at is None else midnight(at), meter.engine.clock.time_ns())
        rates = meter.engine.catalog.rates(model, at_ns=at_ns, **asked)
        other = _other(meter, model, path, at_ns, rates)
    emit(_sheet(model, rates, other, brief=form != "csv"), form)
    if rates.status == "unpriced":
        why = "; ".join(rates.notes) or "nobody states one"
        raise Told(f"no price is known of {model!r}: {why}. `farthing prices set` states one")


def _other(meter: Meter, model: str, path: str | None, at_ns: int, rates: Rates) -> Rates | None:
    """What a price file says, where one is named."""
    from farthing.catalog import PriceFile  # noqa: PLC0415  help needs none of it

    file = PriceFile(path) if path is not None else meter.engine.catalog.file
    if file is None:
        return None
    try:
        file.check()
    except OSError as error:
        raise Told(f"{file.path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise Told(f"{file.path} is no price file: {error}") from None
    name = meter.engine.catalog.canonical(model, rates.provider)
    listed = file.find(rates.provider, name) or file.find(rates.provider, rates.model)
    if listed is None and rates.provider is None:  # who sells it, the file may know
        listed = next((entry for entry in file.entries() if entry.model.lower() == name.lower()), None)
    schedule = listed.schedule(rates.tier) if listed is not None else None
    return schedule.at(at_ns) if schedule is not None else None


def _sheet(model: str, rates: Rates, other: Rates | None, *, brief: bool) -> Sheet:
    is_free = brief and other is None and set(rates.prices) >= set(get_args(Unit)) and rates.status == "free"
    rows = [] if is_free else _rows(rates)
    theirs = {} if other is None else {(row.unit, row.above): row for row in _rows(other)}
    rows += [row for cell, row in theirs.items() if cell not in {(r.unit, r.above) for r in rows}]
    ours = {(row.unit, row.above) for row in _rows(rates)}
    columns = [
        Column("Unit", lambda row: row.unit.replace("_", " ")),
        Column("USD", lambda row: f"{row.usd:f}" if (row.unit, row.above) in ours else "", number=True),
        Column("Per", lambda row: f"{row.per:,}", number=True),
    ]
    if any(row.above for row in rows):
        columns.append(
            Column("Above input tokens", lambda row: f"{row.above:,}" if row.above else "", number=True)
        )
    if other is not None:
        columns.insert(
            2, Column(other.source, lambda row: _shown(theirs.get((row.unit, row.above))), number=True)
        )
    known = rates.status != "unpriced"
    where = f"{rates.provider or 'any provider'}{f' ({rates.tier})' if rates.tier else ''}"
    title = f"{rates.model} at {where}: {rates.status}" if known else ""
    if not known and other is not None:
        title = f"{other.model} at {other.provider or 'any provider'}: only in {other.source}"
    return Sheet(
        fields=_FIELDS,
        columns=columns,
        rows=rows,
        title=title,
        empty="Every unit of it is free." if is_free else "",
        notes=[f"Source: {rates.source}{_when(rates)}", *rates.notes] if known else [],
        document={
            "model": rates.model or model,
            "provider": rates.provider,
            "status": rates.status,
            "tier": rates.tier,
            "source": rates.source or None,
            "startsAt": iso(rates.starts_at),
            "endsAt": iso(rates.ends_at),
            "notes": list(rates.notes),
            "flags": list(rates.flags),
            "prices": [{f.key: f.of(row) for f in _FIELDS} for row in _rows(rates)],
            "other": None
            if other is None
            else {
                "source": other.source,
                "prices": [{f.key: f.of(row) for f in _FIELDS} for row in _rows(other)],
            },
        },
    )


def _rows(rates: Rates) -> list[Price]:
    rows = list(_lines(0, rates.prices))
    for band in rates.bands:
        rows += _lines(band.above, band.prices)
    return rows


def _lines(above: int, table: Mapping[str, int | Fraction]) -> Iterator[Price]:
    return (Price(unit, above, pico) for unit, pico in table.items())


def _shown(price: Price | None) -> str:
    return "" if price is None else f"{price.usd:f}"


def _when(rates: Rates) -> str:
    since = f", since {rates.starts_at:%Y-%m-%d}" if rates.starts_at is not None else ""
    return f"{since}{f', before {rates.ends_at:%Y-%m-%d}' if rates.ends_at is not None else ''}"


def _whole(pico: int | Fraction) -> Any:
    return pico if isinstance(pico, int) else None


_FIELDS: Final = [
    Field("unit", lambda row: row.unit),
    Field("usd", lambda row: row.usd),
    Field("per", lambda row: row.per),
    Field("picoPerUnit", lambda row: _whole(row.pico)),
    Field("aboveInputTokens", lambda row: row.above),
]
