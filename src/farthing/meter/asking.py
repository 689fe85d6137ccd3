"""What can be asked of a meter: before a call, after it, and about its budgets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar, overload

from farthing import money, quote
from farthing.engine import Engine
from farthing.errors import FarthingError, InvalidBudget, LedgerError
from farthing.ledger.store import Origin, WindowRow
from farthing.records import Affordability, Budget, Candidate, Cost, Estimate, Receipt
from farthing.settings import Who, checked_text, resolve, say_unbuilt

__all__ = ["MISSING", "Asking"]

MISSING: Any = object()
T = TypeVar("T")
Amount = Decimal | int | str | float


class Asking:
    """Estimates, costs, receipts and standing budgets."""

    _engine: Engine

    def estimate(
        self,
        *,
        model: str,
        messages: Any = None,
        input: Any = None,  # noqa: A002  the API's own name
        tools: Any = None,
        max_output_tokens: int | None = None,
        provider: str | None = None,
    ) -> Estimate:
        """What a call would cost; `upper` is what the guard would hold for it. Nothing is written."""
        engine = self._engine
        return quote.estimate(
            engine.catalog,
            at_ns=engine.clock.time_ns(),
            model=model,
            messages=messages,
            input=input,
            tools=tools,
            max_output_tokens=max_output_tokens,
            provider=provider,
            output_cap=engine.policies.output_cap,
        )

    def cheapest(
        self, models: Sequence[str], *, messages: Any, max_output_tokens: int | None = None
    ) -> list[Candidate]:
        """The models with their estimate, cheapest first, those without a price last."""
        engine = self._engine
        return quote.cheapest(
            models,
            engine.catalog,
            at_ns=engine.clock.time_ns(),
            messages=messages,
            max_output_tokens=max_output_tokens,
        )

    def can_afford(
        self,
        amount: Amount | None = None,
        *,
        model: str | None = None,
        messages: Any = None,
        account: str | None = None,
        max_age: float = 5.0,  # noqa: ARG002  every answer is fresh so far
    ) -> Affordability:
        """Whether every budget that would bind a call has room for it; never raises for the ledger's sake."""
        engine = self._engine
        now = engine.clock.time_ns()
        if not engine.enabled:
            return Affordability(affordable=True, unknown=True, as_of=engine.aware(now))
        who = Who(checked_text(account, "account")).over(resolve(Who(), engine.who))
        need, name, provider, priced = (
            0 if amount is None else money.parse_usd(amount),
            model or "",
            None,
            True,
        )
        if model is not None:
            quoted = quote.imagined(
                engine.catalog,
                at_ns=now,
                model=model,
                messages=messages or [],
                output_cap=engine.policies.output_cap,
            )
            name, provider, priced = quoted.model, quoted.provider, quoted.priced
            if amount is None:
                need = quoted.lo if engine.policies.on_tight == "cap" else quoted.hi
        try:
            if not _in_a_loop():  # there, nothing may wait for the ledger's lock
                engine.guard.load(engine.ledger, fresh=True)
            bounds = [b for b in engine.guard.bounds(who, provider=provider, model=name) if b.hard]
            room = engine.ledger.room(bounds, now)
        except LedgerError:
            return Affordability(affordable=True, unknown=True, as_of=engine.aware(now))
        if not room:
            return Affordability(affordable=True, as_of=engine.aware(now))
        bound, left = min(room, key=lambda pair: pair[1])
        allowed = priced or amount is not None or engine.policies.on_unpriced == "allow"
        return Affordability(
            affordable=allowed and left >= need,
            remaining=money.usd(left),
            limited_by=bound.budget.name,
            as_of=engine.aware(now),
        )

    async def acan_afford(
        self,
        amount: Amount | None = None,
        *,
        model: str | None = None,
        messages: Any = None,
        account: str | None = None,
        max_age: float = 5.0,
    ) -> Affordability:
        """`can_afford` from a coroutine."""
        found: Affordability = await self._engine.courier.bring(
            lambda: self.can_afford(amount, model=model, messages=messages, account=account, max_age=max_age),
            lambda _: None,
        )
        return found

    def cost_of(
        self,
        body: Any,
        *,
        provider: str | None = None,
        base_url: str | None = None,
        model: str | None = None,
        at: datetime | None = None,
        batch: bool = False,
    ) -> Cost:
        """What a response body (an SDK object or JSON of any known flavour) cost at an instant.

        Raises:
            InvalidUsage: for a naive `at`.
        """
        engine = self._engine
        return quote.cost_of(
            body,
            engine.catalog,
            at_ns=quote.instant_ns(at, engine.clock.time_ns()),
            provider=provider,
            base_url=base_url,
            model=model,
            batch=batch,
        )

    @overload
    def receipt(self, response: Any) -> Receipt: ...
    @overload
    def receipt(self, response: Any, default: T) -> Receipt | T: ...
    def receipt(self, response: Any, default: Any = MISSING) -> Any:
        """What a response, or a finished stream, of a wrapped client cost.

        Raises:
            LookupError: if there is no receipt for it, or its stream has not ended, and no default is given.
        """
        call = self._engine.receipts.find(response)
        if call is None and not self._engine.enabled:
            return Receipt(id="", account=self._engine.who.account or "default", cost_source="unpriced")
        if call is not None and (default is MISSING or call.settlement is not None):
            return call.receipt()
        if default is not MISSING:
            return default
        raise LookupError(
            f"there is no receipt for this {type(response).__name__}: it came from no wrapped client"
        )

    # -- standing budgets ----------------------------------------------------------------------------

    def set_budget(self, budget: Budget, *, origin: Origin = "code") -> None:
        """Store a standing budget under its name. A changed limit binds at once, in every process.

        Raises:
            InvalidBudget: for a budget of a run, which only `wrap`, `track_usage` and `scope` can have.
            LedgerError: if the ledger cannot be used.
        """
        engine = self._engine
        engine.ledger.set_budget(_checked_standing(budget), origin=origin)
        say_unbuilt(budget)
        engine.guard.load(engine.ledger, fresh=True)

    def remove_budget(self, name: str) -> bool:
        """Forget a standing budget; False if there is none of that name."""
        engine = self._engine
        removed = engine.ledger.remove_budget(name)
        engine.guard.load(engine.ledger, fresh=True)
        return removed

    def budget(self, name: str) -> Budget:
        """The standing budget of that name.

        Raises:
            LookupError: if there is none.
        """
        for found in self.budgets():
            if found.name == name:
                return found
        raise LookupError(f"there is no standing budget {name!r}")

    def budgets(self) -> list[Budget]:
        """The standing budgets, by name."""
        _, standing = self._engine.ledger.standing(fresh=True)
        return sorted((s.budget for s in standing), key=lambda b: b.name)

    def windows(self) -> list[WindowRow]:
        """The windows of all budgets at this instant."""
        engine = self._engine
        engine.sweep()
        return engine.ledger.windows(at_ns=engine.clock.time_ns())


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _checked_standing(budget: object) -> Budget:
    if not isinstance(budget, Budget):
        raise FarthingError(f"give a farthing.Budget; got {budget!r}")
    if budget.period == "run":
        raise InvalidBudget(
            f"budget {budget.name!r} is of a run: give it to wrap, track_usage or scope, or choose a period"
        )
    return budget
