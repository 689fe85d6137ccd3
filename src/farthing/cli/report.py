"""`farthing report`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from farthing.cli.dates import When
from farthing.cli.options import asked, output_options
from farthing.cli.sheet import Column, Field, Sheet, emit, money_fields
from farthing.cli.text import usd
from farthing.errors import InvalidUsage

if TYPE_CHECKING:
    from farthing.answers import Spend

__all__ = ["report"]

_GROUPS: Final = ("day", "week", "month", "account", "model", "provider", "operation", "context")
_PERIODS: Final = frozenset({"day", "week", "month"})


@click.command()
@click.option(
    "--by",
    type=click.Choice(_GROUPS),
    multiple=True,
    default=("model",),
    show_default=True,
    help="What to sum by; more than once for each combination.",
)
@click.option("--since", type=When(), help="From this date (UTC) or instant on.")
@click.option("--until", type=When(), help="Up to the end of this date (UTC), or to before this instant.")
@click.option("--account", help="Calls of this account only.")
@output_options
def report(
    *,
    by: tuple[str, ...],
    since: date | datetime | None,
    until: date | datetime | None,
    account: str | None,
    ledger: str | None,
    form: str | None,
) -> None:
    """What was spent, the dearest first; days, weeks and months in their order.

    A cost that starts with ">=" leaves out what nobody knows the price of: of calls, or of a part of them;
    one with "~" rests in part on estimated tokens.
    """
    by = tuple(dict.fromkeys(by))
    with asked(ledger) as meter:
        try:
            rows = meter.reports.spend(by, start=since, end=until, account=account)
        except InvalidUsage:  # all else has been checked
            raise click.UsageError("--until is before --since") from None
        if not _PERIODS & set(by):
            rows.sort(key=lambda row: (row.cost is None, -(row.cost or 0)))
        total = meter.reports.spend((), start=since, end=until, account=account)[0]
        where = str(meter.ledger_path)
    sheet = _sheet(by, rows, total)
    sheet.title = _title(by, since, until, account)
    sheet.notes = [*_notes(total), f"Ledger: {where}"]
    emit(sheet, form)


def _title(
    by: Sequence[str], since: date | datetime | None, until: date | datetime | None, account: str | None
) -> str:
    parts = [
        f"Cost by {' and '.join(by)}",
        f"of {account}" if account is not None else "",
        f"since {since}" if since is not None else "",
        f"until {until}" if until is not None else "",
    ]
    return " ".join(part for part in parts if part)


def _sheet(by: Sequence[str], rows: Sequence[Spend], total: Spend) -> Sheet:
    columns = [
        *(Column(name.capitalize(), _group(name, "unknown")) for name in by),
        Column("Calls", lambda row: f"{row.calls:,}", number=True),
        *([Column("Errors", lambda row: f"{row.errors:,}", number=True)] if total.errors else []),
        Column("Input", lambda row: f"{row.input_tokens:,}", number=True),
        Column("Cached", lambda row: f"{row.cached_tokens:,}", number=True),
        Column("Output", lambda row: f"{row.output_tokens:,}", number=True),
        Column("Cost", _cost, number=True),
    ]
    sums = [column.of(total) for column in columns[len(by) :]]
    return Sheet(
        fields=[
            *(Field(name, _group(name)) for name in by),
            Field("calls", lambda row: row.calls),
            Field("errors", lambda row: row.errors),
            Field("inputTokens", lambda row: row.input_tokens),
            Field("cachedTokens", lambda row: row.cached_tokens),
            Field("outputTokens", lambda row: row.output_tokens),
            *money_fields("cost", lambda row: row.cost),
            *money_fields("counted", lambda row: row.counted),
            Field("unpricedCalls", lambda row: row.unpriced_calls),
            Field("estimatedCalls", lambda row: row.estimated_calls),
            Field("partialCalls", lambda row: row.partial_calls),
        ],
        columns=columns,
        rows=rows,
        total=["Total", *[""] * (len(by) - 1), *sums] if len(rows) > 1 else (),
        empty="No calls.",
    )


def _group(name: str, unknown: Any = None) -> Callable[[Spend], Any]:
    return lambda row: unknown if row.group[name] is None else row.group[name]


def _cost(row: Spend) -> str:
    if row.cost is None:
        return "unknown"
    at_least = ">= " if row.unpriced_calls or row.partial_calls else ""
    return f"{at_least}{'~' if row.estimated_calls else ''}{usd(row.cost)}"


def _notes(total: Spend) -> list[str]:
    notes = []
    if total.errors:
        notes.append(f"Of all calls {_errors(total.errors)}, which the provider did not bill.")
    if total.unpriced_calls:
        notes.append(f"No price is known for {_calls(total.unpriced_calls)}: their cost is in no sum.")
    if total.partial_calls:
        notes.append(f"{_lower_bounds(total.partial_calls)}: no price is known for a part of what they used.")
    if total.estimated_calls:
        notes.append(f"The tokens of {_calls(total.estimated_calls)} are estimated.")
    if total.uncertain:
        notes.append(f"Budgets were charged {usd(total.uncertain)} more, for calls whose end is not certain.")
    return notes


def _errors(number: int) -> str:
    return "1 was an error" if number == 1 else f"{number:,} were errors"


def _lower_bounds(number: int) -> str:
    if number == 1:
        return "The cost of 1 call is a lower bound"
    return f"The costs of {number:,} calls are lower bounds"


def _calls(number: int) -> str:
    return f"{number:,} call{'' if number == 1 else 's'}"
