"""Locks in the child of a fork: a thread of the parent that held one is not there to give it back."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

__all__ = ["finished_before_forks", "renewed_in_children"]

_PATIENCE: Final = 2.0
"""Seconds that a fork waits at most for what another thread is loading."""

_renewed: Final[weakref.WeakKeyDictionary[Any, dict[str, Callable[[], Any]]]] = weakref.WeakKeyDictionary()
_finished: Final[list[tuple[ModuleType, str]]] = []
_taken: Final[dict[int, list[Any]]] = {}


def renewed_in_children(holder: object, **kinds: Callable[[], Any]) -> None:
    """In the child of a fork, what is under these names in a module or an object is made anew."""
    _renewed.setdefault(holder, {}).update(kinds)


def finished_before_forks(module: ModuleType, name: str) -> None:
    """A lock of a module under which others are imported: a fork waits until it is free.

    Python leaves a module locked for ever in the child if a thread was importing it.
    """
    _finished.append((module, name))
    renewed_in_children(module, **{name: threading.RLock})


def _before() -> None:
    taken = _taken.setdefault(threading.get_ident(), [])
    for module, name in _finished:
        lock = getattr(module, name)
        if lock.acquire(timeout=_PATIENCE):
            taken.append(lock)


def _in_parent() -> None:
    for lock in _taken.pop(threading.get_ident(), ()):
        lock.release()


def _in_child() -> None:
    _taken.clear()
    for holder, kinds in list(_renewed.items()):
        for name, make in kinds.items():
            setattr(holder, name, make())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
