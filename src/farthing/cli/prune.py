"""`farthing prune`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

import click

from farthing.cli.dates import When
from farthing.cli.options import opened, output_options
from farthing.cli.sheet import Column, Field, Sheet, emit

__all__ = ["prune"]

_EPOCH: Final = date(1970, 1, 1)


@click.command()
@click.option("--before", type=When(), required=True, metavar="DATE", help="Keep calls from this day of UTC.")
@output_options
def prune(before: date | datetime, ledger: str | None, form: str | None) -> None:
    """Delete finished calls of the days before DATE. What they cost stays.

    Sums by day, model and account, what budgets have spent, and the keys of `transaction_id` are kept; single
    calls, their tags and their corrections are not. The file does not shrink, but the space is used again; a
    copy made by `farthing backup` is without it.
    """
    if isinstance(before, datetime):
        raise click.UsageError("whole days are pruned: give --before a plain date such as 2026-01-01")
    if before < _EPOCH:
        raise click.UsageError(f"a ledger holds calls of the years from 1970 on; got {before}")
    with opened(ledger) as meter:
        today = meter.engine.aware(meter.engine.clock.time_ns()).date()
        if before > today:
            raise click.UsageError(f"{before} has not come yet: calls of today are never pruned")
        deleted = meter.engine.ledger.prune((before - _EPOCH).days)
    emit(
        Sheet(
            fields=[Field("before", lambda row: row[0]), Field("deleted", lambda row: row[1])],
            columns=[
                Column("Calls before", lambda row: row[0]),
                Column("Deleted", lambda row: f"{row[1]:,}"),
            ],
            rows=[(before.isoformat(), deleted)],
            document={"before": before.isoformat(), "deleted": deleted},
        ),
        form,
    )
