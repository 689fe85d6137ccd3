"""Clients, metered at the one method that every request of every resource goes through.

`client.request` is overridden in a subclass to which the client is moved in place; SDKs are told by shape
and none is imported. Where a client refuses to change its class, the method is wrapped on the instance.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import wrapt

from farthing import wire
from farthing.engine import Engine, Plan, Send, adrive, count_aside, drive, life
from farthing.errors import FarthingError
from farthing.forks import renewed_in_children
from farthing.intercept import jobs, sockets, unmetered
from farthing.intercept.attempts import hooks, sending
from farthing.intercept.observing import observe
from farthing.settings import Who, current, put_back, resolve

__all__ = [
    "Metered",
    "base_url_of",
    "metered_acall",
    "metered_by",
    "metered_call",
    "takes_options",
    "unwrap",
    "wrap",
]

T = TypeVar("T")

_STATE = "_farthing"
_ABSENT = object()

_classes: dict[type, type] = {}
_making = threading.Lock()
renewed_in_children(sys.modules[__name__], _making=threading.Lock)


class Metered:
    """What a wrapped client knows: its engine and its settings. Replaced whole when they change."""

    __slots__ = ("__weakref__", "_merged", "base_url", "find", "owner", "pinned", "provider", "who")

    def __init__(
        self,
        find: Callable[[], Engine],
        who: Who,
        *,
        owner: object,
        provider: str | None,
        pinned: bool,
    ) -> None:
        self.find = find
        self.who = who
        self.owner = owner
        self.provider = provider
        self.base_url: str | None = None
        self.pinned = pinned
        self._merged: tuple[Who, Who] | None = None

    def at(self, base_url: str | None) -> Metered:
        """The same for a client of this address."""
        made = Metered(self.find, self.who, owner=self.owner, provider=self.provider, pinned=self.pinned)
        made.base_url = base_url
        return made

    def plan(self, options: Any, meter_who: Who, *, may_wait: bool) -> Plan | None:
        """The plan of a request that may cost money; None for any other. `may_wait` is False for
        a coroutine."""
        extra = getattr(options, "extra_json", None)
        ask = wire.read_request(options.method, options.url, options.json_data, extra)
        if ask is None:
            return None
        frame = current.get()
        if frame is not None:
            frame.mark(may_wait=may_wait)
            who = resolve(self.who, meter_who, pinned=self.pinned)
        else:
            # The same object for each call outside of scopes: the guard knows by it what it matched before.
            merged = self._merged
            if merged is None or merged[0] is not meter_who:
                merged = self._merged = meter_who, resolve(self.who, meter_who)
            who = merged[1]
        return Plan(ask, extra, who, self.provider, self.base_url, observe)


def wrap(client: T, state: Metered) -> T:
    """Meter a client in place.

    Raises:
        FarthingError: if it has no method `request`, as clients built by Stainless have.
    """
    if inspect.isclass(client) or not takes_options(getattr(client, "request", None)):
        raise FarthingError(
            f"{type(client).__name__} has no method request(cast_to, options): "
            f"wrap an OpenAI() or AsyncOpenAI() client"
        )
    state.base_url = base_url_of(client)
    known = _STATE in vars(client)
    vars(client)[_STATE] = state
    sockets.watch(state, metered_by)
    cls = type(client)
    if known or "_farthing_original" in vars(cls):  # a copy of a metered client is of the metered class
        return client
    try:
        client.__class__ = _metered_class(cls)
    except TypeError:
        _wrap_instance(client)
    return client


def unwrap(client: T) -> T:
    """Undo `wrap`; a client that is not wrapped is returned as it is."""
    if metered_by(client) is None:
        return client
    del vars(client)[_STATE]
    sockets.released()
    original = getattr(type(client), "_farthing_original", None)
    if original is None:
        vars(client).pop("request", None)
    else:
        client.__class__ = original
    return client


def metered_by(client: object) -> Metered | None:
    """The state of a wrapped client; None for any other."""
    try:
        state = vars(client).get(_STATE)
    except TypeError:
        return None
    return state if isinstance(state, Metered) else None


def takes_options(request: object) -> bool:
    """True for the `request(cast_to, options, ...)` of such a client; HTTP clients have one of their own."""
    if not callable(request):
        return False
    try:
        parameters = inspect.signature(request).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "options" or p.kind is p.VAR_POSITIONAL for p in parameters)


def _metered_class(cls: type) -> type:
    with _making:
        made = _classes.get(cls)
        if made is None:
            made = _classes[cls] = _make(cls)
    return made


def _make(cls: Any) -> Any:
    """A subclass whose requests are metered. One base and no slots, so that instances can move to it."""
    is_async = inspect.iscoroutinefunction(cls.request)

    @functools.wraps(cls.request)
    def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        def send(opts: Any) -> Any:
            return cls.request(self, cast_to, opts, *args, **kwargs)

        return metered_call(vars(self).get(_STATE), options, send)

    @functools.wraps(cls.request)
    async def arequest(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        def send(opts: Any) -> Any:
            return cls.request(self, cast_to, opts, *args, **kwargs)

        return await metered_acall(vars(self).get(_STATE), options, send)

    body: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "_farthing_original": cls,
        "request": arequest if is_async else request,
    }
    for name in ("copy", "with_options"):
        if hasattr(cls, name):
            body[name] = _following(getattr(cls, name))
    body |= hooks(cls, is_async=is_async)
    return type(cls)(cls.__name__, (cls,), body)


def _following(copy_of: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(copy_of)
    def copied(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _follow(copy_of(self, *args, **kwargs), vars(self).get(_STATE))

    return copied


def _follow(client: Any, state: Metered | None) -> Any:
    """A copy of a client is metered as its original, at the address that it now has."""
    if state is None:
        return client
    return wrap(client, state.at(None))


def base_url_of(client: Any) -> str | None:
    """The address of a client as text; None if it has none."""
    url = getattr(client, "base_url", None)
    return None if url is None else str(url)


def _wrap_instance(client: Any) -> None:
    """For clients that cannot change their class."""
    is_async = inspect.iscoroutinefunction(client.request)

    def around(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        cast_to, options, *rest = args

        def send(opts: Any) -> Any:
            return wrapped(cast_to, opts, *rest, **kwargs)

        state = vars(client).get(_STATE)
        metered = metered_acall if is_async else metered_call
        return metered(state, options, send, counts=False)

    client.request = wrapt.FunctionWrapper(client.request, around)


def metered_call(
    state: Metered | None, options: Any, send: Callable[[Any], Any], *, counts: bool = True
) -> Any:
    """Send a request as a call of a client with this state; None, or one that costs nothing, is only sent.
    `counts` is False where nothing tells when an attempt is made."""
    found = None if state is None else _planned(state, options, may_wait=True)
    if found is None:
        return jobs.settled(send(options), state, options)
    engine, plan = found

    def sent(want: Send) -> Any:
        if not counts and want.call is not None:  # nothing tells when it is sent: assume that it is
            want.call.attempts += 1
        token = sending.set(want)
        try:
            return send(options if want.body is None else _changed(options, want, want.body))
        finally:
            put_back(sending, token)

    return drive(engine, life(engine, plan), sent)


async def metered_acall(
    state: Metered | None, options: Any, send: Callable[[Any], Awaitable[Any]], *, counts: bool = True
) -> Any:
    """The same for a client of coroutines."""
    found = None if state is None else _planned(state, options, may_wait=False)
    if found is None:
        return await jobs.asettled(await send(options), state, options)
    engine, plan = found
    await engine.awarm()
    await count_aside(plan.ask)

    async def sent(want: Send) -> Any:
        if not counts and want.call is not None:  # nothing tells when it is sent: assume that it is
            want.call.attempts += 1
        token = sending.set(want)
        try:
            return await send(options if want.body is None else _changed(options, want, want.body))
        finally:
            put_back(sending, token)

    return await adrive(engine, life(engine, plan), sent)


def _planned(state: Metered, options: Any, *, may_wait: bool) -> tuple[Engine, Plan] | None:
    try:
        engine = state.find()
        if not engine.enabled:
            return None
        plan = state.plan(options, engine.who, may_wait=may_wait)
        if plan is None and options.method not in ("get", "GET"):
            unmetered.passes(
                engine, resolve(state.who, engine.who, pinned=state.pinned), options.method, options.url
            )
    except FarthingError:
        raise
    except Exception:
        Engine.bug("reading a request")
        return None
    return None if plan is None else (engine, plan)


def _changed(options: Any, want: Send, body: dict[str, Any]) -> Any:
    """The request with our changes, in a copy; the caller's options stay as they are."""
    changed = copy.copy(options)
    changed.json_data = body
    extra = getattr(options, "extra_json", None)
    if extra:  # it would override what was written, such as a cap over an explicit None
        before = options.json_data if isinstance(options.json_data, dict) else {}
        ours = {name for name, value in body.items() if before.get(name, _ABSENT) is not value}
        if want.call is not None and want.call.hold.reservation.fallback_from is not None:
            ours.add("model")  # also where the body named the fallback, and `extra_body` another
        if not ours.isdisjoint(extra):
            changed.extra_json = {name: value for name, value in extra.items() if name not in ours}
    return changed
