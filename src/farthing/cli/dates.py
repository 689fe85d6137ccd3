"""Dates as people and files write them: a day of UTC, or an instant with its offset."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import click

__all__ = ["When", "instant", "midnight"]

if TYPE_CHECKING:
    _ParamType = click.ParamType[date | datetime]
else:
    _ParamType = click.ParamType

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def instant(text: str) -> date | datetime:
    """A plain date, or an instant in ISO 8601 with its offset from UTC.

    Raises:
        ValueError: for anything else, in words that do not repeat it.
    """
    text = text.strip()
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is no date such as 2026-11-21 or 2026-11-21T08:00:00Z") from None
    if at.tzinfo is None:
        raise ValueError("has no time zone: add Z or an offset, or give a plain date")
    return at


class When(_ParamType):
    """A date or an instant on the command line."""

    name = "date"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> date | datetime:
        if isinstance(value, date):
            return value
        try:
            return instant(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


def midnight(when: date | datetime) -> datetime:
    """The instant, or the beginning of the day in UTC."""
    return when if isinstance(when, datetime) else datetime(when.year, when.month, when.day, tzinfo=UTC)
