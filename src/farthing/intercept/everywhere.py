"""Every client of the process, metered at the base classes that SDKs of this make share.

Their `request` is replaced for as long as a meter wants it. The SDKs are told by shape and none is imported:
those that are loaded are found at once, others when the program loads them. A client that is wrapped itself
goes its own way and is counted there.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import wrapt

from farthing.intercept import sockets
from farthing.intercept.attempts import count_attempt, hooks
from farthing.intercept.clients import (
    Metered,
    base_url_of,
    metered_acall,
    metered_by,
    metered_call,
    takes_options,
)

__all__ = ["instrument", "instrumented_by", "uninstrument"]

_MODULES: Final = ("openai._base_client", "anthropic._base_client")
"""Where the base classes live in SDKs that Stainless generates."""

_ABSENT: Final = object()

_lock = threading.RLock()
_settings: Metered | None = None
_patches: dict[type, _Patch] = {}
_awaited: set[str] = set()


def instrument(settings: Metered) -> None:
    """Meter every client that is not wrapped itself, present and future; replaces earlier settings."""
    global _settings  # noqa: PLW0603  one process, one setting
    with _lock:
        _settings = settings
    sockets.watch(settings, _settings_of)
    for name in _MODULES:
        if name in sys.modules:
            _arrived(sys.modules[name])
        elif name not in _awaited:
            _awaited.add(name)
            wrapt.register_post_import_hook(_arrived, name)


def uninstrument() -> None:
    """Undo `instrument`, whoever did it; calls that are running end as they began. Without one, nothing."""
    global _settings  # noqa: PLW0603
    with _lock:
        _settings = None
        while _patches:
            _, patch = _patches.popitem()
            patch.lift()
    sockets.released()


def instrumented_by() -> Metered | None:
    """The settings in force; None if the process is not instrumented."""
    return _settings


def _settings_of(client: object) -> Metered | None:
    """What a client that is not wrapped itself is metered with."""
    settings = _settings
    if settings is None or metered_by(client) is not None:
        return None
    return settings.at(base_url_of(client))


def _arrived(module: ModuleType) -> None:
    importlib.import_module(module.__name__)  # one that another thread is still loading is waited for
    with _lock:
        if _settings is None:
            return
        for cls in _bases(module):
            if cls not in _patches:
                _patches[cls] = _Patch(cls)


def _bases(module: ModuleType) -> Iterator[type]:
    """The classes that send: those of the module with a `request(cast_to, options)` of their own."""
    for cls in list(vars(module).values()):
        if (
            inspect.isclass(cls)
            and cls.__module__ == module.__name__
            and takes_options(vars(cls).get("request"))
        ):
            yield cls


class _Patch:
    """The replaced methods of one base class.

    Once lifted it does nothing for good, also where somebody has patched on top of it, so that it must be
    left in place: the next patch goes on top of all, and no call is ever seen by two that are in force.
    """

    __slots__ = ("_cls", "_made", "_old", "lifted")

    def __init__(self, cls: Any) -> None:
        self.lifted = False
        self._cls = cls
        is_async = inspect.iscoroutinefunction(cls.request)
        counts = hasattr(cls, "_build_request")
        made: dict[str, Any] = {"request": (_arequest if is_async else _request)(self, cls.request, counts)}
        if counts:
            made["_build_request"] = _build(self, cls._build_request)
        names = ("_sleep_for_retry", "_process_response")
        original = SimpleNamespace(**{name: getattr(cls, name) for name in names if hasattr(cls, name)})
        for name, hook in hooks(original, is_async=is_async).items():
            made[name] = _where_metered(self, hook, getattr(cls, name))
        self._made = made
        self._old = {name: vars(cls).get(name, _ABSENT) for name in made}
        for name, method in made.items():
            setattr(cls, name, method)

    def lift(self) -> None:
        """Put back what was there, where nobody has put something else in its place."""
        self.lifted = True
        for name, method in self._made.items():
            if vars(self._cls).get(name) is method:
                if self._old[name] is _ABSENT:
                    delattr(self._cls, name)
                else:
                    setattr(self._cls, name, self._old[name])

    def meters(self, client: object) -> bool:
        """Whether this is where the calls of a client are counted."""
        return not self.lifted and metered_by(client) is None

    def state_of(self, client: object) -> Metered | None:
        """What a client is metered with here; None for one that is not."""
        settings = _settings
        if settings is None or not self.meters(client):
            return None
        return settings.at(base_url_of(client))


def _request(patch: _Patch, original: Any, counts: bool) -> Any:  # noqa: FBT001  internal
    @functools.wraps(original)
    def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        def send(opts: Any) -> Any:
            return original(self, cast_to, opts, *args, **kwargs)

        return metered_call(patch.state_of(self), options, send, counts=counts)

    return request


def _arequest(patch: _Patch, original: Any, counts: bool) -> Any:  # noqa: FBT001  internal
    @functools.wraps(original)
    async def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        def send(opts: Any) -> Any:
            return original(self, cast_to, opts, *args, **kwargs)

        return await metered_acall(patch.state_of(self), options, send, counts=counts)

    return request


def _build(patch: _Patch, original: Any) -> Any:
    """Counts an attempt where its request is built. `_prepare_request`, which comes after it, is for client
    classes to override, and they need not call the base's."""

    @functools.wraps(original)
    def build(self: Any, *args: Any, **kwargs: Any) -> Any:
        built = original(self, *args, **kwargs)
        if patch.meters(self):
            count_attempt()
        return built

    return build


def _where_metered(patch: _Patch, hook: Callable[..., Any], original: Callable[..., Any]) -> Any:
    """`hook` for the clients that are metered here; wrapped ones have one of their own."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return (hook if patch.meters(self) else original)(self, *args, **kwargs)

    return method


def _in_child() -> None:
    """The lock may have been held by a thread that the child does not have."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
