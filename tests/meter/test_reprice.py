"""What calls cost at the prices of today: which change, to what, and which are left alone."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing import Budget, InvalidUsage, Meter, Usage, UserPrice, money, pricing
from farthing.catalog import Catalog
from farthing.engine import Made, entry_of, receipt_of_row
from farthing.meter import correcting
from farthing.records import Band, Rates
from farthing.settings import Who
from farthing.testing import FakeClock
from farthing.usage import Reading

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
USAGE = Usage(input_tokens=1000, output_tokens=100)
OLD = {"m1": {"input": 2, "output": 8}}  # 0.0028 for that
NEW = {"m1": {"input": 3, "output": 8}}  # 0.0038


@pytest.fixture
def clock():
    clock = FakeClock()
    clock.set(NOON)
    return clock


@pytest.fixture
def metered(ledger_path, clock):
    """Meters on one ledger, whose prices differ; the books agree whenever one is closed."""

    class Metered:
        def __init__(self, prices=None, **more):
            self.meter = Meter(ledger_path, clock=clock, prices=prices, wait=0, **more)

        def __enter__(self):
            return self.meter

        def __exit__(self, *_):
            faults = self.meter.engine.ledger.check()
            self.meter.close()
            assert faults == []

    return Metered


def rows(meter):
    return {row.id: row for row in meter.reports.records()}


def only(meter):
    [row] = meter.reports.records()
    return row


# -- what changes ---------------------------------------------------------------------------------


def test_a_price_that_became_known_is_booked_in_cost_budgets_and_totals(metered):
    with metered(budgets=[Budget("month", 10, "month")]) as meter:
        call_id = meter.record(model="m1", usage=USAGE).id
    with metered(OLD) as meter:
        done = meter.reprice()
        [change] = done.changes
        assert (change.model, change.calls, change.old_cost, change.cost) == (
            "m1",
            1,
            None,
            Decimal("0.0028"),
        )
        assert (change.reason, change.prices) == ("its price became known", "user")
        row = only(meter)
        assert (row.cost, row.counted, row.cost_source) == (Decimal("0.0028"), Decimal("0.0028"), "priced")
        assert set(row.flags) == {"recorded", "repriced"}
        breakdown = receipt_of_row(meter.engine.ledger.call(call_id)).breakdown
        assert [line.unit for line in breakdown.lines] == ["input", "output"]
        [window] = meter.windows()
        assert (window.spent, window.cost) == (2_800_000, 2_800_000)
        assert meter.reports.summary().unpriced_calls == 0
        [kept] = meter.reports.corrections(call_id)
        assert (kept.kind, kept.old_cost, kept.old_cost_source) == ("reprice", None, "unpriced")


def test_a_price_that_was_corrected_is_booked_and_the_old_figure_stays(metered):
    with metered(OLD) as meter:
        call_id = meter.record(model="m1", usage=USAGE).id
    with metered(NEW) as meter:
        [change] = meter.reprice().changes
        assert (change.old_cost, change.cost) == (Decimal("0.0028"), Decimal("0.0038"))
        assert change.reason == "its price was corrected"
        assert only(meter).cost == Decimal("0.0038")
        assert meter.reports.corrections(call_id)[0].old_cost == Decimal("0.0028")


def test_a_second_time_nothing_changes(metered):
    with metered(OLD) as meter:
        call_id = meter.record(model="m1", usage=USAGE).id
    with metered(NEW) as meter:
        assert meter.reprice().changed == 1
        again = meter.reprice()
        assert (again.changed, again.changes, again.calls, again.left) == (0, (), 1, {})
        assert len(meter.reports.corrections(call_id)) == 1


def test_a_coroutine_reprices_as_well(metered):
    with metered() as meter:
        for model in ("m1", "m1", "m2"):
            meter.record(model=model, usage=USAGE)
    with metered(OLD) as meter:
        narrow = {"start": NOON.date(), "end": NOON.date(), "model": "m*"}
        told = asyncio.run(meter.areprice(**narrow, dry_run=True))
        assert told == meter.reprice(**narrow, dry_run=True)
        done = asyncio.run(meter.areprice(**narrow, include_reported=True, include_estimated=True))
        assert (done.written, done.calls, done.changed) == (True, 3, 2)
        with pytest.raises(InvalidUsage, match="model must be"):
            asyncio.run(meter.areprice(model=7))


@pytest.mark.parametrize("beside", [True, False])
def test_the_calls_of_other_tasks_do_not_wait_for_a_repricing(metered, monkeypatch, beside):
    begun, recorded = threading.Event(), threading.Event()
    seen = []

    def lengthy(*_, **__):
        begun.set()
        seen.append(recorded.wait(timeout=30 if beside else 0.3))
        return correcting.Repriced(written=False, calls=0, changes=(), left={})

    monkeypatch.setattr(correcting, "reprice", lengthy)

    async def program():
        if not beside:  # the control: on the thread that holds money for all tasks
            courier = meter.engine.courier
            monkeypatch.setattr(correcting, "at_length", lambda job: courier.bring(job, print))
        repricing = asyncio.create_task(meter.areprice())
        await asyncio.to_thread(begun.wait)
        await meter.arecord(model="m1", usage=USAGE)
        recorded.set()
        await repricing

    with metered(OLD) as meter:
        asyncio.run(program())
    assert seen == [beside]


def test_a_dry_run_tells_the_same_and_writes_nothing(metered):
    with metered(OLD) as meter:
        call_id = meter.record(model="m1", usage=USAGE).id
    with metered(NEW) as meter:
        told = meter.reprice(dry_run=True)
        assert (told.written, told.changed) == (False, 1)
        assert only(meter).cost == Decimal("0.0028")
        assert meter.reports.corrections(call_id) == []
        done = meter.reprice()
        assert (done.written, done.changes) == (True, told.changes)


def test_each_call_is_priced_at_its_own_instant(metered):
    with metered() as meter:
        before, after = (
            meter.record(model="m1", usage=USAGE, occurred_at=NOON - timedelta(days=days)).id
            for days in (2, 0)
        )
    since = UserPrice(model="m1", prices={"input": 2, "output": 8}, starts_at=NOON - timedelta(days=1))
    with metered([since]) as meter:
        assert meter.reprice().changed == 1
        assert (rows(meter)[before].cost, rows(meter)[after].cost) == (None, Decimal("0.0028"))


def test_a_price_stored_in_the_ledger_by_somebody_else_is_seen(metered, ledger_path, clock):
    with metered() as meter:
        meter.record(model="m1", usage=USAGE)
        meter.engine.catalog.rates("m1", at_ns=clock.time_ns())
        meter.engine.ledger.set_price(UserPrice(model="m1", prices={"input": 2, "output": 8}))
        assert meter.reprice().changed == 1


def test_the_range_and_the_model_narrow_it_down(metered):
    with metered() as meter:
        for days in range(3):
            meter.record(model="m1", usage=USAGE, occurred_at=NOON - timedelta(days=days))
        meter.record(model="m2", usage=USAGE)
    with metered(OLD | {"m2": {"input": 1, "output": 1}}) as meter:
        for narrow, calls in [
            ({"start": date(2026, 11, 20)}, 2),
            ({"end": date(2026, 11, 19)}, 2),
            ({"start": NOON, "end": NOON}, 0),
            ({"model": "M*"}, 4),
            ({"model": "m2"}, 1),
            ({"model": "gpt-*"}, 0),
        ]:
            done = meter.reprice(**narrow, dry_run=True)
            assert (done.calls, done.changed) == (calls, calls), narrow
        with pytest.raises(InvalidUsage):
            meter.reprice(start=datetime(2026, 11, 20))  # noqa: DTZ001  naive is the point
        with pytest.raises(InvalidUsage, match="model must be"):
            meter.reprice(model=7)


def test_a_lower_bound_becomes_the_whole_when_the_rest_has_a_price(metered):
    with metered({"m1": {"input": 2}}) as meter:
        meter.record(model="m1", usage=USAGE)
        assert only(meter).cost_source == "partial"
    with metered(OLD) as meter:
        [change] = meter.reprice().changes
        assert change.reason == "the price of more of it became known"
        assert (only(meter).cost, only(meter).cost_source) == (Decimal("0.0028"), "priced")
        assert meter.reports.summary().partial_calls == 0


def test_a_call_that_was_held_for_gives_back_what_was_counted_for_not_knowing(metered):
    with metered(budgets=[Budget("month", 10, "month")], on_unpriced="allow") as meter:
        hold = meter.reserve(model="m1", amount=1)
        hold.settle(USAGE)
        assert (only(meter).cost, only(meter).counted) == (None, 1)
    with metered(OLD) as meter:
        meter.reprice()
        assert only(meter).counted == Decimal("0.0028")
        assert meter.windows()[0].spent == 2_800_000


def test_a_model_that_is_free_costs_nothing_which_is_known(metered):
    with metered(budgets=[Budget("month", 10, "month")]) as meter:
        meter.record(model="m1", usage=USAGE)
    with metered({"m1": "free"}) as meter:
        meter.reprice()
        assert (only(meter).cost, only(meter).cost_source) == (0, "free")


# -- what is left alone ---------------------------------------------------------------------------


def test_what_the_provider_stated_is_left_alone_unless_asked(metered):
    with metered() as meter:
        meter.record(model="m1", usage=USAGE, cost="0.5")
    with metered(OLD) as meter:
        done = meter.reprice()
        assert (done.changed, done.left) == (0, {"the provider stated the cost": 1})
        assert meter.reprice(include_reported=True).changed == 1
        assert (only(meter).cost, only(meter).cost_source) == (Decimal("0.0028"), "priced")
        assert meter.reprice(include_reported=True).changed == 0


def test_what_is_estimated_is_left_alone_unless_asked_and_stays_an_estimate(metered):
    with metered(OLD, budgets=[Budget("month", 10, "month")]) as meter:
        hold = meter.reserve(model="m1", input_tokens=1000, max_output_tokens=100)
        hold.sent()
        hold.fail(TimeoutError())
        assert (only(meter).cost, only(meter).counted) == (Decimal("0.002"), Decimal("0.0028"))
    with metered(NEW) as meter:
        done = meter.reprice()
        assert (done.changed, done.left) == (0, {"the usage is estimated": 1})
        assert meter.reprice(include_estimated=True).changed == 1
        row = only(meter)
        assert (row.cost, row.counted, row.usage_source) == (Decimal("0.003"), Decimal("0.003"), "estimated")
        assert meter.reprice(include_estimated=True).changed == 0


def test_what_somebody_has_corrected_is_always_left_alone(metered):
    with metered() as meter:
        call_id = meter.record(model="m1", usage=USAGE).id
        meter.correct(call_id, cost=1, reason="the invoice")
    with metered(OLD) as meter:
        done = meter.reprice(include_reported=True, include_estimated=True)
        assert (done.changed, done.left) == (0, {"somebody has corrected it": 1})
        assert only(meter).cost == 1


def test_a_price_that_is_not_stated_here_does_not_give_way_to_a_list_price(metered):
    with metered({"gpt-4o": {"input": 1, "output": 1}, "m1": {"input": 2, "output": 8}}) as meter:
        for model in ("gpt-4o", "m1"):
            meter.record(model=model, usage=USAGE)
    with metered() as meter:
        done = meter.reprice()
        assert (done.changed, done.left) == (0, {"a price of yours was used that is not stated here": 2})


def test_a_known_cost_does_not_become_a_lower_bound(metered):
    with metered(OLD) as meter:
        meter.record(model="m1", usage=USAGE)
    with metered({"m1": {"input": 3}}) as meter:
        done = meter.reprice()
        assert (done.changed, done.left) == (0, {"not all of it has a price today": 1})


def test_a_call_without_a_usage_has_nothing_to_be_priced(metered):
    with metered() as meter:
        hold = meter.reserve(model="m1", amount=1)
        hold.sent()
        hold.fail(TimeoutError())
    with metered(OLD) as meter:
        assert meter.reprice(include_estimated=True).changed == 0


def test_errors_and_running_calls_are_not_looked_at(metered):
    with metered(OLD) as meter:
        meter.reserve(model="m1", input_tokens=1000, max_output_tokens=100).void()
        running = meter.reserve(model="m1", input_tokens=1000, max_output_tokens=100)
        assert meter.reprice(include_estimated=True).calls == 0
        running.void()


# -- what a row keeps -----------------------------------------------------------------------------


STEPS = {
    "type": "message",
    "model": "big",
    "usage": {
        "input_tokens": 1000,
        "output_tokens": 100,
        "iterations": [
            {"type": "message", "input_tokens": 1000, "output_tokens": 100},
            {"type": "advisor_message", "model": "small", "input_tokens": 2000, "output_tokens": 50},
        ],
    },
}


def test_steps_of_several_models_are_each_priced_at_their_own(metered):
    with metered() as meter:
        meter.record(model="big", usage=STEPS, provider="anthropic")
        assert (only(meter).cost, only(meter).usage.input_tokens) == (None, 3000)
    with metered({"big": {"input": 10, "output": 20}, "small": {"input": 1, "output": 2}}) as meter:
        assert meter.reprice().changed == 1
        assert only(meter).cost == Decimal("0.0141")  # 0.01 + 0.002, and 0.002 + 0.0001
        assert meter.reprice().changed == 0
    with metered({"big": {"input": 10, "output": 20}, "small": {"input": 2, "output": 2}}) as meter:
        meter.reprice()
        assert only(meter).cost == Decimal("0.0161")


def test_steps_that_were_cut_off_are_not_priced_as_if_they_were_one(metered, monkeypatch):
    monkeypatch.setattr("farthing.usage.paths._RAW", 120)
    with metered() as meter:
        meter.record(model="big", usage=STEPS, provider="anthropic")
    with metered({"big": {"input": 10, "output": 20}, "small": {"input": 1, "output": 2}}) as meter:
        done = meter.reprice()
        assert (done.changed, done.left) == (0, {"it was billed in steps that are not kept": 1})


def test_a_price_for_one_address_is_found_again_for_the_calls_that_went_there(metered):
    def at(address, price):
        return [
            UserPrice(model="m1", prices={"input": price, "output": 0}, base_url=address),
            UserPrice(model="m1", prices={"input": 100, "output": 0}),
        ]

    with metered(at("http://localhost:8000/v1", 1)) as meter:
        engine = meter.engine
        rates = engine.catalog.rates(
            "m1", base_url="http://u:secret@localhost:8000/v1?k=1", at_ns=engine.clock.time_ns()
        )
        assert rates.base_url == "localhost:8000/v1"
        book(meter, rates)
    with metered(at("http://localhost:8000/v1", 2)) as meter:
        meter.reprice()
        assert only(meter).cost == Decimal("0.002")


def test_a_price_that_is_stated_later_for_one_address_is_found_for_calls_without_a_price(metered):
    with metered() as meter:
        book(meter, meter.engine.catalog.rates("m1", base_url="http://localhost:8000/v1", at_ns=0), cost=None)
    with metered(
        [UserPrice(model="m1", prices={"input": 2, "output": 8}, base_url="http://localhost:8000")]
    ) as meter:
        assert meter.reprice().changed == 1
        assert only(meter).cost == Decimal("0.0028")


@pytest.mark.parametrize("remembered", [True, False])
def test_a_region_that_costs_more_is_remembered(metered, remembered):
    with metered() as meter:
        at = meter.engine.clock.time_ns()
        rates = meter.engine.catalog.rates(
            "gpt-5.4", provider="openai", base_url="https://eu.api.openai.com/v1", at_ns=at
        )
        assert rates.region == "eu"
        cost, _, _ = pricing.total(USAGE, rates)
        kept = rates if remembered else replace(rates, region=None)  # which is the control
        book(meter, kept, model="gpt-5.4", provider="openai", cost=cost)
        done = meter.reprice()
        assert (done.changed, done.left) == (0 if remembered else 1, {})
        assert (only(meter).cost == money.usd(cost)) is remembered


def book(meter, rates, *, model="m1", provider=None, cost=1_000_000):
    """A call as a wrapped client leaves it, which was sent to some address."""
    made = Made(
        model=model,
        reading=Reading(usage=USAGE),
        who=Who(),
        provider=provider,
        started_ns=meter.engine.clock.time_ns(),
    )
    entry = entry_of(meter.engine, made)
    entry.settlement.rates = rates
    entry.settlement.cost, entry.settlement.counted = cost, cost or 0
    entry.settlement.cost_source = "unpriced" if cost is None else "priced"
    meter.engine.ledger.record(entry)


def batch(meter, *, cost, source="priced", operation="batch", tier=None, usage=None):
    made = Made(
        model="m1",
        reading=Reading(usage=usage or Usage(input_tokens=3000, output_tokens=100)),
        who=Who(),
        operation=operation,
        tier=tier,
        started_ns=meter.engine.clock.time_ns(),
    )
    entry = entry_of(meter.engine, made)
    entry.settlement.cost, entry.settlement.cost_source = cost, source
    meter.engine.ledger.record(entry)


def test_a_batch_is_not_priced_as_one_long_request(metered, monkeypatch):
    long = Rates(
        provider=None,
        model="m1",
        prices={"input": 2_000_000, "output": 0},
        bands=(Band(above=2000, prices={"input": 4_000_000, "output": 0}),),
        source="a list",
    )
    with metered() as meter:
        batch(meter, cost=None, source="unpriced")
        monkeypatch.setattr(Catalog, "rates", lambda *_, **__: long)
        assert meter.reprice().changed == 1
        assert (only(meter).cost, only(meter).cost_source) == (Decimal("0.006"), "partial")
        assert meter.reprice().changed == 0
    with metered() as meter:
        batch(meter, cost=None, source="unpriced", operation="chat")
        meter.reprice()
        assert {row.operation: row.cost for row in meter.reports.records()}["chat"] == Decimal("0.012")


def test_lost_attempts_keep_their_estimate_and_what_is_counted_for_them(metered):
    with metered(OLD, budgets=[Budget("month", 10, "month")]) as meter:
        hold = meter.reserve(model="m1", input_tokens=1000, max_output_tokens=100)
        hold._call.lost = 1
        hold.settle(USAGE)
        row = only(meter)
        assert (row.cost, row.counted) == (Decimal("0.0048"), Decimal("0.0056"))  # 0.002 more, and the hold
    with metered(NEW) as meter:
        assert meter.reprice().left == {"the usage is estimated": 1}
        assert meter.reprice(include_estimated=True).changed == 1
        row = only(meter)
        assert (row.cost, row.counted) == (Decimal("0.0058"), Decimal("0.0066"))
        assert meter.reprice(include_estimated=True).changed == 0


def test_an_expired_call_is_priced_by_its_prompt_and_counted_as_before(metered, clock):
    with metered(OLD, budgets=[Budget("month", 10, "month")]) as meter:
        meter.reserve(model="m1", input_tokens=1000, max_output_tokens=100)
        meter.engine.ledger.expire(clock.time_ns() + 10**15)
        assert (only(meter).cost, only(meter).counted) == (Decimal("0.002"), Decimal("0.0028"))
    with metered({"m1": {"input": 2.5, "output": 8}}) as meter:
        assert meter.reprice(include_estimated=True).changed == 1
        assert (only(meter).cost, only(meter).counted) == (Decimal("0.0025"), Decimal("0.0028"))
        assert meter.reprice(include_estimated=True).changed == 0


# -- under any order ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["record", "unknown", "reprice", "correct", "void"]),
            st.integers(0, 9),
            st.integers(0, 9),
        ),
        max_size=14,
    )
)
def test_after_any_sequence_the_books_agree_and_a_repricing_again_changes_nothing(steps):
    clock = FakeClock()
    budgets = [Budget("hard", 1000, "total"), Budget("soft", 1000, "day", mode="soft")]
    with Meter(":memory:", clock=clock, budgets=budgets, wait=0) as meter:
        ledger = meter.engine.ledger
        for what, a, b in steps:
            calls = meter.reports.records()
            if what == "record":
                meter.record(model=f"m{a % 3}", usage=Usage(input_tokens=a * 100, output_tokens=b * 10))
            elif what == "unknown":
                hold = meter.reserve(model=f"m{a % 3}", amount="0.001")
                hold.sent()
                hold.fail(TimeoutError())
            elif what == "reprice":
                ledger.set_price(UserPrice(model=f"m{a % 3}", prices={"input": b + 1, "output": a + 1}))
                meter.reprice(include_estimated=bool(a % 2), include_reported=bool(b % 2))
                again = meter.reprice(include_estimated=bool(a % 2), include_reported=bool(b % 2))
                assert again.changed == 0
            elif calls:
                chosen = calls[a % len(calls)].id
                meter.correct(chosen, reason="r", **({"void": True} if what == "void" else {"cost": b}))
            assert ledger.check() == []
        calls = meter.reports.records()
        spent = {window.budget: window.spent for window in meter.windows()}
        if calls and spent:
            counted = sum(int(call.counted * 10**9) for call in calls)
            expected = sum(int((call.counted if call.cost is None else call.cost) * 10**9) for call in calls)
            assert spent == {"hard": counted, "soft": expected}
