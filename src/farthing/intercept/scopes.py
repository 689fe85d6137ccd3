"""Scopes: everything called inside is booked together, and may share a budget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Token
from decimal import Decimal
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import wrapt

from farthing import money
from farthing.engine import Engine, closes, receipt_of_row
from farthing.errors import FarthingError
from farthing.intercept import carried
from farthing.ledger.store import Bound, Totals
from farthing.log import say_once
from farthing.records import Receipt, Usage
from farthing.settings import BudgetLike, Frame, Who, attach, current, is_within, put_back

__all__ = ["Scope"]

P = ParamSpec("P")
R = TypeVar("R")


class Scope:
    """One `with` (or `async with`) block whose calls are booked together.

    After it has been entered: `run.cost`, `.calls`, `.usage`, `.unpriced`, `.remaining` and `.receipts()`
    ask the ledger, also after the block has been left.
    """

    __slots__ = ("_account", "_bounds", "_budget", "_engine", "_frame", "_surface", "_token", "_who")

    def __init__(
        self,
        engine: Callable[[], Engine],
        who: Who,
        budget: BudgetLike | None = None,
        *,
        surface: str = "scope",
    ) -> None:
        self._engine = engine
        self._who = who
        self._budget = budget
        self._surface = surface
        self._bounds: tuple[Bound, ...] = ()
        self._frame: Frame | None = None
        self._token: Token[Frame | None] | None = None
        attach(budget, surface=surface, account="", run="")  # a budget that makes no sense is told here

    def __repr__(self) -> str:
        return f"Scope(run={self.run!r})" if self._frame else "Scope(not entered)"

    def open(self) -> Frame:
        """A frame for one entry, not yet in force."""
        engine = self._engine()
        outer = current.get()
        own = _short(engine.ids())
        above = (outer and outer.who.run) or engine.who.run
        run = f"{above}/{own}" if above else own
        account = self._who.account or (outer and outer.who.account) or engine.who.account or "default"
        self._bounds = attach(self._budget, surface=self._surface, account=account, run=own)
        who = Who(self._who.account, self._who.context, self._who.tags, self._bounds, run)
        self._frame = Frame(who, outer)
        return self._frame

    def __enter__(self) -> Self:
        if self._token is not None:
            raise FarthingError("this scope is open already: make a new one for each block")
        self._token = current.set(self.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        frame = self._entered()
        if is_within(frame):
            if not put_back(current, token):
                current.set(frame.parent)  # it was carried here, and is left here
        elif not _is_of_here(token) and not closes(error):
            say_once(
                ("scope left elsewhere",),
                logging.WARNING,
                "a scope was left in another context than it was entered in: calls in between may not have "
                "been in it, nor under its budget; a FastAPI dependency keeps it as an `async def`, and a "
                "generator whose steps run in different threads with track_usage",
            )

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def bind(self, fn: Callable[P, R]) -> Callable[P, R]:
        """`fn`, to be called in another thread, with its calls booked in this scope. Functions, coroutine
        functions, generator functions and asynchronous ones keep their kind."""
        frame, run = self._entered(), carried.runner(fn)

        def within(wrapped: Callable[..., R], _instance: object, args: Any, kwargs: Any) -> R:
            inside: R = run(frame, wrapped, *args, **kwargs)
            return inside

        return wrapt.FunctionWrapper(fn, within)

    @property
    def run(self) -> str | None:
        """The path of scope ids, outermost first; None before it is entered."""
        return None if self._frame is None else self._frame.who.run

    @property
    def cost(self) -> Decimal:
        """USD: the sum of the known costs so far; see `unpriced` for how many calls are not in it."""
        return money.usd(self._totals().cost)

    @property
    def calls(self) -> int:
        """Finished calls, of every outcome."""
        return self._totals().calls

    @property
    def unpriced(self) -> int:
        """Finished calls of unknown cost."""
        return self._totals().unpriced

    @property
    def partial(self) -> int:
        """Calls of whose cost only a part is known, so that `cost` is a lower bound."""
        return self._totals().partial

    @property
    def usage(self) -> Usage:
        """The counts of all finished calls together."""
        return self._totals().usage or Usage()

    @property
    def remaining(self) -> Decimal | None:
        """USD that its own budget has left; None without one."""
        if not self._bounds:
            return None
        engine = self._swept()
        room = engine.ledger.room(self._bounds, engine.clock.time_ns())
        return money.usd(min(left for _, left in room))

    def receipts(self) -> list[Receipt]:
        """Of the finished calls, oldest first."""
        engine = self._swept()
        return [receipt_of_row(row) for row in engine.ledger.run_calls(self._path())]

    def _totals(self) -> Totals:
        return self._swept().ledger.run_totals(self._path())

    def _swept(self) -> Engine:
        engine = self._engine()
        engine.sweep()
        return engine

    def _path(self) -> str:
        return self._entered().who.run or ""

    def _entered(self) -> Frame:
        if self._frame is None:
            raise FarthingError("this scope has not been entered: use it in a with block")
        return self._frame


def _is_of_here(token: Token[Frame | None]) -> bool:
    """Whether it was given in this context. What is in force stays."""
    here = current.get()
    known = put_back(current, token)
    if known:
        current.set(here)
    return known


def _short(call_id: str) -> str:
    """A scope's id, from one of a call: the random end of a UUID is enough, and paths stay short."""
    return call_id[-12:] if len(call_id) == 36 else call_id
