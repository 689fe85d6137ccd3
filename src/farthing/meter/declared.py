"""Standing budgets as people write them, in a file or on the command line: a text, or fields by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from farthing.errors import InvalidBudget
from farthing.records import Budget
from farthing.records.budget import PERIODS, Period

__all__ = ["budgets_of", "fields_of", "period_of", "period_text", "standing"]

_LENGTH: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_STANDING: Final = tuple(period for period in PERIODS if period != "run")
_FIELDS: Final = tuple(name for name in Budget.__dataclass_fields__ if name != "name")


def period_of(text: object) -> Period | timedelta:
    """ "day", or a length of time such as "36h" or "14d" (s, m, h, d, w).

    Raises:
        InvalidBudget: for anything else, naming what is understood.
    """
    for period in _STANDING:
        if text == period:
            return period
    match = _LENGTH.fullmatch(text) if isinstance(text, str) else None
    try:
        length = None if match is None else timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        length = None
    if not length:
        raise InvalidBudget(
            f"{text!r} is not one of {', '.join(_STANDING)}, nor a length of time such as 36h or 14d"
        )
    return length


def period_text(period: Period | timedelta) -> str:
    """What `period_of` reads."""
    if not isinstance(period, timedelta):
        return period
    for unit, seconds in _SECONDS.items():
        if not period % timedelta(seconds=seconds):
            return f"{period // timedelta(seconds=seconds)}{unit}"
    return f"{period.total_seconds():f}".rstrip("0") + "s"


def fields_of(
    name: str, limit: Any, stated: Mapping[str, Any], old: Mapping[str, Any], *, field: str = "period"
) -> dict[str, Any]:
    """The arguments of the `Budget` that is meant: what is stated, else what the `old` one says.

    Args:
        limit: USD, or a text as `Budget.parse` reads it, whose period must be the one that is stated.
        field: what the period is called where it was stated.

    Raises:
        InvalidBudget: for a limit that is not understood, two periods, or a budget of a run.
    """
    parsed = Budget.parse(limit, name=name)
    within = parsed.period if isinstance(limit, str) and "/" in limit else None
    asked = stated.get("period", within)
    if "run" in (within, asked):
        raise InvalidBudget("a standing budget is not of a run: choose hour, day, week, month or total")
    if within is not None and asked != within:
        raise InvalidBudget(f"{limit!r} says {within} and {field} says {period_text(asked)}")
    merged = {"period": "month", **old, **stated, "name": name, "limit": parsed.limit}
    if asked is not None:
        merged["period"] = asked
    if "anchor" not in stated and merged["period"] != old.get("period"):
        merged.pop("anchor", None)  # it was of the period before
    return merged


def standing(name: str, stated: object) -> Budget:
    """A budget that a file or a setting states: a `Budget`, a text, or a table of its fields. A text without
    a period is for good.

    Raises:
        InvalidBudget: if it is not understood.
    """
    if isinstance(stated, Budget):
        return stated
    if not isinstance(stated, Mapping):
        text: Any = stated  # `parse` judges whatever it is given
        parsed = Budget.parse(text, name=name)
        return parsed if parsed.period != "run" else Budget(name, parsed.limit, "total")
    unknown = [key for key in stated if key not in _FIELDS]
    if unknown:
        raise InvalidBudget(f"budget {name!r}: {unknown[0]!r} is no field; known are {', '.join(_FIELDS)}")
    if "limit" not in stated:
        raise InvalidBudget(f"budget {name!r} has no limit")
    fields = {key: value for key, value in stated.items() if key != "limit"}
    if "period" in fields:
        fields["period"] = period_of(fields["period"])
    return Budget(**fields_of(name, stated["limit"], fields, {}))


def budgets_of(stated: object) -> list[Budget]:
    """The budgets of a table by name.

    Raises:
        InvalidBudget: if one is not understood, or it is no table.
    """
    if not isinstance(stated, Mapping):
        raise InvalidBudget(
            "the budgets of a file are tables: [budgets] with NAME = '$5/day', or [budgets.NAME]"
        )
    return [standing(str(name), one) for name, one in stated.items()]
