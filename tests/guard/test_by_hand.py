"""`reserve` and `record`: calls that no wrapper sees."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from farthing import (
    Budget,
    FarthingError,
    Hold,
    InsufficientCredits,
    InvalidUsage,
    Meter,
    TransactionConflict,
    Usage,
)
from farthing.testing import FakeClock
from guard.making import held_and_spent

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
