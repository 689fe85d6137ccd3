"""`farthing calls`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from farthing.cli.options import asked, output_options
from farthing.cli.sheet import Column, Field, Sheet, emit, money_fields
from farthing.cli.text import nano, usd

if TYPE_CHECKING:
    from decimal import Decimal

    from farthing.answers import Corrected
    from farthing.meter.meter import Meter
    from farthing.records import Receipt

__all__ = ["FIELDS", "calls", "history", "sheet_of", "shown_cost"]

_CHANGED: Final = frozenset({"corrected", "repriced"})


@click.group(invoke_without_command=True)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many at most."
)
@click.option("--account", help="Calls of this account only.")
@click.option("--model", help="Calls that this model served only.")
@output_options
@click.pass_context
def calls(
    ctx: click.Context,
    *,
    limit: int,
    account: str | None,
    model: str | None,
    ledger: str | None,
    form: str | None,
) -> None:
    """Finished calls, the newest first.

    A cost that starts with "~" rests on estimated tokens, one with ">=" leaves out what has no known price.
    """
    if ctx.invoked_subcommand is not None:
        return
    with asked(ledger) as meter:
        rows = meter.reports.records(account=account, model=model, limit=limit)
        notes = [] if rows or model is None else _other_names(meter, model)
        if rows.cursor is not None:
            notes.append(f"There are more: --limit {limit} shows the newest.")
        sheet = sheet_of(rows, history(meter, rows))
    sheet.notes = notes
    emit(sheet, form)


def history(meter: Meter, rows: Iterable[Receipt]) -> dict[str, list[Corrected]]:
    """How those of the calls that were changed have been, by their ids."""
    changed = (row.id for row in rows if _CHANGED & set(row.flags))
    return {call_id: meter.reports.corrections(call_id) for call_id in changed}


def sheet_of(rows: Sequence[Receipt], changes: Mapping[str, Sequence[Corrected]]) -> Sheet:
    """Calls, each with what it said before it was last changed."""

    def before(row: Receipt) -> Decimal | None:
        last = changes.get(row.id)
        return last[-1].old_cost if last else None

    def outcome(row: Receipt) -> str:
        last = changes.get(row.id)
        if not last:
            return row.outcome
        verb = "corrected" if last[-1].kind == "correct" else "repriced"
        return f"{row.outcome}, {verb} from {usd(last[-1].old_cost)}"

    return Sheet(
        fields=[*FIELDS, *money_fields("previousCost", before), Field("changes", _changes_of(changes))],
        columns=[*_COLUMNS, Column("Outcome", outcome)],
        rows=rows,
        empty="No calls.",
    )


def _changes_of(changes: Mapping[str, Sequence[Corrected]]) -> Callable[[Receipt], Any]:
    return lambda row: [_change(each) for each in changes.get(row.id, ())]


def _change(each: Corrected) -> dict[str, Any]:
    return {
        "at": each.at.isoformat().replace("+00:00", "Z"),
        "kind": each.kind,
        "reason": each.reason,
        "oldCostUsd": each.old_cost,
        "oldCostNano": nano(each.old_cost),
        "oldCostSource": each.old_cost_source,
        "costUsd": each.cost,
        "costNano": nano(each.cost),
    }


def _other_names(meter: Meter, model: str) -> list[str]:
    """Providers answer with the dated name of a snapshot: whoever asks for the plain one finds nothing."""
    names = (str(row.group["model"]) for row in meter.reports.spend("model"))
    like = [name for name in names if model.lower() in name.lower()]
    return [f"There are calls of {', '.join(like[:5])}."] if like else []


def shown_cost(row: Receipt) -> str:
    """With what it is not certain of: ">=" before a lower bound, "~" before an estimate."""
    if row.cost is None or "corrected" in row.flags:
        return usd(row.cost)
    least = ">= " if row.cost_source == "partial" else ""
    return f"{least}{'~' if row.usage_source == 'estimated' else ''}{usd(row.cost)}"


def _count(row: Receipt, name: str) -> Any:
    return None if row.usage is None else getattr(row.usage, name)


def _tokens(row: Receipt, name: str) -> str:
    count = _count(row, name)
    return "-" if count is None else f"{count:,}"


_COLUMNS = [
    Column("Started (UTC)", lambda row: f"{row.started_at:%Y-%m-%d %H:%M:%S}", whole=True),
    Column("Account", lambda row: row.account),
    Column("Model", lambda row: row.model or row.requested_model or "unknown"),
    Column("Input", lambda row: _tokens(row, "input_tokens"), number=True),
    Column("Output", lambda row: _tokens(row, "output_tokens"), number=True),
    Column("Cost", shown_cost, number=True),
]

FIELDS: Final = [
    Field("id", lambda row: row.id),
    Field("startedAt", lambda row: row.started_at.isoformat().replace("+00:00", "Z")),
    Field("account", lambda row: row.account),
    Field("context", lambda row: row.context),
    Field("tags", lambda row: dict(row.tags)),
    Field("run", lambda row: row.run),
    Field("provider", lambda row: row.provider),
    Field("requestedModel", lambda row: row.requested_model),
    Field("model", lambda row: row.model),
    Field("operation", lambda row: row.operation),
    Field("serviceTier", lambda row: row.service_tier),
    Field("outcome", lambda row: row.outcome),
    Field("attempts", lambda row: row.attempts),
    Field("inputTokens", lambda row: _count(row, "input_tokens")),
    Field("cachedTokens", lambda row: _count(row, "cached_tokens")),
    Field("cacheWriteTokens", lambda row: _count(row, "cache_write_tokens")),
    Field("outputTokens", lambda row: _count(row, "output_tokens")),
    Field("reasoningTokens", lambda row: _count(row, "reasoning_tokens")),
    Field("usageSource", lambda row: row.usage_source),
    *money_fields("cost", lambda row: row.cost),
    *money_fields("counted", lambda row: row.counted),
    *money_fields("held", lambda row: row.held),
    *money_fields("overrun", lambda row: row.overrun),
    Field("costSource", lambda row: row.cost_source),
    Field("cappedAt", lambda row: row.capped_at),
    Field("fallbackFrom", lambda row: row.fallback_from),
    Field(
        "durationMs", lambda row: None if row.duration is None else row.duration / timedelta(milliseconds=1)
    ),
    Field("requestId", lambda row: row.request_id),
    Field("responseId", lambda row: row.response_id),
    Field("transactionId", lambda row: row.transaction_id),
    Field("error", lambda row: row.error),
    Field("flags", lambda row: list(row.flags)),
]
