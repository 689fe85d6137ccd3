"""Rules and windows of budgets."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.limits import Window, key_of, matches, resets_at, resets_at_ns, retry_after, window_at
from farthing.records import Budget
from farthing.records.text import clean

HOUR = 3600 * 10**9
DAY = 24 * HOUR
ZONES = (
    "UTC",
    "Etc/UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "America/Havana",
    "Pacific/Apia",
    "Pacific/Kwajalein",
)
CALL = {
    "account": "acme",
    "context": "customer",
    "provider": "openai",
    "model": "gpt-4o",
    "tags": {"team": "red"},
}


def ns(year: int, month: int, day: int, hour: int = 0, minute: int = 0, *, zone: str = "UTC") -> int:
    instant = datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone))
    return int((instant.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 10**9


def hours(window: Window) -> float:
    assert window.ends_ns is not None
    return (window.ends_ns - window.starts_ns) / HOUR


instants = st.one_of(
    st.integers(-(2**62), 2**62),
    st.integers(ns(1840, 1, 1), ns(2120, 1, 1)),
    st.integers(1840 * 12, 2120 * 12).map(lambda m: ns(m // 12, m % 12 + 1, 1)),
    st.integers(-(2**70), 2**70),
)
anchors = st.one_of(st.none(), st.integers(1, 31))
lengths = st.timedeltas(timedelta(seconds=1), timedelta(days=4000))
starts = st.one_of(st.none(), st.datetimes(timezones=st.just(UTC)))
calendar = st.builds(
    lambda period, zone, anchor: Budget(
        "b", 1, period, timezone=zone, anchor=anchor if period == "month" else None
    ),
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(ZONES),
    anchors,
)
elapsed = st.builds(lambda length, anchor: Budget("b", 1, length, anchor=anchor), lengths, starts)


@given(calendar, instants)
def test_a_calendar_window_contains_its_instant_and_the_next_begins_where_it_ends(budget, at):
    assert_contains_and_adjoins(budget, at)


@given(elapsed, st.integers(-(2**61), 2**61))
def test_a_window_of_elapsed_time_contains_its_instant_and_the_next_begins_where_it_ends(budget, at):
    assert_contains_and_adjoins(budget, at)


def assert_contains_and_adjoins(budget: Budget, at: int) -> None:
    window = window_at(budget, at)
    assert window.ends_ns is not None
    assert window.starts_ns <= at < window.ends_ns
    for inside in (window.starts_ns, window.ends_ns - 1):
        assert window_at(budget, inside) == window
    assert window_at(budget, window.ends_ns).starts_ns == window.ends_ns
    assert window_at(budget, window.starts_ns - 1).ends_ns == window.starts_ns


@given(st.integers(ns(1950, 1, 1), ns(2100, 1, 1)), st.sampled_from(ZONES))
def test_a_day_is_the_local_date(at, zone):
    window = window_at(Budget("b", 1, "day", timezone=zone), at)
    first, last = (
        datetime.fromtimestamp(i // 10**9, ZoneInfo(zone)).date()
        for i in (window.starts_ns, window.ends_ns - 1)
    )
    assert first == last
    assert hours(window) >= 23 or zone == "Pacific/Apia"


@given(st.integers(ns(2, 1, 1) // DAY, ns(9998, 1, 1) // DAY), st.integers(1, 31))
def test_months_agree_with_the_calendar(day, anchor):
    window = window_at(Budget("b", 1, "month", anchor=anchor), day * DAY + 5)
    for edge in (window.starts_ns, window.ends_ns):
        on = date.fromordinal(edge // DAY + date(1970, 1, 1).toordinal())
        last = (date(on.year + on.month // 12, on.month % 12 + 1, 1) - timedelta(1)).day
        assert on.day == min(anchor, last)
    assert 28 <= hours(window) / 24 <= 31


years = st.integers(ns(1972, 1, 1), ns(2100, 1, 1))
zones = st.sampled_from(sorted({*ZONES, "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Chatham"}))


def local(at: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at // 10**9, ZoneInfo(zone))


@given(years, zones)
def test_a_week_is_made_of_the_local_days_from_monday_to_sunday(at, zone):
    week = window_at(Budget("b", 1, "week", timezone=zone), at)
    first, last = local(week.starts_ns, zone).date(), local(week.ends_ns - 1, zone).date()
    assert (last - first).days == 6
    assert first.weekday() == 0
    assert_made_of_days(week, zone)


@given(years, zones, st.integers(1, 31))
def test_a_month_begins_on_its_local_day_or_the_last_before_it(at, zone, anchor):
    month = window_at(Budget("b", 1, "month", timezone=zone, anchor=anchor), at)
    for edge in (month.starts_ns, month.ends_ns):
        on = local(edge, zone).date()
        last = (date(on.year + on.month // 12, on.month % 12 + 1, 1) - timedelta(1)).day
        # A date that a zone left out begins with the next one.
        assert on.day == min(anchor, last) or (zone in {"Pacific/Apia", "Pacific/Kwajalein"})
    assert_made_of_days(month, zone)


def assert_made_of_days(window: Window, zone: str) -> None:
    day = window_at(Budget("b", 1, "day", timezone=zone), window.starts_ns)
    assert day.starts_ns == window.starts_ns
    assert window_at(Budget("b", 1, "day", timezone=zone), window.ends_ns - 1).ends_ns == window.ends_ns


@given(years, zones)
def test_the_hours_of_a_day_fill_it_and_none_is_longer_than_an_hour(at, zone):
    day = window_at(Budget("b", 1, "day", timezone=zone), at)
    budget = Budget("b", 1, "hour", timezone=zone)
    reached, shorter = day.starts_ns, 0
    while reached < day.ends_ns:
        hour = window_at(budget, reached)
        assert hour.starts_ns == reached
        assert 0 < hour.ends_ns - hour.starts_ns <= HOUR
        shorter += hour.ends_ns - hour.starts_ns < HOUR
        reached = hour.ends_ns
    assert reached == day.ends_ns
    assert shorter <= 1


@given(lengths, starts, instants)
def test_a_timedelta_begins_a_whole_number_of_lengths_from_its_anchor(length, anchor, at):
    window = window_at(Budget("b", 1, length, anchor=anchor), at)
    nanoseconds = length // timedelta(microseconds=1) * 1000
    origin = (anchor or datetime(1970, 1, 1, tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    if window.starts_ns > -(2**63) and window.ends_ns is not None:
        assert (window.starts_ns - origin // timedelta(microseconds=1) * 1000) % nanoseconds == 0
        assert window.ends_ns - window.starts_ns == nanoseconds


@pytest.mark.parametrize(
    ("zone", "at"),
    [
        ("America/New_York", (2026, 3, 8, 6, 59)),
        ("America/New_York", (2026, 11, 1, 5, 59)),
        ("Australia/Lord_Howe", (2026, 10, 3, 15, 29)),
        ("Australia/Lord_Howe", (2026, 4, 4, 14, 59)),
        ("Asia/Kathmandu", (2026, 6, 1, 0, 14)),
    ],
)
def test_an_hour_on_either_side_of_a_change_of_clocks_is_one_that_was_there(zone, at):
    budget = Budget("b", 1, "hour", timezone=zone)
    before, after = (window_at(budget, ns(*at) + minute * HOUR // 60) for minute in (0, 1))
    assert before.ends_ns == after.starts_ns == ns(*at) + HOUR // 60
    assert local(after.starts_ns, zone).date() == local(after.ends_ns - 1, zone).date()


@pytest.mark.parametrize(
    ("anchor", "at", "first", "after"),
    [
        (29, (2024, 2, 29, 1), (2024, 2, 29), (2024, 3, 29)),
        (29, (2025, 2, 28, 1), (2025, 2, 28), (2025, 3, 29)),
        (30, (2024, 2, 29, 1), (2024, 2, 29), (2024, 3, 30)),
        (30, (2025, 3, 29, 23), (2025, 2, 28), (2025, 3, 30)),
        (15, (2025, 3, 14, 23), (2025, 2, 15), (2025, 3, 15)),
        (15, (2025, 3, 15, 0), (2025, 3, 15), (2025, 4, 15)),
    ],
)
def test_what_resets_on_a_day_of_the_month_does_so_in_short_months_too(anchor, at, first, after):
    window = window_at(Budget("b", 1, "month", anchor=anchor), ns(*at))
    assert window == Window(ns(*first), ns(*after))
    assert resets_at(window) == datetime(*after, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [
        ("America/New_York", (2026, 3, 8, 23), (2026, 11, 1, 25)),
        ("Europe/Berlin", (2026, 3, 29, 23), (2026, 10, 25, 25)),
        ("Asia/Kolkata", (2026, 3, 29, 24), (2026, 10, 25, 24)),
        ("Australia/Lord_Howe", (2026, 10, 4, 23.5), (2026, 4, 5, 24.5)),
        ("America/Havana", (2026, 3, 8, 23), (2026, 11, 1, 25)),  # clocks skip midnight; midnight comes twice
        ("America/Sao_Paulo", (2018, 11, 4, 23), (2018, 2, 17, 25)),
    ],
)
def test_days_on_which_clocks_change(zone, spring, autumn):
    for year, month, day, length in (spring, autumn):
        noon = ns(year, month, day, 12, zone=zone)
        assert hours(window_at(Budget("b", 1, "day", timezone=zone), noon)) == length
        week = window_at(Budget("b", 1, "week", timezone=zone), noon)
        assert hours(week) == 7 * 24 + length - 24
        assert week.starts_ns <= noon < week.ends_ns


def test_hours_follow_the_local_clock():
    kolkata = Budget("b", 1, "hour", timezone="Asia/Kolkata")
    assert window_at(kolkata, ns(2026, 5, 1, 12, 45)) == Window(
        ns(2026, 5, 1, 12, 30), ns(2026, 5, 1, 13, 30)
    )
    berlin = Budget("b", 1, "hour", timezone="Europe/Berlin")
    change = ns(2026, 10, 25, 1)  # 03:00 becomes 02:00: the hour from 02:00 is there twice
    assert window_at(berlin, change - 1).ends_ns == change == window_at(berlin, change).starts_ns


def test_hours_of_a_day_that_is_half_an_hour_longer_fill_it():
    budget = Budget("b", 1, "hour", timezone="Australia/Lord_Howe")
    day = window_at(Budget("b", 1, "day", timezone="Australia/Lord_Howe"), ns(2026, 4, 5, 1))
    windows = [window_at(budget, day.starts_ns)]
    while windows[-1].ends_ns < day.ends_ns:
        windows.append(window_at(budget, windows[-1].ends_ns))
    assert all(a.ends_ns == b.starts_ns for a, b in pairwise(windows))
    assert [hours(w) for w in windows] == [1] * 24 + [0.5]
    assert windows[-1].ends_ns == day.ends_ns


def test_a_date_that_a_zone_left_out_has_no_window():
    budget = Budget("b", 1, "day", timezone="Pacific/Apia")
    change = ns(2011, 12, 30, 10)  # 30 December 2011 did not take place
    assert window_at(budget, change - 1).ends_ns == change
    assert window_at(budget, change) == Window(change, change + DAY)


def test_weeks_begin_on_monday():
    week = window_at(Budget("b", 1, "week"), ns(2026, 11, 22, 23, 59))  # a Sunday
    assert week == Window(ns(2026, 11, 16), ns(2026, 11, 23))


@pytest.mark.parametrize(
    ("at", "first", "after"),
    [
        ((2024, 2, 29, 12), (2024, 2, 29), (2024, 3, 31)),
        ((2026, 2, 27, 12), (2026, 1, 31), (2026, 2, 28)),
        ((2026, 2, 28, 12), (2026, 2, 28), (2026, 3, 31)),
        ((2026, 12, 31, 12), (2026, 12, 31), (2027, 1, 31)),
        ((2026, 12, 30, 12), (2026, 11, 30), (2026, 12, 31)),
    ],
)
def test_a_month_from_day_31_begins_on_the_last_day_of_a_shorter_month(at, first, after):
    window = window_at(Budget("b", 1, "month", anchor=31), ns(*at))
    assert window == Window(ns(*first), ns(*after))


def test_a_month_begins_at_local_midnight():
    window = window_at(Budget("b", 1, "month", timezone="America/New_York"), ns(2026, 4, 1, 3))
    assert window == Window(ns(2026, 3, 1, 5), ns(2026, 4, 1, 4))
    assert hours(window) == 31 * 24 - 1


def test_a_leap_day_is_in_its_month():
    window = window_at(Budget("b", 1, "month"), ns(2024, 2, 29, 23))
    assert window == Window(ns(2024, 2, 1), ns(2024, 3, 1))
    assert hours(window_at(Budget("b", 1, "month"), ns(1900, 2, 3))) == 28 * 24


def test_a_timedelta_counts_from_its_anchor():
    anchor = datetime(2026, 1, 1, 6, tzinfo=timezone(timedelta(hours=2)))
    budget = Budget("b", 1, timedelta(hours=5), anchor=anchor)
    assert window_at(budget, ns(2026, 1, 1, 4)) == Window(ns(2026, 1, 1, 4), ns(2026, 1, 1, 9))
    assert window_at(budget, ns(2026, 1, 1, 3)) == Window(ns(2025, 12, 31, 23), ns(2026, 1, 1, 4))
    assert window_at(Budget("b", 1, timedelta(days=1)), 5) == Window(0, DAY)


def test_instants_of_a_window_fit_64_bits():
    window = window_at(Budget("b", 1, timedelta.max), -1)
    assert window == Window(-(2**63), 0)
    assert window_at(Budget("b", 1, timedelta.max), 1) == Window(0, None)


@pytest.mark.parametrize("period", ["run", "total"])
def test_run_and_total_begin_when_asked_and_do_not_end(period):
    window = window_at(Budget("b", 1, period, timezone="Europe/Berlin"), -7)
    assert window == Window(-7, None)
    assert resets_at_ns(window) is None
    assert resets_at(window) is None
    assert retry_after(window, 0) is None


def test_a_window_says_when_it_resets():
    window = window_at(Budget("b", 1, "day"), ns(2026, 11, 21, 18))
    assert resets_at_ns(window) == ns(2026, 11, 22)
    assert resets_at(window) == datetime(2026, 11, 22, tzinfo=UTC)
    assert retry_after(window, ns(2026, 11, 21, 18)) == 6 * 3600.0
    assert retry_after(window, ns(2026, 11, 23)) == 0.0
    assert resets_at(Window(0, 1)) == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert resets_at(Window(0, 2**70)) is None


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({}, True),
        ({"account": "acme", "context": "customer", "provider": "openai"}, True),
        ({"account": "Acme"}, False),
        ({"context": "system"}, False),
        ({"provider": "azure"}, False),
        ({"model": "gpt-4o"}, True),
        ({"model": "gpt-*"}, True),
        ({"model": "GPT-*"}, True),
        ({"model": "gpt-4"}, False),
        ({"model": "gpt-?[no]"}, True),
        ({"tags": {}}, True),
        ({"tags": {"team": "red"}}, True),
        ({"tags": {"team": "blue"}}, False),
        ({"tags": {"team": "red", "feature": "x"}}, False),
        ({"account": "acme", "model": "o3*"}, False),
    ],
)
def test_a_budget_binds_what_it_names(fields, bound):
    assert matches(Budget("b", 1, **fields), **CALL) is bound


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["nul", "lone surrogate"])
@pytest.mark.parametrize("name", ["provider", "model"])
def test_a_text_that_no_store_can_hold_is_matched_as_it_will_stand_in_it(name, text):
    budget = Budget("b", 1, **{name: text})
    for stated in (text, clean(text)):
        assert matches(budget, **{**CALL, name: stated})
    assert not matches(budget, **{**CALL, name: "ab"})


@pytest.mark.parametrize("fields", [{"model": "*"}, {"provider": "openai"}])
def test_an_unknown_model_or_provider_matches_no_budget_that_names_one(fields):
    assert not matches(Budget("b", 1, **fields), **{**CALL, "model": None, "provider": None})


def test_each_account_or_tag_value_has_its_key():
    tags = {"team": "red"}
    assert key_of(Budget("b", 1), account="acme", tags=tags) == ""
    assert key_of(Budget("b", 1, per="account"), account="acme", tags=tags) == "acme"
    assert key_of(Budget("b", 1, per="tag:team"), account="acme", tags=tags) == "red"
    assert key_of(Budget("b", 1, per="tag:user"), account="acme", tags=tags) is None
