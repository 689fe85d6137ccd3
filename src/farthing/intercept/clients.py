"""Clients, metered at the one method that every request of every resource goes through.

`client.request` is overridden in a subclass to which the client is moved in place; SDKs are told by shape
and none is imported. Where a client refuses to change its class, the method is wrapped on the instance.
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import wrapt

from farthing import usage, wire
from farthing.engine import Answer, Call, Deferred, Engine, Plan, Send, adrive, drive, life
from farthing.errors import FarthingError, Unmeterable
from farthing.intercept.attempts import hooks, sending
from farthing.intercept.streams import attach
from farthing.log import say_once
from farthing.settings import Who, current, resolve

__all__ = ["Metered", "metered_by", "unwrap", "wrap"]

T = TypeVar("T")

_STATE = "_farthing"

_classes: dict[type, type] = {}
_making = threading.Lock()


class Metered:
    """What a wrapped client knows: its engine and its settings. Replaced whole when they change."""

    __slots__ = ("base_url", "find", "owner", "pinned", "provider", "who")

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

    def plan(self, options: Any, meter_who: Who) -> Plan | None:
        """The plan of a request that may cost money; None for any other."""
        ask = wire.read_request(
            options.method, options.url, options.json_data, getattr(options, "extra_json", None)
        )
        if ask is None:
            return None
        frame = current.get()
        if frame is not None:
            frame.mark()
        return Plan(
            ask,
            getattr(options, "extra_json", None),
            resolve(self.who, meter_who, pinned=self.pinned),
            self.provider,
            self.base_url,
            _observe,
        )


def wrap(client: T, state: Metered) -> T:
    """Meter a client in place.

    Raises:
        FarthingError: if it has no method `request`, as clients built by Stainless have.
    """
    if inspect.isclass(client) or not _takes_options(getattr(client, "request", None)):
        raise FarthingError(
            f"{type(client).__name__} has no method request(cast_to, options): "
            f"wrap an OpenAI() or AsyncOpenAI() client"
        )
    state.base_url = _base_url_of(client)
    known = _STATE in vars(client)
    vars(client)[_STATE] = state
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


def _takes_options(request: Any) -> bool:
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

        return _metered_call(vars(self).get(_STATE), options, send)

    @functools.wraps(cls.request)
    async def arequest(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        def send(opts: Any) -> Any:
            return cls.request(self, cast_to, opts, *args, **kwargs)

        return await _metered_acall(vars(self).get(_STATE), options, send)

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
    made = Metered(state.find, state.who, owner=state.owner, provider=state.provider, pinned=state.pinned)
    return wrap(client, made)


def _base_url_of(client: Any) -> str | None:
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
        metered = _metered_acall if is_async else _metered_call
        return metered(state, options, send, counts=False)

    client.request = wrapt.FunctionWrapper(client.request, around)


def _metered_call(
    state: Metered | None, options: Any, send: Callable[[Any], Any], *, counts: bool = True
) -> Any:
    found = None if state is None else _planned(state, options)
    if found is None:
        return send(options)
    engine, plan = found

    def sent(want: Send) -> Any:
        if not counts and want.call is not None:  # nothing tells when it is sent: assume that it is
            want.call.attempts += 1
        token = sending.set(want.call)
        try:
            return send(_changed(options, want))
        finally:
            sending.reset(token)

    return drive(engine, life(engine, plan), sent)


async def _metered_acall(
    state: Metered | None, options: Any, send: Callable[[Any], Awaitable[Any]], *, counts: bool = True
) -> Any:
    found = None if state is None else _planned(state, options)
    if found is None:
        return await send(options)
    engine, plan = found
    await engine.awarm()

    async def sent(want: Send) -> Any:
        if not counts and want.call is not None:  # nothing tells when it is sent: assume that it is
            want.call.attempts += 1
        token = sending.set(want.call)
        try:
            return await send(_changed(options, want))
        finally:
            sending.reset(token)

    return await adrive(engine, life(engine, plan), sent)


def _planned(state: Metered, options: Any) -> tuple[Engine, Plan] | None:
    try:
        engine = state.find()
        if not engine.enabled:
            return None
        plan = state.plan(options, engine.who)
        if plan is None and wire.may_cost(options.method, options.url):
            _cannot_be_read(state, engine, options.url)
    except FarthingError:
        raise
    except Exception:
        Engine.bug("reading a request")
        return None
    return None if plan is None else (engine, plan)


def _cannot_be_read(state: Metered, engine: Engine, url: str) -> None:
    """A request that may cost money, with a body that is no JSON data."""
    who = resolve(state.who, engine.who, pinned=state.pinned)
    if engine.guard.may_refuse or any(bound.hard for bound in who.budgets):
        raise Unmeterable(f"the body of this request to {url} cannot be read, and a hard budget may bind it")
    say_once(("body", url), logging.WARNING, "a request to %s is not metered: its body cannot be read", url)


def _changed(options: Any, want: Send) -> Any:
    """The request with our changes, in a copy; the caller's options stay as they are."""
    if want.body is None:
        return options
    changed = copy.copy(options)
    changed.json_data = want.body
    return changed


def _observe(result: Any, call: Call, swallows: bool) -> Answer | Deferred:  # noqa: FBT001  Plan's signature
    ask = call.quote.ask
    route = ask.route
    if not ask.stream and hasattr(type(result), "model_dump"):
        return _answer(result, call, getattr(result, "_request_id", None))
    response = _response_of(result)
    if response is None:
        return _answer(result, call, None)
    headers = response.headers
    call.request_id = headers.get("x-request-id")
    if response.is_stream_consumed or response.is_closed:
        return _answer(_json_of(response), call, call.request_id)
    kind = headers.get("content-type", "")
    is_json = "json" in kind or not (ask.stream or "event-stream" in kind)
    attach(response, call, route.flavour, swallows=swallows, is_json=is_json)
    return Deferred()


def _answer(body: Any, call: Call, request_id: str | None) -> Answer:
    flavour = call.quote.ask.route.flavour
    reading = usage.read(body, flavour=flavour, provider=call.hold.reservation.provider)
    outcome = "unknown" if body is None or isinstance(body, (str, bytes)) else "complete"
    return Answer(reading, lambda: usage.visible_in(flavour, body), request_id, outcome)


def _json_of(response: Any) -> Any:
    """The body; None if it is no JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def _response_of(result: Any) -> Any:
    """The HTTP response behind what the SDK returned: a stream, a raw response, or the response itself."""
    for candidate in (getattr(result, "http_response", None), getattr(result, "response", None), result):
        if candidate is not None and hasattr(candidate, "is_stream_consumed"):
            return candidate
    return None
