"""Clocks that are set, and days that are not 24 hours long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from farthing import InsufficientCredits, Meter, limits
from farthing.records import Budget
from farthing.testing import FakeClock
from faults.world import metered

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def at(clock: FakeClock, text: str, zone: str = "UTC") -> datetime:
    """Turn the clock to a local time."""
    instant = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    clock.set(instant)
    return instant


@pytest.fixture
def make(ledger_path: Path, clock: FakeClock) -> Iterator[object]:
    """Meters on one ledger and one clock; it adds up in the end."""
    made: list[Meter] = []

    def one(*budgets: Budget) -> Meter:
        made.append(metered(ledger_path, clock=clock, budgets=list(budgets)))
        return made[-1]

    yield one
    assert made[-1].engine.ledger.check() == []
    for meter in made:
        meter.close()


def spend(meter: Meter, amount: str = "1") -> None:
    """Hold so many USD, and be billed for them."""
    meter.reserve(model="gpt-4o", amount=amount).settle(
        {"model": "gpt-4o", "usage": {"cost": float(amount), "prompt_tokens": 1, "completion_tokens": 1}}
    )


def full(meter: Meter) -> bool:
    try:
        meter.reserve(model="gpt-4o", amount="0.01").release()
    except InsufficientCredits:
        return True
    return False


def windows(meter: Meter) -> list[tuple[datetime, datetime | None, Decimal]]:
    aware = meter.engine.aware
    return [
        (aware(w.starts_ns), None if w.ends_ns is None else aware(w.ends_ns), Decimal(w.spent) / 10**9)
        for w in sorted(meter.engine.ledger.windows(), key=lambda w: w.starts_ns)
    ]


def test_a_clock_set_back_a_day_spends_from_the_window_of_that_day_and_not_twice_from_one(make, clock):
    meter = make(Budget("day", 2, "day"))
    at(clock, "2026-03-10T12:00")
    spend(meter, "2")
    assert full(meter)
    at(clock, "2026-03-09T12:00")  # a day of which nothing was known
    spend(meter, "2")
    assert full(meter)
    at(clock, "2026-03-10T13:00")
    assert full(meter)
    assert [(start.day, spent) for start, _, spent in windows(meter)] == [(9, 2), (10, 2)]


def test_a_clock_set_forward_a_day_and_back_does_not_empty_the_window_of_today(make, clock):
    meter = make(Budget("day", 2, "day"))
    at(clock, "2026-03-10T12:00")
    spend(meter, "2")
    at(clock, "2026-03-11T12:00")
    assert not full(meter)
    spend(meter, "2")
    at(clock, "2026-03-10T12:01")
    assert full(meter)
    at(clock, "2026-03-11T12:01")
    assert full(meter)


def test_a_clock_set_forward_beyond_the_lease_expires_a_running_call_and_its_late_end_puts_it_right(
    make, clock
):
    meter = make(Budget("day", 2, "day"))
    at(clock, "2026-03-10T12:00")
    hold = meter.reserve(model="gpt-4o", amount="1")
    other = make()
    at(clock, "2026-03-11T12:00")
    assert other.engine.ledger.expire(clock.time_ns()) == 1
    assert [spent for _, _, spent in windows(meter)] == [1]
    hold.settle({"model": "gpt-4o", "usage": {"cost": 0.25, "prompt_tokens": 1, "completion_tokens": 1}})
    assert [spent for _, _, spent in windows(meter)] == [Decimal("0.25")]


def test_a_call_that_ends_after_midnight_is_booked_in_the_window_in_which_it_was_held(make, clock):
    meter = make(Budget("day", 2, "day"))
    at(clock, "2026-03-10T23:59:59")
    hold = meter.reserve(model="gpt-4o", amount="2")
    clock.advance(2)
    assert not full(meter)
    hold.settle({"model": "gpt-4o", "usage": {"cost": 2, "prompt_tokens": 1, "completion_tokens": 1}})
    assert [(start.day, spent) for start, _, spent in windows(meter) if spent] == [(10, 2)]
    assert not full(meter)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Asia/Kolkata", "2026-06-15", 24),
        ("Asia/Kathmandu", "2026-06-15", 24),
        ("Pacific/Chatham", "2026-06-15", 24),
        ("UTC", "2026-02-28", 24),
        ("UTC", "2028-02-29", 24),
    ],
)
def test_each_instant_of_a_day_is_in_one_window_of_that_day(make, clock, zone, day, hours):
    meter = make(Budget("day", 1000, "day", timezone=zone))
    start = at(clock, f"{day}T00:00", zone)
    quarters = int(hours * 4)
    clock.set(start - HOUR / 4)
    for _ in range(quarters + 2):  # the last of the day before, all of it, the first of the day after
        spend(meter)
        clock.advance(HOUR / 4)
    (_, before, first), (begins, ends, second), (after, _, third) = windows(meter)
    assert (before, begins, ends, after) == (start, start, start + HOUR * hours, start + HOUR * hours)
    assert (first, second, third) == (1, quarters, 1)


def offset_of_noon(timezone: str, day: int) -> int:
    """As if clocks were changed at midnight."""
    noon = datetime.fromtimestamp(day * 86_400, UTC).replace(hour=12, tzinfo=ZoneInfo(timezone))
    return day * 86_400 * 10**9 - int(noon.utcoffset().total_seconds()) * 10**9


def offset_of_winter(timezone: str, day: int) -> int:
    """As if they never were."""
    winter = datetime(2026, 1, 1, tzinfo=ZoneInfo(timezone))
    return day * 86_400 * 10**9 - int(winter.utcoffset().total_seconds()) * 10**9


@pytest.mark.parametrize("midnight", [offset_of_noon, offset_of_winter])
def test_days_without_their_changes_of_clocks_are_noticed(
    make, clock, monkeypatch: pytest.MonkeyPatch, midnight: Callable[[str, int], int]
) -> None:
    """The control."""
    monkeypatch.setattr(limits, "_midnight", midnight)
    with pytest.raises(AssertionError):
        test_each_instant_of_a_day_is_in_one_window_of_that_day(
            make, clock, "Europe/Berlin", "2026-10-25", 25
        )


@pytest.mark.parametrize(
    ("instant", "period", "anchor", "starts", "ends"),
    [
        ("2026-01-31T23:59:59", "month", None, "2026-01-01", "2026-02-01"),
        ("2026-02-28T12:00", "month", None, "2026-02-01", "2026-03-01"),
        ("2028-02-29T12:00", "month", None, "2028-02-01", "2028-03-01"),
        ("2026-02-28T12:00", "month", 31, "2026-02-28", "2026-03-31"),
        ("2028-02-29T12:00", "month", 31, "2028-02-29", "2028-03-31"),
        ("2026-04-30T00:00", "month", 31, "2026-04-30", "2026-05-31"),
        ("2026-12-31T23:59:59", "day", None, "2026-12-31", "2027-01-01"),
        ("2027-01-03T23:59:59", "week", None, "2026-12-28", "2027-01-04"),
    ],
)
def test_months_weeks_and_years_end_where_the_calendar_says(  # noqa: PLR0917  its cases
    make, clock, instant, period, anchor, starts, ends
):
    meter = make(Budget("b", 5, period, anchor=anchor))
    at(clock, instant)
    spend(meter)
    [(begins, until, spent)] = windows(meter)
    assert until is not None
    assert (begins.date().isoformat(), until.date().isoformat(), spent) == (starts, ends, 1)


@pytest.mark.parametrize("instant", ["2026-02-28T12:00", "2026-04-30T00:00"])
def test_a_month_whose_anchor_is_not_clamped_to_its_last_day_is_noticed(
    make, clock, monkeypatch: pytest.MonkeyPatch, instant: str
) -> None:
    """The control."""
    monkeypatch.setattr(
        limits, "_day_in_month", lambda month, anchor: limits._first_of_month(month) + anchor - 1
    )
    ends = {"02": "2026-03-31", "04": "2026-05-31"}[instant[5:7]]
    with pytest.raises(AssertionError):
        test_months_weeks_and_years_end_where_the_calendar_says(
            make, clock, instant, "month", 31, instant[:10], ends
        )


def test_totals_by_day_are_those_of_utc_whatever_the_zone_of_a_budget(make, clock):
    meter = make(Budget("day", 1000, "day", timezone="Asia/Kathmandu"))
    at(clock, "2026-06-15T00:00", "Asia/Kathmandu")  # 18:15 UTC of the day before
    for _ in range(24):
        spend(meter)
        clock.advance(HOUR)
    rows = meter.reports.spend(by="day")
    assert [(row.group["day"], row.cost) for row in rows] == [("2026-06-14", 6), ("2026-06-15", 18)]


def test_an_instant_that_no_ledger_can_hold_is_an_error_and_the_clock_may_be_put_right(make, clock):
    meter = make(Budget("day", 2, "day"))
    at(clock, "2255-01-01T00:00")
    with pytest.raises(Exception, match="1970 to 2254"):
        spend(meter)
    at(clock, "2026-03-10T12:00")
    spend(meter)
    assert [spent for _, _, spent in windows(meter)] == [1]
