"""Amounts that cannot be: counts that no model can have, and what they come to, never reach the ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.running import within
from farthing import Budget, InvalidUsage, LedgerError, Meter, Usage, money
from farthing.ledger.calls import summing
from farthing.ledger.calls.summing import Summing
from farthing.testing import FakeClock, FakeProvider, Reply
from farthing.usage import bounds
from guard.making import CALL, held_and_spent, metered, openai

MOST = 2**53 - 1
ASKED = {"model": "gpt-4o", "input_tokens": 1_000, "max_output_tokens": 200}
HELD = Decimal("0.0045")
NANO = 10**9
WIRE = {"prompt_tokens": MOST, "completion_tokens": 1, "total_tokens": MOST + 1}
ABSURD = Usage(input_tokens=MOST, output_tokens=1)
"""Counts that each fit a column; at $2.50 per million they come to more nano-dollars than 63 bits hold."""
DEAR = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10, "cost": 123_456_789.0}
"""Counts that a call may have, and a bill that none has."""


@pytest.fixture(autouse=True)
def _budget(still: Meter) -> None:
    still.set_budget(Budget("all", 1, "month"))


def only_row(meter: Meter) -> dict[str, Any]:
    (row,) = meter.engine.ledger.calls()
    return row


def is_unknown(meter: Meter, counted: int) -> bool:
    """The only row has no cost, and a flag that says why."""
    row = only_row(meter)
    assert (row["cost_nano"], row["cost_source"], row["counted_nano"]) == (None, "unpriced", counted)
    assert "suspect" in json.loads(row["flags"])
    return True


def raw_of(meter: Meter) -> Any:
    """What is kept of a usage that is in no column."""
    (call,) = meter.engine.ledger.finished()
    assert (call.usage, call.usage_source) == (None, "unknown")
    return json.loads(call.raw or "null")


def test_a_hold_settled_with_an_absurd_count_keeps_what_it_held(still: Meter) -> None:
    receipt = still.reserve(**ASKED).settle(ABSURD)
    assert (receipt.cost, receipt.counted, receipt.breakdown) == (None, HELD, None)
    assert is_unknown(still, int(HELD * NANO))
    assert raw_of(still) == {"input_tokens": MOST, "output_tokens": 1}
    assert held_and_spent(still) == [(0, HELD * NANO)]
    assert still.reports.summary().unpriced_calls == 1


def test_without_the_bound_the_end_of_such_a_call_cannot_be_booked(
    still: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = still.reserve(**ASKED)
    with monkeypatch.context() as patch:
        patch.setattr(money, "MAX_CALL", 2**200)
        patch.setattr(bounds, "MOST_TOKENS", 2**200)
        with pytest.raises(LedgerError):
            still.record(model="gpt-4o", usage=ABSURD)
    assert hold.settle(ABSURD).cost is None


@pytest.mark.parametrize("usage", [WIRE, DEAR])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_with_an_absurd_count_or_cost_counts_the_hold(
    still: Meter, provider: FakeProvider, usage: dict[str, Any], stream: bool
) -> None:
    provider.script(Reply(usage=usage))
    client = still.wrap(openai(provider))
    answer = client.chat.completions.create(**CALL, stream=stream)
    if stream:
        assert list(answer)
    row = only_row(still)
    assert is_unknown(still, row["held_nano"])
    assert row["input_tokens"] == (None if usage is WIRE else 5)
    assert held_and_spent(still) == [(0, row["held_nano"])]
    receipt = still.receipt(answer)
    assert (receipt.cost, receipt.breakdown) == (None, None)


def test_a_recorded_call_with_an_absurd_count_has_no_cost(still: Meter) -> None:
    receipt = still.record(model="gpt-4o", usage=ABSURD, transaction_id="t")
    assert (receipt.cost, receipt.counted, receipt.breakdown) == (None, 0, None)
    assert is_unknown(still, 0)
    assert raw_of(still) == {"input_tokens": MOST, "output_tokens": 1}
    assert still.record(model="gpt-4o", usage=ABSURD, transaction_id="t").id == receipt.id


def test_an_imported_call_with_an_absurd_count_stops_no_other(still: Meter, ledger_path: Path) -> None:
    lines = [{"model": "gpt-4o", "usage": WIRE}, {"model": "gpt-4o", "usage": {**WIRE, "prompt_tokens": 7}}]
    lines[1]["usage"] |= {"total_tokens": 8}
    path = ledger_path.with_name("calls.jsonl")
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    ended = within("import", path, "--ledger", ledger_path)
    assert (ended.status, ended.json["new"]) == (0, 2)
    rows = {row["input_tokens"]: row for row in still.engine.ledger.calls()}
    assert (rows[None]["cost_nano"], rows[None]["cost_source"]) == (None, "unpriced")
    assert rows[7]["cost_nano"] == 7 * 2_500 + 10_000


def test_a_correction_to_an_absurd_cost_is_refused_and_changes_nothing(still: Meter) -> None:
    receipt = still.reserve(**ASKED).settle(ABSURD)
    for cost in (2**63, "1e30", 10**9, Decimal(10_000_001)):
        with pytest.raises(InvalidUsage):
            still.correct(receipt.id, cost=cost, reason="as billed")
    assert is_unknown(still, int(HELD * NANO))
    corrected = still.correct(receipt.id, cost="0.002", reason="as billed")
    assert (corrected.cost, corrected.counted) == (Decimal("0.002"), Decimal("0.002"))
    assert held_and_spent(still) == [(0, 2_000_000)]


def test_a_stream_that_is_left_after_an_absurd_count_counts_its_hold(
    still: Meter, provider: FakeProvider
) -> None:
    provider.script(Reply("some words " * 50, usage=WIRE))
    client = still.wrap(openai(provider), provider="openai")
    hold = still.reserve(**ASKED)
    hold.sent()
    hold.fail(TimeoutError())
    stream = client.chat.completions.create(**CALL, stream=True)
    next(iter(stream))
    stream.close()
    assert [row["counted_nano"] > 0 for row in still.engine.ledger.calls()] == [True, True]


def test_an_absurd_price_is_not_believed_and_a_right_one_is_booked_later(
    still: Meter, ledger_path: Path
) -> None:
    used = Usage(input_tokens=1_000_000, output_tokens=100)
    with metered(ledger_path, prices={"mine-1": {"input": "90000000", "output": "1"}}) as mistaken:
        mistaken.record(model="mine-1", usage=used)
    assert is_unknown(still, 0)
    with metered(ledger_path, prices={"mine-1": {"input": "2.50", "output": "10"}}) as right:
        assert right.reprice().changed == 1
    assert only_row(still)["cost_nano"] == 2_501_000_000


@pytest.mark.parametrize("field", ["input_tokens", "max_output_tokens"])
def test_a_hold_for_an_absurd_count_is_refused_as_a_mistake(still: Meter, field: str) -> None:
    with pytest.raises(InvalidUsage, match=f"{field} must be a number of tokens from 0 to 1,000,000,000,000"):
        still.reserve(**(ASKED | {field: 10**12 + 1}))


@pytest.mark.parametrize("amount", [10**9, Decimal("10000000.01")])
def test_an_amount_that_no_call_has_is_refused_as_a_mistake(still: Meter, amount: Any) -> None:
    with pytest.raises(InvalidUsage, match=r"amount of one call must be at most 10,000,000 USD"):
        still.reserve(model="gpt-4o", amount=amount)
    with pytest.raises(InvalidUsage, match=r"cost of one call must be at most 10,000,000 USD"):
        still.record(model="gpt-4o", usage=Usage(input_tokens=1), cost=amount)
    assert still.engine.ledger.calls() == []


def test_what_may_cost_more_than_any_call_is_held_as_the_most_and_booked_as_unknown(
    ledger_path: Path, clock: FakeClock
) -> None:
    dear = {"mine-1": {"input": "90000000", "output": "1"}}
    with metered(ledger_path, clock=clock, prices=dear) as meter:
        meter.remove_budget("all")
        meter.set_budget(Budget("soft", 1, "month", mode="soft"))
        for ends in ("fails", "dies"):
            hold = meter.reserve(model="mine-1", input_tokens=10**12, max_output_tokens=0)
            assert held_and_spent(meter, "soft")[0][0] == money.MAX_CALL
            if ends == "fails":
                hold.sent()
                hold.fail(TimeoutError())
        clock.advance(601)
        assert meter.engine.ledger.expire(clock.time_ns()) == 1
        rows = {row["outcome"]: row for row in meter.engine.ledger.calls()}
        assert set(rows) == {"unknown", "expired"}
        for row in rows.values():
            assert (row["cost_nano"], row["cost_source"]) == (None, "unpriced")
            assert row["counted_nano"] == money.MAX_CALL
        assert meter.engine.ledger.check() == []


def test_hundreds_of_the_dearest_calls_there_can_be_add_up(still: Meter) -> None:
    still.remove_budget("all")
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    for _ in range(300):
        still.record(model="gpt-4o", usage=DEAR | {"cost": 9_999_999.0}, occurred_at=at)
    assert still.reports.summary().total_cost_usd == 300 * 9_999_999


@pytest.mark.parametrize("bounded", [True, False], ids=["bounded", "control"])
def test_lost_attempts_of_the_largest_hold_count_what_a_column_holds(
    still: Meter, monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    still.remove_budget("all")
    hold = still.reserve(model="gpt-4o", input_tokens=10**12, max_output_tokens=0)
    if not bounded:
        monkeypatch.setattr(money, "MAX_CALL", 2**200)
    hold._call.lost = 12_000
    receipt = hold.settle(Usage(input_tokens=1, output_tokens=1))  # it is paid for: nothing is raised
    if bounded:
        assert (receipt.cost, receipt.counted) == (None, 10**7)
        assert {"lost_attempts", "suspect"} <= set(receipt.flags)
        assert is_unknown(still, money.MAX_CALL)
        assert still.reprice(include_estimated=True).changed == 0
        assert is_unknown(still, money.MAX_CALL)
    else:
        assert still.engine.ledger.calls() == []


@pytest.mark.parametrize("caught", [True, False], ids=["caught", "control"])
def test_sums_that_no_column_holds_keep_no_call_from_being_booked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caught: bool
) -> None:
    """More than nine hundred of the dearest calls that there can be, all on one day."""
    monkeypatch.setattr(Summing, "often", 50)
    monkeypatch.setattr(Summing, "latest", 10)
    if not caught:
        monkeypatch.setattr(summing, "_TOO_LARGE", set())
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    tiny = {"model": "gpt-4o", "usage": Usage(input_tokens=1), "occurred_at": at}
    refused = 0
    with metered(tmp_path / "sums.db") as meter:
        for number in range(1_100):
            try:
                meter.record(**tiny, cost=10**7, transaction_id=str(number))
            except LedgerError:
                refused += 1
    assert (refused == 0) is caught
    if not caught:
        return
    with metered(tmp_path / "sums.db") as meter:
        assert meter.record(**tiny).cost == Decimal("0.0000025")
        assert len(meter.reports.records(limit=2_000)) == 1_101
        with pytest.raises(LedgerError):
            meter.reports.summary()
