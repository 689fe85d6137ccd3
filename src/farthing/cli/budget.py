"""`farthing budget`: list, set, remove, release."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from farthing.cli.budgets_said import budget_options, said
from farthing.cli.options import asked, opened, output_options
from farthing.cli.sheet import Column, Field, Sheet, emit, money_fields
from farthing.cli.text import usd
from farthing.cli.told import Told
from farthing.errors import InvalidBudget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farthing.answers import BudgetState
    from farthing.meter.meter import Meter
    from farthing.records import Budget

__all__ = ["budget"]


@click.group(invoke_without_command=True)
@click.pass_context
def budget(ctx: click.Context) -> None:
    """Limits on what may be spent."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@budget.command("list")
@output_options
def list_(ledger: str | None, form: str | None) -> None:
    """Where every budget stands now; instants are in UTC.

    Also those that programs attached to their clients and functions, by their identity.
    """
    with asked(ledger) as meter:
        rows = meter.reports.budgets()
    emit(_sheet(rows), form)


@budget.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("limit")
@budget_options
@output_options
def set_(name: str, limit: str, ledger: str | None, form: str | None, **given: Any) -> None:
    """Set the budget NAME to LIMIT, in USD: '5', '$5/day', '5 USD/week'.

    Of a budget that is there already, what is not given stays as it is. It binds at once, in every process.
    """
    fields = said(given)
    name = _checked(name, limit, {}, fields).name  # what makes no sense makes no ledger either
    with opened(ledger, make=True) as meter:
        old = next((old for old in meter.budgets() if old.name == name), None)
        wanted = _checked(name, limit, {} if old is None else old.to_dict(), fields)
        meter.set_budget(wanted, origin="cli")
        rows = _rows(meter, name)
    emit(_sheet(rows, title=f"Set{'' if old is None else f', from {usd(old.limit)}'}."), form)


@budget.command("remove")
@click.argument("name")
@output_options
def remove(name: str, ledger: str | None, form: str | None) -> None:
    """Forget the budget NAME. Calls that it has counted stay in the ledger."""
    from farthing.records.text import clean  # noqa: PLC0415  help needs none of it

    name = clean(name)
    with opened(ledger) as meter:
        if not meter.remove_budget(name):
            raise Told(f"there is no standing budget {name!r}: `farthing budget list` shows those there are")
    emit(
        Sheet(
            fields=[Field("removed", str)],
            columns=[Column("Removed", str)],
            rows=[name],
            document={"removed": name},
        ),
        form,
    )


@budget.command("release")
@click.argument("name")
@output_options
def release(name: str, ledger: str | None, form: str | None) -> None:
    """Give the budget NAME, which was set here, back to what the program or its file declares."""
    from farthing.records.text import clean  # noqa: PLC0415  help needs none of it

    name = clean(name)
    with opened(ledger) as meter:
        if not meter.engine.ledger.release_budget(name):
            there = any(known.name == name for known in meter.budgets())
            raise Told(
                f"budget {name!r} stands over no declaration: there is nothing to release"
                if there
                else f"there is no standing budget {name!r}: `farthing budget list` shows those there are"
            )
        rows = _rows(meter, name)
    emit(_sheet(rows, title="Released."), form)


def _rows(meter: Meter, name: str) -> list[BudgetState]:
    return [row for row in meter.reports.budgets() if row.name == name and not row.attached]


def _checked(name: str, limit: str, old: dict[str, Any], fields: dict[str, Any]) -> Budget:
    """The budget that is meant; a period in LIMIT must be the one of --period, if both are given."""
    from farthing.meter.declared import fields_of  # noqa: PLC0415  help needs none of it
    from farthing.records import Budget  # noqa: PLC0415

    try:
        return Budget(**fields_of(name, limit, fields, old, field="--period"))
    except InvalidBudget as error:
        raise click.UsageError(str(error)) from None


