"""Rules of budgets: which calls one binds, and which of its windows contains an instant. Pure.

Instants are integer nanoseconds since 1970-01-01 UTC; a window is half-open, [starts, ends).
The windows of one budget follow each other without gaps or overlaps, whatever the clocks of its
time zone do: a local day is what lies between two local midnights (23 to 25 hours as a rule), weeks
and months consist of such days, and hours are counted from the midnight before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from farthing.records import Budget
from farthing.records.text import clean

__all__ = [
    "Window",
    "alert_amount",
    "key_of",
    "matches",
    "resets_at",
    "resets_at_ns",
    "retry_after",
    "window_at",
]

_SECOND: Final = 10**9
_HOUR: Final = 3600 * _SECOND
_DAY: Final = 24 * _HOUR
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = _EPOCH.toordinal()
_LAST_DATE: Final = date(9998, 12, 31).toordinal()
_MIN, _MAX = -(2**63), 2**63 - 1  # what a database column holds
_MILLION: Final = 10**6


@dataclass(frozen=True, slots=True)
class Window:
    """One period of a budget: [starts_ns, ends_ns). `ends_ns` is None where it does not end by itself."""

    starts_ns: int
    ends_ns: int | None


def window_at(budget: Budget, at_ns: int) -> Window:
    """The window of `budget` that contains the instant.

    "run" and "total" begin when they are first asked for: their window starts at `at_ns` and does not
    end. A `timedelta` is counted in elapsed time from the budget's anchor (1970-01-01 UTC without one),
    backwards as well as forwards.
    """
    period = budget.period
    if isinstance(period, timedelta):
        return _elapsed(at_ns, period, budget.anchor)
    if period in {"run", "total"}:
        return Window(at_ns, None)
    utc = budget.timezone == "UTC"
    if utc and period in {"hour", "day"}:
        length = _HOUR if period == "hour" else _DAY
        starts = at_ns - at_ns % length
        return Window(starts, starts + length)
    anchor = budget.anchor if isinstance(budget.anchor, int) else 1
    if utc:
        first, after = _civil_period(period, at_ns // _DAY, anchor)
        return Window(first * _DAY, after * _DAY)
    return _local(period, at_ns, budget.timezone, anchor)


def matches(
    budget: Budget,
    *,
    account: str,
    context: str,
    provider: str | None,
    model: str | None,
    tags: Mapping[str, str],
) -> bool:
    """Whether the budget binds a call of these dimensions. What the budget leaves open matches everything.

    `model` of the budget is a glob on the call's canonical model, in any case; each tag of the budget must
    be on the call with the same value. A budget that names a provider or a model does not match
    a call for which that is unknown.
    """
    if budget.account is not None and budget.account != account:
        return False
    if budget.context is not None and budget.context != context:
        return False
    if budget.provider is not None and budget.provider.lower() != (clean(provider) or "").lower():
        return False
    if budget.model is not None and (
        model is None or not fnmatchcase(clean(model).lower(), budget.model.lower())
    ):
        return False
    if budget.tags:
        return all(tags.get(name) == value for name, value in budget.tags.items())
    return True


def key_of(budget: Budget, *, account: str, tags: Mapping[str, str]) -> str | None:
    """Which of the budget's parallel windows a call falls into: "" without `per`, else the account or
    the value of the tag; None if the call does not carry that tag, and then the budget does not bind it."""
    if budget.per is None:
        return ""
    if budget.per == "account":
        return account
    return tags.get(budget.per.removeprefix("tag:"))


def resets_at_ns(window: Window) -> int | None:
    """The first instant at which the money is there again; None where nothing resets."""
    return window.ends_ns


def resets_at(window: Window) -> datetime | None:
    """The same for a person: aware, UTC, to the microsecond and never early; None past the year 9999."""
    if window.ends_ns is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=-(-window.ends_ns // 1000))
    except OverflowError:
        return None


def retry_after(window: Window, at_ns: int) -> float | None:
    """Seconds from the instant until the window ends, 0.0 if it has; None where nothing resets."""
    return None if window.ends_ns is None else max(0, window.ends_ns - at_ns) / _SECOND


def _elapsed(at_ns: int, period: timedelta, anchor: object) -> Window:
    microsecond = timedelta(microseconds=1)
    length = period // microsecond * 1000
    origin = (anchor - _EPOCH) // microsecond * 1000 if isinstance(anchor, datetime) else 0
    starts = at_ns - (at_ns - origin) % length
    ends = starts + length
    return Window(max(starts, _MIN), ends if ends <= _MAX else None)


def _civil_period(period: str, day: int, anchor: int) -> tuple[int, int]:
    """The first day of the period that contains `day`, and the first after it; days since 1970-01-01."""
    if period == "week":
        monday = day - (day + 3) % 7
        return monday, monday + 7
    if period == "month":
        return _anchored_month(day, anchor)
    return day, day + 1


def _anchored_month(day: int, anchor: int) -> tuple[int, int]:
    month = _month_of(day)
    first = _day_in_month(month, anchor)
    if day < first:
        return _day_in_month(month - 1, anchor), first
    return first, _day_in_month(month + 1, anchor)


def _day_in_month(month: int, anchor: int) -> int:
    """The anchor day of a month (its last day if it is shorter); months since the year 0."""
    first = _first_of_month(month)
    if anchor <= 28:
        return first + anchor - 1
    return min(first + anchor, _first_of_month(month + 1)) - 1


# The proleptic Gregorian calendar in integers, without `date`'s bounds of the years 1 and 9999: years
# begin in March, so that the leap day is the last day of one. After Howard Hinnant, "chrono-Compatible
# Low-Level Date Algorithms" (https://howardhinnant.github.io/date_algorithms.html).


def _month_of(day: int) -> int:
    era, of_era = divmod(day + 719468, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return (era * 400 + year) * 12 + (5 * of_year + 2) // 153 + 2


def _first_of_month(month: int) -> int:
    era, of_era = divmod(month - 2, 4800)
    year, from_march = divmod(of_era, 12)
    return era * 146097 + year * 365 + year // 4 - year // 100 + (153 * from_march + 2) // 5 - 719468


def _local(period: str, at_ns: int, timezone: str, anchor: int) -> Window:
    # The civil date in UTC is at most one day off the local one (two where a zone crossed the date
    # line); the loops correct that, and step over dates that a zone left out.
    day = at_ns // _DAY
    while at_ns >= _midnight(timezone, day + 1):
        day += 1
    while at_ns < _midnight(timezone, day):
        day -= 1
    if period == "hour":
        starts = at_ns - (at_ns - _midnight(timezone, day)) % _HOUR
        return Window(starts, min(starts + _HOUR, _midnight(timezone, day + 1)))
    first, after = _civil_period(period, day, anchor)
    return Window(_midnight(timezone, first), _midnight(timezone, after))


@lru_cache(maxsize=1024)
def _midnight(timezone: str, day: int) -> int:
    """The instant at which a local date begins, non-decreasing in the date.

    Where clocks skip midnight, that is when they do; where midnight comes twice, its first time.
    """
    from zoneinfo import ZoneInfo  # noqa: PLC0415  not needed for the usual UTC

    ordinal = min(max(day + _EPOCH_ORDINAL, 366), _LAST_DATE)  # beyond, the offset of the edge
    local = datetime.fromordinal(ordinal).replace(tzinfo=ZoneInfo(timezone))
    offset = local.utcoffset() or timedelta(0)
    return day * _DAY - (offset.days * 86400 + offset.seconds) * _SECOND


def alert_amount(limit_nano: int, share: float) -> int:
    """What is spent, in nano-dollars, when a share of the limit (to a millionth) is reached; at least one."""
    return max(-(-limit_nano * round(share * _MILLION) // _MILLION), 1)
