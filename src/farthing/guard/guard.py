"""The guard: it binds calls to budgets and holds their money, or refuses them.

The rules: a hold is the most that the call may cost. A call without a cap of its own asks for [lo, hi]
and is given a share of what is left; the share becomes an output cap in the request. Where it does not fit:
whole on the asked model; whole on the fallback; capped on the asked model; wait; refuse.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from farthing.errors import InsufficientCredits, LedgerError
from farthing.guard import holding, refusing
from farthing.guard.matching import Binding, Known, standing_bound
from farthing.guard.unbooked import Unbooked
from farthing.guard.waiting import Line, Pace, Place, key_of
from farthing.guard.wishes import Again, Held, Look, Refusal, Reload, Tight, Unheld, Wait
from farthing.ledger.store import Bound, Grant, Ledger, Reservation, Short, Stale, StandingBudget
from farthing.log import logger, say_once
from farthing.quote import Quote
from farthing.settings import Policies, Who

__all__ = ["Guard"]

T = TypeVar("T")
Steps = Generator[Any, Any, T]
"""Yields wishes (see `wishes`) and reservations, and is sent what came of each."""


class Guard:
    """Binds calls to budgets and holds their money in a ledger.

    Attributes:
        line: of the calls that wait for money on this ledger.
        pace: how long calls take.
        unbooked: what is known of the money of calls that go on without the ledger.
        allows: whether calls that a hard budget binds do.
    """

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        self.line = Line()
        self.pace = Pace()
        self.unbooked = Unbooked()
        self.allows = policies.on_ledger_error == "allow"
        self._declared: tuple[Bound, ...] = ()
        self._known = Known(-1, ())

    def declare(self, standing: StandingBudget) -> None:
        """A budget that binds also while the ledger cannot be read."""
        self._declared = (*self._declared, standing_bound(standing))
        self._known = Known(-1, (*self._known.bounds, standing_bound(standing)))

    @property
    def unread(self) -> bool:
        """True if the ledger has never said which standing budgets there are."""
        return self._known.epoch < 0

    @property
    def may_refuse(self) -> bool:
        """True if there is a hard standing budget, whichever calls it binds."""
        return any(bound.hard for bound in self._known.bounds)

    def load(self, ledger: Ledger, *, fresh: bool = False) -> None:
        """Take over the standing budgets as the ledger has them."""
        epoch, standing = ledger.standing(fresh=fresh)
        if epoch != self._known.epoch:
            self._known = Known(epoch, tuple(standing_bound(s) for s in standing))
            self.line.freed()

    def glimpse(self, budgets: Sequence[StandingBudget]) -> None:
        """Take over standing budgets of a ledger that cannot be used, and has not been: they bind as well. Of
        one that the program declares, too, what was set at run time stands."""
        if self.unread:
            set_by = {"cli", "http"}
            later = {each.budget.name for each in budgets if each.pinned or each.origin in set_by}
            stated = [bound for bound in self._declared if bound.identity not in later]
            names = {bound.identity for bound in stated}
            seen = (standing_bound(each) for each in budgets if each.budget.name not in names)
            self._known = Known(-1, (*stated, *seen))

    def bounds(self, who: Who, *, provider: str | None, model: str) -> tuple[Bound, ...]:
        """Every budget that binds a call, standing and attached."""
        return self.matched(who, provider=provider, model=model)[1]

    def matched(self, who: Who, *, provider: str | None, model: str | None) -> tuple[int, tuple[Bound, ...]]:
        """The same, after the epoch of the standing budgets that they were taken from."""
        known = self._known
        return known.epoch, known.matched(who, provider=provider, model=model)

    def acquire(
        self, quoted: Quote, who: Who, *, call_id: str, now_ns: int, again: Again | None = None
    ) -> Steps[Held]:
        """Hold the call's money. Yields what the ledger is asked for, returns the hold.

        Args:
            again: how to ask once more; without it the call neither waits nor falls back.

        Raises:
            InsufficientCredits, UnpricedModel, Unbounded: the call must not be sent.
            LedgerError: the ledger cannot be used and a hard budget binds the call.
        """
        place = None
        if again is not None and self.line.busy and quoted.hi > 0:
            place = self._behind(self.bounds(who, provider=quoted.provider, model=quoted.model), again)
        return self._patiently(
            lambda call_id, now_ns: self._tried(quoted, who, again, call_id=call_id, now_ns=now_ns),
            again,
            place,
            call_id=call_id,
            now_ns=now_ns,
            refusal=self._insufficient,
        )

    def look(
        self, who: Who, *, function: str, provider: str | None, model: str | None, again: Again
    ) -> Steps[None]:
        """Is any money left for a function whose costs nobody knows before? Nothing is held.

        Raises:
            InsufficientCredits: a hard budget has nothing left.
            LedgerError: the ledger cannot be used and a hard budget binds the function.
        """

        def refusal(tight: Tight, now_ns: int) -> InsufficientCredits:
            return refusing.empty(
                tight.short,
                function,
                account=who.account or "default",
                model=model,
                now_ns=now_ns,
                pace=self.pace.seconds(),
            )

        yield from self._patiently(
            lambda _, now_ns: self._looked(who, provider, model, now_ns),
            again,
            None,
            call_id="",
            now_ns=again.clock.time_ns(),
            refusal=refusal,
        )

    def unheld(self, quoted: Quote, who: Who) -> Held:
        """For a call while accounting is switched off: nothing is held and nothing will be written."""
        wanted = holding.wanted(quoted, who, (), (), call_id="", now_ns=0, elastic=False, epoch=0)
        return Held(wanted, None, 0, None, None, (), quoted)

    # -- waiting -------------------------------------------------------------------------------------

    def _patiently(
        self,
        attempt: Callable[[str, int], Steps[T | Tight]],
        again: Again | None,
        place: Place | None,
        *,
        call_id: str,
        now_ns: int,
        refusal: Callable[[Tight, int], InsufficientCredits],
    ) -> Steps[T]:
        """Try; while running calls hold the money, wait in line and try again at a fresh instant."""
        waits, last = place is not None, False
        try:
            while True:
                if waits and again is not None:
                    last = not (yield Wait(place))  # type: ignore[arg-type]
                    call_id, now_ns = again.ids(), again.clock.time_ns()
                news = self.line.news
                found = yield from attempt(call_id, now_ns)
                if not isinstance(found, Tight):
                    return found
                seconds = self._wait_for(found.short.bound)
                if last or again is None or seconds <= 0 or not found.transient:
                    error = refusal(found, now_ns)
                    try:
                        yield Refusal(
                            now_ns,
                            error.account or "default",
                            found.wanted.model if found.wanted else error.model or "",
                            found.short.bound.identity,
                            "budget",
                        )
                        raise error
                    finally:
                        del error  # it would keep this frame alive, and those of the caller with it
                place = self._lined_up(place, found, again, seconds, news)
                waits = True
        finally:
            if place is not None:
                self.line.leave(place)

    def _lined_up(self, place: Place | None, found: Tight, again: Again, seconds: float, news: int) -> Place:
        keys = [key_of(bound) for bound in found.bounds if bound.hard]
        short = key_of(found.short.bound)
        if place is None:
            place = Place(keys, short, seconds, again.clock, again.clock.monotonic_ns(), news)
            self.line.join(place)
            return place
        place.keys, place.short, place.news = frozenset(keys), short, news
        place.until(seconds)
        return place

    def _behind(self, bounds: Sequence[Bound], again: Again) -> Place | None:
        """A place behind those who wait for the same money already; None if there are none, or if this call
        may not wait."""
        windows = {key_of(bound): bound for bound in bounds if bound.hard}
        short = self.line.ahead_of(windows)
        seconds = 0.0 if short is None else self._wait_for(windows[short])
        if short is None or seconds <= 0:
            return None
        place = Place(windows, short, seconds, again.clock, again.clock.monotonic_ns(), -1)
        self.line.join(place)
        return place

    def _wait_for(self, bound: Bound) -> float:
        wait = bound.budget.wait
        return self.policies.wait if wait is None else wait

    # -- one attempt ---------------------------------------------------------------------------------

    def _tried(
        self, quoted: Quote, who: Who, again: Again | None, *, call_id: str, now_ns: int
    ) -> Steps[Held | Tight]:
        """Whole on the asked model, whole on the fallback, capped on the asked model."""
        instead = None if again is None else again.instead
        found = yield from self._asked(
            quoted, who, call_id=call_id, now_ns=now_ns, whole=False if instead is None else None
        )
        if isinstance(found, Held) or instead is None:
            return found
        fallback = found.short.bound.budget.fallback
        if fallback is not None and fallback != quoted.ask.model:
            other = self._fallback(quoted, who, instead(fallback, now_ns), found.short.bound)
            if other is not None:
                held = yield from self._asked(
                    other, who, call_id=call_id, now_ns=now_ns, whole=True, fallback_from=quoted.ask.model
                )
                if isinstance(held, Held):
                    logger.info(
                        "%s does not fit into budget %r: %s is asked instead",
                        quoted.ask.model,
                        found.short.bound.budget.name,
                        fallback,
                    )
                    return held
        if found.lo > quoted.lo and self.policies.on_tight == "cap":
            found = yield from self._asked(quoted, who, call_id=call_id, now_ns=now_ns, whole=False)
        return found

    def _fallback(self, quoted: Quote, who: Who, other: Quote | None, bound: Bound) -> Quote | None:
        """The quote of the fallback, unless it cannot be asked for what the call wants."""
        useless = other is None or other.model == quoted.model
        if other is not None and any(
            b.hard for b in self.bounds(who, provider=other.provider, model=other.model)
        ):
            useless = useless or (not other.priced and self.policies.on_unpriced == "refuse")
            useless = useless or (other.unbounded and self.policies.on_unbounded == "refuse")
        if useless:
            refusing.say_useless_fallback(bound.budget.name, quoted.ask.model, bound.budget.fallback or "")
            return None
        return other

    def _asked(
        self,
        quoted: Quote,
        who: Who,
        *,
        call_id: str,
        now_ns: int,
        whole: bool | None,
        fallback_from: str | None = None,
    ) -> Steps[Held | Tight]:
        """Ask the ledger, anew where the standing budgets have changed.

        Args:
            whole: True to cap nothing; None for that only where a budget names a fallback.
        """
        fresh = False
        while True:
            failed: LedgerError | None = None
            answer: Grant | Short | Stale | None = None
            if fresh or self.unread:
                try:
                    yield Reload()
                except LedgerError as error:
                    failed = error
            known = self._known
            binding = known.binding(who, provider=quoted.provider, model=quoted.model)
            for other in quoted.others:
                more = known.matched(who, provider=quoted.provider, model=other)
                binding = Binding.of(tuple(dict.fromkeys((*binding.bounds, *more))))
            bounds, hard, falls_back = binding
            flags: tuple[str, ...] = ()
            if hard and (quoted.unbounded or not quoted.priced):
                flags = yield from holding.allowed(self.policies, quoted, who, bounds, now_ns)
            elif not (hard or quoted.priced or quoted.unforeseen):
                refusing.say_unpriced(quoted.ask.model)
            uncapped = falls_back if whole is None else whole
            wanted = holding.wanted(
                quoted,
                who,
                bounds,
                flags,
                call_id=call_id,
                now_ns=now_ns,
                elastic=hard and self.policies.on_tight == "cap" and not uncapped,
                epoch=known.epoch,
                fallback_from=fallback_from,
            )
            if failed is None:
                try:
                    answer = yield wanted
                except LedgerError as error:
                    failed = error
            if isinstance(answer, Stale):
                fresh = True
                continue
            held = 0 if answer is None or isinstance(answer, Short) else answer.held
            if failed is not None or self.allows:
                found = yield from self._or_by_memory(answer, failed, wanted, hard=hard)
                answer, held = (None, found) if isinstance(found, int) else (found, held)
            if isinstance(answer, Short):
                return Tight(answer, wanted.lo, bounds, wanted)
            cap = holding.cap(self.policies, quoted, wanted, held, hard=hard)
            return Held(wanted, answer, held, cap, quoted.tool_calls if hard else None, flags, quoted)

    def _or_by_memory(
        self, answer: Grant | Short | None, failed: LedgerError | None, wanted: Reservation, *, hard: bool
    ) -> Steps[Grant | Short | int]:
        """The ledger's answer; where it has none, what the call goes on with by what was last known."""
        if failed is not None:
            self._without_ledger(failed, hard=hard)
        now_ns, bounds, known = wanted.started_ns, wanted.bounds, self.unbooked
        if hard:
            if isinstance(answer, Grant):
                known.granted(wanted.id, bounds, answer.held, now_ns)
            outdated = known.outdated(bounds, now_ns)
            if outdated:
                try:
                    looked = yield Look([mark.bound for mark in outdated.values()], now_ns)
                    known.saw(looked, outdated, now_ns)
                except LedgerError as error:  # what was known before has to do
                    failed = error
        if answer is not None:
            return answer
        held = known.hold(wanted.id, bounds, wanted.lo, wanted.hi, now_ns)
        if isinstance(held, int):
            try:
                yield Unheld(wanted, held)
            except BaseException:
                known.gone(wanted.id)
                raise
        return held

    def _looked(self, who: Who, provider: str | None, model: str | None, now_ns: int) -> Steps[Tight | None]:
        bounds: list[Bound] = []
        try:
            try:
                yield Reload()
            finally:
                _, matched = self.matched(who, provider=provider, model=model)
                bounds = [bound for bound in matched if bound.hard]
            standing: Sequence[Short] = (yield Look(bounds, now_ns)) if bounds else ()
        except LedgerError as failed:
            self._without_ledger(failed, hard=bool(bounds))
            return None
        least = min(standing, key=lambda short: short.limit - short.spent - short.held, default=None)
        if least is None or least.limit - least.spent - least.held > 0:
            return None
        return Tight(least, 1, bounds)

    def _without_ledger(self, failed: LedgerError, *, hard: bool) -> None:
        """Let a call go on that cannot be held; raises `failed` if it must not."""
        if hard and self.policies.on_ledger_error == "refuse":
            raise failed
        say_once(
            ("ledger", type(failed).__name__),
            logging.ERROR,
            "calls go on, and are booked when the ledger can be used again: %s",
            failed,
        )

    def _insufficient(self, tight: Tight, now_ns: int) -> InsufficientCredits:
        assert tight.wanted is not None  # noqa: S101  of a reserve
        return refusing.insufficient(tight.wanted, tight.short, now_ns, self.pace.seconds())
