"""Connections that do not pass `client.request`: WebSockets of Realtime, Responses and Live.

All are made by a `connect` of one of the SDK's resources, which is replaced for as long as a client that is
metered may use it. It gives a manager, which connects when it is entered: the manager is moved to a subclass
that first asks whether that may be, and watches the connection that it hands out.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final, Protocol

import wrapt

from farthing.engine import Engine
from farthing.errors import FarthingError, Unmeterable
from farthing.intercept.sockets_told import Talk
from farthing.intercept.sockets_watched import attach
from farthing.intercept.unmetered import is_bound
from farthing.log import say_once
from farthing.settings import Who, current, resolve

__all__ = ["State", "released", "watch"]

MODULES: Final = (
    "openai.resources.realtime.realtime",
    "openai.resources.realtime.translations.translations",
    "openai.resources.beta.realtime.realtime",
    "openai.resources.responses.responses",
    "openai.resources.beta.responses.responses",
    "openai.resources.live.live",
    "openai.resources.live.sideband",
    "openai.resources.live.forks",
)
"""Where resources have a `connect`: openai 1.109 has the first and the third, 3.52 has all."""

_VISIT: Final = "_farthing_visit"
_REFUSAL: Final = (
    "no money can be held for a WebSocket (%s.connect), and a hard budget may bind it: use a client without "
    "a budget that may bind it, or one that is not metered with farthing.reserve(...) around the session"
)


class State(Protocol):
    """What a metered client knows; see `clients.Metered`."""

    find: Callable[[], Engine]
    who: Who
    provider: str | None
    base_url: str | None
    pinned: bool


Finder = Callable[[object], State | None]
"""What a client is metered with; None for one that is not."""

_lock = threading.RLock()
_wanting: weakref.WeakSet[Any] = weakref.WeakSet()
_finders: list[Finder] = []
_patches: dict[type, _Patch] = {}
_awaited: set[str] = set()
_managers: dict[type, type] = {}


def watch(state: State, find: Finder) -> None:
    """Meter the connections of the clients that `find` knows, for as long as `state` is alive."""
    with _lock:
        _wanting.add(state)
        if find not in _finders:
            _finders.append(find)
    for name in MODULES:
        if name in sys.modules:
            _arrived(sys.modules[name])
        elif name not in _awaited:
            _awaited.add(name)
            wrapt.register_post_import_hook(_arrived, name)


def released() -> None:
    """A client, or the process, is not metered any more: undo all if nobody is."""
    with _lock:
        while not _wanting and _patches:
            _, patch = _patches.popitem()
            patch.lift()


def _arrived(module: ModuleType) -> None:
    importlib.import_module(module.__name__)  # one that another thread is still loading is waited for
    with _lock:
        for cls in _resources(module) if _wanting else ():
            if cls not in _patches:
                _patches[cls] = _Patch(cls)


def _resources(module: ModuleType) -> Iterator[Any]:
    for cls in list(vars(module).values()):
        if inspect.isclass(cls) and cls.__module__ == module.__name__ and callable(vars(cls).get("connect")):
            yield cls


class _Patch:
    """The replaced `connect` of one resource. Once lifted it does nothing for good, also where somebody has
    patched on top of it and it must be left in place."""

    __slots__ = ("_cls", "_made", "_original", "lifted")

    def __init__(self, cls: Any) -> None:
        self.lifted = False
        self._cls = cls
        self._original = vars(cls)["connect"]
        self._made = cls.connect = self._connecting()

    def lift(self) -> None:
        """Put back what was there, where nobody has put something else in its place."""
        self.lifted = True
        if vars(self._cls).get("connect") is self._made:
            self._cls.connect = self._original

    def _connecting(self) -> Any:
        original = self._original

        @functools.wraps(original)
        def connect(resource: Any, *args: Any, **kwargs: Any) -> Any:
            manager = original(resource, *args, **kwargs)
            state = None if self.lifted else _state_of(getattr(resource, "_client", None))
            return manager if state is None else _metered(manager, resource, state, args, kwargs)

        return connect


def _state_of(client: object) -> State | None:
    return next((state for find in _finders if (state := find(client)) is not None), None)


def _metered(manager: Any, resource: Any, state: State, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    engine: Engine | None = None
    try:
        engine = state.find()
        if engine.enabled:
            visit = _Visit(engine, state, resource, _stated(type(resource).connect, args, kwargs))
            manager.__class__ = _entering(type(manager))
            vars(manager)[_VISIT] = visit
    except FarthingError:
        raise
    except Exception:
        Engine.bug("preparing a connection")
        if (engine is not None and engine.guard.may_refuse) or any(b.hard for b in state.who.budgets):
            raise Unmeterable(_REFUSAL % type(resource).__name__) from None
    return manager


def _stated(connect: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, str]:
    """The texts that a connection was asked for with, by name, those of its query included."""
    given = dict(inspect.signature(connect).bind(None, *args, **kwargs).arguments)
    query = given.get("extra_query")
    given = {**(query if isinstance(query, dict) else {}), **given}
    return {name: value for name, value in given.items() if isinstance(value, str) and value}


class _Visit:
    """One connection that is asked for: whose it is, and whether it may be."""

    __slots__ = ("_engine", "_kind", "_place", "_stated", "_who")

    def __init__(self, engine: Engine, state: State, resource: Any, stated: dict[str, str]) -> None:
        self._engine = engine
        self._who = resolve(state.who, engine.who, pinned=state.pinned)
        self._place = state.provider, state.base_url
        self._kind = type(resource).__name__.removeprefix("Async").lower()
        self._stated = stated

    def admit(self) -> None:
        """Before anything is sent.

        Raises:
            Unmeterable: if a hard budget may bind what the connection will cost.
        """
        self._goes(bound=self._bound(), may_wait=True)

    async def aadmit(self) -> None:
        """The same from a coroutine, which must not wait for the ledger."""
        bound = self._engine.guard.may_refuse or any(bound.hard for bound in self._who.budgets)
        bound = bound or await self._engine.courier.bring(self._bound, _ignore)
        self._goes(bound=bound, may_wait=False)

    def _bound(self) -> bool:
        try:
            return is_bound(self._engine, self._who)
        except Exception:
            Engine.bug("preparing a connection")
            return self._engine.guard.may_refuse

    def _goes(self, *, bound: bool, may_wait: bool) -> None:
        if bound:
            raise Unmeterable(_REFUSAL % self._kind)
        say_once(
            ("socket", self._kind),
            logging.INFO,
            "a WebSocket (%s.connect) is metered by what its server says: no money is held for it",
            self._kind,
        )
        frame = current.get()
        if frame is not None:
            frame.mark(may_wait=may_wait)

    def observe(self, connection: Any, *, is_async: bool) -> None:
        """Watch what is said over it."""
        try:
            provider, base_url = self._place
            joins = self._stated.get("call_id")
            if self._kind == "sideband":  # `forks` opens a session of its own
                joins = self._stated.get("session_id")
            talk = Talk(
                self._engine,
                self._who,
                provider=provider,
                base_url=base_url,
                model=self._stated.get("model"),
                attached=joins,
                translates=self._kind == "translations",
            )
            attach(connection, talk, is_async=is_async)
        except Exception:
            Engine.bug("watching a connection")


def _entering(cls: type) -> type:
    with _lock:
        made = _managers.get(cls)
        if made is None:
            made = _managers[cls] = _make(cls)
    return made


def _make(cls: Any) -> Any:
    """A subclass of a manager. One base and no slots, so that instances can move to it."""
    is_async = hasattr(cls, "__aenter__")

    def entered(original: Any) -> Any:
        @functools.wraps(original)
        def enter(self: Any) -> Any:
            visit = vars(self)[_VISIT]
            visit.admit()
            connection = original(self)
            visit.observe(connection, is_async=False)
            return connection

        @functools.wraps(original)
        async def aenter(self: Any) -> Any:
            visit = vars(self)[_VISIT]
            await visit.aadmit()
            connection = await original(self)
            visit.observe(connection, is_async=True)
            return connection

        return aenter if is_async else enter

    body: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    body |= {
        name: entered(getattr(cls, name))
        for name in ("__aenter__", "__enter__", "enter")
        if hasattr(cls, name)
    }
    return type(cls)(cls.__name__, (cls,), body)


def _ignore(_: object) -> None:
    """What nobody waits for any more."""


def _in_child() -> None:
    """The lock may have been held by a thread that the child does not have."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
