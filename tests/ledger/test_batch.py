"""Many writes in one transaction: the answers, the windows and the totals are those of as many alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.ledger import Ledger
from farthing.ledger.store import Grant, Reservation, Short
from farthing.records import Budget
from ledger.making import (
    DAY,
    NOON,
    USD,
    attached_bound,
    opened,
    reservation,
    settlement,
    standing_bound,
    with_budget,
)

BUDGETS = (
    Budget("hard", 6, "day"),
    Budget("narrow", 3, "day", per="account"),
    Budget("soft", 2, "day", mode="soft"),
    Budget("late", 4, "month", uncertain="expected"),
)

AMOUNTS = st.sampled_from([USD, 2 * USD, 3 * USD]) | st.integers(0, 3 * USD)
RESERVES = st.tuples(
    st.just("reserve"),
    st.sets(st.integers(0, 1)),
    AMOUNTS,
    st.none() | AMOUNTS,
    st.sampled_from([NOON, NOON, NOON, NOON + DAY, NOON - 40 * DAY]),
    st.sampled_from(["acme", "other"]),
)
SETTLES = st.tuples(
    st.just("settle"),
    st.integers(0, 12),
    st.none() | AMOUNTS,
    AMOUNTS,
    st.sampled_from(["complete", "unknown", "aborted"]),
    st.booleans(),
)


class World:
    """One ledger, its budgets and the calls that were granted in it."""

    def __init__(self) -> None:
        self.ledger: Ledger = opened(":memory:")
        for budget in BUDGETS:
            with_budget(self.ledger, budget)
        self.attached = [attached_bound(Budget("own", limit, "day")) for limit in (2, 5)]
        self.grants: list[Grant] = []

    def write(self, step: Any, place: int) -> Any:
        """What a step asks of the ledger."""
        if step[0] == "reserve":
            _, numbers, one, other, at, account = step
            bounds = [standing_bound(each, account if each.per else "") for each in BUDGETS]
            bounds += [self.attached[number] for number in sorted(numbers)]
            lo, hi = sorted((one, one if other is None else other))
            return reservation(
                self.ledger, bounds, id=f"call-{place}", lo=lo, hi=hi, started_ns=at, account=account
            )
        _, number, cost, counted, outcome, void = step
        grant = self.grants[number % len(self.grants)]
        return (grant, settlement(cost, counted=counted, outcome=outcome), void)

    def state(self) -> Any:
        windows = [
            (w.budget, w.key, w.starts_ns, w.limit, w.spent, w.held, w.cost) for w in self.ledger.windows()
        ]
        totals = [
            (t.group, t.calls, t.errors, t.cost, t.counted, t.unpriced, t.estimated, t.input_tokens)
            for t in self.ledger.totals(["day", "account"])
        ]
        return sorted(windows), sorted(totals), self.ledger.facts()["open_calls"], self.ledger.check()


def alone(world: World, writes: list[Any]) -> list[Any]:
    return [
        world.ledger.reserve(write)
        if isinstance(write, Reservation)
        else world.ledger.settle(write[0], write[1], void=write[2])
        for write in writes
    ]


def together(world: World, writes: list[Any]) -> list[Any]:
    return list(world.ledger.together(writes))


def shown(answer: Any) -> Any:
    if isinstance(answer, Grant):
        return "grant", answer.held, answer.lines
    if isinstance(answer, Short):
        return "short", answer.bound.identity, answer.limit, answer.spent, answer.held, answer.ends_ns
    return answer


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(RESERVES | SETTLES, min_size=1, max_size=9), min_size=1, max_size=4))
def test_writes_together_are_writes_one_after_the_other(batches: list[list[Any]]) -> None:
    worlds = World(), World()
    place = 0
    for steps in batches:
        answers = []
        for world, way in zip(worlds, (alone, together), strict=True):
            usable = [step for step in steps if step[0] == "reserve" or world.grants]
            answered = way(world, [world.write(step, place + number) for number, step in enumerate(usable)])
            world.grants += [answer for answer in answered if isinstance(answer, Grant)]
            answers.append([shown(answer) for answer in answered])
        place += len(steps)
        assert answers[0] == answers[1]
        assert worlds[0].state() == worlds[1].state()
        assert worlds[1].state()[-1] == []
    for world in worlds:
        world.ledger.close()
