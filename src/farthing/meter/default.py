"""The default meter, which the module-level functions act on: found when they are called."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from farthing.answers import Answers
from farthing.engine import Engine
from farthing.errors import FarthingError
from farthing.forks import renewed_in_children
from farthing.intercept import Scope, uninstrument
from farthing.ledger.store import Origin
from farthing.log import logger
from farthing.meter.asking import MISSING
from farthing.meter.config import settings
from farthing.meter.declared import budgets_of, standing
from farthing.meter.meter import Meter
from farthing.meter.runs import Run, join
from farthing.meter.surfaces import NOBODY, Guess, Tracked, instrumented, scoped, tracked, unwrap, wrapped
from farthing.records import Receipt
from farthing.settings import BudgetLike, put_back

__all__ = [
    "acan_afford",
    "acorrect",
    "arecord",
    "areserve",
    "budget",
    "budgets",
    "can_afford",
    "cheapest",
    "configure",
    "correct",
    "cost_of",
    "default_meter",
    "estimate",
    "instrument",
    "meter_run",
    "receipt",
    "record",
    "remove_budget",
    "reports",
    "reserve",
    "scope",
    "set_budget",
    "track_usage",
    "uninstrument",
    "unwrap",
    "using",
    "wrap",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_lock = threading.RLock()
renewed_in_children(sys.modules[__name__], _lock=threading.RLock)
_meter: Meter | None = None
_given: dict[str, Any] = {}
_override: ContextVar[Meter | None] = ContextVar("farthing_meter", default=None)

_OWNER = "the default meter"


def default_meter() -> Meter:
    """The meter of this context, or of the process; made from the settings when it is first asked for.

    Raises:
        FarthingError: for settings that make no sense.
    """
    override = _override.get()
    if override is not None:
        return override
    meter = _meter
    if meter is None:
        with _lock:
            meter = _meter or _install({})
    return meter


def configure(**given: Any) -> Meter:
    """Set up the default meter; takes what `Meter` takes, and `budget`, the standing budget "default".

    The same arguments again do nothing; others drain the old meter and replace it.

    Raises:
        FarthingError: for an argument that is unknown or makes no sense; nothing is changed then.
    """
    with _lock:
        if _meter is not None and given == _given:
            return _meter
        old = _meter
        meter = _install(given)
        if old is not None:
            logger.info("the default meter is replaced")
            old.close()
        return meter


def _install(given: dict[str, Any]) -> Meter:
    global _meter, _given
    arguments = {name: setting.value for name, setting in settings(given).items()}
    budget = arguments.pop("budget", None)
    origin: Origin = "code" if "budget" in given else "config"
    declared = [] if budget is None else [(standing("default", budget), origin)]
    if "budgets" not in given:
        declared += [(one, "config") for one in budgets_of(arguments.pop("budgets", {}))]
    known = inspect.signature(Meter.__init__).parameters
    for name in arguments:
        if name not in known or name == "self":
            raise FarthingError(f"{name!r} is no setting; known are budget, {', '.join(list(known)[1:])}")
    meter = Meter(**arguments)
    stated = {one.name for one in arguments.get("budgets", ())}
    for one, origin in declared:
        if one.name not in stated:  # by what outranks it; two declarations would take turns at every start
            stated.add(one.name)
            meter.declare(one, origin=origin)
    run = Run.of(os.environ)
    if run is not None:
        join(meter.engine, run)
    _meter, _given = meter, dict(given)
    return meter


@contextmanager
def using(meter: Meter) -> Iterator[Meter]:
    """Inside, the module-level functions act on this meter (per context)."""
    token = _override.set(meter)
    try:
        yield meter
    finally:
        put_back(_override, token)


def _find() -> Engine:
    return default_meter().engine


def wrap(
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
    """`Meter.wrap` on the default meter, whichever that is when a call is made."""
    return wrapped(
        _find,
        _OWNER,
        client,
        account=account,
        context=context,
        tags=tags,
        budget=budget,
        name=name,
        provider=provider,
        pin=pin,
    )


def instrument(
    *,
    account: str | None = None,
    context: str | None = None,
    tags: Mapping[str, str] | None = None,
    budget: BudgetLike | None = None,
    name: str | None = None,
    provider: str | None = None,
    pin: bool = False,
) -> None:
    """`Meter.instrument` for the default meter, whichever that is when a call is made."""
    instrumented(
        _find,
        _OWNER,
        account=account,
        context=context,
        tags=tags,
        budget=budget,
        name=name,
        provider=provider,
        pin=pin,
    )


def meter_run() -> None:
    """`instrument` for a program that did not ask for it; gives way to one that does."""
    instrumented(
        _find,
        NOBODY,
        account=None,
        context=None,
        tags=None,
        budget=None,
        name=None,
        provider=None,
        pin=False,
    )


@overload
def track_usage(fn: Tracked, /) -> Tracked: ...
@overload
def track_usage(
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
    """`Meter.track_usage` on the default meter, whichever that is when the function is called."""
    return tracked(
        _find,
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
    *,
    account: str | None = None,
    context: str | None = None,
    tags: Mapping[str, str] | None = None,
    budget: BudgetLike | None = None,
    name: str | None = None,
) -> Scope:
    """`Meter.scope` on the default meter, whichever that is when it is entered."""
    return scoped(_find, account=account, context=context, tags=tags, budget=budget, name=name)


@overload
def receipt(response: Any) -> Receipt: ...
@overload
def receipt(response: Any, default: T) -> Receipt | T: ...
def receipt(response: Any, default: Any = MISSING) -> Any:
    """`Meter.receipt` on the default meter, whichever that is when it is asked."""
    return default_meter().receipt(response, default)


def _on_default(method: Callable[Concatenate[Meter, P], R]) -> Callable[P, R]:
    """A method of `Meter`, on the default meter of the moment."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(default_meter(), *args, **kwargs)

    signature = inspect.signature(method)
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p for name, p in signature.parameters.items() if name != "self"]
    )
    return call


acan_afford = _on_default(Meter.acan_afford)
acorrect = _on_default(Meter.acorrect)
areserve = _on_default(Meter.areserve)
arecord = _on_default(Meter.arecord)
budget = _on_default(Meter.budget)
budgets = _on_default(Meter.budgets)
can_afford = _on_default(Meter.can_afford)
cheapest = _on_default(Meter.cheapest)
correct = _on_default(Meter.correct)
cost_of = _on_default(Meter.cost_of)
estimate = _on_default(Meter.estimate)
record = _on_default(Meter.record)
remove_budget = _on_default(Meter.remove_budget)
reports = Answers(_find)
reserve = _on_default(Meter.reserve)
set_budget = _on_default(Meter.set_budget)
