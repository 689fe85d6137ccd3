"""Random steps of several processes on one ledger, each told to the model and compared with it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from farthing.errors import TransactionConflict
from farthing.ledger.parking import JobRef
from farthing.ledger.store import Bound, Entry, Grant, Reservation, Settlement, Short
from farthing.records import Budget
from ledger.making import DAY, HOUR, NOON, RATES, attached_bound, settlement
from simulation.model import LEASE, Call, Lease, Model
from simulation.processes import Herd, Process

SECOND = 10**9
PROCESSES = 3
MOST_OPEN = 60
ACCOUNTS = ("acme", "globex")
MODELS = ("gpt-4o", "o3", "gpt-4o-mini")
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata")
IDENTITIES = ("client|acme", "scope|globex")


@dataclass
class Place:
    """A process, the lease of its calls, and the grants that it holds."""

    process: Process
    lease: Lease = field(default_factory=Lease)
    grants: dict[str, Grant] = field(default_factory=dict)


class Simulation:
    """One run. `step` does one thing at random and compares; an AssertionError says what differs."""

    def __init__(self, herd: Herd, seed: int, *, forks: bool = True) -> None:
        self.herd = herd
        self._weights = [
            weight if forks or kind is not Simulation.fork else 0 for kind, weight in _STEPS.items()
        ]
        self.rng = random.Random(seed)
        self.now = NOON
        self.model = Model()
        self.places = [Place(herd.start()) for _ in range(PROCESSES)]
        self.left: dict[str, Grant] = {}
        """Grants of the dead, as a proxy keeps them that settles for others."""
        self.recorded: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.done: Counter[str] = Counter()
        self._ids = 0
        for name in ("daily", "total", "soft"):
            self._set_budget(name)

    def step(self, kind: Callable[[Simulation], None] | None = None) -> None:
        """Do something, at random unless told what; every window is compared afterwards, and what is open."""
        if kind is None:
            [kind] = self.rng.choices(_KINDS, self._weights)
        self.done[kind.__name__] += 1
        kind(self)
        self._compare()

    # What is compared

    def _do(self, place: Place, verb: str, *args: Any) -> Any:
        self._last = place
        answer, _ = place.process.do(verb, *args, at=self.now)
        return answer

    def _compare(self) -> None:
        """The windows and the calls that are open, as the last process that did something sees them."""
        opened, windows = self._last.process.do("open_calls", at=self.now, looks=self._looks())
        there = len(self.model.open)
        assert opened == there, f"{opened} calls are open, but {there} are"
        for short in windows:
            window = self.model.window(short.bound, self.now)
            said, must = (short.spent, short.held), (window.spent, window.held)
            assert said == must, f"{said}, but {must} is true of {short.bound}"

    def _looks(self) -> list[Bound]:
        """The windows that can be looked at."""
        return [
            each.bound
            for each in self.model.known()
            if not each.bound.attached or each.bound.identity in self.model.made
        ]

    def compare_sums(self) -> None:
        """What the ledger sums up of itself, against the model and against its own rows."""
        for known in self.model.known():
            anew = self.model.summed(known.bound, self.now)
            window = self.model.window(known.bound, self.now)
            assert (anew.spent, anew.held, anew.calls) == (window.spent, window.held, window.calls)
        place = self.places[0]
        assert self._do(place, "check") == []
        assert self._do(place, "sums") == self.model.totals()
        assert self._do(place, "open_calls") == len(self.model.open)
        by_account = self._do(place, "sums_by_account")
        for account, (calls, counted) in by_account.items():
            mine = [call for call in self.model.calls.values() if call.account == account]
            ended = [call for call in mine if call.state != "open"]
            assert (calls, counted) == (len(ended), sum(call.counted for call in ended))

    def compare_rows(self) -> None:
        """Every row."""
        assert self._do(self.places[0], "rows") == self.model.rows()

    # What is asked for

    def _id(self) -> str:
        self._ids += 1
        return f"call-{self._ids:09d}"

    def _wanted(self, *, started: int | None = None, hold: bool = True) -> tuple[Reservation, Call]:
        rng = self.rng
        lo = rng.choice((0, 5, 20, 40, 60, 90)) if hold else 0
        hi = lo + rng.choice((0, 0, 0, 50)) if hold else 0
        expected = None if rng.random() < 0.05 else lo // 3
        tags = rng.choice(({}, {"user": "ann"}, {"user": "bob", "x": "1"}))
        call = Call(
            self._id(),
            self.now if started is None else started,
            rng.choice(ACCOUNTS),
            rng.choice(MODELS),
            tags,
            expected=expected,
        )
        want = Reservation(
            id=call.id, started_ns=call.started, account=call.account, context="customer", tags=tags,
            run=None, provider="openai", requested_model=call.model, model=call.model, operation="chat",
            service_tier=None, lo=lo, hi=hi, expected=expected, input_tokens=10, rates=RATES, epoch=0,
        )  # fmt: skip
        return want, call

    def _ending(self, held: int) -> tuple[Settlement, bool]:
        rng = self.rng
        how = rng.choices(("complete", "unknown", "aborted", "void"), (60, 12, 8, 20))[0]
        cost = None if rng.random() < 0.03 else rng.randint(0, held + (10 if rng.random() < 0.05 else 0))
        counted = held if cost is None or how == "unknown" else cost
        end = settlement(cost, counted=counted, outcome="complete" if how == "void" else how, model=None)
        return end, how == "void"

    def _settled(self, call: Call, end: Settlement, void: bool) -> bool:
        """What the model makes of an end; whether it is news."""
        certain = end.outcome != "unknown" or void
        known = self.model.calls.get(call.id) is call
        if not known or call.certain or (call.state == "posted" and not certain):
            return False
        self.model.end(call, "void" if void else "posted", end.cost, end.counted)
        call.certain = certain
        return True

    # Steps

    def reserve(self) -> None:
        if len(self.model.open) >= MOST_OPEN:
            self.settle()
            return
        place = self.rng.choice(self.places)
        want, call = self._wanted()
        attached = self._attached() if self.rng.random() < 0.3 else []
        answer, redefined, _ = self._do(place, "guarded", want, attached)
        for bound in attached:
            call.identity = bound.identity
            if redefined or bound.identity not in self.model.attached:
                self.model.forget(bound.identity)
                self.model.made.discard(bound.identity)
                self.model.attached[bound.identity] = bound.budget
        self._reserved(place, want, call, attached, answer)

    def _reserved(
        self, place: Place, want: Reservation, call: Call, attached: list[Bound], answer: Grant | Short
    ) -> None:
        bounds = [*self.model.bounds(call), *attached]
        granted, left = self.model.granted(bounds, want.lo, want.hi, self.now)
        if isinstance(answer, Grant):
            assert answer.held == granted, left
            call.held, call.lease = answer.held, place.lease
            place.grants[call.id] = answer
            self.model.add(call)
            if attached:
                self.model.made.add(attached[0].identity)
        else:
            assert granted is None, left
            assert answer.limit - answer.spent - answer.held == left[answer.bound.identity]

    def _attached(self) -> list[Bound]:
        identity = self.rng.choice(IDENTITIES)
        stands = self.model.attached.get(identity)
        if stands is not None and self.rng.random() < 0.97:
            budget = stands
        else:
            budget = Budget(identity, "0.000003", self.rng.choice(("hour", "day", "total")))
        if self.rng.random() < 0.1:  # its limit is the caller's
            budget = Budget(identity, f"0.{self.rng.randint(100, 4000):09d}", budget.period)
        return [attached_bound(budget, identity)]

    def settle(self) -> None:
        place = self.rng.choice(self.places)
        if not place.grants:
            return
        call_id = self.rng.choice(list(place.grants))
        grant = place.grants.pop(call_id)
        if self.rng.random() < 0.15:
            self.left[call_id] = grant  # for somebody to settle once more
        self._settle(place, grant)

    def settle_late(self) -> None:
        if not self.left:
            return
        call_id = self.rng.choice(list(self.left))
        self._settle(self.rng.choice(self.places), self.left.pop(call_id))

    def _settle(self, place: Place, grant: Grant) -> None:
        end, void = self._ending(grant.held)
        call = self.model.calls.get(grant.reservation.id)
        answer = self._do(place, "settle_as", grant, end, void)
        assert answer is (call is not None and self._settled(call, end, void))

    def together(self) -> None:
        place = self.rng.choice(self.places)
        writes: list[Any] = []
        for _ in range(self.rng.randint(2, 8)):
            if place.grants and self.rng.random() < 0.5:
                call_id = self.rng.choice(list(place.grants))
                grant = place.grants.pop(call_id)
                writes.append((grant, *self._ending(grant.held)))
            elif len(self.model.open) < MOST_OPEN:
                writes.append(self._wanted())
        answers = self._do(
            place, "several", [each[0] if isinstance(each[0], Reservation) else each for each in writes]
        )
        for each, answer in zip(writes, answers, strict=True):
            if isinstance(each[0], Reservation):
                self._reserved(place, *each, [], answer)
            else:
                grant, end, void = each
                call = self.model.calls.get(grant.reservation.id)
                assert answer is (call is not None and self._settled(call, end, void))

    def give_up(self) -> None:
        place = self.rng.choice(self.places)
        mine = [i for i, call in self.model.open.items() if i in place.grants and call.lease is place.lease]
        if mine:
            call_id = self.rng.choice(mine)
            self._do(place, "give_up", call_id)
            self.left[call_id] = place.grants.pop(call_id)
            call = self.model.calls[call_id]
            self.model.end(call, "void", 0, 0)
            call.certain = True

    def release(self) -> None:
        place = self.rng.choice(self.places)
        if place.grants:
            call_id = self.rng.choice(list(place.grants))
            grant = place.grants.pop(call_id)
            call = self.model.calls.get(call_id)
            answer = self._do(place, "release", grant)
            assert answer is (call is not None and call.state == "open")
            if call is not None and answer:
                self.model.delete(call)
            self.left[call_id] = grant

    def record(self) -> None:
        place = self.rng.choice(self.places)
        back = self.rng.choice((0, 0, HOUR, DAY, 3 * DAY))
        want, call = self._wanted(started=self.now - back, hold=False)
        call.state, call.certain = "posted", True
        call.cost = call.counted = self.rng.randint(0, 60)
        digest = self.rng.choice((b"one", b"two"))
        if self.rng.random() < 0.3:
            want.transaction_id = f"t{self.rng.randrange(40)}"
        entry = Entry(reservation=want, settlement=settlement(call.cost, model=None), digest=digest)
        known = self.recorded.get((want.account, want.transaction_id or ""))
        try:
            answer = self._do(place, "enter", entry)
        except TransactionConflict:
            assert known is not None
            assert known[1] != digest
            return
        if known is not None:
            assert answer == (known[0], False)
            assert known[1] == digest
        else:
            assert answer == (call.id, True)
            self.model.add(call)
            if want.transaction_id is not None:
                self.recorded[want.account, want.transaction_id] = call.id, digest

    def correct(self) -> None:
        """What somebody states of a call that has ended is certain from then on."""
        recent = [i for i in islice(reversed(self.model.calls), 200) if i not in self.model.open]
        if not recent:
            return
        call = self.model.calls[self.rng.choice(recent)]
        cost = None if self.rng.random() < 0.2 else self.rng.randint(0, 80)
        self._do(self.rng.choice(self.places), "corrected", call.id, cost)
        self.model.end(call, "void" if cost is None else "posted", cost, cost or 0)
        call.certain = True

    def park(self) -> None:
        """The call belongs to no process any more, and waits for a job."""
        place = self.rng.choice(self.places)
        if not place.grants:
            return
        call_id = self.rng.choice(list(place.grants))
        call = self.model.calls.get(call_id)
        until = self.now + self.rng.choice((HOUR, 25 * HOUR))
        ref = JobRef("https://api.openai.com/v1", "batch", call_id)
        self._do(place, "park", place.grants[call_id], ref, until, {})
        self.left[call_id] = place.grants.pop(call_id)
        if call is not None and call.state == "open":
            call.lease, call.parked_until = None, until

    def pass_time(self) -> None:
        """A little, as a rule; every process that lives renews its lease."""
        by = self.rng.choices((SECOND, 20 * SECOND, 5 * 60 * SECOND, HOUR, DAY), (40, 40, 17, 2, 0.3))[0]
        self.now += self.rng.randint(1, by)
        for place in self.places:
            self._do(place, "renew", self.now)

    def expire(self) -> None:
        place = self.rng.choice(self.places)
        answer = self._do(place, "expire", self.now)
        assert answer == self.model.expire(self.now)

    # Budgets

    def change_limit(self) -> None:
        if self.model.standing:
            self._set_budget(self.rng.choice(list(self.model.standing)), keep_rules=True)

    def redefine(self) -> None:
        self._set_budget(self.rng.choice(("daily", "total", "soft", "each", "user", "gpt")))

    def _set_budget(self, name: str, *, keep_rules: bool = False) -> None:
        rng = self.rng
        old = self.model.standing.get(name)
        rules: dict[str, Any] = {
            "period": rng.choice(("hour", "day", "week", "month", "total")),
            "timezone": rng.choice(ZONES),
            "mode": "soft" if name == "soft" else "hard",
            "per": {"each": "account", "user": "tag:user"}.get(name),
            "model": rng.choice(("gpt-*", "gpt-4o")) if name == "gpt" else None,
            "uncertain": rng.choice((None, None, "expected")),
        }
        if keep_rules and old is not None:
            rules = {rule: getattr(old, rule) for rule in rules}
        most = {"hour": 800, "day": 8_000}.get(rules["period"], 10**9 - 1)
        budget = Budget(name, f"0.{rng.randint(100, most):09d}", **rules)
        self._do(rng.choice(self.places), "stands", budget)
        self.model.standing[name] = budget
        self.model.forget(name)
        for account in ACCOUNTS:  # from now on these windows are looked at
            for user in ({}, {"user": "ann"}):
                for bound in self.model.bounds(Call("", self.now, account, "gpt-4o", user)):
                    self.model.window(bound, self.now)

    def remove(self) -> None:
        if len(self.model.standing) > 2:
            name = self.rng.choice(list(self.model.standing))
            assert self._do(self.rng.choice(self.places), "remove_budget", name) is True
            del self.model.standing[name]
            self.model.forget(name)

    # Processes

    def kill(self) -> None:
        """Kill one in the midst of a reserve or a settle; what it had committed is found out afterwards."""
        number = self.rng.randrange(PROCESSES)
        place = self.places[number]
        want, call = self._wanted()
        pause = self.rng.randrange(4_000)
        if place.grants and self.rng.random() < 0.5:
            grant = place.grants[self.rng.choice(list(place.grants))]
            end, void = self._ending(grant.held)
            asked: Any = (grant, end, void)
            place.process.begin("settle_as", *asked, at=self.now)
        else:
            asked = want
            place.process.begin("guarded", want, [], at=self.now)
        for _ in range(pause):
            pass
        answer = place.process.kill()
        place.lease.until = self.now + LEASE
        self.left |= place.grants
        self.places[number] = Place(self.herd.start())
        opened = self._do(self.places[number], "open_calls")
        self.model.expire(self.now)  # as whoever opens a ledger does
        if answer is not None:
            self.done["kill after the answer"] += 1
        if isinstance(asked, Reservation):
            self._was_reserved(place, asked, call, opened, None if answer is None else answer[0][0])
        else:
            self._was_settled(*asked, opened, None if answer is None else answer[0])
        assert opened == len(self.model.open)

    def _was_reserved(
        self, place: Place, want: Reservation, call: Call, opened: int, answer: Grant | Short | None
    ) -> None:
        there = opened == len(self.model.open) + 1
        if answer is not None:
            assert there is isinstance(answer, Grant)
        self.done["kill after the commit" if there else "kill before the commit"] += 1
        if there:
            granted, left = self.model.granted(self.model.bounds(call), want.lo, want.hi, self.now)
            assert granted is not None, left
            call.held, call.lease = granted, place.lease
            self.model.add(call)

    def _was_settled(
        self, grant: Grant, end: Settlement, void: bool, opened: int, answer: bool | None
    ) -> None:
        call = self.model.calls.get(grant.reservation.id)
        row = self._do(self.places[0], "call", grant.reservation.id)
        if call is None:
            assert row is None
            return
        said = None if row is None else (row["outcome"] == "error", row["cost_nano"], row["counted_nano"])
        before = None if call.state == "open" else (call.state == "void", call.cost, call.counted)
        after = (True, 0, 0) if void else (False, end.cost, end.counted)
        if said == before and answer is not True:
            return
        assert said == after
        assert self._settled(call, end, void)

    def fork(self) -> None:
        """A child of a process that has the ledger open takes the place of another, which is killed."""
        parent, number = self.places[0], self.rng.randrange(1, PROCESSES)
        child = Place(self.herd.forked(parent.process, self.now))
        old = self.places[number]
        old.process.kill()
        old.lease.until = self.now + LEASE
        self.left |= old.grants
        self.places[number] = child
        self._do(child, "open_calls")
        self.model.expire(self.now)

    def reopen(self) -> None:
        """Close the ledger and open it anew: its calls are settled all the same, or expire."""
        place = self.rng.choice(self.places)
        self._do(place, "leave")
        place.lease.until = self.now + LEASE
        place.lease = Lease()
        self._do(place, "open_calls")
        self.model.expire(self.now)


_STEPS: dict[Callable[[Simulation], None], float] = {
    Simulation.reserve: 36,
    Simulation.settle: 28,
    Simulation.settle_late: 4,
    Simulation.together: 5,
    Simulation.give_up: 2,
    Simulation.release: 1,
    Simulation.record: 4,
    Simulation.correct: 2,
    Simulation.park: 1,
    Simulation.pass_time: 8,
    Simulation.expire: 3,
    Simulation.change_limit: 3,
    Simulation.redefine: 0.7,
    Simulation.remove: 0.2,
    Simulation.kill: 0.5,
    Simulation.fork: 0.1,
    Simulation.reopen: 0.2,
}
_KINDS = list(_STEPS)
