"""Margins that are learned from bills: what a ledger tells of them, and what follows for the next hold."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from farthing import Budget, InsufficientCredits, LedgerError, Meter
from farthing.ledger.store import Bound
from farthing.quote import Margins
from farthing.quote.margins import _telling
from farthing.records import Usage
from farthing.testing import FakeClock, Reply
from ledger.making import NOON, Clock, entry, opened, reserved, settlement

LONG = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 50}]
CLOCK = FakeClock()
PER_TOKEN = Decimal("2.5e-6")  # gpt-4o


@pytest.fixture(params=["memory", "file"])
def ledger(request, tmp_path):
    store = opened(":memory:" if request.param == "memory" else tmp_path / "ledger.db")
    yield store
    faults = store.check()
    store.close()
    assert faults == []


def call(ledger, counted, billed, **fields):
    end = {name: fields.pop(name) for name in ("outcome", "usage_source") if name in fields}
    grant = reserved(ledger, counted_input=counted, **fields)
    usage = None if billed is None else Usage(input_tokens=billed, output_tokens=1)
    ledger.settle(grant, settlement(usage=usage, **end))


def test_the_highest_bill_of_each_count_is_told_by_model(ledger):
    for counted, billed in ((100, 150), (100, 120), (200, 210)):
        call(ledger, counted, billed)
    call(ledger, 100, 130, model="gpt-4o-mini")
    assert sorted(ledger.margins()) == [("gpt-4o", 100, 150), ("gpt-4o", 200, 210), ("gpt-4o-mini", 100, 130)]


def test_a_bill_that_says_nothing_of_a_count_is_left_out(ledger):
    call(ledger, None, 500)  # not all of its input showed
    call(ledger, 100, 90)  # far below
    call(ledger, 100, None)
    call(ledger, 100, 500, outcome="unknown")
    call(ledger, 100, 500, usage_source="estimated")
    reserved(ledger, counted_input=100)  # still running
    ledger.record(entry(ledger))
    assert ledger.margins() == []


def test_only_the_last_thousand_calls_of_a_model_count(ledger):
    call(ledger, 100, 300, started_ns=NOON)
    call(ledger, 50, 100, started_ns=NOON, model="rare")
    for place in range(1, 1000):
        call(ledger, 100, 100, started_ns=NOON + place * 1_000_000)
    assert ("gpt-4o", 100, 300) in ledger.margins()
    call(ledger, 100, 100, started_ns=NOON + 1_000_000_000)
    assert ledger.margins() == [("gpt-4o", 100, 100), ("rare", 50, 100)]


def learned(ledger, *bills):
    for counted, billed in bills:
        call(ledger, counted, billed)
    margins = Margins()
    margins.read(ledger, CLOCK)
    return margins


def test_the_upper_figure_is_the_highest_ratio_and_a_twentieth(ledger):
    margins = learned(ledger, (100, 150), (1000, 1100))
    assert margins.upper("gpt-4o", 100) == 158  # 157.5
    assert margins.upper("gpt-4o", 1600) == 2520
    assert margins.upper("another", 100) == 0


def test_what_a_small_call_had_above_its_count_is_no_multiple_of_a_large_one(ledger):
    margins = learned(ledger, (10, 310))
    assert margins.upper("gpt-4o", 160) == 160 * 31 * 105 // 100
    assert margins.upper("gpt-4o", 100_000) == (100_000 + 160 * 30) * 105 // 100


def test_bills_that_equal_their_counts_leave_a_twentieth(ledger):
    assert learned(ledger, (1000, 1000)).upper("gpt-4o", 10_000) == 10_500


counts = st.integers(1, 10**6)


@settings(deadline=None)
@given(st.lists(st.tuples(counts, st.integers(0, 10**6)), min_size=1), counts)
def test_bills_that_are_forgotten_say_nothing_that_others_do_not(bills, tokens):
    bills = [(counted, counted + more) for counted, more in bills]
    every, telling = Margins(), Margins()
    every._bills, telling._bills = {"m": tuple(bills)}, {"m": _telling(bills)}
    assert every.upper("m", tokens) == telling.upper("m", tokens)


@settings(deadline=None)
@given(st.tuples(counts, st.integers(0, 10**6)), counts)
def test_a_longer_prompt_never_has_a_lower_figure(bill, tokens):
    margins = Margins()
    margins._bills = {"m": ((bill[0], bill[0] + bill[1]),)}
    assert tokens * 105 / 100 <= margins.upper("m", tokens) <= margins.upper("m", tokens + 1)


def test_what_was_known_stays_known_when_the_ledger_cannot_be_read(tmp_path):
    ledger = opened(tmp_path / "ledger.db")
    margins = learned(ledger, (100, 200))
    ledger.close()
    with pytest.raises(LedgerError):
        ledger.margins()
    margins.read(ledger, CLOCK)
    assert margins.upper("gpt-4o", 100) == 210


def test_a_question_reads_the_ledger_again_after_a_minute(tmp_path):
    ledger = opened(tmp_path / "ledger.db")
    clock, margins = FakeClock(), Margins()
    margins.refresh(ledger, clock)
    call(ledger, 100, 200)
    clock.advance(59)
    margins.refresh(ledger, clock)
    assert margins.upper("gpt-4o", 100) == 0
    clock.advance(1)
    margins.refresh(ledger, clock)
    assert margins.upper("gpt-4o", 100) == 210
    ledger.close()


# -- whole meters ------------------------------------------------------------------------------------


def metered(path, provider, **options):
    meter = Meter(path, clock=CLOCK, durability="fast", **options)
    client = meter.wrap(OpenAI(base_url=provider.base_url, api_key="k", max_retries=0))
    return meter, client


def billed(provider, client, tokens, **request):
    provider.script(Reply(usage={"input_tokens": tokens, "output_tokens": 1}))
    return client.chat.completions.create(
        **({"model": "gpt-4o", "messages": LONG, "max_tokens": 1} | request)
    )


def test_a_model_that_bills_more_than_was_counted_is_held_for_more(ledger_path, provider):
    meter, client = metered(ledger_path, provider)
    before = meter.estimate(model="gpt-4o", messages=LONG, max_output_tokens=1)
    answer = billed(provider, client, 2 * before.input_tokens)
    assert meter.receipt(answer).held == before.upper
    assert meter.estimate(model="gpt-4o", messages=LONG, max_output_tokens=1) == before  # for a minute
    CLOCK.advance(60)
    after = meter.estimate(model="gpt-4o", messages=LONG, max_output_tokens=1)
    assert after.input_tokens_upper == -(-before.input_tokens * 210 // 100)
    assert (after.input_tokens, after.method) == (before.input_tokens, "exact")
    assert meter.receipt(billed(provider, client, 1)).held == after.upper > before.upper
    meter.close()
    meter, client = metered(ledger_path, provider)  # as another process would
    assert meter.receipt(billed(provider, client, 1)).held == after.upper
    assert meter.estimate(model="gpt-4o-mini", messages=LONG).input_tokens_upper < after.input_tokens_upper
    meter.close()


def test_a_new_meter_estimates_what_its_first_call_will_be_held_for(ledger_path, provider):
    meter, client = metered(ledger_path, provider)
    count = meter.estimate(model="gpt-4o", messages=LONG).input_tokens
    billed(provider, client, 3 * count)
    meter.close()
    meter, _ = metered(ledger_path, provider)
    assert meter.estimate(model="gpt-4o", messages=LONG).input_tokens_upper >= 3 * count
    meter.close()


def test_an_estimate_makes_no_ledger(ledger_path):
    with Meter(ledger_path) as meter:
        meter.estimate(model="gpt-4o", messages=LONG)
        assert not ledger_path.exists()


def test_a_ledger_that_cannot_be_opened_does_not_stop_an_estimate(ledger_path):
    ledger_path.write_text("this is no ledger")
    assert Meter(ledger_path).estimate(model="gpt-4o", messages=LONG).method == "exact"


def test_no_margin_asks_for_more_than_the_context_window(ledger_path, provider):
    meter, client = metered(ledger_path, provider)
    billed(provider, client, 10_000_000)
    CLOCK.advance(60)
    assert meter.estimate(model="gpt-4o", messages=LONG).input_tokens_upper == 128_000
    meter.close()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "A" * 4000, "format": "mp3"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
    ids=lambda part: part["type"],
)
def test_a_bill_of_what_is_no_text_teaches_nothing(part, ledger_path, provider):
    meter, client = metered(ledger_path, provider)
    before = meter.estimate(model="gpt-4o", messages=LONG)
    billed(provider, client, 90_000, messages=[{"role": "user", "content": [part]}])
    CLOCK.advance(60)
    assert meter.estimate(model="gpt-4o", messages=LONG) == before
    meter.close()


def test_a_bill_of_input_that_the_request_does_not_show_teaches_nothing(ledger_path, provider):
    meter, client = metered(ledger_path, provider)
    before = meter.estimate(model="gpt-4o", messages=LONG)
    for more in (
        {"previous_response_id": "resp_1"},
        {"tools": [{"type": "web_search"}], "max_tool_calls": 1},
    ):
        provider.script(Reply(usage={"input_tokens": 90_000, "output_tokens": 1}))
        client.responses.create(model="gpt-4o", input="hi", max_output_tokens=16, **more)
    CLOCK.advance(60)
    assert meter.estimate(model="gpt-4o", messages=LONG) == before
    meter.close()


def test_a_budget_holds_for_a_model_whose_counts_were_too_low(ledger_path, provider):
    """Without what the first bills taught, the second call of the day would be admitted and overrun."""
    meter, client = metered(ledger_path, provider)
    count = meter.estimate(model="gpt-4o", messages=LONG).input_tokens
    billed(provider, client, 4 * count)
    meter.close()
    limit = PER_TOKEN * count * 3
    budget = Budget("b", limit, "total")
    meter, client = metered(ledger_path, provider)
    with pytest.raises(InsufficientCredits), meter.scope(budget=budget):
        billed(provider, client, 4 * count)
    meter.engine.margins._bills = {}  # the guard taken out
    with meter.scope(budget=budget):
        receipt = meter.receipt(billed(provider, client, 4 * count))
    assert receipt.cost > limit
    meter.close()


def test_a_hold_by_hand_teaches_nothing(ledger_path):
    with Meter(ledger_path, clock=CLOCK) as meter:
        before = meter.estimate(model="gpt-4o", messages=LONG)
        hold = meter.reserve(model="gpt-4o", input_tokens=10, max_output_tokens=1)
        hold.settle({"input_tokens": 10_000, "output_tokens": 1})
        CLOCK.advance(60)
        assert meter.estimate(model="gpt-4o", messages=LONG) == before


def test_a_reserve_keeps_its_count_beside_its_bill(tmp_path):
    ledger = opened(tmp_path / "ledger.db", Clock())
    bounds: tuple[Bound, ...] = ()
    grant = reserved(ledger, bounds, counted_input=700)
    ledger.settle(grant, settlement(usage=Usage(input_tokens=800, output_tokens=1)))
    assert ledger.call(grant.reservation.id)["input_tokens"] == 800
    assert ledger.margins() == [("gpt-4o", 700, 800)]
    ledger.close()


def test_the_thread_that_renews_the_lease_reads_what_other_processes_learned(ledger_path, provider):
    meter, client = metered(ledger_path, provider)
    before = meter.receipt(billed(provider, client, 1)).held
    other, elsewhere = metered(ledger_path, provider)
    billed(provider, elsewhere, 5_000)
    meter.engine.tick()
    assert meter.receipt(billed(provider, client, 1)).held > before
    meter.close()
    other.close()
