"""`reserve` and `record`: calls that no wrapper sees."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing import (
    Budget,
    FarthingError,
    Hold,
    InsufficientCredits,
    InvalidUsage,
    Meter,
    TransactionConflict,
    UnpricedModel,
    Usage,
)
from farthing.testing import FakeClock
from guard.making import held_and_spent, metered

USED = Usage(input_tokens=1_000, output_tokens=100)
COST = Decimal("0.0035")
ASKED = {"model": "gpt-4o", "input_tokens": 1_000, "max_output_tokens": 200}
HELD = Decimal("0.0045")
NANO = 10**9


@pytest.fixture(autouse=True)
def _budget(still: Meter) -> None:
    still.set_budget(Budget("all", "0.01", "month"))


def outcomes(meter: Meter) -> list[tuple[str, int | None, int]]:
    return [(r["outcome"], r["cost_nano"], r["counted_nano"]) for r in meter.engine.ledger.calls()]


def fails_when_sent(hold: Hold, error: type[BaseException]) -> None:
    hold.sent()
    raise error


def fails_when_settled(hold: Hold) -> None:
    hold.settle(USED)
    raise RuntimeError


def test_a_hold_sets_money_aside_and_is_settled_once(still: Meter) -> None:
    hold = still.reserve(**ASKED)
    assert held_and_spent(still) == [(HELD * NANO, 0)]
    receipt = hold.settle(USED)
    assert (receipt.cost, receipt.held, receipt.id) == (COST, HELD, hold.id)
    assert held_and_spent(still) == [(0, COST * NANO)]
    with pytest.raises(FarthingError):
        hold.settle(USED)
    hold.void()
    assert outcomes(still) == [("complete", COST * NANO, COST * NANO)]


def test_a_voided_hold_leaves_an_error_row_of_no_cost(still: Meter) -> None:
    hold = still.reserve(**ASKED)
    hold.void()
    hold.void()
    assert held_and_spent(still) == [(0, 0)]
    assert outcomes(still) == [("error", 0, 0)]
    with pytest.raises(FarthingError):
        hold.settle(USED)


def test_holds_are_refused_as_calls_are(still: Meter) -> None:
    holds = [still.reserve(**ASKED) for _ in range(2)]
    with pytest.raises(InsufficientCredits) as caught:
        still.reserve(**ASKED)
    assert caught.value.transient
    holds[0].void()
    still.reserve(**ASKED).void()
    holds[1].void()


def test_a_hold_is_of_the_model_that_it_names_and_falls_back_to_none(still: Meter) -> None:
    """There is no request whose model could be changed: what is asked for is held or refused."""
    still.set_budget(Budget("all", "0.003", "month", fallback="gpt-4o-mini"))
    with pytest.raises(InsufficientCredits):
        still.reserve(**ASKED)
    hold = still.reserve(**(ASKED | {"model": "gpt-4o-mini"}))
    assert hold.settle(USED).fallback_from is None


def test_an_amount_is_held_as_it_is(still: Meter) -> None:
    hold = still.reserve(model="nobody-knows-1", amount="0.008")
    assert held_and_spent(still) == [(8_000_000, 0)]
    with pytest.raises(InsufficientCredits):
        still.reserve(model="gpt-4o", amount="0.003")
    hold.void()


BY_UNITS = {"mine-images": {"image": "0.04"}, "mine-both": {"input": 1, "output": 2, "second": "0.001"}}


@pytest.mark.parametrize(
    ("model", "more", "what"),
    [
        ("tts-1", {}, "characters"),
        ("tts-1", {"input_tokens": 10, "max_output_tokens": 0}, "characters"),
        ("whisper-1", {"operation": "transcription"}, "seconds"),
        ("mine-images", {"input_tokens": 10, "max_output_tokens": 10}, "images"),
        ("mine-both", {"input_tokens": 10, "operation": "transcription"}, "seconds"),
        ("text-embedding-3-small", {"input_tokens": 10, "max_output_tokens": 10}, "tokens of output"),
        ("text-embedding-3-small", {"input_tokens": 10, "operation": "chat"}, "tokens of output"),
    ],
)
def test_what_tokens_do_not_bound_is_refused_unless_its_amount_is_stated(
    ledger_path: Path, clock: FakeClock, model: str, more: dict[str, Any], what: str
) -> None:
    with metered(ledger_path, clock=clock, prices=BY_UNITS) as meter:
        with pytest.raises(UnpricedModel, match=rf"\(its {what}; amount= states what to hold\)"):
            meter.reserve(model=model, **more)
        with pytest.raises(UnpricedModel):
            asyncio.run(meter.areserve(model=model, **more))
        assert outcomes(meter) == []
        meter.reserve(model=model, amount="0.002", **more).void()
        meter.remove_budget("all")
        meter.reserve(model=model, **more).void()
        meter.set_budget(Budget("told", "0.01", "month", mode="soft"))
        meter.reserve(model=model, **more).void()
    with metered(ledger_path, clock=clock, prices=BY_UNITS, on_unpriced="allow") as meter:
        meter.set_budget(Budget("all", 1, "month"))
        hold = meter.reserve(model=model, **more)
        assert "unpriced_allowed" in hold.settle(Usage(seconds=1)).flags


@pytest.mark.parametrize(
    ("model", "more", "nano"),
    [
        ("text-embedding-3-small", {"input_tokens": 1_000}, 20_000),
        ("text-embedding-3-small", {"input_tokens": 1_000, "operation": "embedding"}, 20_000),
        ("mine-both", {"input_tokens": 1_000, "max_output_tokens": 100}, 1_200_000),
        ("mine-free", {}, 0),
    ],
)
def test_what_tokens_do_bound_is_held(
    ledger_path: Path, clock: FakeClock, model: str, more: dict[str, Any], nano: int
) -> None:
    with metered(ledger_path, clock=clock, prices=BY_UNITS | {"mine-free": "free"}) as meter:
        hold = meter.reserve(model=model, **more)
        assert held_and_spent(meter) == [(nano, 0)]
        hold.void()


def test_the_fee_of_a_request_is_held_too(ledger_path: Path, clock: FakeClock) -> None:
    prices = {"mine-1": {"input": 1, "output": 2, "request": "0.005"}}
    with metered(ledger_path, clock=clock, prices=prices) as meter:
        receipt = meter.reserve(model="mine-1", input_tokens=1_000, max_output_tokens=100).settle(USED)
        assert receipt.held == receipt.cost == Decimal("0.0062")
        assert receipt.overrun is None
        with pytest.raises(InsufficientCredits):
            meter.reserve(model="mine-1", input_tokens=1_000, max_output_tokens=100)
        meter.reserve(model="mine-1", amount="0.003").void()


def test_without_a_maximum_of_output_what_the_window_leaves_is_held(still: Meter) -> None:
    model = {"model": "minimax/minimax-m2.5", "provider": "avian"}
    window = still.engine.catalog.context_window(model["model"], provider=model["provider"])
    assert still.engine.catalog.max_output(model["model"], provider=model["provider"]) is None
    still.remove_budget("all")
    assert still.reserve(**model, input_tokens=window - 500).max_output_tokens == 500
    assert still.reserve(**model).max_output_tokens == window
    assert still.reserve(**model, input_tokens=10, max_output_tokens=20).max_output_tokens == 20
    assert still.reserve(model="nobody-knows-1", input_tokens=10).max_output_tokens == 16_384


@pytest.mark.parametrize("ends", ["fails", "dies"])
@pytest.mark.parametrize("more", [{"amount": "0.008"}, {}], ids=["amount", "nothing"])
def test_what_nobody_stated_of_an_uncertain_call_is_unknown(
    still: Meter, clock: FakeClock, ends: str, more: dict[str, Any]
) -> None:
    """An amount is the most that the call may cost: it says nothing of its tokens, nor what it did cost."""
    still.set_budget(Budget("all", 1, "month"))
    hold = still.reserve(model="gpt-4o", **more)
    held = held_and_spent(still)[0][0]
    hold.sent()
    if ends == "fails":
        hold.fail(TimeoutError())
    else:
        clock.advance(601)
        assert still.engine.ledger.expire(clock.time_ns()) == 1
    [row] = still.engine.ledger.calls()
    assert row["outcome"] == ("unknown" if ends == "fails" else "expired")
    assert (row["cost_nano"], row["cost_source"], row["counted_nano"]) == (None, "unpriced", held)
    assert row["input_tokens"] is None
    assert ends == "dies" or row["usage_source"] == "unknown"
    assert held_and_spent(still) == [(0, held)]


def test_an_amount_does_not_hide_the_tokens_that_are_stated(still: Meter) -> None:
    hold = still.reserve(model="gpt-4o", input_tokens=1_000, amount="0.008")
    hold.sent()
    hold.fail(TimeoutError())
    [row] = still.engine.ledger.calls()
    assert (row["input_tokens"], row["usage_source"], row["cost_nano"]) == (1_000, "estimated", 2_500_000)
    assert row["counted_nano"] == 8_000_000


def test_an_error_before_it_was_sent_voids_a_hold(still: Meter) -> None:
    with pytest.raises(RuntimeError), still.reserve(**ASKED):
        raise RuntimeError
    assert held_and_spent(still) == [(0, 0)]
    assert outcomes(still) == [("error", 0, 0)]


def test_an_error_after_it_was_sent_books_a_hold_as_unknown(still: Meter) -> None:
    with pytest.raises(RuntimeError), still.reserve(**ASKED) as hold:
        fails_when_sent(hold, RuntimeError)
    assert held_and_spent(still) == [(0, HELD * NANO)]
    assert outcomes(still) == [("unknown", 2_500_000, HELD * NANO)]


def test_an_interrupt_after_it_was_sent_books_a_hold_as_unknown(still: Meter) -> None:
    with pytest.raises(KeyboardInterrupt), still.reserve(**ASKED) as hold:
        fails_when_sent(hold, KeyboardInterrupt)
    assert outcomes(still) == [("unknown", 2_500_000, HELD * NANO)]


def test_a_settled_hold_stays_settled_when_its_block_fails(still: Meter) -> None:
    with pytest.raises(RuntimeError), still.reserve(**ASKED) as hold:
        fails_when_settled(hold)
    assert outcomes(still) == [("complete", COST * NANO, COST * NANO)]


def test_usage_that_cannot_be_read_leaves_the_hold_to_be_settled(still: Meter) -> None:
    hold = still.reserve(**ASKED)
    with pytest.raises(InvalidUsage):
        hold.settle({"nothing": "here"})
    assert hold.settle(USED).cost == COST


def test_the_same_from_coroutines(still: Meter) -> None:
    async def main() -> None:
        hold = await still.areserve(**ASKED)
        assert (await hold.asettle(USED)).cost == COST
        hold = await still.areserve(**ASKED)
        await hold.avoid()
        with pytest.raises(RuntimeError):
            async with await still.areserve(**ASKED):
                raise RuntimeError
        with pytest.raises(RuntimeError):
            async with await still.areserve(**ASKED) as hold:
                fails_when_sent(hold, RuntimeError)
        with pytest.raises(InsufficientCredits):
            await still.areserve(**ASKED)
        assert await still.acan_afford("0.001")
        receipt = await still.arecord(model="gpt-4o", usage=USED)
        assert receipt.cost == COST

    asyncio.run(main())
    assert sorted(row[0] for row in outcomes(still)) == ["complete", "complete", "error", "error", "unknown"]
    assert held_and_spent(still) == [(0, (2 * COST + HELD) * NANO)]


def test_a_record_is_never_refused(still: Meter) -> None:
    for _ in range(4):
        still.record(model="gpt-4o", usage=USED)
    assert held_and_spent(still) == [(0, 4 * COST * NANO)]
    with pytest.raises(InsufficientCredits):
        still.reserve(**ASKED)


def test_the_same_transaction_is_booked_once(still: Meter) -> None:
    first = still.record(model="gpt-4o", usage=USED, transaction_id="t1")
    again = still.record(model="gpt-4o", usage=USED, transaction_id="t1")
    assert again.id == first.id
    assert held_and_spent(still) == [(0, COST * NANO)]
    other = still.record(model="gpt-4o", usage=USED, transaction_id="t1", account="other")
    assert other.id != first.id


@pytest.mark.parametrize(
    "change", [{"model": "gpt-5"}, {"usage": Usage(input_tokens=1)}, {"cost": 1}, {"tags": {"a": "b"}}]
)
def test_the_same_transaction_with_other_content_is_a_conflict(
    still: Meter, change: dict[str, object]
) -> None:
    content = {"model": "gpt-4o", "usage": USED, "transaction_id": "t1"}
    still.record(**content)
    with pytest.raises(TransactionConflict):
        still.record(**(content | change))
    assert len(outcomes(still)) == 1


def test_a_naive_instant_is_refused(still: Meter) -> None:
    with pytest.raises(InvalidUsage):
        still.record(model="gpt-4o", usage=USED, occurred_at=datetime(2026, 1, 1))  # noqa: DTZ001  naive
    assert outcomes(still) == []


def test_a_record_is_booked_in_the_window_of_its_own_instant(still: Meter, clock: FakeClock) -> None:
    still.record(model="gpt-4o", usage=USED, occurred_at=datetime(2025, 11, 30, 23, 59, tzinfo=UTC))
    still.record(model="gpt-4o", usage=USED)
    clock.advance(timedelta(days=40))
    still.record(model="gpt-4o", usage=USED, occurred_at=datetime(2026, 1, 31, tzinfo=UTC))
    windows = [
        (datetime.fromtimestamp(w.starts_ns // NANO, UTC).month, w.spent)
        for w in still.engine.ledger.windows()
    ]
    assert sorted(windows) == [(1, 2 * COST * NANO), (11, COST * NANO)]


def test_a_fee_for_each_request_is_held_where_nothing_else_is_billed(ledger_path: Path) -> None:
    with metered(ledger_path, prices={"search-api": {"request": "0.005"}}) as meter:
        meter.set_budget(Budget("all", "0.01", "month"))
        holds = [meter.reserve(model="search-api") for _ in range(2)]
        assert held_and_spent(meter) == [(NANO // 100, 0)]
        with pytest.raises(InsufficientCredits):
            meter.reserve(model="search-api", input_tokens=0, max_output_tokens=0)
        with pytest.raises(UnpricedModel):
            meter.reserve(model="search-api", input_tokens=5)
        for hold in holds:
            hold.void()
