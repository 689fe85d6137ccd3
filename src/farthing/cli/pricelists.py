"""`farthing prices diff` and `update`: lists against each other, and a newer one in place of an older."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from farthing.cli.dates import When, midnight
from farthing.cli.options import output_options
from farthing.cli.sheet import Column, Field, Sheet, emit
from farthing.cli.tariff import price_of, usd_of
from farthing.cli.told import Told

if TYPE_CHECKING:
    from farthing.catalog.compare import PriceList

__all__ = ["diff", "update"]

_MOST_BYTES: Final = 64 * 2**20
_SECONDS: Final = 30
_AT_HOME: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@click.command("diff", short_help="Where two price lists disagree.")
@click.argument("left")
@click.argument("right", default="current")
@click.option("--provider", help="Models of this provider only.")
@click.option("--model", metavar="GLOB", help="These models only, such as 'gpt-5*'.")
@click.option("--at", type=When(), help="Prices of this date (UTC) or instant; else now.")
@click.option("--all", "one_sided", is_flag=True, help="Also what only one of them has.")
@output_options
def diff(
    left: str, right: str, *, provider: str | None, model: str | None, at: date | datetime | None,
    one_sided: bool, ledger: str | None, form: str | None,
) -> None:  # fmt: skip
    """Where two price lists disagree on standard prices.

    LEFT and RIGHT are files in the format of litellm or genai-prices, or `installed`, or `current`: the list
    that calls are priced with.
    """
    del ledger  # a list is in no ledger
    from farthing.catalog.compare import compared, differences  # noqa: PLC0415  help needs none of it

    def is_meant(at: str, name: str) -> bool:
        return provider in {None, at} and (model is None or fnmatchcase(name.lower(), model.lower()))

    sides = _list(left), _list(right)
    at_ns = _now_ns() if at is None else _ns(midnight(at))
    found = differences(*sides, at_ns, one_sided=one_sided)
    rows = [row for row in found if is_meant(row.provider, row.model)]
    agree = bool(rows) or any(is_meant(*name) for name in compared(*sides, at_ns))
    columns = [
        Column("Provider", lambda row: row.provider),
        Column("Model", lambda row: row.model),
        Column("Unit", lambda row: row.unit.replace("_", " ") + (f" >{row.above:,}" if row.above else "")),
        Column(sides[0].name, lambda row: _shown(row.unit, row.left), number=True),
        Column(sides[1].name, lambda row: _shown(row.unit, row.right), number=True),
    ]
    emit(
        Sheet(
            fields=_FIELDS,
            columns=columns,
            rows=rows,
            notes=["USD for a million tokens or characters, for one of all else."] if rows else [],
            empty="They agree." if agree else "They have no price of such a model in common.",
        ),
        form,
    )


@click.command("update", short_help="Use a newer price list than the installed one.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--download", is_flag=True, help="Fetch what genai-prices publishes: the only command that does."
)
@click.option("--url", help="With --download: fetch it from here.")
@click.option("--installed", "back", is_flag=True, help="Go back to the list of the installed genai-prices.")
@output_options
def update(
    file: Path | None, *, download: bool, url: str | None, back: bool, ledger: str | None, form: str | None
) -> None:
    """Price calls with a newer list of genai-prices than the installed one: FILE, its data.json.

    It holds for every program of this user, from the start of its next process on, until another genai-prices
    is installed. Without anything, says which list is used.
    """
    del ledger  # a list is in no ledger
    if sum((file is not None, download, back)) > 1 or (url is not None and not download):
        raise click.UsageError("give one of FILE, --download and --installed, and --url only with --download")
    from farthing.catalog import refreshed, source  # noqa: PLC0415  help needs none of it

    before = source.source_name()
    if back:
        refreshed.forget()
    elif file is not None or download:
        content = _fetched(url or refreshed.URL) if file is None else _read(file)
        try:
            refreshed.put(content, at=datetime.fromtimestamp(_now_ns() // 10**9, UTC))
        except ValueError as error:
            raise Told(f"that is no price list of genai-prices: {error}; nothing was changed") from None
        except OSError as error:
            raise Told(f"{refreshed.place()} cannot be written: {error.strerror}") from None
    now = refreshed.name_standing() or f"genai-prices {refreshed.installed() or '(not installed)'}"
    row = {
        "list": now,
        "before": before,
        "installed": refreshed.installed() or None,
        "changed": now != before,
    }
    emit(
        Sheet(
            fields=[Field(key, itemgetter(key)) for key in row],
            columns=[
                Column("Priced with", lambda row: row["list"]),
                Column("Before", lambda row: row["before"]),
                Column("Installed", lambda row: row["installed"] or "none"),
            ],
            rows=[row],
            document=row,
        ),
        form,
    )


def _list(where: str) -> PriceList:
    from farthing.catalog.compare import price_list  # noqa: PLC0415  help needs none of it

    try:
        return price_list(where)
    except ImportError:
        raise Told("genai-prices is not installed") from None
    except OSError as error:
        raise Told(f"{where} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise Told(f"{where} is no price list: {error}") from None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Told(f"{file} cannot be read: {error.strerror or error}") from None


def _fetched(url: str) -> bytes:
    """Fetch a list. Only where a user asked for it by name."""
    from urllib.error import URLError  # noqa: PLC0415  only here is a network used
    from urllib.request import urlopen  # noqa: PLC0415

    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _AT_HOME):
        raise click.UsageError(f"a price list is fetched by https; got {url!r}")
    try:
        with urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310  the scheme is looked at above
            content: bytes = answer.read(_MOST_BYTES + 1)
    except (URLError, OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        why = getattr(why, "strerror", None) or why
        raise Told(f"{url} cannot be fetched: {why}; nothing was changed") from None
    return content


def _now_ns() -> int:
    from farthing.meter.meter import Meter  # noqa: PLC0415  help needs none of it

    return Meter(":memory:").engine.clock.time_ns()


def _ns(instant: datetime) -> int:
    from farthing.quote import instant_ns  # noqa: PLC0415  help needs none of it

    return instant_ns(instant, 0)


def _shown(unit: str, pico: int | Fraction | None) -> str:
    return "" if pico is None else f"{usd_of(unit, pico):f}"


def _usd(unit: str, pico: int | Fraction | None) -> Any:
    return None if pico is None else usd_of(unit, pico)


_FIELDS: Final = [
    Field("provider", lambda row: row.provider),
    Field("model", lambda row: row.model),
    Field("unit", lambda row: row.unit),
    Field("per", lambda row: price_of(row.unit)),
    Field("aboveInputTokens", lambda row: row.above),
    Field("leftUsd", lambda row: _usd(row.unit, row.left)),
    Field("rightUsd", lambda row: _usd(row.unit, row.right)),
]