def _sheet(rows: Sequence[BudgetState], title: str = "") -> Sheet:
    columns = [
        Column("Budget", _name),
        Column("Limit", lambda row: f"{usd(row.limit)}{_period(row)}", number=True),
        Column("Spent", lambda row: f"{'~' if row.uncertain else ''}{usd(row.spent)}", number=True),
        Column("Left", lambda row: usd(row.remaining), number=True),
        Column("Used", lambda row: f"{row.used_percent}%", number=True),
        Column("Resets", lambda row: _until(row.resets_at), whole=True),
    ]
    if any(row.held for row in rows):
        columns.insert(3, Column("Held", lambda row: usd(row.held), number=True))
    if any(row.state != "ok" for row in rows):
        columns.insert(-1, Column("", lambda row: "" if row.state == "ok" else row.state))
    notes = []
    if any(row.uncertain for row in rows):
        notes.append("~ Some calls have no certain end: they count as the most that they may have cost.")
    if any(":" in _until(row.resets_at) for row in rows):
        notes.append("Instants are in UTC.")
    return Sheet(
        fields=_FIELDS,
        columns=columns,
        rows=rows,
        title=title,
        notes=notes,
        empty="No budgets. `farthing budget set NAME '$5/day'` makes one.",
    )


def _name(row: BudgetState) -> str:
    """With what it binds, unless that is all."""
    if row.budget is None:
        told = ["attached"]
    else:
        told = [f"{name}={value}" for name, value in _filters(row.budget).items()]
        told += ["soft"] if row.budget.mode == "soft" else []
        told += [f"from {_anchor(row.budget)}"] if row.budget.anchor is not None else []
        told += [row.budget.timezone] if row.budget.timezone != "UTC" else []
        told += [f"else {row.budget.fallback}"] if row.budget.fallback is not None else []
    key = f" [{row.key}]" if row.key else ""
    binds = f" ({', '.join(told)})" if told else ""
    return f"{row.name}{key}{binds}"


def _filters(budget: Budget) -> dict[str, str]:
    own = {name: getattr(budget, name) for name in ("account", "context", "provider", "model")}
    found = {name: value for name, value in own.items() if value is not None}
    found |= {f"tag:{name}": value for name, value in (budget.tags or {}).items()}
    return found | ({"per": budget.per} if budget.per is not None else {})


def _period(row: BudgetState) -> str:
    from farthing.meter.declared import period_text  # noqa: PLC0415  help needs none of it

    return "" if row.budget is None else f"/{period_text(row.budget.period)}"


def _until(instant: datetime | None) -> str:
    if instant is None:
        return "never"
    return f"{instant:%Y-%m-%d}" if not (instant.hour or instant.minute) else f"{instant:%Y-%m-%d %H:%M}"


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _anchor(budget: Budget) -> str | None:
    """The day of the month, or the instant."""
    if isinstance(budget.anchor, int):
        return f"day {budget.anchor}"
    return _iso(budget.anchor)


def _of(name: str) -> Field:
    return Field(name, lambda row: None if row.budget is None else getattr(row.budget, name))


def _anchor_value(row: BudgetState) -> int | str | None:
    anchor = None if row.budget is None else row.budget.anchor
    return _iso(anchor) if isinstance(anchor, datetime) else anchor


_FIELDS: Final = [
    Field("name", lambda row: row.name),
    Field("attached", lambda row: row.attached),
    Field("key", lambda row: row.key),
    Field("period", lambda row: None if row.budget is None else _period(row).removeprefix("/")),
    _of("per"),
    _of("account"),
    _of("context"),
    _of("provider"),
    _of("model"),
    Field("tags", lambda row: None if row.budget is None else dict(row.budget.tags or {})),
    _of("timezone"),
    Field("anchor", _anchor_value),
    _of("mode"),
    Field("alerts", lambda row: None if row.budget is None else list(row.budget.alerts)),
    _of("fallback"),
    _of("wait"),
    _of("uncertain"),
    Field("origin", lambda row: row.origin),
    *money_fields("limit", lambda row: row.limit),
    *money_fields("spent", lambda row: row.spent),
    *money_fields("held", lambda row: row.held),
    *money_fields("remaining", lambda row: row.remaining),
    *money_fields("uncertain", lambda row: row.uncertain),
    Field("usedPercent", lambda row: row.used_percent),
    Field("state", lambda row: row.state),
    Field("startsAt", lambda row: _iso(row.starts_at)),
    Field("resetsAt", lambda row: _iso(row.resets_at)),
]
