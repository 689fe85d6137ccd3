"""What a refusal says: in one sentence, with what to do."""

from __future__ import annotations

import logging

from farthing import limits, money
from farthing.errors import InsufficientCredits, Unbounded, UnpricedModel
from farthing.ledger.store import Bound, Reservation, Short
from farthing.log import say_once
from farthing.quote import Quote

__all__ = ["empty", "insufficient", "say_unpriced", "say_useless_fallback", "unbounded", "unpriced"]


def insufficient(wanted: Reservation, short: Short, now_ns: int, pace: float) -> InsufficientCredits:
    """A window has too little left for a call.

    Args:
        pace: seconds that a call takes: a retry may succeed then, if money is only held.
    """
    asked = wanted.requested_model
    return _made(
        short,
        f"a call to {asked} needs {money.show(wanted.lo)}",
        account=wanted.account,
        model=asked,
        required=wanted.lo,
        transient=short.limit - short.spent >= wanted.lo,
        never=wanted.lo > short.limit,
        now_ns=now_ns,
        pace=pace,
    )


def empty(
    short: Short, function: str, *, account: str, model: str | None, now_ns: int, pace: float
) -> InsufficientCredits:
    """A window has nothing left for a function whose costs nobody knows before."""
    return _made(
        short,
        f"{function} needs money",
        account=account,
        model=model,
        required=None,
        transient=short.limit > short.spent,
        never=short.limit <= 0,
        now_ns=now_ns,
        pace=pace,
    )


def _made(
    short: Short,
    need: str,
    *,
    account: str,
    model: str | None,
    required: int | None,
    transient: bool,
    never: bool,
    now_ns: int,
    pace: float,
) -> InsufficientCredits:
    budget = short.bound.budget
    remaining = short.limit - short.spent - short.held
    window = limits.Window(0, short.ends_ns)
    resets_at = limits.resets_at(window)
    retry_after = limits.retry_after(window, now_ns)
    if transient:
        advice = (
            "running calls hold the rest: try again when they have ended "
            "(what a killed process held is free after some ten minutes)"
        )
        retry_after = pace if retry_after is None else min(pace, retry_after)
    elif never:
        advice = "not even the whole limit is enough: raise the limit, or ask for less output"
    elif resets_at is not None:
        advice = f"wait until {resets_at:%Y-%m-%d %H:%M} UTC, raise the limit, or ask for less output"
    else:
        advice = "raise the limit, or ask for less output"
    return InsufficientCredits(
        f"{need} but budget {budget.name!r} has "
        f"{money.show(max(remaining, 0))} of {money.show(short.limit)} left "
        f"({money.show(short.spent)} spent, {money.show(short.held)} held by running calls); {advice}",
        kind="budget",
        budget=budget.name,
        limit=money.usd(short.limit),
        spent=money.usd(short.spent),
        held=money.usd(short.held),
        remaining=money.usd(remaining),
        required=None if required is None else money.usd(required),
        account=account,
        model=model,
        resets_at=resets_at,
        retry_after=retry_after,
        transient=transient,
        shared=not _is_of(short.bound, account),
    )


def _is_of(bound: Bound, account: str) -> bool:
    """True if nobody else's calls are charged to this window."""
    budget = bound.budget
    if budget.per == "account" or budget.account == account:
        return True
    return bound.attached and bound.identity.endswith(f"|{account}|{budget.period}")


def unpriced(quoted: Quote, budget: str) -> UnpricedModel:
    """Nothing can be held for a call, as no price is known for what it will be billed on."""
    model, measure = quoted.ask.model, quoted.ask.route.measure
    if not quoted.unforeseen:
        return UnpricedModel(
            f"no price is known for model {model!r}, so budget {budget!r} cannot hold money for it; "
            f"state one with Meter(prices=...), or allow it with on_unpriced='allow'"
        )
    one = measure.removesuffix("s")
    advice = "" if measure == "seconds" else f"state a price for each {one} with Meter(prices=...), or "
    return UnpricedModel(
        f"what {model!r} is billed on is not known before its answer ({quoted.unforeseen}), so budget "
        f"{budget!r} cannot hold money for it; {advice}allow it with on_unpriced='allow'"
    )


def unbounded(quoted: Quote, budget: str) -> Unbounded:
    """Nothing can be held for a call that may cost any amount."""
    if quoted.ask.route.measure == "work":
        return Unbounded(
            f"a request to {quoted.ask.route.path} does not show all that will be read for it, so budget "
            f"{budget!r} cannot bound what it starts; allow it with on_unbounded='allow'"
        )
    return Unbounded(
        f"the call to {quoted.ask.model!r} may run hosted tools without a limit, so budget {budget!r} "
        f"cannot bound it; set max_tool_calls, or allow it with on_unbounded='allow'"
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


def say_useless_fallback(budget: str, asked: str, fallback: str) -> None:
    """Once per budget and models: the fallback is never used, and why."""
    say_once(
        ("fallback", budget, asked, fallback),
        logging.WARNING,
        "the fallback %r of budget %r cannot answer for %r: it has no price or no bound, allows less output "
        "than was asked for, or the address of the client names the model",
        fallback,
        budget,
        asked,
    )
