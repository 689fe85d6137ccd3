"""Generators of either colour that are driven step by step, in one context."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from intercept.kit import ASK, Kit


def play(kit: Kit, scenario: Coroutine[Any, Any, Any]) -> Any:
    """Run a scenario to its end in one context. That of a synchronous kit awaits nothing that waits."""
    if kit.is_async:
        return kit.run(scenario)
    try:
        contextvars.copy_context().run(scenario.send, None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a synchronous scenario has waited")


async def settled(value: Any) -> Any:
    """The value, or what it gives when it is awaited."""
    return await value if inspect.isawaitable(value) else value


async def step(run: Any) -> Any:
    """The next item of a generator; None at its end."""
    return await anext(run, None) if hasattr(run, "__anext__") else next(run, None)


async def close(run: Any) -> None:
    """Close a generator that is left half-way."""
    await run.aclose() if hasattr(run, "aclose") else run.close()


def returning(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function that returns the coroutine of a coroutine function."""

    def made(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return made


def asking(
    kit: Kit, client: Any, account: str, *, times: int, budget: str | None = None
) -> Callable[[], Any]:
    """A generator function: in a scope of the account it calls so often, and once more if it is closed."""

    def ask() -> Any:
        return client.chat.completions.create(**ASK)

    def pages() -> Any:
        with kit.meter.scope(account=account, budget=budget):
            try:
                for _ in range(times):
                    yield ask()
            except GeneratorExit:
                ask()
                raise

    async def apages() -> Any:
        async with kit.meter.scope(account=account, budget=budget):
            try:
                for _ in range(times):
                    yield await ask()
            except GeneratorExit:
                await ask()
                raise

    return kit.pick(pages, apages)
