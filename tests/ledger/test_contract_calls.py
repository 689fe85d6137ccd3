"""The life of a call, on every store."""

from __future__ import annotations

import json

import pytest

from farthing.errors import TransactionConflict
from farthing.ledger import Ledger
from farthing.ledger.calls.codes import rates_from_json
from farthing.ledger.store import Grant, Short, Stale
from farthing.records import FLAGS, Budget, Usage
from ledger.making import (
    DAY,
    HOUR,
    NOON,
    RATES,
    USD,
    Clock,
    attached_bound,
    entry,
    reservation,
    reserved,
    settlement,
    with_budget,
)  # fmt: skip


def only_window(ledger: Ledger) -> tuple[int, int]:
    [window] = ledger.windows()
    return window.spent, window.held


def test_a_reserve_holds_and_a_settle_charges(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 10))
    grant = reserved(ledger, [bound], 3 * USD)
    assert grant.held == 3 * USD
    assert only_window(ledger) == (0, 3 * USD)
    assert ledger.settle(grant, settlement(USD))
    assert only_window(ledger) == (USD, 0)


def test_a_settled_call_is_one_row_with_all_that_is_known(ledger: Ledger) -> None:
    want = reservation(
        ledger, tags={"user": "ü", "feature": "a"}, run="r/s", service_tier="auto", fallback_from="gpt-5",
        flags=("multiplier",), transaction_id="t-1",
    )  # fmt: skip
    grant = ledger.reserve(want)
    assert isinstance(grant, Grant)
    end = settlement(
        3_220_000, attempts=2, capped_at=300, overrun=7, request_id="req_1", response_id="chatcmpl-1",
        error="TimeoutError", flags=("overrun",), units={"tool_calls": 2}, raw='{"a":1}',
        service_tier="default",
        usage=Usage(input_tokens=1200, cached_tokens=1024, output_tokens=150, images=2), counted=4_000_000,
    )  # fmt: skip
    assert ledger.settle(grant, end)
    row = ledger.call(want.id)
    assert row is not None
    assert rates_from_json(row.pop("rates")) == RATES
    assert row.pop("raw") == '{"a":1}'
    assert json.loads(row.pop("flags")) == ["overrun", "multiplier"]
    assert json.loads(row.pop("tags")) == {"feature": "a", "user": "ü"}
    assert json.loads(row.pop("units")) == {"images": 2, "tool_calls": 2}
    assert row == {
        "id": want.id,
        "started_at": "2026-09-21T12:00:00.000000Z",
        "recorded_at": "2026-09-21T12:00:01.000000Z",
        "account": "acme",
        "context": "customer",
        "run": "r/s",
        "provider": "openai",
        "requested_model": "gpt-4o",
        "model": "gpt-4o-2024-08-06",
        "operation": "chat",
        "service_tier": "default",
        "outcome": "complete",
        "attempts": 2,
        "input_tokens": 1200,
        "cached_tokens": 1024,
        "cache_write_tokens": None,
        "output_tokens": 150,
        "reasoning_tokens": None,
        "usage_source": "reported",
        "cost_nano": 3_220_000,
        "cost_usd": 0.00322,
        "counted_nano": 4_000_000,
        "cost_source": "priced",
        "held_nano": USD,
        "overrun": 7,
        "capped_at": 300,
        "fallback_from": "gpt-5",
        "duration_ms": 1000.0,
        "request_id": "req_1",
        "response_id": "chatcmpl-1",
        "transaction_id": "t-1",
        "error": "TimeoutError",
        "prices_version": "genai-prices 0.2.3",
    }


def test_the_store_keeps_every_flag_and_refuses_others(ledger: Ledger) -> None:
    grant = reserved(ledger)
    with pytest.raises(ValueError, match="is no flag"):
        ledger.settle(grant, settlement(flags=("novel",)))
    assert ledger.settle(grant, settlement(flags=FLAGS))
    row = ledger.call(grant.reservation.id)
    assert row is not None
    assert tuple(json.loads(row["flags"])) == FLAGS


def test_a_void_gives_everything_back_and_leaves_an_error_row(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 10))
    grant = reserved(ledger, [bound])
    assert ledger.settle(grant, settlement(USD, error="ConnectError"), void=True)
    assert only_window(ledger) == (0, 0)
    row = ledger.call(grant.reservation.id)
    assert row is not None
    assert (row["outcome"], row["cost_nano"], row["counted_nano"]) == ("error", 0, 0)
    [total] = ledger.totals()
    assert (total.calls, total.errors, total.cost, total.unpriced) == (1, 1, 0, 0)


