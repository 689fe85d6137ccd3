"""What can be asked of a meter: before a call, after it, and about its budgets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from farthing import money, quote
from farthing.engine import Engine, aside
from farthing.errors import FarthingError, InvalidBudget, LedgerError, shown
from farthing.ledger.store import Origin, WindowRow
from farthing.loops import is_running
from farthing.money import Amount
from farthing.records import Affordability, Budget, Candidate, Cost, Estimate, Receipt
from farthing.records.text import clean
from farthing.settings import Who, checked_text, resolve

__all__ = ["MISSING", "Asking"]

MISSING: Any = object()
T = TypeVar("T")


class Asking:
    """Estimates, costs, receipts and standing budgets."""

    _engine: Engine

    if TYPE_CHECKING:

        @property
        def ledger_path(self) -> str | Path: ...

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
        """What a call would cost; `upper` is what the guard would hold for it. No call is written.

        In a running event loop nothing is waited for: until the vocabulary is loaded, and for more than
        200 KB of text, `method` is "heuristic" and the bytes of the text are its bound. `aestimate` counts.
        """
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
            margins=self._margins(),
        )

    async def aestimate(
        self,
        *,
        model: str,
        messages: Any = None,
        input: Any = None,  # noqa: A002  the API's own name
        tools: Any = None,
        max_output_tokens: int | None = None,
        provider: str | None = None,
    ) -> Estimate:
        """`estimate` from a coroutine: whatever takes a while is done on another thread."""
        return await aside(
            lambda: self.estimate(
                model=model,
                messages=messages,
                input=input,
                tools=tools,
                max_output_tokens=max_output_tokens,
                provider=provider,
            )
        )

    def cheapest(
        self, models: Sequence[str], *, messages: Any, max_output_tokens: int | None = None
    ) -> list[Candidate]:
        """The models with their estimate, cheapest first, those without a price last.

        In a running event loop as `estimate`: there, `acheapest` counts.
        """
        engine = self._engine
        return quote.cheapest(
            models,
            engine.catalog,
            at_ns=engine.clock.time_ns(),
            messages=messages,
            max_output_tokens=max_output_tokens,
            output_cap=engine.policies.output_cap,
            margins=self._margins(),
        )

    async def acheapest(
        self, models: Sequence[str], *, messages: Any, max_output_tokens: int | None = None
    ) -> list[Candidate]:
        """`cheapest` from a coroutine."""
        return await aside(
            lambda: self.cheapest(models, messages=messages, max_output_tokens=max_output_tokens)
        )

    def _margins(self) -> quote.Margins:
        """What bills have taught, as the next call would find it. No ledger is made for this."""
        engine = self._engine
        margins = engine.margins
        if engine.enabled and not is_running():
            try:
                if margins.known or Path(self.ledger_path).is_file():
                    margins.refresh(engine.ledger, engine.clock)
            except (LedgerError, OSError):
                return margins
        return margins

    def can_afford(
        self,
        amount: Amount | None = None,
        *,
        model: str | None = None,
        messages: Any = None,
        account: str | None = None,
        max_age: float = 5.0,  # noqa: ARG002  every answer is fresh so far
    ) -> Affordability:
        """Whether every budget that would bind a call has room for it; never raises for the ledger's sake.

        Args:
            amount: USD, such as 5, "0.50" or "$5"; else what the call to `model` may cost.

        Raises:
            InvalidBudget: for an amount that is none.
        """
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
                min_output=engine.policies.min_output_tokens,
                margins=self._margins(),
            )
            name, provider, priced = quoted.model, quoted.provider, quoted.priced
            if amount is None:
                need = quoted.lo if engine.policies.on_tight == "cap" else quoted.hi
        try:
            if not is_running():  # there, nothing may wait for the ledger's lock
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
        return await aside(
            lambda: self.can_afford(amount, model=model, messages=messages, account=account, max_age=max_age)
        )

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

        A `Usage` is taken as well, with the `model` that it is of.

        Raises:
            InvalidUsage: for a naive `at`.
        """
        engine = self._engine
        return quote.cost_of(
            body,
            engine.catalog,
            at_ns=quote.instant_ns(at, engine.clock.time_ns()),
            provider=checked_text(provider, "provider", empty=True),
            base_url=checked_text(base_url, "base_url", empty=True),
            model=checked_text(model, "model", empty=True),
            batch=batch,
        )

    @overload
    def receipt(self, response: Any) -> Receipt: ...
    @overload
    def receipt(self, response: Any, default: T) -> Receipt | T: ...
    def receipt(self, response: Any, default: Any = MISSING) -> Any:
        """What a response, or a finished stream, of a wrapped client cost, as it was booked at its end.

        What the ledger says of the call by now, after a late answer, `correct` or `reprice`, is in
        `reports.records` under its `id`, and the history of that in `reports.corrections`.

        Raises:
            LookupError: if there is no receipt for it, or its stream has not ended, and no default is given.
        """
        call = self._engine.receipts.find(response)
        if call is not None and call.settlement is None:  # it may have been left, and not be booked yet
            self._engine.sweep()
        if call is None and not self._engine.enabled:
            return Receipt(id="", account=self._engine.who.account or "default", cost_source="unpriced")
        if call is not None and (default is MISSING or call.settlement is not None):
            return call.receipt()
        if default is not MISSING:
            return default
        raise LookupError(
            f"this meter has no receipt for this {type(response).__name__}: it is no answer of a client that "
            "this meter has wrapped, or a copy of one"
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
        engine.guard.load(engine.ledger, fresh=True)

    def remove_budget(self, name: str) -> bool:
        """Forget a standing budget; False if there is none of that name."""
        engine = self._engine
        removed = engine.ledger.remove_budget(checked_text(name, "name", empty=True) or "")
        engine.guard.load(engine.ledger, fresh=True)
        return removed

    def budget(self, name: str) -> Budget:
        """The standing budget of that name.

        Raises:
            LookupError: if there is none.
        """
        wanted = clean(name) if isinstance(name, str) else name
        for found in self.budgets():
            if found.name == wanted:
                return found
        raise LookupError(f"there is no standing budget {shown(name)}")

    def budgets(self) -> list[Budget]:
        """The standing budgets, by name."""
        _, standing = self._engine.ledger.standing(fresh=True)
        return sorted((s.budget for s in standing), key=lambda b: b.name)

    def windows(self) -> list[WindowRow]:
        """The windows of all budgets at this instant."""
        engine = self._engine
        engine.sweep()
        return engine.ledger.windows(at_ns=engine.clock.time_ns())


def _checked_standing(budget: object) -> Budget:
    if not isinstance(budget, Budget):
        raise FarthingError(f"give a farthing.Budget; got {shown(budget)}")
    if budget.period == "run":
        raise InvalidBudget(
            f"budget {budget.name!r} is of a run: give it to wrap, track_usage or scope, or choose a period"
        )
    return budget
