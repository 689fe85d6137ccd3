"""Which writes of a `safe` ledger must survive a power cut: what reserves money, and what says that more is
spent than a window knows. That such a commit reaches the disk is what tests/power proves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.catalog import UserPrice
from farthing.ledger import Ledger
from farthing.ledger.parking import JobRef
from farthing.ledger.spilled import Spilled
from farthing.ledger.store import Bound
from farthing.records import Budget
from ledger.making import DAY, NOON, USD, entry, opened, reservation, reserved, settlement, with_budget

ALL = Budget("all", 1_000)
REF = JobRef("https://api.openai.com/v1", "batch", "batch_1")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    store = opened(tmp_path / "ledger.db", durability="safe")
    yield store
    store.close()


@pytest.fixture
def bound(ledger: Ledger) -> Bound:
    return with_budget(ledger, ALL)


def synced(ledger: Ledger, do: Callable[[], Any]) -> bool:
    """Whether a write was asked to reach the disk."""
    asked: list[bool] = []
    write = ledger._connections.write

    def watched(operation: Any, argument: Any, *, full: bool, **more: Any) -> Any:
        asked.append(full)
        return write(operation, argument, full=full, **more)

    ledger._connections.write = watched
    try:
        do()
    finally:
        del ledger._connections.write
    assert asked
    return any(asked)


SYNCED = {
    "a reserve": lambda led, bound: led.reserve(reservation(led, [bound])),
    "a further attempt": lambda led, bound: led.reserve(
        reservation(led, [bound], topped=reserved(led, [bound]).call)
    ),
    "reserves together": lambda led, bound: led.together([reservation(led, [bound]) for _ in range(2)]),
    "a record": lambda led, bound: led.record(entry(led, [bound])),
    "an import": lambda led, bound: led.record_many([entry(led, [bound])]),
    "intake": lambda led, bound: led.take_in(
        [Spilled(state="ended", reservation=reservation(led, [bound]), held=USD, end=settlement())], NOON
    ),
    "a budget": lambda led, bound: led.set_budget(Budget("more", 1), origin="cli"),
    "a limit": lambda led, bound: led.set_budget(Budget("all", 2), origin="cli"),
    "a budget removed": lambda led, bound: led.remove_budget("all"),
}


@pytest.mark.parametrize("what", SYNCED)
def test_what_must_survive_a_power_cut_is_synced(ledger: Ledger, bound: Bound, what: str) -> None:
    assert synced(ledger, lambda: SYNCED[what](ledger, bound))


def test_ends_are_synced_where_they_are_above_their_hold(ledger: Ledger, bound: Bound) -> None:
    for cost, needed in ((USD, False), (USD // 2, False), (USD + 1, True)):
        grant = reserved(ledger, [bound])
        assert synced(ledger, lambda g=grant, c=cost: ledger.settle(g, settlement(c))) is needed
        ending = (reserved(ledger, [bound]), settlement(cost), False)
        assert synced(ledger, lambda e=ending: ledger.together([e])) is needed
    grant = reserved(ledger, [bound])
    assert not synced(ledger, lambda: ledger.settle(grant, settlement(2 * USD), void=True))


def test_a_call_that_no_budget_binds_is_not_synced(ledger: Ledger) -> None:
    for cost in (USD, 2 * USD):
        assert not synced(ledger, lambda c=cost: ledger.settle(reserved(ledger), settlement(c)))


def test_a_job_keeps_its_hold_through_a_power_cut(ledger: Ledger, bound: Bound) -> None:
    grant = reserved(ledger, [bound])
    assert synced(ledger, lambda: ledger.park(grant, REF, NOON + DAY, {}))


def test_a_correction_is_synced(ledger: Ledger, bound: Bound) -> None:
    grant = reserved(ledger, [bound])
    ledger.settle(grant, settlement())
    call_id = grant.reservation.id
    assert synced(ledger, lambda: ledger.correct(call_id, cost=2 * USD, reason="the bill"))


def test_a_stored_price_is_synced(ledger: Ledger) -> None:
    assert synced(ledger, lambda: ledger.set_price(UserPrice(model="gpt-mine", prices={"input": 1})))
    assert synced(ledger, lambda: ledger.remove_price(ledger.prices()[0].key))


def test_a_budget_that_is_released_is_synced(ledger: Ledger, bound: Bound) -> None:
    ledger.set_budget(Budget("all", 5), origin="cli")
    assert synced(ledger, lambda: ledger.release_budget("all"))
