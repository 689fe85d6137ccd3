"""What is said of a budget on the command line, as the fields of a `Budget`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from farthing.cli.dates import instant, midnight
from farthing.errors import InvalidBudget

__all__ = ["CLEARED", "budget_options", "said"]

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])

CLEARED: Final = (
    "per", "account", "context", "provider", "model", "tag", "timezone", "anchor", "alerts", "fallback",
    "wait", "uncertain",
)  # fmt: skip
"""What `--clear` gives back its default."""

_SHARE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(%?)")


class _Period(_ParamType):
    name = "period"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from farthing.meter.declared import period_of  # noqa: PLC0415  help needs none of it

        if isinstance(value, timedelta):
            return value
        try:
            return period_of(value)
        except InvalidBudget as error:
            self.fail(str(error), param, ctx)


class _Anchor(_ParamType):
    name = "anchor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, (int, datetime)):
            return value
        if value.strip().isdecimal():
            return int(value)
        try:
            return midnight(instant(value))
        except ValueError as error:
            self.fail(f"{value!r} is no day of a month (1 to 31), and {error}", param, ctx)


class _Alerts(_ParamType):
    name = "alerts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        if value.strip() in {"", "none"}:
            return ()
        shares: list[float] = []
        for part in value.split(","):
            match = _SHARE.fullmatch(part.strip())
            share = None if match is None else float(match[1]) / (100 if match[2] else 1)
            if match is None or share is None or not 0 < share <= 10:
                self.fail(f"{part.strip()!r} is no share of the limit: write 75%,90% or 0.75,0.9", param, ctx)
            shares.append(share)
        return tuple(shares)


_OPTIONS: Final = (
    click.option(
        "--period",
        type=_Period(),
        metavar="PERIOD",
        help="When it starts anew: hour, day, week, month, total, or a time such as 36h; else month.",
    ),
    click.option(
        "--per", metavar="account|tag:NAME", help="A limit for each account, or each value of a tag."
    ),
    click.option("--account", help="Binds calls of this account only."),
    click.option(
        "--context", type=click.Choice(["customer", "system"]), help="Binds calls of this context only."
    ),
    click.option("--provider", help="Binds calls of this provider only."),
    click.option("--model", metavar="GLOB", help="Binds calls of these models only, such as 'gpt-4o*'."),
    click.option(
        "--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Binds calls with this tag only."
    ),
    click.option("--timezone", metavar="NAME", help="Where its days begin, such as Europe/Berlin; else UTC."),
    click.option(
        "--anchor",
        type=_Anchor(),
        metavar="DAY|INSTANT",
        help="The day on which its month begins, or when a period such as 36h began.",
    ),
    click.option("--mode", type=click.Choice(["hard", "soft"]), help="hard refuses calls, soft only counts."),
    click.option(
        "--alerts",
        type=_Alerts(),
        metavar="SHARES",
        help="At which shares of it to tell somebody: 75%,90%,100%, or none.",
    ),
    click.option("--fallback", metavar="MODEL", help="Asked instead where a call does not fit."),
    click.option("--wait", type=float, metavar="SECONDS", help="Waits for money that running calls hold."),
    click.option(
        "--uncertain",
        type=click.Choice(["count", "expected"]),
        help="What a call of uncertain cost is charged: the most it may cost, or the estimate.",
    ),
    click.option(
        "--clear",
        "cleared",
        multiple=True,
        type=click.Choice(CLEARED),
        metavar="OPTION",
        help="Gives an option of these back its default, such as anchor.",
    ),
)


def budget_options(command: F) -> F:
    """Every field of a `Budget` but its name and limit."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def said(given: dict[str, Any]) -> dict[str, Any]:
    """The fields that were said, of the values of `budget_options`; what is cleared has its default.

    Raises:
        click.UsageError: for a tag without a value, or what is both said and cleared.
    """
    from farthing.records import Budget  # noqa: PLC0415  help needs none of it

    cleared = ["tags" if name == "tag" else name for name in given.pop("cleared")]
    fields = {name: value for name, value in given.items() if value is not None and value != ()}
    if given["alerts"] is not None:
        fields["alerts"] = given["alerts"]
    if "tags" in fields:
        fields["tags"] = dict(_tag(text) for text in fields["tags"])
    plain = Budget("plain", 0)
    for name in cleared:
        if name in fields:
            option = "tag" if name == "tags" else name
            raise click.UsageError(f"--{option} and --clear {option} contradict each other")
        fields[name] = getattr(plain, name)
    return fields


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE", param_hint="'--tag'")
    return name, value
