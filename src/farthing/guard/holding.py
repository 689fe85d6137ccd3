"""What is asked of the ledger for a call: how much, whether at all, and what follows for its request."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from farthing import money
from farthing.guard import refusing
from farthing.guard.wishes import Refusal
from farthing.ledger.store import Bound, Reservation
from farthing.log import logger
from farthing.quote import Quote
from farthing.settings import Policies, Who

__all__ = ["allowed", "cap", "wanted"]


def wanted(
    quoted: Quote,
    who: Who,
    bounds: tuple[Bound, ...],
    flags: tuple[str, ...],
    *,
    call_id: str,
    now_ns: int,
    elastic: bool,
    epoch: int,
    fallback_from: str | None = None,
) -> Reservation:
    """The reserve of a call; `elastic` if less output than its maximum would do.

    Made field by field: so many keyword arguments take five times as long.
    """
    ask, hi = quoted.ask, quoted.hi
    made = object.__new__(Reservation)
    made.id = call_id
    made.started_ns = now_ns
    made.account = who.account or "default"
    made.context = who.context or "customer"
    made.tags = who.tags or {}
    made.run = who.run
    made.provider = quoted.provider
    made.requested_model = ask.model
    made.model = quoted.model
    made.operation = ask.route.operation
    made.service_tier = ask.tier
    made.lo = quoted.lo if elastic and not quoted.capped_by_caller else hi
    made.hi = hi
    made.expected = None if (quoted.expected or 0) > money.MAX_CALL else quoted.expected
    made.input_tokens = quoted.count.tokens if ask.route.measure == "tokens" else None
    made.rates = quoted.rates
    made.epoch = epoch
    made.bounds = bounds
    made.transaction_id = None
    made.fallback_from = fallback_from
    made.flags = flags
    made.counted_input = quoted.counted_input
    made.topped = None
    return made


def cap(policies: Policies, quoted: Quote, reservation: Reservation, held: int, *, hard: bool) -> int | None:
    """The cap to write: what the grant affords, or a configured or assumed one; None for none.

    An output that costs nothing needs no assumed one, and a server may refuse one above its own maximum.
    """
    if quoted.capped_by_caller or not quoted.ask.route.caps:
        return None
    if held < reservation.hi:
        affordable = quoted.cap_for(held)
        logger.info(
            "%s: output capped at %d tokens, which is what the budget affords", quoted.ask.model, affordable
        )
        return affordable
    costs = quoted.each or quoted.rates.status == "unpriced"
    if policies.output_cap is not None or (hard and quoted.cap_assumed and costs):
        return quoted.cap
    return None


def allowed(
    policies: Policies, quoted: Quote, who: Who, bounds: Sequence[Bound], now_ns: int
) -> Generator[Refusal, None, tuple[str, ...]]:
    """Flags of a call that a hard budget binds, or a refusal where its cost has no bound."""
    budget = next(bound.budget.name for bound in bounds if bound.hard)
    account = who.account or "default"
    flags: list[str] = []
    if not quoted.priced:
        if policies.on_unpriced == "refuse":
            yield Refusal(now_ns, account, quoted.model, budget, "unpriced")
            raise refusing.unpriced(quoted, budget)
        flags.append("unpriced_allowed")
    if quoted.unbounded:
        if policies.on_unbounded == "refuse":
            yield Refusal(now_ns, account, quoted.model, budget, "unbounded")
            raise refusing.unbounded(quoted, budget)
        flags.append("unbounded_allowed")
    return tuple(flags)
