"""A ledger against a model of it that fits on a page, under any order of what can happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from farthing.ledger.calls import booking, sql
from farthing.ledger.store import Grant, Short, Stale
from farthing.records import Budget
from ledger.making import DAY, HOUR, NOON, Clock, entry, opened, reservation, settlement, standing_bound

AMOUNTS = st.integers(0, 60)


@dataclass
class Row:
    """One call as the model sees it."""

    day: int
    held: int
    expected: int
    state: str = "open"
    cost: int = 0
    counted: int = 0


class Ledgers(RuleBasedStateMachine):
    grants = Bundle("grants")

    @initialize(limits=st.tuples(st.integers(50, 200), st.integers(50, 400)))
    def begin(self, limits: tuple[int, int]) -> None:
        self.clock = Clock()
        self.ledger = opened(":memory:", self.clock)
        self.rows: dict[int, Row] = {}
        self.budgets = {
            "daily": Budget("daily", f"0.{limits[0]:09d}", "day"),
            "total": Budget("total", f"0.{limits[1]:09d}", "total"),
            "soft": Budget("soft", 1, "day", mode="soft"),
        }
        for budget in self.budgets.values():
            self.ledger.set_budget(budget, origin="code")

    def bounds(self) -> list[object]:
        return [standing_bound(budget) for budget in self.budgets.values()]

    def window(self, name: str, day: int | None) -> tuple[int, int]:
        rows = [row for row in self.rows.values() if day is None or row.day == day]
        spent = sum(
            row.cost if name == "soft" else row.counted for row in rows if row.state not in {"open", "void"}
        )
        return spent, sum(row.held for row in rows if row.state == "open")

    def left(self, name: str, day: int) -> int:
        spent, held = self.window(name, None if name == "total" else day)
        return self.budgets[name].limit_nano - spent - held

    @rule(target=grants, day=st.integers(-1, 1), lo=AMOUNTS, more=st.sampled_from([0, 0, 30]))
    def reserve(self, day: int, lo: int, more: int) -> tuple[Grant, int] | None:
        want = reservation(
            self.ledger, self.bounds(), started_ns=NOON + day * DAY, lo=lo, hi=lo + more, expected=lo // 2
        )
        answer = self.ledger.reserve(want)
        left = min(self.left("daily", day), self.left("total", day))
        granted = lo if not more else min(lo + more, max(lo, left // 4))
        if lo > 0 and left < granted:
            assert isinstance(answer, Short)
            return None
        assert isinstance(answer, Grant), (answer, left)
        assert answer.held == granted
        self.rows[answer.call] = Row(day, answer.held, lo // 2)
        return answer, answer.call

    @rule(
        pair=grants,
        cost=AMOUNTS,
        extra=st.sampled_from([0, 0, 9]),
        how=st.sampled_from(["ok", "unknown", "void"]),
    )
    def settle(self, pair: tuple[Grant, int] | None, cost: int, extra: int, how: str) -> None:
        if pair is None:
            return
        grant, number = pair
        row = self.rows[number]
        outcome = "unknown" if how == "unknown" else "complete"
        end = settlement(cost, counted=cost + extra, outcome=outcome)
        done = self.ledger.settle(grant, end, void=how == "void")
        uncertain = row.state in {"open", "expired"} or (row.state == "unknown" and how != "unknown")
        assert done is uncertain
        if done:
            row.state = how
            row.cost, row.counted = (0, 0) if how == "void" else (cost, cost + extra)

    @rule()
    def expire(self) -> None:
        open_rows = [row for row in self.rows.values() if row.state == "open"]
        assert self.ledger.expire(NOON + HOUR) == len(open_rows)
        for row in open_rows:
            row.state, row.cost, row.counted = "expired", row.expected, row.held

    @rule(day=st.integers(-2, 1), cost=AMOUNTS)
    def record(self, day: int, cost: int) -> None:
        one = entry(self.ledger, self.bounds(), cost, started_ns=NOON + day * DAY)
        self.ledger.record(one)
        self.rows[-len(self.rows) - 1] = Row(day, 0, 0, "ok", cost, cost)

    @rule(name=st.sampled_from(["daily", "total"]), limit=st.integers(1, 400))
    def change_limit(self, name: str, limit: int) -> None:
        self.budgets[name] = Budget(name, f"0.{limit:09d}", self.budgets[name].period)
        self.ledger.set_budget(self.budgets[name], origin="code")

    @rule(timezone=st.sampled_from(["UTC", "Europe/Berlin"]))
    def change_rules_of_total(self, timezone: str) -> None:
        """Which closes its window and opens another that must remember everything."""
        old = self.budgets["total"]
        self.budgets["total"] = Budget("total", old.limit, "total", timezone=timezone)
        self.ledger.set_budget(self.budgets["total"], origin="code")

    @rule()
    def ask_with_old_budgets(self) -> None:
        stale = self.ledger.reserve(reservation(self.ledger, epoch=self.ledger.standing()[0] - 1))
        assert isinstance(stale, Stale)

    @invariant()
    def books_agree(self) -> None:
        for day in (-2, -1, 0, 1):
            for window in self.ledger.windows(at_ns=NOON + day * DAY):
                if window.budget != "total":
                    assert (window.spent, window.held) == self.window(window.budget, day)
                elif day == 0:
                    assert (window.spent, window.held) == self.window("total", None)
        [total] = self.ledger.totals()
        ended = [row for row in self.rows.values() if row.state != "open"]
        assert (total.calls, total.cost, total.counted) == (
            len(ended),
            sum(row.cost for row in ended),
            sum(row.counted for row in ended),
        )
        assert total.errors == sum(row.state == "void" for row in ended)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            assert self.ledger.check() == []
            self.ledger.close()


Ledgers.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLedgers = Ledgers.TestCase


def unguarded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sql, "HOLD_GUARDED", sql.HOLD)


def freed_when_expired(patch: pytest.MonkeyPatch) -> None:
    expire = booking._expire
    patch.setattr(
        booking, "_expire", lambda conn, now, dead: expire(conn, now, [(*row[:-1], 0) for row in dead])
    )


def held_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sql, "BOOK_WINDOW", sql.BOOK_WINDOW.replace("held = held - ?1", "held = held"))


@pytest.mark.parametrize("fault", [unguarded, freed_when_expired, held_for_ever])
def test_a_ledger_with_a_fault_differs_from_the_model(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The control."""
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Ledgers,
            settings=settings(
                Ledgers.TestCase.settings,
                max_examples=200,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                report_multiple_bugs=False,
            ),
        )
