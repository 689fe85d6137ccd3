"""Decorated functions: each entry is a scope; what it returns is booked if nothing inside was metered."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, replace
from decimal import Decimal
from types import CoroutineType
from typing import Any

import wrapt

from farthing import money, quote
from farthing.engine import (
    Driven,
    Engine,
    Hold,
    Made,
    adrive,
    ahold,
    book,
    drive,
    hold,
    later,
    reading_of,
    soon,
)
from farthing.errors import FarthingError
from farthing.guard import Again
from farthing.intercept import carried
from farthing.intercept.scopes import Scope
from farthing.log import say_once
from farthing.settings import BudgetLike, Frame, Who, current, leave
from farthing.struck import was_struck
from farthing.usage import Reading

__all__ = ["Tracker"]

Amount = Decimal | int | str | float


@dataclass(slots=True)
class _Entry:
    """One entry of a function: its scope's frame, and what was held for it."""

    engine: Engine
    frame: Frame
    started_ns: int
    started_mono: int
    hold: Hold | None = None


class Tracker:
    """How one function is tracked; calling it with a function gives the tracked one."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        who: Who,
        *,
        budget: BudgetLike | None = None,
        model: str | None = None,
        provider: str | None = None,
        usage: Callable[[Any], Any] | None = None,
        estimate: Amount | Callable[..., Amount] | None = None,
    ) -> None:
        self.engine = engine
        self.who = who
        self.budget = budget
        self.model = model
        self.provider = provider
        self.usage = usage
        self.estimate = estimate
        Scope(engine, who, budget)  # a budget that makes no sense is told at decoration
        if estimate is not None and not callable(estimate):
            money.parse_usd(estimate, what="estimate")

    def __call__(self, fn: Any) -> Any:
        """The function, tracked. Its kind, signature and attributes stay as they are."""
        plain = getattr(fn, "__func__", fn)
        if not callable(plain) or inspect.isclass(plain):
            raise FarthingError(f"track_usage decorates functions and methods; got {fn!r}")
        inner = inspect.unwrap(plain.func if isinstance(plain, functools.partial) else plain)
        own = getattr(inner, "__qualname__", None) or type(inner).__qualname__
        name = f"{getattr(inner, '__module__', None) or type(inner).__module__}.{own}"
        tags = {"function": own, **(self.who.tags or {})}
        around = _Around(self, name, replace(self.who, tags=tags))
        if inspect.isasyncgenfunction(plain):
            return wrapt.FunctionWrapper(fn, around.async_generator)
        if inspect.iscoroutinefunction(plain):
            return wrapt.FunctionWrapper(fn, around.coroutine)
        if inspect.isgeneratorfunction(plain):
            return wrapt.FunctionWrapper(fn, around.generator)
        return wrapt.FunctionWrapper(fn, around.function)


class _Around:
    """What happens around each entry of one function."""

    __slots__ = ("_name", "_tracker", "_who")

    def __init__(self, tracker: Tracker, name: str, who: Who) -> None:
        self._tracker = tracker
        self._name = name
        self._who = who

    # -- the four kinds of functions -----------------------------------------------------------------

    def function(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        entry = self._enter()
        if entry is None:
            return wrapped(*args, **kwargs)
        self._hold(entry, args, kwargs)
        token = current.set(entry.frame)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            self._fail(entry, error)
            raise
        finally:
            leave(entry.frame, token)
        if isinstance(result, CoroutineType) and sys.getrefcount(result) <= carried.ONE:
            # Its calls are still to be made. What somebody else holds, as a task, is run by that.
            return carried.awaits(result, self._awaited(entry, result), functools.partial(_drop, entry))
        self._book(entry, result)
        return result

    async def _awaited(self, entry: _Entry, made: CoroutineType[Any, Any, Any]) -> Any:
        driven = Driven()
        try:
            result = await carried.coroutine(entry.frame, lambda: made)
        except BaseException as error:
            await self._afail(entry, error, driven)
            raise
        await self._abook(entry, result)
        return result

    async def coroutine(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        entry = self._enter()
        if entry is None:
            return await wrapped(*args, **kwargs)
        driven = Driven()
        await self._ahold(entry, args, kwargs)
        token = current.set(entry.frame)
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as error:
            await self._afail(entry, error, driven)
            raise
        finally:
            leave(entry.frame, token)
        await self._abook(entry, result)
        return result

    def generator(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Generator[Any, Any, Any]:
        entry = self._enter()
        if entry is None:
            return (yield from wrapped(*args, **kwargs))
        made = wrapped(*args, **kwargs)  # wrong arguments hold nothing
        self._hold(entry, args, kwargs)
        inner = carried.generator(entry.frame, lambda: made)
        step, value, last = inner.send, None, None
        while True:
            try:
                item = step(value)
            except StopIteration as stop:
                self._book(entry, stop.value, last)
                return stop.value
            except BaseException as error:
                self._fail(entry, error)
                raise
            last = item
            try:
                value, step = (yield item), inner.send
            except GeneratorExit as left:
                try:
                    inner.close()
                finally:
                    soon(entry.engine, self._abandoned(entry, left, last))
                raise
            except BaseException as error:
                value, step = error, inner.throw

    async def async_generator(
        self, wrapped: Any, _instance: Any, args: Any, kwargs: Any
    ) -> AsyncGenerator[Any, Any]:
        entry = self._enter()
        if entry is None:
            inner = wrapped(*args, **kwargs)
        else:
            made = wrapped(*args, **kwargs)
            await self._ahold(entry, args, kwargs)
            inner = carried.async_generator(entry.frame, lambda: made)
        step, value, last = inner.asend, None, None
        while True:
            driven = Driven()
            try:
                item = await step(value)
            except StopAsyncIteration:
                if entry is not None:
                    await self._abook(entry, None, last)
                return
            except BaseException as error:
                if entry is not None:
                    await self._afail(entry, error, driven)
                raise
            last = item
            try:
                value, step = (yield item), inner.asend
            except GeneratorExit as left:
                try:
                    await inner.aclose()
                finally:
                    if entry is not None:
                        later(entry.engine, self._abandoned(entry, left, last))
                raise
            except BaseException as error:
                value, step = error, inner.athrow

    # -- entering ------------------------------------------------------------------------------------

    def _enter(self) -> _Entry | None:
        engine = self._tracker.engine()
        if not engine.enabled:
            return None
        scope = Scope(self._tracker.engine, self._who, self._tracker.budget, surface=f"fn:{self._name}")
        frame = scope.open()
        return _Entry(engine, frame, engine.clock.time_ns(), engine.clock.monotonic_ns())

    def _hold(self, entry: _Entry, args: Any, kwargs: Any) -> None:
        quoted, who = self._quoted(entry, args, kwargs)
        if quoted is not None:
            entry.hold = hold(entry.engine, quoted, who)
            entry.frame.on_metered = functools.partial(_release, entry)
        elif any(bound.hard for bound in entry.frame.who.budgets):
            drive(entry.engine, self._check(entry), _sends_nothing)

    async def _ahold(self, entry: _Entry, args: Any, kwargs: Any) -> None:
        quoted, who = self._quoted(entry, args, kwargs)
        if quoted is not None:
            entry.hold = await ahold(entry.engine, quoted, who)
            entry.frame.on_metered = functools.partial(_release, entry)
        elif any(bound.hard for bound in entry.frame.who.budgets):
            await adrive(entry.engine, self._check(entry), _sends_nothing)

    def _quoted(self, entry: _Entry, args: Any, kwargs: Any) -> tuple[quote.Quote | None, Who]:
        who = entry.frame.who.over(entry.engine.who)
        estimate = self._tracker.estimate
        if estimate is None:
            return None, who
        amount = estimate(*args, **kwargs) if callable(estimate) else estimate
        quoted = quote.manual(
            entry.engine.catalog,
            model=self._tracker.model or self._name,
            provider=self._tracker.provider,
            at_ns=entry.started_ns,
            amount=money.parse_usd(amount, what="estimate"),
        )
        return quoted, who

    def _check(self, entry: _Entry) -> Generator[Any, Any, None]:
        """Without an estimate there is only this: is any money left?"""
        tracker, engine = self._tracker, entry.engine
        model = tracker.model and engine.catalog.canonical(tracker.model, tracker.provider)
        provider = tracker.provider or (model and engine.catalog.provider_of(model))
        return engine.guard.look(
            entry.frame.who.over(engine.who),
            function=self._name,
            provider=provider,
            model=model,
            again=Again(engine.ids, engine.clock),
        )

    # -- leaving -------------------------------------------------------------------------------------

    def _fail(self, entry: _Entry, error: BaseException) -> None:
        held, entry.hold = entry.hold, None
        if held is not None:
            held.sent()  # what the function did before it failed, nobody saw
            held.fail(error)

    def _abandoned(self, entry: _Entry, left: BaseException, last: Any) -> Callable[[], None]:
        """What is to be done for one that is closed, perhaps by a collection."""
        if entry.hold is not None:
            return functools.partial(self._fail, entry, left)
        return functools.partial(self._book, entry, None, last)

    async def _afail(self, entry: _Entry, error: BaseException, driven: Driven) -> None:
        """`_fail` without blocking the loop. What is cancelled does not wait."""
        courier = entry.engine.courier
        if driven.closed_by(error):
            later(entry.engine, functools.partial(self._fail, entry, error))
        elif entry.hold is not None and not was_struck(error):
            await courier.bring(lambda: self._fail(entry, error), lambda _: None)
        elif entry.hold is not None:
            courier.post(lambda: self._fail(entry, error))

    def _book(self, entry: _Entry, *results: Any) -> None:
        """Book what was returned, if nothing inside was metered. Never raises."""
        try:
            made = self._made(entry, results)
            if made is not None:
                book(entry.engine, made)
        except Exception as error:
            self._fail(entry, error)
            entry.engine.bug("booking what a function returned")

    async def _abook(self, entry: _Entry, *results: Any) -> None:
        if not entry.frame.metered:
            await entry.engine.courier.bring(lambda: self._book(entry, *results), lambda _: None)

    def _made(self, entry: _Entry, results: tuple[Any, ...]) -> Made | None:
        if entry.frame.metered:
            return None
        if any(entry.engine.receipts.find(result) is not None for result in results):
            # Metered elsewhere: in a thread of the function's own, or before it was called.
            held, entry.hold = entry.hold, None
            if held is not None:
                held.release()
            return None
        tracker = self._tracker
        reading = next((r for r in (self._read(result) for result in results) if r is not None), None)
        if reading is None:
            if entry.hold is not None:
                self._fail(entry, FarthingError("the function returned no usage"))
            elif any(result is not None for result in results):
                say_once(
                    ("no usage", self._name),
                    logging.WARNING,
                    "%s returned nothing that states its usage and made no metered call inside: it is not "
                    "booked; give track_usage(usage=...), a function of what it returns",
                    self._name,
                )
            return None
        if entry.hold is not None:
            entry.hold.settle_reading(reading)
            return None
        if any(bound.hard for bound in entry.frame.who.budgets):
            say_once(
                ("no estimate", self._name),
                logging.WARNING,
                "the budget of %s only checks that money is left; give track_usage(estimate=...) to hold it",
                self._name,
            )
        clock = entry.engine.clock
        return Made(
            model=tracker.model or reading.model or self._name,
            reading=reading,
            who=entry.frame.who.over(entry.engine.who),
            provider=tracker.provider,
            started_ns=entry.started_ns,
            duration_ns=clock.monotonic_ns() - entry.started_mono,
            flags=(),
        )

    def _read(self, result: Any) -> Reading | None:
        read = self._tracker.usage
        if result is None:
            return None
        return reading_of(result if read is None else read(result), provider=self._tracker.provider)


def _release(entry: _Entry, *, may_wait: bool) -> None:
    """What was held for an entry is held by the metered call that starts inside. For a coroutine the courier
    does it, before the reserve of that call, as it does one after the other."""
    held, entry.hold = entry.hold, None
    if held is not None and may_wait:
        held.release()
    elif held is not None:
        entry.engine.courier.post(held.release)


def _sends_nothing(_: object) -> Any:
    raise FarthingError("a check sends nothing")


def _drop(entry: _Entry) -> None:
    """A coroutine that was never started has done nothing. Perhaps told by a collection."""
    held, entry.hold = entry.hold, None
    if held is not None:
        later(entry.engine, held.release)
