"""A limit on what may be spent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from farthing.errors import InvalidBudget, shown
from farthing.money import parse_usd, usd
from farthing.records.shown import Shown
from farthing.records.text import clean

__all__ = ["PERIODS", "Budget", "Mode", "Period", "Uncertain"]

Period = Literal["run", "hour", "day", "week", "month", "total"]
Mode = Literal["hard", "soft"]
Uncertain = Literal["count", "expected"]

PERIODS: tuple[Period, ...] = ("run", "hour", "day", "week", "month", "total")

_TEXT = re.compile(
    r"\$?\s*(?P<amount>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(?P<usd>USD)?\s*(?:/\s*(?P<period>[a-z]+))?"
)
_UNDERSTOOD = (
    "a budget is an amount of USD and, if it renews itself, a period: '$5', '5 USD/day', '$0.50/total', "
    "'$2/run' (run, hour, day, week, month or total)"
)


@dataclass(frozen=True, slots=True, repr=False)
class Budget(Shown):
    """A limit in USD on the calls that match it, per period.

    Args:
        name: unique among standing budgets.
        limit: USD, as int, str, Decimal or float.
        period: "run", "hour", "day", "week" (from Monday), "month", "total", or a `timedelta` of
            consecutive windows.
        per: "account" or "tag:NAME" for one window of `limit` for each account or value of the tag.
        account, context, provider, model, tags: which calls it binds; `model` is a glob on the
            canonical name; None binds all.
        timezone: an IANA name; where days, weeks and months begin.
        anchor: the day of the month on which a month begins, or the instant at which a `timedelta`
            began.
        mode: "hard" refuses, "soft" only counts and tells.
        alerts: shares of the limit at which to tell somebody, once per window.
        fallback: a cheaper model to call instead when the asked one does not fit.
        wait: seconds to wait for money that running calls hold; None for the Meter's.
        uncertain: what a call of uncertain cost is charged: "count" its upper bound, "expected" the best
            estimate. None is "count" for hard and "expected" for soft.

    Raises:
        InvalidBudget: for anything that makes no sense.
    """

    name: str
    limit: Decimal
    period: Period | timedelta = "month"
    per: str | None = None
    account: str | None = None
    context: str | None = None
    provider: str | None = None
    model: str | None = None
    tags: Mapping[str, str] | None = None
    timezone: str = "UTC"
    anchor: int | datetime | None = None
    mode: Mode = "hard"
    alerts: tuple[float, ...] = (0.75, 0.9, 1.0)
    fallback: str | None = None
    wait: float | None = None
    uncertain: Uncertain | None = None

    def __init__(
        self,
        name: str,
        limit: Decimal | str | float,
        period: Period | timedelta = "month",
        *,
        per: str | None = None,
        account: str | None = None,
        context: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        tags: Mapping[str, str] | None = None,
        timezone: str = "UTC",
        anchor: int | datetime | None = None,
        mode: Mode = "hard",
        alerts: tuple[float, ...] = (0.75, 0.9, 1.0),
        fallback: str | None = None,
        wait: float | None = None,
        uncertain: Uncertain | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "name", _checked_name(name))
        put(self, "limit", usd(parse_usd(limit, what=f"the limit of budget {name!r}")))
        put(self, "period", _checked_period(period))
        put(self, "per", _checked_per(per))
        for field_name, value in (
            ("account", account),
            ("context", context),
            ("provider", provider),
            ("model", model),
            ("fallback", fallback),
        ):
            if value is not None and (not isinstance(value, str) or not value):
                raise InvalidBudget(
                    f"{field_name} of budget {name!r} must be a text or None; got {shown(value)}"
                )
            put(self, field_name, value and clean(value))
        if context not in (None, "customer", "system"):
            raise InvalidBudget(
                f"context of budget {name!r} must be 'customer', 'system' or None; got {context!r}"
            )
        put(self, "tags", _checked_tags(tags, name))
        put(self, "timezone", _checked_timezone(timezone))
        put(self, "anchor", _checked_anchor(anchor, self.period))
        put(self, "mode", _one_of(mode, ("hard", "soft"), "mode"))
        put(self, "alerts", _checked_alerts(alerts))
        if wait is not None and (
            isinstance(wait, bool) or not isinstance(wait, (int, float)) or not 0 <= wait < 1e9
        ):
            raise InvalidBudget(f"wait must be seconds from 0 on, or None; got {shown(wait)}")
        put(self, "wait", None if wait is None else float(wait))
        put(
            self,
            "uncertain",
            None if uncertain is None else _one_of(uncertain, ("count", "expected"), "uncertain"),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.to_dict(),)

    def __hash__(self) -> int:
        return hash((self.name, self.limit, self.period, self.per, self.model))

    @property
    def limit_nano(self) -> int:
        """The limit in nano-dollars."""
        return parse_usd(self.limit)

    @property
    def charges_expected(self) -> bool:
        """True if a call of uncertain cost is charged its best estimate instead of its upper bound."""
        return (self.uncertain or ("count" if self.mode == "hard" else "expected")) == "expected"

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as given to the constructor."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def parse(cls, text: str | float | Decimal, *, name: str = "default", **fields: Any) -> Budget:
        """A budget from "$5", "5 USD/day", "$0.50/total", "$2/run"; without a period it is of "run".

        Raises:
            InvalidBudget: for anything else, naming what is understood.
        """
        if not isinstance(text, str):
            return cls(name, text, "run", **fields)
        match = _TEXT.fullmatch(text.strip())
        if match is None or (match["period"] or "run") not in PERIODS or ("$" in text and match["usd"]):
            raise InvalidBudget(f"{text!r} is not understood: {_UNDERSTOOD}")
        return cls(name, match["amount"], _checked_period(match["period"] or "run"), **fields)


_FIELDS = tuple(Budget.__dataclass_fields__)


def _rebuild(fields: dict[str, Any]) -> Budget:
    return Budget(**fields)


def _checked_name(name: object) -> str:
    cleaned = clean(name) if isinstance(name, str) and "\0" not in name else ""
    if not cleaned.strip() or len(cleaned) > 200:
        raise InvalidBudget(f"a budget's name must be a text of 1 to 200 characters; got {shown(name)}")
    return cleaned


def _checked_period(period: object) -> Any:
    if isinstance(period, timedelta):
        if period < timedelta(seconds=1):
            raise InvalidBudget(f"a period must be at least a second; got {period!r}")
        return period
    return _one_of(period, PERIODS, "period", " or a timedelta")


def _checked_per(per: object) -> str | None:
    if per is None or per == "account" or (isinstance(per, str) and per.startswith("tag:") and len(per) > 4):
        return clean(per)
    raise InvalidBudget(f"per must be 'account' or 'tag:NAME'; got {shown(per)}")


def _checked_tags(tags: object, name: str) -> dict[str, str] | None:
    if tags is None:
        return None
    if not isinstance(tags, Mapping) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in tags.items()
    ):
        raise InvalidBudget(f"tags of budget {name!r} must map text to text; got {shown(tags)}")
    return {clean(k): clean(v) for k, v in tags.items()}


def _checked_timezone(timezone: object) -> str:
    if timezone == "UTC":
        return "UTC"
    from zoneinfo import ZoneInfo  # noqa: PLC0415  not needed for the usual UTC

    zone = timezone if isinstance(timezone, str) else ""  # some others pass, such as a tuple of numbers
    try:
        ZoneInfo(zone)
    except Exception:  # noqa: BLE001  it raises five kinds for a bad name
        raise InvalidBudget(
            f"timezone must be an IANA name such as 'Europe/Berlin'; got {shown(timezone)}"
        ) from None
    return zone


def _checked_anchor(anchor: object, period: object) -> int | datetime | None:
    if anchor is None:
        return None
    if isinstance(anchor, datetime):
        if anchor.tzinfo is None:
            raise InvalidBudget(f"anchor must have a time zone; got the naive {anchor!r}")
        if not isinstance(period, timedelta):
            raise InvalidBudget("an instant as anchor belongs to a period that is a timedelta")
        return anchor
    if isinstance(anchor, bool) or not isinstance(anchor, int) or not 1 <= anchor <= 31 or period != "month":
        raise InvalidBudget(
            f"anchor must be a day from 1 to 31 of a month, or the instant a timedelta began; "
            f"got {shown(anchor)}"
        )
    return anchor


def _checked_alerts(alerts: object) -> tuple[float, ...]:
    shares = tuple(alerts) if isinstance(alerts, (tuple, list)) else (alerts,)
    if any(isinstance(s, bool) or not isinstance(s, (int, float)) or not 0 < s <= 10 for s in shares):
        raise InvalidBudget(f"alerts must be shares of the limit such as (0.75, 1.0); got {shown(alerts)}")
    return tuple(sorted(float(s) for s in shares))


def _one_of(value: Any, allowed: tuple[str, ...], what: str, more: str = "") -> Any:
    if value not in allowed:
        raise InvalidBudget(f"{what} must be one of {', '.join(allowed)}{more}; got {shown(value)}")
    return value
