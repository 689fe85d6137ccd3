"""From when until when: what people give, as half-open instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from farthing.errors import InvalidUsage, shown
from farthing.quote import instant_ns

__all__ = ["Edge", "span"]

Edge = date | datetime | None
"""An aware datetime, a date (of UTC, as the days of the ledger are), or None."""

_DAY = timedelta(days=1)


def span(start: Edge, end: Edge) -> tuple[int | None, int | None]:
    """[start, end) in nanoseconds since 1970; None is open. A date as `end` includes that day.

    Raises:
        InvalidUsage: for a naive datetime, anything that is no date, or an end before the start.
    """
    first, after = _instant(start, "start"), _instant(end, "end", last=True)
    least = 0 if isinstance(end, datetime) else 1  # a day has at least a nanosecond
    if first is not None and after is not None and after < first + least:
        raise InvalidUsage(f"end must not be before start; got {start} and {end}")
    return first, after


def _instant(edge: Edge, name: str, *, last: bool = False) -> int | None:
    if edge is None:
        return None
    if isinstance(edge, datetime):
        if edge.tzinfo is None:
            raise InvalidUsage(
                f"{name} must have a time zone, such as datetime(..., tzinfo=timezone.utc), or be a date; "
                f"got the naive {edge.isoformat(sep=' ')}"
            )
        return instant_ns(edge, 0)
    if not isinstance(edge, date):
        raise InvalidUsage(f"{name} must be a date or a datetime with a time zone; got {shown(edge)}")
    if last:
        if edge == date.max:
            return None
        edge += _DAY
    return instant_ns(datetime.combine(edge, time(), UTC), 0)
