"""`farthing reprice`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import click

from farthing.cli.dates import When
from farthing.cli.options import opened, output_options
from farthing.cli.sheet import Column, Field, Sheet, emit, money_fields
from farthing.cli.text import usd
from farthing.errors import InvalidUsage

if TYPE_CHECKING:
    from decimal import Decimal

    from farthing.repricing import Repriced

__all__ = ["reprice"]


@click.command()
@click.option("--since", type=When(), help="Calls from this date (UTC) or instant on.")
@click.option("--until", type=When(), help="Up to the end of this date (UTC), or to before this instant.")
@click.option("--model", metavar="GLOB", help="Calls of these models only, such as 'gpt-4o*'.")
@click.option("--include-reported", is_flag=True, help="Also those whose cost the provider stated.")
@click.option("--include-estimated", is_flag=True, help="Also those whose usage is an estimate.")
@click.option("--dry-run", is_flag=True, help="Write nothing: show what would change.")
@output_options
def reprice(
    *,
    since: date | datetime | None,
    until: date | datetime | None,
    model: str | None,
    include_reported: bool,
    include_estimated: bool,
    dry_run: bool,
    ledger: str | None,
    form: str | None,
) -> None:
    """Price finished calls anew: those whose price became known, or was corrected.

    Each is priced at its own instant, by the prices of today: those of farthing.toml and of the ledger, then
    the list prices. Prices that a program states in its code are not seen here; it can call `Meter.reprice`.
    Budgets and reports follow; what a call said before is kept. A second time nothing changes.
    """
    if model is not None and not model.strip():
        raise click.UsageError("--model has no name or glob")
    with opened(ledger) as meter:
        try:
            done = meter.reprice(
                start=since,
                end=until,
                model=model,
                include_reported=include_reported,
                include_estimated=include_estimated,
                dry_run=dry_run,
            )
        except InvalidUsage:  # all else has been checked
            raise click.UsageError("--until is before --since") from None
    emit(_sheet(done), form)


def _sheet(done: Repriced) -> Sheet:
    fields = [
        Field("provider", lambda row: row.provider),
        Field("model", lambda row: row.model),
        Field("reason", lambda row: row.reason),
        Field("calls", lambda row: row.calls),
        *money_fields("oldCost", lambda row: row.old_cost),
        *money_fields("cost", lambda row: row.cost),
        Field("oldPrices", lambda row: row.old_prices or None),
        Field("prices", lambda row: row.prices or None),
    ]
    return Sheet(
        fields=fields,
        columns=[
            Column("Model", lambda row: row.model),
            Column("Calls", lambda row: f"{row.calls:,}", number=True),
            Column("Before", lambda row: usd(row.old_cost), number=True),
            Column("After", lambda row: usd(row.cost), number=True),
            Column("Why", lambda row: row.reason),
        ],
        rows=done.changes,
        total=_total(done),
        title="What would change" if not done.written else "What has changed",
        notes=list(_notes(done)),
        empty="Nothing.",
        document={
            "written": done.written,
            "calls": done.calls,
            "changed": done.changed,
            "changes": [{field.key: field.of(row) for field in fields} for row in done.changes],
            "left": dict(done.left),
            "overtaken": done.overtaken,
        },
    )


def _total(done: Repriced) -> tuple[str, ...]:
    if len(done.changes) < 2:
        return ()
    before = [change.old_cost for change in done.changes if change.old_cost is not None]
    old = usd(_sum(before)) if before else "unknown"
    after = usd(_sum([change.cost for change in done.changes]))
    return ("Total", f"{done.changed:,}", old, after, "")


def _sum(amounts: list[Decimal]) -> Any:
    total = amounts[0]
    for amount in amounts[1:]:
        total += amount
    return total


def _notes(done: Repriced) -> Iterator[str]:
    yield f"{_calls(done.calls)} looked at."
    for reason, calls in sorted(done.left.items()):
        yield f"Left alone: {_calls(calls)}, because {reason}."
    if done.overtaken:
        yield f"Changed by something else meanwhile: {_calls(done.overtaken)}. Run it again."
    if not done.written and done.changes:
        yield "Nothing was written; without --dry-run it is."


def _calls(number: int) -> str:
    return f"{number:,} call{'' if number == 1 else 's'}"
