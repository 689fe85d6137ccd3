"""The Meter: all that farthing does, on one ledger with one set of settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from farthing import ledger
from farthing.answers import Answers
from farthing.catalog import Catalog
from farthing.engine import Engine
from farthing.errors import FarthingError, shown
from farthing.intercept import Scope, uninstrument
from farthing.ledger.store import Clock, Durability, Ledger, Origin, StandingBudget
from farthing.loops import aside
from farthing.meter.alerting import messenger_of, secret_of
from farthing.meter.asking import Asking
from farthing.meter.booking import Booking
from farthing.meter.config import default_ledger, resolved
from farthing.meter.correcting import Correcting
from farthing.meter.ids import uuid7
from farthing.meter.prices import Stated, Stored, catalog_of, stated_prices
from farthing.meter.surfaces import (
    Guess,
    Tracked,
    instrumented,
    say_unenforced,
    scoped,
    tracked,
    unwrap,
    wrapped,
)
from farthing.records import Alert, Budget
from farthing.settings import BudgetLike, Policies, Who, checked_context, checked_tags, checked_text
from farthing.usage import MOST_TOKENS

__all__ = ["Meter"]

T = TypeVar("T")
Policy = Literal["refuse", "allow"]


class Meter(Booking, Correcting, Asking):
    """Counts, prices, records and guards calls on one ledger. Usable from any thread and event loop.

    Args:
        ledger: a path, or ":memory:"; None is `ledger.db` in the user's data folder.
        account, context, tags: whom calls are booked on where nothing nearer says it.
        budgets: standing budgets that this program declares.
        prices: the user's own prices, by model or glob, in USD per million tokens:
            `{"my-model": {"input": 2, "output": 8}}`, `{"local-*": "free"}`, or `UserPrice` objects.
        on_unpriced, on_unbounded, on_ledger_error: "refuse" or "allow", for calls that a hard budget binds.
        on_tight: "cap" writes an output cap that the money affords into the request, "refuse" does not.
        min_output_tokens: output below which an answer is of no use; None for 256, or 4,096 where the model
            reasons or emits structure.
        output_cap: output cap for calls that set none.
        wait: seconds that a call waits for money which running calls hold, before it is refused; a budget may
            say otherwise.
        durability: "safe" (a power cut cannot free money), "fast" (survives a killed process) or "strict"
            (every row survives a power cut).
        ledger_timeout: seconds to wait for the ledger at most.
        on_alert: called with an `Alert` when a budget reaches one of its `alerts`, in a thread of its own.
        alert_url: https address to which alerts are posted, signed with `alert_secret`.
        inject_usage: ask streams for their usage where the caller has not decided it.
        enabled: False wraps and writes nothing; all names still work.
        clock, ids: where time and the ids of calls come from; `farthing.testing` has deterministic ones.

    Raises:
        FarthingError: for an argument that makes no sense (`InvalidBudget` for a budget).
    """

    read_only = False  # of a command that only asks

    def __init__(
        self,
        ledger: str | Path | None = None,
        *,
        account: str = "default",
        context: str = "customer",
        tags: Mapping[str, str] | None = None,
        budgets: Sequence[Budget] = (),
        prices: Any = None,
        on_unpriced: Policy = "refuse",
        on_unbounded: Policy = "refuse",
        on_ledger_error: Policy = "refuse",
        on_tight: Literal["cap", "refuse"] = "cap",
        min_output_tokens: int | None = None,
        output_cap: int | None = None,
        wait: float = 2.0,
        durability: Durability = "safe",
        ledger_timeout: float = 5.0,
        inject_usage: bool = True,
        on_alert: Callable[[Alert], Any] | None = None,
        alert_url: str | None = None,
        enabled: bool = True,
        clock: Clock = time,
        ids: Callable[[], str] = uuid7,
    ) -> None:
        _one_of("on_unpriced", on_unpriced, "refuse", "allow")
        _one_of("on_unbounded", on_unbounded, "refuse", "allow")
        _one_of("on_ledger_error", on_ledger_error, "refuse", "allow")
        _one_of("on_tight", on_tight, "cap", "refuse")
        _one_of("durability", durability, "safe", "fast", "strict")
        _tokens("min_output_tokens", min_output_tokens)
        _tokens("output_cap", output_cap)
        self._where = ledger
        self._durability: Durability = durability
        self.ledger_timeout = _seconds("ledger_timeout", ledger_timeout)
        self._clock = clock
        stated = stated_prices(prices)
        self._stored = Stored()
        for name, flag in (("enabled", enabled), ("inject_usage", inject_usage)):
            if not isinstance(flag, bool):
                raise FarthingError(f"{name} must be True or False; got {shown(flag)}")
        if not isinstance(budgets, (list, tuple)) or not all(isinstance(b, Budget) for b in budgets):
            raise FarthingError(f"budgets must be a list of farthing.Budget; got {shown(budgets)}")
        self._engine = Engine(
            open_ledger=self._open,
            catalog=lambda: self._catalog(stated),
            policies=Policies(
                on_unpriced,
                on_unbounded,
                on_ledger_error,
                on_tight,
                min_output_tokens,
                output_cap,
                inject_usage,
                _seconds("wait", wait),
            ),
            clock=clock,
            ids=ids,
            who=Who(checked_text(account, "account"), checked_context(context), checked_tags(tags)),
            enabled=enabled,
            alerts=messenger_of(on_alert, alert_url, clock, lambda: self._engine.ledger),
            where=lambda: resolved(self.ledger_path),
        )
        for budget in budgets:
            self.declare(budget, origin="code")

    def __repr__(self) -> str:
        return f"Meter({str(self.ledger_path)!r})"

    @property
    def ledger_path(self) -> str | Path:
        """Where the ledger is."""
        return self._where if self._where is not None else default_ledger()

    @property
    def engine(self) -> Engine:
        """What calls of this meter share. Not for programs that only meter calls."""
        return self._engine

    @property
    def reports(self) -> Answers:
        """Questions to the ledger: what was spent, by whom, on what, and how budgets stand."""
        return Answers(lambda: self._engine)

    @property
    def alert_secret(self) -> str:
        """What alerts to `alert_url` are signed with: FARTHING_ALERT_SECRET, or one that the ledger keeps."""
        return secret_of(lambda: self._engine.ledger)

    def declare(self, budget: Budget, *, origin: Origin) -> None:
        """Declare a standing budget; it is stored when the ledger is first used."""
        self._engine.declare(StandingBudget(budget=budget, origin=origin))
        if not self._engine.enabled and budget.mode == "hard":
            say_unenforced()

    def _catalog(self, stated: Stated) -> Catalog:
        if self._engine.enabled:
            self._stored.look(self.ledger_path, lambda: self._engine.ledger)
        return catalog_of(stated, self._stored.known)

    def _open(self) -> Ledger:
        if not self._engine.enabled:
            return ledger.open_ledger(":memory:", clock=self._clock)
        return self._stored.of(
            ledger.open_ledger(
                self.ledger_path,
                clock=self._clock,
                durability=self._durability,
                timeout=self.ledger_timeout,
                read_only=self.read_only,
            )
        )

    # -- where calls are seen ------------------------------------------------------------------------

    def wrap(
        self,
        client: T,
        *,
        account: str | None = None,
        context: str | None = None,
        tags: Mapping[str, str] | None = None,
        budget: BudgetLike | None = None,
        name: str | None = None,
        provider: str | None = None,
        pin: bool = False,
    ) -> T:
        """Meter an OpenAI-shaped client in place, and return it; or the module `openai`, whose functions are
        methods of a client of its own.

        Again without arguments does nothing, with arguments replaces its settings.

        Args:
            account, context, tags: whom its calls are booked on, unless a scope says otherwise.
            budget: "$5/day" is shared by all clients of equal (name, account, period) in every process;
                without a period it is for the life of this client.
            name: tells clients with budgets of their own apart.
            provider: who sends the bill, where the base URL does not tell.
            pin: True to let no scope override these settings.

        Raises:
            FarthingError: if another meter has wrapped it, or it is no such client.
            InvalidBudget: for a budget that is not understood.
        """
        return wrapped(
            lambda: self._engine,
            self,
            client,
            account=account,
            context=context,
            tags=tags,
            budget=budget,
            name=name,
            provider=provider,
            pin=pin,
        )

    def unwrap(self, client: T) -> T:
        """Undo `wrap`; a client that is not wrapped is returned as it is."""
        return unwrap(client)

    def instrument(
        self,
        *,
        account: str | None = None,
        context: str | None = None,
        tags: Mapping[str, str] | None = None,
        budget: BudgetLike | None = None,
        name: str | None = None,
        provider: str | None = None,
        pin: bool = False,
    ) -> None:
        """Meter every OpenAI-shaped client of the process, those there are and those to come.

        A client that is wrapped itself is counted once, by its own settings. Again without arguments does
        nothing, with arguments replaces the settings. The arguments are those of `wrap`; a budget without a
        period is one for all of these clients, until `uninstrument`.

        Raises:
            FarthingError: if another meter has instrumented the process.
            InvalidBudget: for a budget that is not understood.
        """
        instrumented(
            lambda: self._engine,
            self,
            account=account,
            context=context,
            tags=tags,
            budget=budget,
            name=name,
            provider=provider,
            pin=pin,
        )

    def uninstrument(self) -> None:
        """Undo `instrument`, whoever did it; wrapped clients stay wrapped."""
        uninstrument()

    @overload
    def track_usage(self, fn: Tracked, /) -> Tracked: ...
    @overload
    def track_usage(
        self,
        fn: None = None,
        *,
        account: str | None = None,
        context: str | None = None,
        tags: Mapping[str, str] | None = None,
        budget: BudgetLike | None = None,
        model: str | None = None,
        provider: str | None = None,
        usage: Callable[[Any], Any] | None = None,
        estimate: Guess | None = None,
    ) -> Callable[[Tracked], Tracked]: ...
    def track_usage(
        self,
        fn: Any = None,
        *,
        account: str | None = None,
        context: str | None = None,
        tags: Mapping[str, str] | None = None,
        budget: BudgetLike | None = None,
        model: str | None = None,
        provider: str | None = None,
        usage: Callable[[Any], Any] | None = None,
        estimate: Guess | None = None,
    ) -> Any:
        """Decorate a function: everything called inside is booked together, under the tag `function`.

        What it returns is booked only if no metered call started inside: a response object, a dict with a
        model and counts, a `Usage`, or what `usage` (a function of the return value) makes of it.

        Args:
            budget: without a period it is for each entry of the function.
            estimate: USD, or a function of the arguments that gives them: held at every entry, and released
                when the first metered call starts inside. Without one, a hard `budget` on a function without
                a metered call inside only checks that money is left; it is not exact.
        """
        return tracked(
            lambda: self._engine,
            fn,
            account=account,
            context=context,
            tags=tags,
            budget=budget,
            model=model,
            provider=provider,
            usage=usage,
            estimate=estimate,
        )

    def scope(
        self,
        *,
        account: str | None = None,
        context: str | None = None,
        tags: Mapping[str, str] | None = None,
        budget: BudgetLike | None = None,
        name: str | None = None,
    ) -> Scope:
        """A `with` (or `async with`) block whose calls are booked together: see `Scope`."""
        return scoped(
            lambda: self._engine, account=account, context=context, tags=tags, budget=budget, name=name
        )

    # -- the meter itself ----------------------------------------------------------------------------

    def warm(self) -> None:
        """Load what the first call needs: the ledger, the prices and the tokens of the usual models.

        Raises:
            LedgerError: if the ledger cannot be opened.
        """
        self._engine.warm()

    async def awarm(self) -> None:
        """`warm` from a coroutine, without blocking the loop; a ledger that cannot be opened is met later."""
        await self._engine.awarm()

    def close(self) -> None:
        """Book the streams that are open and what is queued, and release the ledger. The meter opens it again
        if it is used."""
        self._engine.close()

    async def aclose(self) -> None:
        """`close` from a coroutine."""
        await aside(self._engine.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _one_of(name: str, value: object, *allowed: str) -> None:
    if value not in allowed:
        raise FarthingError(f"{name} must be one of {', '.join(allowed)}; got {shown(value)}")


def _tokens(name: str, value: object) -> None:
    if value is not None and (type(value) is not int or not 1 <= value <= MOST_TOKENS):
        raise FarthingError(
            f"{name} must be a number of tokens from 1 to {MOST_TOKENS:,}, or None; got {shown(value)}"
        )


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise FarthingError(f"{name} must be a number of seconds from 0 on; got {shown(value)}")
    return float(value)