def test_a_call_ends_once(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 10))
    grant = reserved(ledger, [bound])
    assert ledger.settle(grant, settlement(USD))
    assert not ledger.settle(grant, settlement(2 * USD))
    assert not ledger.settle(grant, settlement(0), void=True)
    assert not ledger.release(grant)
    assert only_window(ledger) == (USD, 0)
    voided = reserved(ledger, [bound])
    assert ledger.settle(voided, settlement(0), void=True)
    assert not ledger.settle(voided, settlement(USD))


def test_a_released_call_leaves_nothing(ledger: Ledger) -> None:
    one, other = (with_budget(ledger, Budget(name, 10)) for name in ("one", "other"))
    grant = reserved(ledger, [one, other])
    assert ledger.release(grant)
    assert [(w.spent, w.held) for w in ledger.windows()] == [(0, 0), (0, 0)]
    assert not ledger.settle(grant, settlement())
    assert ledger.facts()["rows"]["call"] == 0


def test_what_does_not_fit_is_refused_and_writes_nothing(ledger: Ledger) -> None:
    small, large = (with_budget(ledger, Budget(name, limit)) for name, limit in (("small", 2), ("large", 5)))
    grant = reserved(ledger, [large, small], 2 * USD)
    answer = ledger.reserve(reservation(ledger, [large, small], USD))
    assert isinstance(answer, Short)
    assert (answer.bound.identity, answer.limit, answer.spent, answer.held) == ("small", 2 * USD, 0, 2 * USD)
    assert answer.ends_ns is not None
    assert answer.ends_ns > NOON
    assert [(w.spent, w.held) for w in ledger.windows()] == [(0, 2 * USD)] * 2
    assert ledger.settle(grant, settlement(0))
    assert isinstance(ledger.reserve(reservation(ledger, [large, small], 2 * USD)), Grant)


def test_a_refusal_in_a_window_that_is_not_there_yet_makes_none(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 1))
    assert isinstance(ledger.reserve(reservation(ledger, [bound], 2 * USD)), Short)
    assert ledger.windows() == []
    assert reserved(ledger, [bound]).held == USD


def test_the_last_penny_can_be_held(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 1))
    reserved(ledger, [bound], USD - 1)
    assert isinstance(ledger.reserve(reservation(ledger, [bound], 2)), Short)
    assert reserved(ledger, [bound], 1).held == 1


def test_an_elastic_hold_takes_a_quarter_of_what_is_left(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 8))
    assert reserved(ledger, [bound], lo=USD, hi=9 * USD).held == 2 * USD
    assert reserved(ledger, [bound], lo=USD, hi=USD + 5).held == USD + 5
    assert reserved(ledger, [bound], lo=4 * USD, hi=9 * USD).held == 4 * USD
    answer = ledger.reserve(reservation(ledger, [bound], lo=USD, hi=9 * USD))
    assert isinstance(answer, Short)


def test_a_zero_hold_always_passes(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 1))
    assert ledger.settle(reserved(ledger, [bound]), settlement(5 * USD))
    assert reserved(ledger, [bound], 0).held == 0
    assert reserved(ledger, [bound], lo=0, hi=USD).held == 0


def test_a_soft_budget_counts_and_binds_nothing(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("soft", 1, mode="soft"))
    grant = reserved(ledger, [bound], lo=USD, hi=5 * USD)
    assert grant.held == 5 * USD
    assert ledger.settle(grant, settlement(3 * USD))
    assert only_window(ledger) == (3 * USD, 0)


