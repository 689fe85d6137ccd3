"""What was spent in a period that begins only later counts in it, whatever happens to the budget until then.

A call can be recorded ahead, and a clock that went ahead can be set back.
"""

from __future__ import annotations

from typing import Any

import pytest

from farthing.ledger import Ledger
from farthing.ledger.budgets import standing
from farthing.ledger.store import Bound, Grant, Short, Stale
from farthing.records import Budget
from ledger.making import (
    DAY,
    NOON,
    USD,
    Clock,
    attached_bound,
    entry,
    reservation,
    settlement,
    standing_bound,
)

OLD = Budget("all", 1, "day")
AHEAD = NOON + DAY


def asked(ledger: Ledger, bound: Bound, at: int) -> Grant | Short:
    """A call of all that a budget of one dollar has."""
    while True:
        answer = ledger.reserve(reservation(ledger, [bound], USD, started_ns=at))
        if not isinstance(answer, Stale):
            return answer
        ledger.standing(fresh=True)


def spend(ledger: Ledger, bound: Bound, at: int) -> Grant:
    answer = asked(ledger, bound, at)
    assert isinstance(answer, Grant)
    return answer


def later_windows(ledger: Ledger, at: int = AHEAD) -> list[tuple[str, int, int]]:
    return [(window.key, window.spent, window.held) for window in ledger.windows(at_ns=at)]


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
@pytest.mark.parametrize("kind", ["recorded", "settled", "open"])
@pytest.mark.parametrize(
    "change", ["zone", "filter", "amounts", "removed and set again", "made", "limited and released"]
)
def test_a_standing_budget_keeps_what_is_spent_ahead_of_now(
    ledger: Ledger, change: str, kind: str, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded:
        monkeypatch.setattr(standing, "_NEXT", "SELECT seq FROM call WHERE seq >= ? AND 0")
    new = {
        "zone": Budget("all", 1, "day", timezone="Europe/London"),
        "filter": Budget("all", 1, "day", provider="openai"),
        "amounts": Budget("all", 1, "day", uncertain="expected"),
    }.get(change, OLD)
    bound = standing_bound(OLD)
    if change != "made":
        ledger.set_budget(OLD, origin="code")
    if kind == "recorded":
        ledger.record(entry(ledger, [bound] if change != "made" else [], USD, started_ns=AHEAD))
    else:
        answer = ledger.reserve(
            reservation(ledger, [bound] if change != "made" else [], USD, started_ns=AHEAD)
        )
        assert isinstance(answer, Grant)
        if kind == "settled":
            ledger.settle(answer, settlement(USD))
    if change == "removed and set again":
        ledger.remove_budget("all")
    if change == "limited and released":
        ledger.set_budget(Budget("all", 2, "day"), origin="cli")
        ledger.release_budget("all")
    ledger.set_budget(new, origin="code")
    kept = guarded or change == "limited and released"
    assert isinstance(asked(ledger, standing_bound(new), AHEAD + 1000), Short if kept else Grant)
    if kept:
        assert later_windows(ledger) == [("", 0, USD) if kind == "open" else ("", USD, 0)]
    assert isinstance(asked(ledger, standing_bound(new), NOON), Grant)  # of today
    assert ledger.check() == []


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
@pytest.mark.parametrize("ends", [True, False])
def test_so_does_an_attached_one(
    ledger: Ledger, ends: bool, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded:
        monkeypatch.setattr(standing, "_NEXT", "SELECT seq FROM call WHERE seq >= ? AND 0")
    old = attached_bound(OLD, "all")
    new = attached_bound(Budget("all", 1, "day", uncertain="expected"), "all")
    grant = spend(ledger, old, AHEAD)
    if ends:
        ledger.settle(grant, settlement(USD))
    spend(ledger, attached_bound(Budget("other", 9, "day"), "other"), AHEAD)  # does not name it
    spend(ledger, new, NOON)
    assert isinstance(asked(ledger, new, AHEAD + 1000), Short if guarded else Grant)
    if guarded:
        assert later_windows(ledger) == [("", 0, USD), ("", USD, 0) if ends else ("", 0, USD)]
    ledger.settle(grant, settlement(USD))
    assert ledger.check() == []


def test_each_later_period_and_key_has_its_own(ledger: Ledger) -> None:
    for account, days in (("a", 1), ("b", 1), ("b", 1), ("a", 3)):
        ledger.record(entry(ledger, started_ns=NOON + days * DAY, account=account))
    ledger.set_budget(Budget("each", 9, "day", per="account"), origin="code")
    assert [later_windows(ledger, NOON + days * DAY) for days in range(4)] == [
        [],
        [("a", USD, 0), ("b", 2 * USD, 0)],
        [],
        [("a", USD, 0)],
    ]
    assert len(ledger.windows()) == 3
    assert ledger.check() == []


def test_a_longer_period_takes_what_is_ahead_within_it_once(ledger: Ledger) -> None:
    ledger.set_budget(OLD, origin="code")
    for days in (0, 1, 40):
        ledger.record(entry(ledger, [standing_bound(OLD)], started_ns=NOON + days * DAY))
    for period, spent in (("week", [2, 1]), ("total", [3]), ("day", [1, 1, 1])):
        ledger.set_budget(Budget("all", 9, period), origin="code")
        assert [window.spent // USD for window in ledger.windows() if window.ends_ns != NOON] == spent
        assert ledger.check() == []


def test_a_later_end_is_charged_where_its_call_was_carried_to(ledger: Ledger, clock: Clock) -> None:
    """Its grant names a window that is gone."""
    ledger.set_budget(OLD, origin="code")
    clock.now = AHEAD
    grant = spend(ledger, standing_bound(OLD), AHEAD)
    clock.now = NOON
    new = Budget("all", 1, "day", timezone="Asia/Kolkata")
    ledger.set_budget(new, origin="code")
    assert ledger.settle(grant, settlement(USD // 2))
    assert later_windows(ledger) == [("", USD // 2, 0)]
    assert ledger.check() == []


def test_an_earlier_call_that_a_later_window_counts_is_carried_over_too(ledger: Ledger, clock: Clock) -> None:
    """It is recorded for an hour before the rules of today, which count the day from its own beginning."""
    ledger.set_budget(OLD, origin="code")
    for spent, zone in enumerate(("Europe/Berlin", "UTC", "Europe/London", "UTC")):
        clock.now -= 1000 * spent
        budget = Budget("all", 9, "day", timezone=zone)
        ledger.set_budget(budget, origin="code")
        ledger.record(entry(ledger, [standing_bound(budget)], started_ns=NOON - 1_800 * 10**9))
        assert later_windows(ledger, NOON) == [("", (spent + 1) * USD, 0)]
        assert ledger.check() == []


@pytest.mark.parametrize("changed", [{"mode": "soft"}, {"timezone": "Asia/Kolkata"}, {"per": "account"}])
def test_an_alert_is_raised_for_what_is_spent_ahead(ledger: Ledger, changed: dict[str, Any]) -> None:
    ledger.record(entry(ledger, started_ns=AHEAD))
    key = "acme" if "per" in changed else ""
    ledger.set_budget(Budget("all", 1, "day", alerts=(0.5,), **changed), origin="code")
    assert [(alert.key, alert.spent) for alert in ledger.outbox.raised()] == [(key, 1)]
