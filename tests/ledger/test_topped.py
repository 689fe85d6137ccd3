"""Money held for further attempts of a call is on rows of its own: whatever happens, they become one call."""

from __future__ import annotations

import json

import pytest

from farthing.ledger import Ledger
from farthing.ledger.calls.owner import LEASE
from farthing.ledger.store import Grant
from farthing.records import Budget
from ledger.making import NOON, USD, reservation, reserved, settlement, with_budget

LATER = NOON + 2 * LEASE


def attempts(ledger: Ledger, *started: int, marked: bool = True) -> list[Grant]:
    """The grants of one call with so many attempts."""
    bounds = [with_budget(ledger, Budget("all", 99)), with_budget(ledger, Budget("day", 99, "day"))]
    first = reserved(ledger, bounds, started_ns=started[0])
    of = first.call if marked else None
    return [first, *(reserved(ledger, bounds, started_ns=at, topped=of) for at in started[1:])]


def spent(ledger: Ledger) -> list[tuple[int, int, int]]:
    return [(window.spent, window.held, window.cost) for window in ledger.windows()]


@pytest.mark.parametrize("marked", [True, False], ids=["", "control"])
@pytest.mark.parametrize(
    "started",
    [(NOON, NOON, NOON), (NOON, NOON + 5_000, NOON + 9_000), (NOON, NOON - 5_000, NOON - 9_000)],
    ids=["as the call", "later", "earlier"],
)
def test_a_process_that_died_in_a_further_attempt_leaves_one_row(
    ledger: Ledger, started: tuple[int, ...], marked: bool
) -> None:
    """Also if the clock was set back meanwhile. The control does not say of which call an attempt is."""
    [first, *_] = attempts(ledger, *started, marked=marked)
    ledger.expire(LATER)
    assert spent(ledger) == [(3 * USD, 0, 3 * USD // 10)] * 2
    assert ledger.facts()["open_calls"] == 0
    if not marked:
        assert ledger.totals()[0].calls == 3
        return
    [row] = ledger.calls()
    assert (row["id"], row["outcome"], row["attempts"]) == (first.reservation.id, "expired", 3)
    assert (row["cost_nano"], row["counted_nano"]) == (3 * USD // 10, 3 * USD)
    assert json.loads(row["flags"]) == ["lost_attempts"]
    assert json.loads(row["units"]) == {"lost_attempts": 2, "lost_attempts_nano": 2 * USD // 10}
    assert ledger.totals()[0].calls == 1


@pytest.mark.parametrize("unknown", [0, 1, 2])
def test_an_attempt_of_unknown_price_makes_the_cost_unknown_and_not_less(
    ledger: Ledger, unknown: int
) -> None:
    bounds = [with_budget(ledger, Budget("all", 99))]
    expected = [None if number == unknown else USD // 10 for number in range(3)]
    first = reserved(ledger, bounds, expected=expected[0])
    for each in expected[1:]:
        reserved(ledger, bounds, expected=each, topped=first.call)
    ledger.expire(LATER)
    [row] = ledger.calls()
    assert (row["cost_nano"], row["cost_source"], row["counted_nano"]) == (None, "unpriced", 3 * USD)
    assert spent(ledger) == [(3 * USD, 0, 0)]
    assert (ledger.totals()[0].unpriced, ledger.totals()[0].cost) == (1, 0)


def test_a_process_that_died_before_it_took_a_further_hold_back_leaves_the_end_that_it_had_booked(
    ledger: Ledger,
) -> None:
    first, _ = attempts(ledger, NOON, NOON + 5)
    ledger.settle(first, settlement(USD // 2, counted=3 * USD // 2))
    ledger.expire(LATER)
    [row] = ledger.calls()
    assert (row["outcome"], row["counted_nano"]) == ("complete", 3 * USD // 2)
    assert spent(ledger) == [(3 * USD // 2, 0, USD // 2)] * 2
    assert ledger.facts()["open_calls"] == 0


def test_a_call_that_was_expired_with_its_attempts_is_settled_late(ledger: Ledger) -> None:
    first, more = attempts(ledger, NOON, NOON + 5)
    ledger.expire(LATER)
    assert ledger.settle(first, settlement(USD // 2, counted=3 * USD // 2))
    assert not ledger.release(more)
    assert spent(ledger) == [(3 * USD // 2, 0, USD // 2)] * 2
    assert ledger.totals()[0].calls == 1


def test_together_with_others_a_further_attempt_is_that_of_its_call(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 99))
    first = reserved(ledger, [bound])
    answers = ledger.together([reservation(ledger, [bound]), reservation(ledger, [bound], topped=first.call)])
    assert [type(answer) for answer in answers] == [Grant, Grant]
    ledger.expire(LATER)
    assert sorted(row["attempts"] for row in ledger.calls()) == [1, 2]


def test_a_further_attempt_that_nobody_waits_for_leaves_no_row(ledger: Ledger) -> None:
    first, more = attempts(ledger, NOON, NOON + 5_000)
    ledger.give_up(more.reservation.id)
    assert ledger.facts()["open_calls"] == 1
    assert spent(ledger) == [(0, USD, 0)] * 2
    ledger.settle(first, settlement())
    assert ledger.totals()[0].calls == 1