def test_a_window_that_charges_the_expected_takes_cost_and_the_others_counted(ledger: Ledger) -> None:
    hard, soft = with_budget(ledger, Budget("hard", 9)), with_budget(ledger, Budget("soft", 9, mode="soft"))
    grant = reserved(ledger, [hard, soft])
    assert ledger.settle(grant, settlement(USD // 4, counted=USD, outcome="unknown"))
    assert {w.budget: (w.spent, w.cost) for w in ledger.windows()} == {
        "hard": (USD, USD // 4),
        "soft": (USD // 4, USD // 4),
    }
    assert ledger.settle(grant, settlement(USD // 2))
    assert {w.budget: w.spent for w in ledger.windows()} == {"hard": USD // 2, "soft": USD // 2}


def test_an_unknown_cost_is_null_and_counts_as_unpriced(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("soft", 1, mode="soft"))
    grant = reserved(ledger, [bound], rates=None, expected=None)
    assert ledger.settle(grant, settlement(None, counted=USD, rates=None))
    row = ledger.call(grant.reservation.id)
    assert row is not None
    assert (row["cost_nano"], row["cost_usd"], row["counted_nano"]) == (None, None, USD)
    [total] = ledger.totals()
    assert (total.cost, total.unpriced) == (0, 1)
    assert only_window(ledger) == (USD, 0)


def test_an_overrun_is_booked(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 1))
    assert ledger.settle(reserved(ledger, [bound]), settlement(7 * USD))
    assert only_window(ledger) == (7 * USD, 0)


def test_the_same_budget_twice_binds_once_by_its_least_limit(ledger: Ledger) -> None:
    wide, narrow = (attached_bound(Budget("scope", limit, "day")) for limit in (5, 1))
    assert isinstance(ledger.reserve(reservation(ledger, [wide, narrow], 2 * USD)), Short)
    grant = reserved(ledger, [wide, narrow])
    assert ledger.settle(grant, settlement(USD))
    assert only_window(ledger) == (USD, 0)


def test_the_same_id_twice_is_a_programming_error(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 5))
    grant = reserved(ledger, [bound])
    with pytest.raises(ValueError, match="reserved before"):
        ledger.reserve(reservation(ledger, [bound], id=grant.reservation.id))
    assert only_window(ledger) == (0, USD)


def test_a_transaction_id_belongs_to_one_call_of_an_account(ledger: Ledger) -> None:
    reserved(ledger, transaction_id="t")
    with pytest.raises(TransactionConflict):
        ledger.reserve(reservation(ledger, transaction_id="t"))
    assert reserved(ledger, transaction_id="t", account="other")


def test_a_call_matched_against_other_budgets_is_stale(ledger: Ledger) -> None:
    want = reservation(ledger)
    with_budget(ledger, Budget("all", 1))
    answer = ledger.reserve(want)
    assert isinstance(answer, Stale)
    assert answer.epoch == ledger.standing()[0]
    assert isinstance(ledger.reserve(reservation(ledger)), Grant)


# Expiry and what comes late


def test_calls_of_a_dead_owner_are_booked_at_their_prompt_and_count_their_hold(
    ledger: Ledger, clock: Clock
) -> None:
    hard, soft = with_budget(ledger, Budget("hard", 9)), with_budget(ledger, Budget("soft", 9, mode="soft"))
    grant = reserved(ledger, [hard, soft])
    unpriced = reserved(ledger, [hard], expected=None, rates=None, input_tokens=None)
    assert ledger.expire(NOON + HOUR // 10) == 0
    assert ledger.expire(NOON + HOUR) == 2
    assert ledger.expire(NOON + HOUR) == 0
    row, other = ledger.call(grant.reservation.id), ledger.call(unpriced.reservation.id)
    assert row is not None
    assert other is not None
    assert (row["outcome"], row["cost_nano"], row["counted_nano"]) == ("expired", USD // 10, USD)
    assert (row["usage_source"], row["input_tokens"], row["cost_source"]) == ("estimated", 1000, "priced")
    assert (other["cost_nano"], other["counted_nano"], other["cost_source"]) == (None, USD, "unpriced")
    assert (other["usage_source"], other["input_tokens"]) == ("unknown", None)
    assert {w.budget: (w.spent, w.held) for w in ledger.windows()} == {
        "hard": (2 * USD, 0),
        "soft": (USD // 10, 0),
    }
    [total] = ledger.totals()
    assert (total.calls, total.estimated, total.unpriced) == (2, 1, 1)


@pytest.mark.parametrize("before", ["expired", "unknown"])
@pytest.mark.parametrize("void", [True, False])
def test_a_late_end_takes_the_place_of_an_uncertain_one(ledger: Ledger, before: str, *, void: bool) -> None:
    bound, other = with_budget(ledger, Budget("all", 9)), with_budget(ledger, Budget("other", 9))
    grant = reserved(ledger, [bound, other])
    if before == "expired":
        assert ledger.expire(NOON + HOUR) == 1
    else:
        assert ledger.settle(grant, settlement(USD // 10, outcome="unknown", counted=USD))
        assert not ledger.settle(grant, settlement(USD // 10, outcome="unknown", counted=USD))
    assert ledger.settle(grant, settlement(USD // 4), void=void)
    wanted = 0 if void else USD // 4
    assert [(w.spent, w.held, w.cost) for w in ledger.windows()] == [(wanted, 0, wanted)] * 2
    [total] = ledger.totals()
    assert (total.calls, total.errors, total.cost, total.counted, total.estimated) == (
        1,
        int(void),
        wanted,
        wanted,
        0,
    )
    assert not ledger.settle(grant, settlement(USD // 4))


def test_a_renewed_lease_keeps_calls_alive(ledger: Ledger, clock: Clock) -> None:
    grant = reserved(ledger)
    ledger.renew(NOON + HOUR)
    assert ledger.expire(NOON + HOUR) == 0
    assert ledger.settle(grant, settlement())


def test_a_busy_process_renews_its_lease_by_itself(ledger: Ledger, clock: Clock) -> None:
    first = reserved(ledger)
    clock.now = NOON + HOUR // 10
    reserved(ledger)
    assert ledger.expire(NOON + HOUR // 5) == 0
    assert ledger.settle(first, settlement())


def test_a_process_whose_owner_is_gone_gets_a_new_one(ledger: Ledger, clock: Clock) -> None:
    reserved(ledger)
    assert ledger.expire(NOON + HOUR) == 1
    assert ledger.facts()["owners"] == 0
    grant = reserved(ledger)
    assert ledger.expire(NOON) == 0
    assert ledger.settle(grant, settlement())


# Recorded calls


def test_a_recorded_call_counts_in_the_window_of_its_instant(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("daily", 1, "day"))
    yesterday = entry(ledger, [bound], 5 * USD, started_ns=NOON - DAY)
    assert ledger.record(yesterday) == (yesterday.reservation.id, True)
    assert reserved(ledger, [bound]).held == USD
    assert [(w.spent, w.held) for w in ledger.windows(at_ns=NOON - DAY)] == [(5 * USD, 0)]
    assert [(w.spent, w.held) for w in ledger.windows(at_ns=NOON)] == [(0, USD)]


def test_the_same_transaction_is_recorded_once(ledger: Ledger) -> None:
    first = entry(ledger, transaction_id="t", digest=b"a")
    assert ledger.record(first) == (first.reservation.id, True)
    assert ledger.record(entry(ledger, transaction_id="t", digest=b"a")) == (first.reservation.id, False)
    with pytest.raises(TransactionConflict):
        ledger.record(entry(ledger, transaction_id="t", digest=b"b"))
    assert ledger.record(entry(ledger, transaction_id="t", digest=b"b", account="other"))[1]
    assert ledger.totals()[0].calls == 2


def test_the_same_entry_is_recorded_once(ledger: Ledger) -> None:
    one = entry(ledger)
    assert ledger.record(one) == (one.reservation.id, True)
    assert ledger.record(one) == (one.reservation.id, False)


def test_one_conflict_among_many_stops_no_other(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 1))
    entries = [
        entry(ledger, [bound], transaction_id=f"t{n % 600}", digest=b"%d" % (n // 1199)) for n in range(1200)
    ]
    answers = ledger.record_many(entries)
    assert [n for n, answer in enumerate(answers) if isinstance(answer, TransactionConflict)] == [1199]
    assert sum(answer[1] for answer in answers if not isinstance(answer, Exception)) == 600
    assert only_window(ledger) == (600 * USD, 0)


def test_a_recorded_call_is_matched_anew_where_the_budgets_have_changed(ledger: Ledger) -> None:
    one = entry(ledger)
    with_budget(ledger, Budget("all", 1, account="acme"))
    with_budget(ledger, Budget("others", 1, account="other"))
    ledger.record(one)
    assert [(w.budget, w.spent) for w in ledger.windows()] == [("all", USD)]


def test_refusals_are_counted_by_day(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.refused(day_ns=NOON, account="acme", model="gpt-4o", budget="all", reason="budget")
    ledger.refused(day_ns=NOON + DAY, account="acme", model="gpt-4o", budget="all", reason="budget")
    assert [(r["day"], r["calls"]) for r in ledger.refusals()] == [("2026-09-21", 3), ("2026-09-22", 1)]
    assert [r["calls"] for r in ledger.refusals(start_ns=NOON + DAY // 2)] == [1]


# Texts nobody expects


@pytest.mark.parametrize(
    "text", ['it\'s "quoted"; DROP TABLE call;--', "nul\0", "lone \ud800", "🪙" * 1000, ""]
)
def test_any_text_can_be_stored(ledger: Ledger, text: str) -> None:
    bound = attached_bound(Budget("b", 5, "day"), identity=text, key=text)
    want = reservation(
        ledger, [bound], account=text, tags={text: text}, run=text, requested_model=text, model=text,
        provider=text, service_tier=text, transaction_id=text,
    )  # fmt: skip
    grant = ledger.reserve(want)
    assert isinstance(grant, Grant)
    assert ledger.settle(
        grant,
        settlement(request_id=text, response_id=text, error=text, raw=text, model=text, units={text: text}),
    )
    assert ledger.call(want.id) is not None
    assert ledger.run_totals(text).calls == 1
    assert len(ledger.calls(account=text)) == 1
    assert ledger.room([bound], NOON)[0][1] == 5 * USD - USD // 2
