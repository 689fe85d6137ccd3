"""Whose money pays for further attempts: that of the windows of the call that they are of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import openai
import pytest

from farthing import Budget, LedgerError, Meter
from farthing.testing import FakeClock, Reply
from intercept.kit import ASK, USUAL

LATE = datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)
MIDNIGHT = int(datetime(2026, 1, 2, tzinfo=UTC).timestamp()) * 10**9
DAY = 86_400 * 10**9

LOST = Reply(status=502, headers={"retry-after-ms": "1"})
FREE = Reply(status=429, headers={"retry-after-ms": "1"})

PERIODS = ["hour", "day", "month", "total", timedelta(hours=7)]


@pytest.fixture
def clock():
    made = FakeClock()
    made.set(LATE)
    return made


@pytest.fixture
def meter(ledger_path, clock):
    """The clock of this one stands still, a second before midnight."""
    made = Meter(ledger_path, durability="fast", clock=clock)
    yield made
    made.close()


def ask(kit, client):
    return kit.run(client.chat.completions.create(**ASK))


def lost_at_midnight(kit, clock, then=lambda: None, look=lambda: None):
    """A client whose first attempt is lost five seconds later, after `then`; `look` comes with the second."""

    def lose(request):
        if request.order > 1:
            look()
            return None
        clock.advance(5)
        then()
        return LOST

    kit.provider.script(lose)
    return kit.client(options={"max_retries": 2})


def windows(kit):
    return [(each.starts_ns, each.spent, each.held) for each in kit.meter.engine.ledger.windows()]


def held_anew(kit, monkeypatch, clock):
    """The control: money for a further attempt is taken from the windows of that instant."""
    ledger = kit.meter.engine.ledger
    reserve = ledger._reserve

    def now(conn, wanted):
        return reserve(conn, wanted if wanted.topped is None else replace(wanted, started_ns=clock.time_ns()))

    monkeypatch.setattr(ledger, "_reserve", now)


@pytest.mark.parametrize("anew", [False, True], ids=["", "control"])
def test_a_retry_after_midnight_does_not_overspend_the_day_on_which_its_call_began(
    kit, clock, monkeypatch, anew
):
    """In the control it is paid for by the new day and booked on the old one, whose limit it passes."""
    budget = Budget("day", "0.022", "day")
    kit.meter.set_budget(budget)
    client = lost_at_midnight(kit, clock)
    if anew:
        held_anew(kit, monkeypatch, clock)
        ask(kit, client)
        assert max(spent for _, spent, _ in windows(kit)) > budget.limit_nano
        return
    with pytest.raises(openai.InternalServerError):
        ask(kit, client)
    assert len(kit.provider.requests) == 1
    row = kit.row()
    assert (row.outcome, row.attempts, row.counted_nano) == ("unknown", 1, row.held_nano)
    assert windows(kit) == [(MIDNIGHT - DAY, row.held_nano, 0)]


def test_what_all_the_attempts_cost_is_booked_on_the_day_on_which_the_call_began(kit, clock):
    kit.meter.set_budget(Budget("day", "5", "day"))
    held = []
    client = lost_at_midnight(kit, clock, look=lambda: held.append(windows(kit)))
    ask(kit, client)
    row = kit.row()
    assert held == [[(MIDNIGHT - DAY, 0, 2 * row.held_nano)]]
    assert (row.flags, row.counted_nano) == (["lost_attempts"], USUAL + row.held_nano)
    assert windows(kit) == [(MIDNIGHT - DAY, row.counted_nano, 0)]
    ask(kit, client)
    assert windows(kit) == [(MIDNIGHT - DAY, row.counted_nano, 0), (MIDNIGHT, USUAL, 0)]


def test_the_call_of_the_new_day_does_not_pay_for_those_of_the_old_one(kit, clock):
    """The retry that the old day does not afford takes nothing from the new one."""
    kit.meter.set_budget(Budget("day", "0.03", "day"))
    client = lost_at_midnight(kit, clock)
    with pytest.raises(openai.InternalServerError):
        ask(kit, client)
    ask(kit, client)
    assert windows(kit)[1:] == [(MIDNIGHT, USUAL, 0)]


@pytest.mark.parametrize("new", PERIODS, ids=str)
@pytest.mark.parametrize("old", PERIODS, ids=str)
def test_rules_that_change_between_attempts_leave_windows_that_add_up(kit, clock, old, new):
    """`kit.row` has the ledger checked: what each window holds and has spent is that of its lines."""
    kit.meter.set_budget(Budget("all", "5", old))
    client = lost_at_midnight(kit, clock, lambda: kit.meter.set_budget(Budget("all", "4", new)))
    ask(kit, client)
    row = kit.row()
    assert (row.attempts, row.counted_nano) == (2, USUAL + row.held_nano)
    for starts, spent, held in windows(kit):
        assert (spent, held) == (row.counted_nano, 0)
        assert starts < MIDNIGHT + 5 * 10**9 + 1


@pytest.mark.parametrize("new", PERIODS, ids=str)
def test_a_budget_that_comes_between_attempts_counts_the_call_once(kit, clock, new):
    client = lost_at_midnight(kit, clock, lambda: kit.meter.set_budget(Budget("all", "5", new)))
    ask(kit, client)
    row = kit.row()
    assert windows(kit) == [(windows(kit)[0][0], row.counted_nano, 0)]
    assert row.counted_nano == USUAL + row.held_nano


def test_a_budget_that_is_removed_between_attempts_binds_no_more(kit, clock):
    kit.meter.set_budget(Budget("day", "0.03", "day"))
    client = lost_at_midnight(kit, clock, lambda: kit.meter.remove_budget("day"))
    ask(kit, client)
    assert kit.row().counted_nano == USUAL + kit.row().held_nano


# -- calls that no budget binds ----------------------------------------------------------------------


def test_money_is_held_for_further_attempts_of_a_call_that_no_budget_binds(kit):
    """So a process that is killed leaves a row that tells of them."""
    running = []

    def look(_):
        running.append(kit.meter.engine.ledger.facts()["open_calls"])

    kit.provider.script(LOST, FREE, LOST, look)
    ask(kit, kit.client(options={"max_retries": 3}))
    assert running == [3]
    row = kit.row()
    assert (row.attempts, row.counted_nano) == (4, USUAL + 2 * row.held_nano)
    assert kit.meter.engine.ledger.totals()[0].calls == 1


def test_a_hard_budget_that_comes_between_attempts_binds_the_next(kit):
    def limit(request):
        if request.order == 1:
            kit.meter.set_budget(Budget("all", "0.03", "day"))
        return LOST

    kit.provider.script(limit)
    with pytest.raises(openai.InternalServerError):
        ask(kit, kit.client(options={"max_retries": 1}))
    assert len(kit.provider.requests) == 1
    row = kit.row()
    assert [(window.spent, window.limit) for window in kit.meter.windows()] == [(row.held_nano, 30_000_000)]


def test_a_call_that_no_budget_binds_is_tried_again_without_the_ledger(kit, monkeypatch):
    kit.provider.script(LOST, Reply())
    client = kit.client(options={"max_retries": 1})
    reserve = kit.meter.engine.ledger._reserve

    def once(conn, wanted):
        if wanted.topped is not None:
            raise LedgerError("gone")
        return reserve(conn, wanted)

    monkeypatch.setattr(kit.meter.engine.ledger, "_reserve", once)
    ask(kit, client)
    row = kit.row()
    assert (row.outcome, row.attempts, row.flags) == ("complete", 2, ["lost_attempts"])
