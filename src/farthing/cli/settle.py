"""`farthing calls settle`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from farthing.cli.calls import FIELDS, history, sheet_of, shown_cost
from farthing.cli.options import asked, opened, output_options
from farthing.cli.sheet import Column, Field, Sheet, emit
from farthing.cli.text import usd
from farthing.errors import InvalidUsage

if TYPE_CHECKING:
    from farthing.records import Receipt

__all__ = ["settle"]

PRICE: Final = "price"
PROVIDER: Final = "provider"

_ADVICE: Final = {
    PRICE: "price: `farthing prices set MODEL ...` states what is missing, then `farthing reprice` books it.",
    PROVIDER: "provider: ask it what it billed, then `farthing calls settle ID --cost USD`, or --void.",
}


@click.command()
@click.argument("call_id", metavar="[ID]", required=False)
@click.option("--cost", metavar="USD", help="What it was billed.")
@click.option("--void", is_flag=True, help="It was not billed.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads the history.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="How many are listed at most.",
)
@output_options
@click.pass_context
def settle(
    ctx: click.Context,
    *,
    call_id: str | None,
    cost: str | None,
    reason: str | None,
    limit: int,
    ledger: str | None,
    form: str | None,
    void: bool,
) -> None:
    """State what the call ID cost, or list the calls that wait for it.

    Budgets and reports follow; what the call said before is kept. Any finished call can be corrected so, and
    as often as need be.
    """
    outer = ctx.parent.params if ctx.parent is not None else {}
    ledger, form = ledger or outer.get("ledger"), form or outer.get("form")
    if call_id is None:
        if cost is not None or void or reason is not None:
            raise click.UsageError("which call? Give its ID; without options the calls to settle are listed")
        _list(limit, ledger, form)
        return
    if void is (cost is not None):
        raise click.UsageError("say what it was billed with --cost, or that it was not with --void")
    with opened(ledger) as meter:
        try:
            row = meter.correct(call_id, cost=cost, void=void, reason=reason or "settled on the command line")
        except InvalidUsage as error:
            raise click.UsageError(str(error)) from None
        sheet = sheet_of([row], history(meter, [row]))
    emit(sheet, form)


def _list(limit: int, ledger: str | None, form: str | None) -> None:
    with asked(ledger) as meter:
        rows = meter.reports.uncertain(limit=limit)
    emit(
        Sheet(
            fields=[*FIELDS, Field("ask", _ask)],
            columns=[
                Column("ID", lambda row: row.id, whole=True),
                Column("Model", lambda row: row.model or row.requested_model or "unknown"),
                Column("Cost", shown_cost, number=True),
                Column("Counted", lambda row: usd(row.counted), number=True),
                Column("Outcome", lambda row: row.outcome),
                Column("Ask", _ask),
            ],
            rows=rows,
            notes=[*_notes(rows, limit)],
            empty="Every call has a certain cost.",
        ),
        form,
    )


def _ask(row: Receipt) -> str:
    """What is missing: a price, or word from the provider."""
    counted = row.usage is not None and row.usage_source == "reported"
    certain = row.outcome == "complete" and "lost_attempts" not in row.flags
    return PRICE if counted and certain and row.cost_source in {"unpriced", "partial"} else PROVIDER


def _notes(rows: Sequence[Receipt], limit: int) -> Iterator[str]:
    asked = {_ask(row) for row in rows}
    yield from (advice for what, advice in _ADVICE.items() if what in asked)
    if len(rows) == limit:
        yield f"There may be more: --limit {limit} shows the newest."
