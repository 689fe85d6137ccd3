"""`farthing prices`: show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import click

from farthing import money
from farthing.cli.dates import When, midnight
from farthing.cli.options import output_options, stated
from farthing.cli.sheet import Column, Field, Sheet, emit
from farthing.cli.told import Told

if TYPE_CHECKING:
    from farthing.records import Rates

__all__ = ["prices"]

_SINGLE: Final = frozenset({"web_search", "request", "second", "image"})
"""Units whose price is stated for one; all others are tokens or characters, by the million."""

_DIGITS: Final = Context(prec=30)


@dataclass(frozen=True, slots=True)
class _Price:
    """`usd` for `per` of a unit, for requests of more than `above` input tokens."""

    unit: str
    above: int
    pico: int | Fraction

    @property
    def per(self) -> int:
        return 1 if self.unit in _SINGLE else 1_000_000

    @property
    def usd(self) -> Decimal:
        """Exact where it has a last digit."""
        pico = Fraction(self.pico) * self.per
        if pico.denominator == 1:
            return money.usd_from_pico(pico.numerator)
        return _DIGITS.divide(Decimal(pico.numerator), Decimal(pico.denominator * money.PICO))


@click.group(invoke_without_command=True)
@click.pass_context
def prices(ctx: click.Context) -> None:
    """What models cost."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@prices.command("show")
@click.argument("model")
@click.option("--provider", help="Who sends the bill; else the maker of the model.")
@click.option("--at", type=When(), help="On this date (UTC) or at this instant; else now.")
@output_options
def show(
    model: str, provider: str | None, at: date | datetime | None, ledger: str | None, form: str | None
) -> None:
    """The prices of MODEL, your own before those of the price list.

    Exit status 1 if nobody knows them.
    """
    from farthing.meter.meter import Meter  # noqa: PLC0415  help needs none of it
    from farthing.quote import instant_ns  # noqa: PLC0415

    found = stated(ledger)
    own = found["prices"].value if "prices" in found else None
    engine = Meter(":memory:", prices=own).engine
    at_ns = instant_ns(None if at is None else midnight(at), engine.clock.time_ns())
    rates = engine.catalog.rates(model, provider=provider, at_ns=at_ns)
    emit(_sheet(model, rates), form)
    if rates.status == "unpriced":
        raise Told(f"no price is known of {model!r}: {'; '.join(rates.notes) or 'nobody states one'}")


def _sheet(model: str, rates: Rates) -> Sheet:
    rows = list(_lines(0, rates.prices))
    for band in rates.bands:
        rows += _lines(band.above, band.prices)
    columns = [
        Column("Unit", lambda row: row.unit.replace("_", " ")),
        Column("USD", lambda row: f"{row.usd:f}", number=True),
        Column("Per", lambda row: f"{row.per:,}", number=True),
    ]
    if rates.bands:
        columns.append(
            Column("Above input tokens", lambda row: f"{row.above:,}" if row.above else "", number=True)
        )
    known = rates.status != "unpriced"
    return Sheet(
        fields=_FIELDS,
        columns=columns,
        rows=rows,
        title=f"{rates.model} at {rates.provider or 'any provider'}: {rates.status}" if known else "",
        notes=[f"Source: {rates.source}{_when(rates)}", *rates.notes] if known else [],
        document={
            "model": rates.model or model,
            "provider": rates.provider,
            "status": rates.status,
            "tier": rates.tier,
            "source": rates.source or None,
            "startsAt": _iso(rates.starts_at),
            "endsAt": _iso(rates.ends_at),
            "notes": list(rates.notes),
            "prices": [{f.key: f.of(row) for f in _FIELDS} for row in rows],
        },
    )


def _lines(above: int, table: Mapping[str, int | Fraction]) -> Iterator[_Price]:
    return (_Price(unit, above, pico) for unit, pico in table.items())


def _when(rates: Rates) -> str:
    since = f", since {rates.starts_at:%Y-%m-%d}" if rates.starts_at is not None else ""
    return f"{since}{f', until {rates.ends_at:%Y-%m-%d}' if rates.ends_at is not None else ''}"


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat().replace("+00:00", "Z")


def _whole(pico: int | Fraction) -> Any:
    return pico if isinstance(pico, int) else None


_FIELDS: Final = [
    Field("unit", lambda row: row.unit),
    Field("usd", lambda row: row.usd),
    Field("per", lambda row: row.per),
    Field("picoPerUnit", lambda row: _whole(row.pico)),
    Field("aboveInputTokens", lambda row: row.above),
]
