"""The four surfaces at which calls are seen. Each finds its engine when a call is made, not before."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from farthing.engine import Engine
from farthing.errors import FarthingError
from farthing.intercept import (
    Metered,
    Scope,
    Tracker,
    client_of,
    instrument,
    instrumented_by,
    metered_by,
    wrap,
)
from farthing.intercept import unwrap as unwrap_client
from farthing.log import say_once
from farthing.money import Amount
from farthing.settings import BudgetLike, Who, attach, checked_context, checked_tags, checked_text

__all__ = [
    "NOBODY",
    "Find",
    "Guess",
    "Tracked",
    "instrumented",
    "say_unenforced",
    "scoped",
    "tracked",
    "unwrap",
    "wrapped",
]

T = TypeVar("T")
Tracked = TypeVar("Tracked", bound="Callable[..., Any] | classmethod[Any, ..., Any] | staticmethod[..., Any]")
"""What `track_usage` decorates. It is returned as the very same type, which a ParamSpec cannot say of
overloaded and generic functions."""
Guess = Amount | Callable[..., Amount]
"""USD, or a function of the arguments that gives them."""
Find = Callable[[], Engine]
Tags = Mapping[str, str] | None
NOBODY = "nobody"
"""The owner of an instrumentation that gives way to the first who asks for one."""


def say_unenforced() -> None:
    """Once: hard budgets do not bind while accounting is switched off."""
    say_once(("disabled",), logging.WARNING, "accounting is disabled: hard budgets are not enforced")


def wrapped(
    find: Find,
    owner: object,
    client: T,
    *,
    account: str | None,
    context: str | None,
    tags: Tags,
    budget: BudgetLike | None,
    name: str | None,
    provider: str | None,
    pin: bool,
) -> T:
    """Meter a client for `owner`: see `Meter.wrap`."""
    target = client_of(client)
    state = metered_by(target)
    if state is not None and state.owner is not owner:
        raise FarthingError("this client is wrapped by another meter: unwrap it first")
    given = (account, context, tags, budget, name, provider)
    if state is not None and not pin and all(value is None for value in given):
        return client
    made = _metered(
        find,
        owner,
        account=account,
        context=context,
        tags=tags,
        budget=budget,
        name=name,
        provider=provider,
        pin=pin,
    )
    if made is not None:
        wrap(target, made)
    return client


def unwrap(client: T) -> T:
    """Undo `wrap`; a client that is not wrapped is returned as it is."""
    with contextlib.suppress(FarthingError):  # a module that has no client yet
        unwrap_client(client_of(client))
    return client


def instrumented(
    find: Find,
    owner: object,
    *,
    account: str | None,
    context: str | None,
    tags: Tags,
    budget: BudgetLike | None,
    name: str | None,
    provider: str | None,
    pin: bool,
) -> None:
    """Meter all clients of the process for `owner`: see `Meter.instrument`."""
    state = instrumented_by()
    if state is not None and state.owner not in (owner, NOBODY):
        raise FarthingError("this process is instrumented by another meter: uninstrument() first")
    given = (account, context, tags, budget, name, provider)
    if state is not None and state.owner is owner and not pin and all(value is None for value in given):
        return
    made = _metered(
        find,
        owner,
        account=account,
        context=context,
        tags=tags,
        budget=budget,
        name=name,
        provider=provider,
        pin=pin,
    )
    if made is not None:
        instrument(made)


def _metered(
    find: Find,
    owner: object,
    *,
    account: str | None,
    context: str | None,
    tags: Tags,
    budget: BudgetLike | None,
    name: str | None,
    provider: str | None,
    pin: bool,
) -> Metered | None:
    """What clients are metered with; None while accounting is switched off."""
    engine = find()
    surface = f"client:{checked_text(name, 'name')}" if name is not None else "client"
    own = checked_text(account, "account") or engine.who.account or "default"
    who = Who(
        checked_text(account, "account"),
        checked_context(context),
        checked_tags(tags),
        attach(budget, surface=surface, account=own, run="" if budget is None else engine.ids()),
    )
    if not engine.enabled:
        if any(bound.hard for bound in who.budgets):
            say_unenforced()
        return None
    return Metered(find, who, owner=owner, provider=checked_text(provider, "provider"), pinned=pin)


def tracked(
    find: Find,
    fn: Any,
    *,
    account: str | None,
    context: str | None,
    tags: Tags,
    budget: BudgetLike | None,
    model: str | None,
    provider: str | None,
    usage: Callable[[Any], Any] | None,
    estimate: Any,
) -> Any:
    """Track a function, or make a decorator that does: see `Meter.track_usage`."""
    tracker = Tracker(
        find,
        Who(checked_text(account, "account"), checked_context(context), checked_tags(tags)),
        budget=budget,
        model=checked_text(model, "model"),
        provider=checked_text(provider, "provider"),
        usage=usage,
        estimate=estimate,
    )
    return tracker if fn is None else tracker(fn)


def scoped(
    find: Find,
    *,
    account: str | None,
    context: str | None,
    tags: Tags,
    budget: BudgetLike | None,
    name: str | None,
) -> Scope:
    """A scope: see `Meter.scope`."""
    surface = f"scope:{checked_text(name, 'name')}" if name is not None else "scope"
    who = Who(checked_text(account, "account"), checked_context(context), checked_tags(tags))
    return Scope(find, who, budget, surface=surface)
