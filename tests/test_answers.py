"""Reports: what is asked of the ledger, and what is answered."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import farthing
from farthing import Budget, InvalidUsage, LedgerError, Meter, Usage
from farthing.answers.span import span
from farthing.answers.values import state_of, used
from farthing.ledger.store import WindowRow
from farthing.testing import FakeClock, FakeIds

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY_NS = 86_400 * 10**9


@pytest.fixture
def clock():
    clock = FakeClock()
    clock.set(NOON)
    return clock


@pytest.fixture
def meter(clock):
    with Meter(":memory:", clock=clock, ids=FakeIds()) as meter:
        yield meter


def book(meter, cost, *, on=NOON, model="gpt-4o", **given):
    """A call of 1,000 input tokens, 400 of them cached, and 100 output tokens."""
    usage = Usage(input_tokens=1000, cached_tokens=400, output_tokens=100)
    return meter.record(model=model, usage=usage, cost=cost, occurred_at=on, **given)


# -- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "calls"),
    [
        (None, None, 3),
        (NOON, None, 2),
        (None, NOON, 1),
        (NOON, NOON + timedelta(microseconds=1), 1),
        (NOON, NOON, 0),
        (date(2026, 11, 20), None, 2),
        (None, date(2026, 11, 20), 2),
        (date(2026, 11, 20), date(2026, 11, 20), 1),
        (date(2026, 11, 21), date.max, 1),
    ],
)
def test_a_range_has_its_start_and_not_its_end_but_all_of_a_date_that_ends_it(meter, start, end, calls):
    for on in (NOON - timedelta(days=1), NOON, NOON + timedelta(days=1)):
        book(meter, 1, on=on)
    [row] = meter.reports.spend((), start=start, end=end)
    assert row.calls == calls


def test_an_instant_of_any_time_zone_will_do(meter):
    book(meter, 1)
    east = datetime(2026, 11, 20, 14, tzinfo=timezone(timedelta(hours=2)))
    assert meter.reports.spend((), start=east)[0].calls == 1
    assert meter.reports.spend((), end=east)[0].calls == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"start": datetime(2026, 11, 1)}, "start must have a time zone.*naive 2026-11-01"),  # noqa: DTZ001
        ({"end": datetime(2026, 11, 1)}, "end must have a time zone"),  # noqa: DTZ001
        ({"start": "2026-11-01"}, "start must be a date or a datetime with a time zone"),
        ({"start": date(2026, 11, 2), "end": date(2026, 11, 1)}, "end must not be before start"),
        ({"start": NOON, "end": NOON - timedelta(seconds=1)}, "end must not be before start"),
        ({"account": 5}, "account must be a text"),
    ],
)
def test_what_is_no_range_or_filter_is_refused_in_words(meter, given, says):
    for question in (meter.reports.spend, meter.reports.summary, meter.reports.top):
        with pytest.raises(InvalidUsage, match=says):
            question(**given)


@given(st.dates(min_value=date(1971, 1, 1)), st.integers(0, 1000))
def test_a_range_of_dates_is_as_long_as_its_days(first, days):
    try:
        last = first + timedelta(days=days)
    except OverflowError:
        return
    start, end = span(first, last)
    assert end is None if last == date.max else end - start == (days + 1) * DAY_NS


# -- spend, top, summary --------------------------------------------------------------------------


def test_spend_sums_by_any_combination(meter):
    book(meter, "0.25", account="acme")
    book(meter, "0.50", account="acme", model="gpt-4o-mini")
    book(meter, "1", account="zoe", context="system", on=NOON - timedelta(days=30))
    rows = meter.reports.spend(("account", "model"))
    assert [(dict(row.group), row.cost) for row in rows] == [
        ({"account": "acme", "model": "gpt-4o"}, Decimal("0.25")),
        ({"account": "acme", "model": "gpt-4o-mini"}, Decimal("0.5")),
        ({"account": "zoe", "model": "gpt-4o"}, Decimal(1)),
    ]
    assert [row.group["month"] for row in meter.reports.spend("month")] == ["2026-10", "2026-11"]
    assert [row.group for row in meter.reports.spend(["context", "provider"])] == [
        {"context": "customer", "provider": "openai"},
        {"context": "system", "provider": "openai"},
    ]
    [row] = meter.reports.spend(("operation",), account="acme", model="gpt-4o-mini")
    assert (row.calls, row.input_tokens, row.cached_tokens, row.output_tokens) == (1, 1000, 400, 100)


@pytest.mark.parametrize("kind", [list, iter, lambda groups: (group for group in groups), dict.fromkeys])
def test_spend_sums_by_groups_of_any_iterable(meter, kind):
    book(meter, "0.25", account="acme")
    book(meter, "1", account="zoe")
    expected = meter.reports.spend(("account", "model"))
    assert [dict(row.group) for row in expected] == [
        {"account": "acme", "model": "gpt-4o"},
        {"account": "zoe", "model": "gpt-4o"},
    ]
    assert meter.reports.spend(kind(["account", "model"])) == expected
    assert asyncio.run(meter.reports.aspend(kind(["account", "model"]))) == expected
    with pytest.raises(InvalidUsage, match="by knows"):
        meter.reports.spend(kind(["account", "nothing"]))


def test_weeks_begin_on_monday_and_add_up_to_the_days(meter):
    for days in range(21):
        book(meter, 1, on=NOON - timedelta(days=days))
    weeks = meter.reports.spend("week")
    assert [date.fromisoformat(row.group["week"]).weekday() for row in weeks] == [0, 0, 0, 0]
    assert [row.calls for row in weeks] == [2, 7, 7, 5]
    assert sum(row.cost for row in weeks) == sum(row.cost for row in meter.reports.spend()) == 21
    both = meter.reports.spend(("month", "week"))
    assert {tuple(row.group) for row in both} == {("month", "week")}
    assert sum(row.calls for row in both) == 21


def test_an_unknown_cost_is_none_and_in_no_sum(meter):
    meter.record(model="mystery-1", usage=Usage(input_tokens=10, output_tokens=1))
    book(meter, "0.25")
    mystery, known = sorted(meter.reports.spend("model"), key=lambda row: row.cost is not None)
    assert (mystery.cost, mystery.unpriced_calls, mystery.cost_per_1k_tokens) == (None, 1, None)
    assert (known.cost, known.unpriced_calls) == (Decimal("0.25"), 0)
    [both] = meter.reports.spend(())
    assert (both.cost, both.unpriced_calls, both.cost_per_1k_tokens) == (Decimal("0.25"), 1, None)
    summary = meter.reports.summary()
    assert (summary.total_cost_usd, summary.unpriced_calls) == (Decimal("0.25"), 1)
    assert summary.by_model["mystery-1"] == {"cost_usd": None, "count": 1}
    assert meter.reports.summary(model="mystery-1").total_cost_usd is None


def test_a_free_call_costs_zero_which_is_known(meter):
    book(meter, 0)
    [row] = meter.reports.spend("model")
    assert (row.cost, row.unpriced_calls) == (Decimal(0), 0)


def test_a_cost_per_1000_tokens_is_rounded_once_to_the_nano_dollar(meter):
    book(meter, "0.001")
    [row] = meter.reports.top()
    assert row.cost_per_1k_tokens == Decimal("0.000909091")  # 0.001 / 1100 x 1000


def test_top_has_the_dearest_first_and_the_unknown_last(meter):
    meter.record(model="mystery-1", usage=Usage(input_tokens=10, output_tokens=1))
    for model, cost in (("gpt-4o-mini", "0.5"), ("gpt-4o", 2), ("o3", 1)):
        book(meter, cost, model=model)
    assert [row.group["model"] for row in meter.reports.top()] == ["gpt-4o", "o3", "gpt-4o-mini", "mystery-1"]
    assert [row.group["account"] for row in meter.reports.top("account", 1)] == ["default"]
    assert len(meter.reports.top(n=2)) == 2


@pytest.mark.parametrize("by", ["hour", "tag:user", "", ("day", "nothing")])
def test_what_cannot_be_summed_by_is_refused_with_what_can(meter, by):
    with pytest.raises(InvalidUsage, match="by knows day, week, month, account"):
        meter.reports.spend(by)


@pytest.mark.parametrize("n", [0, -1, True, 1.5, 10_001])
def test_a_count_that_makes_no_sense_is_refused(meter, n):
    with pytest.raises(InvalidUsage, match="n must be a number from 1"):
        meter.reports.top(n=n)
    with pytest.raises(InvalidUsage, match="limit must be a number from 1"):
        meter.reports.records(limit=n)


@pytest.mark.parametrize("question", ["summary", "spend", "top", "records"])
def test_a_context_or_operation_that_there_is_not_is_no_bill_of_nothing(meter, question):
    book(meter, "0.25", operation="chat")
    ask = getattr(meter.reports, question)
    for wrong in ("custmer", "Customer", ""):
        with pytest.raises(InvalidUsage, match="context must be one of customer, system; got"):
            ask(context=wrong)
        with pytest.raises(InvalidUsage, match="context must be one of customer, system; got"):
            asyncio.run(getattr(meter.reports, f"a{question}")(context=wrong))
    assert ask(context="customer")
    if question != "records":
        with pytest.raises(InvalidUsage, match="operation must be one of chat, "):
            ask(operation="chatt")
        assert ask(operation="chat")
        assert ask(provider="nobody", model="nothing", account="stranger") is not None


def test_a_summary_of_one_context_still_shows_both(meter):
    book(meter, "0.25", context="customer")
    book(meter, 1, context="system", model="gpt-4o-mini")
    summary = meter.reports.summary(context="customer")
    assert summary.total_cost_usd == Decimal("0.25")
    assert summary.by_context == {"customer": Decimal("0.25"), "system": Decimal(1)}
    assert summary.by_model == {"gpt-4o": {"cost_usd": Decimal("0.25"), "count": 1}}
    assert (summary.calls, summary.total_input_tokens, summary.total_cached_tokens) == (1, 1000, 400)


def test_what_an_uncertain_call_may_cost_more_is_told_apart(meter):
    hold = meter.reserve(model="gpt-4o", input_tokens=1000, max_output_tokens=100)
    hold.sent()
    hold.fail(TimeoutError())
    summary = meter.reports.summary()
    assert (summary.total_cost_usd, summary.uncertain_usd) == (Decimal("0.0025"), Decimal("0.001"))
    assert summary.estimated_calls == 1
    [row] = meter.reports.spend()
    assert (row.cost, row.counted, row.uncertain) == (Decimal("0.0025"), Decimal("0.0035"), Decimal("0.001"))


def test_errors_are_calls_that_cost_nothing(meter):
    meter.reserve(model="gpt-4o", input_tokens=1000, max_output_tokens=100).void()
    [row] = meter.reports.spend("model")
    assert (row.calls, row.errors, row.cost, row.unpriced_calls) == (1, 1, Decimal(0), 0)


# -- records --------------------------------------------------------------------------------------


def test_pages_of_calls_follow_each_other_without_gap_or_overlap(meter):
    for minute in range(7):
        book(meter, 1, on=NOON + timedelta(minutes=minute))
    every = [receipt.id for receipt in meter.reports.records()]
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = meter.reports.records(limit=3, cursor=cursor)
        seen += [receipt.id for receipt in page]
        cursor, pages = page.cursor, pages + 1
    assert (seen, pages) == (every, 3)
    starts = [receipt.started_at for receipt in meter.reports.records()]
    assert starts == sorted(starts, reverse=True)


def test_a_page_that_is_exactly_full_is_the_last(meter):
    book(meter, 1)
    page = meter.reports.records(limit=1)
    assert (len(page), page.cursor) == (1, None)


def test_calls_are_filtered(meter):
    book(meter, 1, account="acme")
    book(meter, 2, account="zoe", model="gpt-4o-mini", context="system")
    for only in ({"account": "zoe"}, {"model": "gpt-4o-mini"}, {"context": "system"}):
        [receipt] = meter.reports.records(**only)
        assert receipt.cost == 2
    assert meter.reports.records(account="nobody") == []


@pytest.mark.parametrize("cursor", ["nothing", 5])
def test_a_cursor_of_no_page_is_refused_instead_of_ending_the_list(meter, cursor):
    with pytest.raises(InvalidUsage, match="cursor must be that of a page"):
        meter.reports.records(cursor=cursor)


# -- budgets --------------------------------------------------------------------------------------


def test_budgets_tell_where_they_stand(meter):
    meter.set_budget(Budget("daily", 4, "day"))
    book(meter, 3)
    [state] = meter.reports.budgets()
    assert (state.name, state.key, state.attached, state.origin) == ("daily", "", False, "code")
    assert (state.limit, state.spent, state.held, state.remaining) == (4, 3, 0, 1)
    assert (state.used_percent, state.state) == (Decimal("75.00"), "caution")
    assert state.starts_at == datetime(2026, 11, 20, tzinfo=UTC)
    assert state.resets_at == datetime(2026, 11, 21, tzinfo=UTC)
    assert state.budget == Budget("daily", 4, "day")


def test_money_that_running_calls_hold_is_neither_spent_nor_left(meter):
    meter.set_budget(Budget("all", 1, "total"))
    hold = meter.reserve(model="gpt-4o", amount="0.25")
    [state] = meter.reports.budgets()
    assert (state.spent, state.held, state.remaining, state.used_percent) == (
        0,
        Decimal("0.25"),
        Decimal("0.75"),
        0,
    )
    assert state.resets_at is None
    hold.void()
    assert meter.reports.budgets()[0].held == 0


def test_a_budget_that_no_call_has_met_yet_is_there_too(meter):
    meter.set_budget(Budget("unused", 5, "month"))
    meter.set_budget(Budget("each", 5, "day", per="account"))
    each, unused = meter.reports.budgets()
    assert (each.name, each.key, each.spent, each.state) == ("each", None, 0, "ok")
    assert (unused.key, unused.resets_at) == ("", datetime(2026, 12, 1, tzinfo=UTC))


def test_a_budget_per_account_has_a_line_for_each(meter):
    meter.set_budget(Budget("each", 2, "day", per="account"))
    book(meter, 1, account="zoe")
    book(meter, 2, account="acme")
    assert [(s.key, s.spent, s.state) for s in meter.reports.budgets()] == [
        ("acme", 2, "exhausted"),
        ("zoe", 1, "ok"),
    ]


def test_a_window_of_yesterday_is_not_shown(meter, clock):
    meter.set_budget(Budget("daily", 4, "day"))
    book(meter, 3)
    clock.advance(timedelta(days=1))
    [state] = meter.reports.budgets()
    assert (state.spent, state.resets_at) == (0, datetime(2026, 11, 22, tzinfo=UTC))


def test_attached_budgets_are_shown_but_not_those_of_a_single_run(meter):
    with meter.scope(budget="$1/day"), meter.scope(budget="$1"), meter.scope(budget=Budget("own", 1, "run")):
        book(meter, "0.5")
    [state] = meter.reports.budgets()
    assert (state.name, state.attached, state.budget, state.origin) == ("scope|default|day", True, None, None)
    assert state.spent == Decimal("0.5")


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_budget_reads_100_percent_when_it_is_exhausted_and_not_before(spent, limit):
    row = WindowRow(
        budget="b",
        attached=False,
        key="",
        starts_ns=0,
        ends_ns=None,
        limit=limit,
        spent=spent,
        held=0,
        cost=0,
    )
    assert (used(spent, limit) >= 100) == (state_of(row) == "exhausted") == (spent >= limit)


@pytest.mark.parametrize(
    ("spent", "state"),
    [(749_999_999, "ok"), (750_000_000, "caution"), (899_999_999, "caution"), (900_000_000, "warning")],
)
def test_states_begin_at_their_share_exactly(spent, state):
    row = WindowRow(
        budget="b",
        attached=False,
        key="",
        starts_ns=0,
        ends_ns=None,
        limit=10**9,
        spent=spent,
        held=0,
        cost=0,
    )
    assert state_of(row) == state


# -- the ways to ask ------------------------------------------------------------------------------


def test_every_question_has_a_twin_for_coroutines(meter):
    meter.set_budget(Budget("daily", 4, "day"))
    book(meter, 1)

    async def ask():
        reports = meter.reports
        return [
            await reports.aspend("model", account="default"),
            await reports.atop(n=1),
            await reports.asummary(),
            await reports.arecords(limit=1),
            await reports.abudgets(),
        ]

    reports = meter.reports
    assert asyncio.run(ask()) == [
        reports.spend("model", account="default"),
        reports.top(n=1),
        reports.summary(),
        reports.records(limit=1),
        reports.budgets(),
    ]
    with pytest.raises(InvalidUsage, match="by knows"):
        asyncio.run(reports.aspend("nothing"))


def test_a_stream_that_was_garbage_collected_is_booked_before_a_report(meter):
    hold = meter.reserve(model="gpt-4o", input_tokens=1000, max_output_tokens=100)
    meter.engine.leave(lambda: hold._call.finish("aborted"))
    assert meter.reports.summary().calls == 1


def test_the_reports_of_the_default_meter_are_found_when_they_are_asked(tmp_path):
    reports = farthing.reports
    with Meter(tmp_path / "a.db") as a, Meter(tmp_path / "b.db") as b:
        book(a, 1)
        with farthing.using(a):
            assert reports.summary().calls == 1
        with farthing.using(b):
            assert reports.summary().calls == 0


def test_a_ledger_that_cannot_be_used_is_a_ledger_error(tmp_path):
    (tmp_path / "ledger.db").write_text("this is no database at all")
    with Meter(tmp_path / "ledger.db") as meter, pytest.raises(LedgerError, match="not a SQLite database"):
        meter.reports.summary()


def test_answers_show_what_is_known_of_them(meter):
    book(meter, "0.25")
    [row] = meter.reports.spend("model")
    assert "cost=Decimal('0.25')" in repr(row)
    assert "<th" in meter.reports.summary()._repr_html_()
