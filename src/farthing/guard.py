"""Money held while a call runs: which budgets bind it, how much it sets aside, when it is refused.

The rules: a hold is the most that the call may cost. A call without a cap of its own asks for [lo, hi]
and is given a share of what is left; the share becomes an output cap in the request.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from farthing import limits, money
from farthing.errors import InsufficientCredits, LedgerError, Unbounded, UnpricedModel
from farthing.ledger.store import Bound, Grant, Ledger, Reservation, Short, Stale, StandingBudget
from farthing.log import logger, say_once
from farthing.quote import Quote
from farthing.settings import Policies, Who

__all__ = ["Guard", "Held", "Refusal", "Reload"]

_MATCHES = 4_096


@dataclass(slots=True)
class Held:
    """What a call may be sent with.

    Attributes:
        grant: None if the ledger could not be used and the call goes on without it.
        cap: the output cap to write into the request; None to leave the request alone.
        tool_calls: `max_tool_calls` to write; None to leave it alone.
    """

    reservation: Reservation
    grant: Grant | None
    held: int
    cap: int | None
    tool_calls: int | None
    flags: tuple[str, ...]


@dataclass(slots=True)
class Refusal:
    """A refusal to be counted."""

    at_ns: int
    account: str
    model: str
    budget: str
    reason: str


class Reload:
    """A wish to read the standing budgets anew."""

    __slots__ = ()


class _Known:
    """The standing budgets of one epoch, and what was matched against them.

    Replaced whole: a call that was matched against the budgets of one epoch must not be reserved under
    another, or a limit that was lowered meanwhile would not bind it.
    """

    __slots__ = ("bounds", "epoch", "matches")

    def __init__(self, epoch: int, bounds: tuple[Bound, ...]) -> None:
        self.epoch = epoch
        self.bounds = bounds
        self.matches: dict[object, tuple[Bound, ...]] = {}


class Guard:
    """Binds calls to budgets and holds their money in a ledger."""

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        self._known = _Known(-1, ())

    def declare(self, standing: StandingBudget) -> None:
        """A budget that binds also while the ledger cannot be read."""
        self._known = _Known(-1, (*self._known.bounds, _standing_bound(standing)))

    @property
    def may_refuse(self) -> bool:
        """True if there is a hard standing budget, whichever calls it binds."""
        return any(bound.hard for bound in self._known.bounds)

    def load(self, ledger: Ledger, *, fresh: bool = False) -> None:
        """Take over the standing budgets as the ledger has them."""
        epoch, standing = ledger.standing(fresh=fresh)
        if epoch != self._known.epoch:
            self._known = _Known(epoch, tuple(_standing_bound(s) for s in standing))

    def bounds(self, who: Who, *, provider: str | None, model: str) -> tuple[Bound, ...]:
        """Every budget that binds a call, standing and attached."""
        return self.matched(who, provider=provider, model=model)[1]

    def matched(self, who: Who, *, provider: str | None, model: str) -> tuple[int, tuple[Bound, ...]]:
        """The same, after the epoch of the standing budgets that they were taken from."""
        tags = who.tags or {}
        account = who.account or "default"
        context = who.context or "customer"
        found: tuple[Bound, ...] = ()
        known = self._known

        def match(bounds: Sequence[Bound]) -> tuple[Bound, ...]:
            return tuple(
                _matching(bounds, account=account, context=context, provider=provider, model=model, tags=tags)
            )

        if known.bounds:
            key = (account, context, provider, model, *tags.items())
            matches = known.matches.get(key)
            if matches is None:
                matches = match(known.bounds)
                if len(known.matches) >= _MATCHES:
                    known.matches.clear()
                known.matches[key] = matches
            found = matches
        if who.budgets:
            found += match(who.budgets)
        return known.epoch, found

    def acquire(
        self, quoted: Quote, who: Who, *, call_id: str, now_ns: int
    ) -> Generator[Reservation | Refusal | Reload, Grant | Short | Stale | None, Held]:
        """Hold the call's money. Yields what the ledger is asked for, returns the hold.

        Raises:
            InsufficientCredits, UnpricedModel, Unbounded: the call must not be sent.
            LedgerError: the ledger cannot be used and a hard budget binds the call.
        """
        fresh = False
        while True:
            failed: LedgerError | None = None
            answer: Grant | Short | Stale | None = None
            if fresh or self._known.epoch < 0:
                try:
                    yield Reload()
                except LedgerError as error:
                    failed = error
            epoch, bounds = self.matched(who, provider=quoted.provider, model=quoted.model)
            hard = any(bound.hard for bound in bounds)
            flags: tuple[str, ...] = ()
            if hard:
                flags = yield from self._allowed(quoted, who, bounds, now_ns)
            elif not (quoted.priced or quoted.unforeseen):
                say_unpriced(quoted.ask.model)
            wanted = self._wanted(
                quoted, who, bounds, flags, call_id=call_id, now_ns=now_ns, hard=hard, epoch=epoch
            )
            if failed is None:
                try:
                    answer = yield wanted
                except LedgerError as error:
                    failed = error
            if failed is not None:
                if hard and self.policies.on_ledger_error == "refuse":
                    raise failed
                say_once(
                    ("ledger", type(failed).__name__),
                    logging.ERROR,
                    "calls go on but are not booked: %s",
                    failed,
                )
                cap = self._cap(quoted, wanted, wanted.hi, hard=hard)
                return Held(wanted, None, wanted.hi, cap, quoted.tool_calls if hard else None, flags)
            if isinstance(answer, Stale):
                fresh = True
                continue
            if isinstance(answer, Short):
                yield Refusal(now_ns, wanted.account, wanted.model, answer.bound.identity, "budget")
                raise refusal(answer, wanted, now_ns)
            assert isinstance(answer, Grant)  # noqa: S101  the ledger answers nothing else
            cap = self._cap(quoted, wanted, answer.held, hard=hard)
            return Held(wanted, answer, answer.held, cap, quoted.tool_calls if hard else None, flags)

    def unheld(self, quoted: Quote, who: Who) -> Held:
        """For a call while accounting is switched off: nothing is held and nothing will be written."""
        wanted = self._wanted(quoted, who, (), (), call_id="", now_ns=0, hard=False, epoch=0)
        return Held(wanted, None, 0, None, None, ())

    def _wanted(
        self,
        quoted: Quote,
        who: Who,
        bounds: tuple[Bound, ...],
        flags: tuple[str, ...],
        *,
        call_id: str,
        now_ns: int,
        hard: bool,
        epoch: int,
    ) -> Reservation:
        hi = quoted.hi
        elastic = hard and self.policies.on_tight == "cap"
        return Reservation(
            id=call_id,
            started_ns=now_ns,
            account=who.account or "default",
            context=who.context or "customer",
            tags=who.tags or {},
            run=who.run,
            provider=quoted.provider,
            requested_model=quoted.ask.model,
            model=quoted.model,
            operation=quoted.ask.route.operation,
            service_tier=quoted.ask.tier,
            lo=quoted.lo if elastic else hi,
            hi=hi,
            expected=quoted.expected,
            input_tokens=quoted.count.tokens if quoted.ask.route.measure == "tokens" else None,
            rates=quoted.rates,
            epoch=epoch,
            bounds=bounds,
            flags=flags,
        )

    def _cap(self, quoted: Quote, wanted: Reservation, held: int, *, hard: bool) -> int | None:
        """The cap to write: what the grant affords, or a configured or assumed one; None for none."""
        if quoted.capped_by_caller or not quoted.ask.route.caps:
            return None
        if held < wanted.hi:
            cap = quoted.cap_for(held)
            logger.info(
                "%s: output capped at %d tokens, which is what the budget affords", quoted.ask.model, cap
            )
            return cap
        if self.policies.output_cap is not None or (hard and quoted.cap_assumed):
            return quoted.cap
        return None

    def _allowed(
        self, quoted: Quote, who: Who, bounds: Sequence[Bound], now_ns: int
    ) -> Generator[Refusal, None, tuple[str, ...]]:
        """Flags of a call that a hard budget binds, or a refusal where its cost has no bound."""
        model = quoted.ask.model
        budget = next(bound.budget.name for bound in bounds if bound.hard)
        flags: list[str] = []
        if not quoted.priced:
            if self.policies.on_unpriced == "refuse":
                yield Refusal(now_ns, who.account or "default", quoted.model, budget, "unpriced")
                if quoted.unforeseen:
                    raise UnpricedModel(_not_foreseen(quoted, budget))
                raise UnpricedModel(
                    f"no price is known for model {model!r}, so budget {budget!r} cannot hold money for it; "
                    f"state one with Meter(prices=...), or allow it with on_unpriced='allow'"
                )
            flags.append("unpriced_allowed")
        if quoted.unbounded:
            if self.policies.on_unbounded == "refuse":
                yield Refusal(now_ns, who.account or "default", quoted.model, budget, "unbounded")
                raise Unbounded(
                    f"the call to {model!r} may run hosted tools without a limit, so budget {budget!r} "
                    f"cannot bound it; set max_tool_calls, or allow it with on_unbounded='allow'"
                )
            flags.append("unbounded_allowed")
        return tuple(flags)


def _standing_bound(standing: StandingBudget) -> Bound:
    budget = standing.budget
    return Bound(budget.name, budget, "", budget.limit_nano, False)  # noqa: FBT003  a record's field


def _matching(
    every: Sequence[Bound],
    *,
    account: str,
    context: str,
    provider: str | None,
    model: str,
    tags: Mapping[str, str],
) -> Iterator[Bound]:
    for bound in every:
        budget = bound.budget
        if not limits.matches(
            budget, account=account, context=context, provider=provider, model=model, tags=tags
        ):
            continue
        if budget.per is None:
            yield bound
            continue
        part = limits.key_of(budget, account=account, tags=tags)
        if part is not None:
            key = f"{bound.key}/{part}" if bound.key else part
            yield Bound(bound.identity, budget, key, bound.limit, bound.attached)


def _not_foreseen(quoted: Quote, budget: str) -> str:
    """Why nothing can be held for a call whose model has a price, and what to do."""
    model, measure = quoted.ask.model, quoted.ask.route.measure
    one = measure.removesuffix("s")
    advice = "" if measure == "seconds" else f"state a price for each {one} with Meter(prices=...), or "
    return (
        f"what {model!r} is billed on is not known before its answer ({quoted.unforeseen}), so budget "
        f"{budget!r} cannot hold money for it; {advice}allow it with on_unpriced='allow'"
    )


def say_unpriced(model: str) -> None:
    """Once per model: no price is known, and what can be done."""
    say_once(
        ("unpriced", model),
        logging.WARNING,
        "no price is known for model %r: its calls are booked with their tokens and an unknown cost; "
        "state a price with Meter(prices={%r: {'input': ..., 'output': ...}}) (USD per million tokens)",
        model,
        model,
    )


def refusal(short: Short, wanted: Reservation, now_ns: int) -> InsufficientCredits:
    """The error for a window that has too little left, in one sentence with what to do."""
    budget = short.bound.budget
    remaining = short.limit - short.spent - short.held
    transient = short.limit - short.spent >= wanted.lo
    window = limits.Window(0, short.ends_ns)
    resets_at = limits.resets_at(window)
    if transient:
        advice = "running calls hold the rest: try again when they have ended"
    elif resets_at is not None:
        advice = f"wait until {resets_at:%Y-%m-%d %H:%M} UTC, raise the limit, or ask for less output"
    else:
        advice = "raise the limit, or ask for less output"
    return InsufficientCredits(
        f"a call to {wanted.requested_model} needs {money.show(wanted.lo)} but budget {budget.name!r} has "
        f"{money.show(max(remaining, 0))} of {money.show(short.limit)} left "
        f"({money.show(short.spent)} spent, {money.show(short.held)} held by running calls); {advice}",
        kind="budget",
        budget=budget.name,
        limit=money.usd(short.limit),
        spent=money.usd(short.spent),
        held=money.usd(short.held),
        remaining=money.usd(remaining),
        required=money.usd(wanted.lo),
        account=wanted.account,
        model=wanted.requested_model,
        resets_at=resets_at,
        retry_after=None if transient else limits.retry_after(window, now_ns),
        transient=transient,
        shared=not _is_of(short.bound, wanted.account),
    )


def _is_of(bound: Bound, account: str) -> bool:
    """True if nobody else's calls are charged to this window."""
    budget = bound.budget
    if budget.per == "account" or budget.account == account:
        return True
    return bound.attached and bound.identity.endswith(f"|{account}|{budget.period}")
