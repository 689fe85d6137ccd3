"""What a ledger has to say, kept in dicts: slow, and obviously right.

A budget's window, at an instant, is the sum over all calls that its rules of today match and put into the
same period. Nothing else is known here: no window is opened, closed or seeded.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from farthing.ledger.store import Bound
from farthing.limits import Window, key_of, matches, window_at
from farthing.records import Budget

LEASE = 600 * 10**9


@dataclass(eq=False)
class Lease:
    """Under which a process holds money; `until` is None while it lives, for it renews it."""

    until: int | None = None


@dataclass
class Call:
    """One call; amounts in nano-dollars. `identity` is the attached budget that it named, if any."""

    id: str
    started: int
    account: str
    model: str
    tags: dict[str, str]
    identity: str | None = None
    lease: Lease | None = None
    parked_until: int | None = None
    state: str = "open"
    held: int = 0
    expected: int | None = None
    cost: int | None = None
    counted: int = 0
    certain: bool = False

    def amounts(self, *, expected: bool) -> tuple[int, int]:
        """Spent and held, in a window that charges what is counted or what is expected."""
        if self.state == "open":
            return 0, self.held
        if self.state == "void":
            return 0, 0
        return (self.cost if expected and self.cost is not None else self.counted), 0


@dataclass
class Sum:
    """One window as it must be, kept up to date call by call."""

    bound: Bound
    period: Window
    calls: set[str] = field(default_factory=set)
    spent: int = 0
    held: int = 0

    def takes(self, call: Call) -> bool:
        """Whether a call is counted in it."""
        bound, rules = self.bound, self.bound.budget
        if bound.attached:
            if call.identity != bound.identity:
                return False
        elif key(rules, call) != bound.key:
            return False
        if self.period.ends_ns is None:
            return True
        return self.period.starts_ns <= call.started < self.period.ends_ns

    def add(self, call: Call, sign: int) -> None:
        """Count a call in it, or no more."""
        spent, held = call.amounts(expected=self.bound.budget.charges_expected)
        self.spent += sign * spent
        self.held += sign * held


def key(rules: Budget, call: Call) -> str | None:
    """The key of a standing budget's window for a call; None if it does not bind it."""
    bound = matches(
        rules, account=call.account, context="customer", provider="openai", model=call.model, tags=call.tags
    )
    return key_of(rules, account=call.account, tags=call.tags) if bound else None


class Model:
    """Every call and every rule there is."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.open: dict[str, Call] = {}
        self.standing: dict[str, Budget] = {}
        self.attached: dict[str, Budget] = {}
        self.made: set[str] = set()
        """Attached budgets whose window of now has been made, so that a look finds it."""
        self._sums: dict[tuple[str, bool, str], Sum] = {}
        self._by_time: list[tuple[int, str]] = []

    # Windows

    def bounds(self, call: Call) -> list[Bound]:
        """The standing budgets that bind a call."""
        return [
            Bound(name, rules, found, rules.limit_nano, attached=False)
            for name, rules in self.standing.items()
            if (found := key(rules, call)) is not None
        ]

    def window(self, bound: Bound, at: int) -> Sum:
        """A bound's window at an instant, by the rules of today."""
        rules = self.attached[bound.identity] if bound.attached else bound.budget
        bound = Bound(bound.identity, rules, bound.key, bound.limit, attached=bound.attached)
        name = (bound.identity, bound.attached, bound.key)
        known = self._sums.get(name)
        if known is not None and _contains(known.period, at) and known.bound.budget == rules:
            return known
        self._sums[name] = found = self.summed(bound, at)
        return found

    def summed(self, bound: Bound, at: int) -> Sum:
        """The same from nothing but the calls."""
        found = Sum(bound, window_at(bound.budget, at))
        for call in self._within(found.period):
            if found.takes(call):
                found.calls.add(call.id)
                found.add(call, 1)
        return found

    def _within(self, period: Window) -> list[Call]:
        """The calls that began in a period."""
        first = last = None
        if period.ends_ns is not None:
            first = bisect_left(self._by_time, (period.starts_ns, ""))
            last = bisect_left(self._by_time, (period.ends_ns, ""))
        return [self.calls[call_id] for _, call_id in self._by_time[first:last]]

    def known(self) -> list[Sum]:
        """The windows that are kept up to date, of budgets that are there."""
        return [
            each
            for each in self._sums.values()
            if (self.attached if each.bound.attached else self.standing).get(each.bound.identity)
            == each.bound.budget
        ]

    def forget(self, name: str) -> None:
        """The rules of a budget have changed."""
        self._sums = {known: each for known, each in self._sums.items() if known[0] != name}

    # Calls

    def add(self, call: Call) -> None:
        """There is another call."""
        assert call.id not in self.calls
        self.calls[call.id] = call
        insort(self._by_time, (call.started, call.id))
        if call.state == "open":
            self.open[call.id] = call
        for each in self._sums.values():
            if each.takes(call):
                each.calls.add(call.id)
                each.add(call, 1)

    @contextmanager
    def changing(self, call: Call) -> Iterator[Call]:
        """A call is about to be another."""
        mine = [each for each in self._sums.values() if call.id in each.calls]
        for each in mine:
            each.add(call, -1)
        yield call
        for each in mine:
            each.add(call, 1)
        if call.state != "open":
            self.open.pop(call.id, None)

    def end(self, call: Call, state: str, cost: int | None, counted: int) -> None:
        """Post, void or expire a call."""
        with self.changing(call):
            call.state = state
            call.cost, call.counted = (0, 0) if state == "void" else (cost, counted)

    def delete(self, call: Call) -> None:
        """It has never been."""
        with self.changing(call):
            call.state = "void"
        del self.calls[call.id]
        self._by_time.remove((call.started, call.id))
        for each in self._sums.values():
            each.calls.discard(call.id)

    def expire(self, now: int) -> int:
        """Book what nobody will end any more; how many."""
        dead = [call for call in self.open.values() if _is_dead(call, now)]
        for call in dead:
            self.end(call, "expired", call.expected, call.held)
        return len(dead)

    # The guard

    def granted(self, bounds: list[Bound], lo: int, hi: int, at: int) -> tuple[int | None, dict[str, int]]:
        """What a reserve is granted (None: refused), and what each hard window has left."""
        left = {}
        for bound in bounds:
            if bound.hard:
                window = self.window(bound, at)
                left[bound.identity] = bound.limit - window.spent - window.held
        least = min(left.values(), default=None)
        if least is None or hi == 0:
            return hi, left
        held = hi if lo == hi else min(hi, max(lo, least // 4))
        return (held if held == 0 or least >= held else None), left

    def totals(self) -> dict[str, int]:
        """Sums of all calls that have ended."""
        ended = [call for call in self.calls.values() if call.state != "open"]
        return {
            "calls": len(ended),
            "errors": sum(call.state == "void" for call in ended),
            "cost": sum(call.cost or 0 for call in ended),
            "counted": sum(call.counted for call in ended),
            "unpriced": sum(call.cost is None and call.state != "void" for call in ended),
        }

    def rows(self) -> dict[str, tuple[Any, ...]]:
        """Of each call that has ended: whether it is an error, its account, cost and amount counted."""
        return {
            call.id: (call.state == "void", call.account, call.cost, call.counted)
            for call in self.calls.values()
            if call.state != "open"
        }


def _contains(period: Window, at: int) -> bool:
    return period.ends_ns is None or period.starts_ns <= at < period.ends_ns


def _is_dead(call: Call, now: int) -> bool:
    until = call.parked_until if call.lease is None else call.lease.until
    return until is not None and until < now
