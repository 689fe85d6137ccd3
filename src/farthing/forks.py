"""Locks and forks: what a thread of the parent holds, nobody gives back in the child.

Some are taken by whoever forks, others are made anew in the child. What a signal handler raises in a hook of
a fork Python swallows, and goes on: whoever was struck there must know which locks it has, or they stay taken
for ever. A handler runs between two instructions, so an answer and the note of it are one: `extend` and
`deque` call what `map` is over without any in between.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import call
from types import FrameType, ModuleType
from typing import Any, Final, Protocol

__all__ = ["Quiet", "finished_before_forks", "renewed_in_children", "wait_before_others"]

_PATIENCE: Final = 30.0
"""Seconds that a fork waits at most for imports, and as many for locks: a child that cannot load it hangs."""

_PAUSE: Final = 0.001
_IMPORTING: Final = "<frozen importlib._bootstrap>"

_renewed: Final[weakref.WeakKeyDictionary[Any, dict[str, Callable[[], Any]]]] = weakref.WeakKeyDictionary()
_finished: Final[list[tuple[ModuleType, str]]] = []


class _Lock(Protocol):
    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...  # noqa: FBT001  as it is

    def release(self) -> None: ...


class _Note:
    """What one thread has taken."""

    __slots__ = ("locks", "releases", "took")

    def __init__(self, locks: Sequence[_Lock]) -> None:
        self.locks = locks
        self.took: list[bool] = []
        self.releases: Iterator[Callable[[], None]] | None = None


class Quiet:
    """Locks that a thread takes when it is about to fork, one after the other, and gives back afterwards.

    Several threads may fork at once: each gives back what it has taken itself.
    """

    def __init__(self) -> None:
        self._notes: dict[int, _Note] = {}

    def take(self, locks: Sequence[_Lock], timeout: float) -> None:
        """Take as many as can be had in time."""
        self.give_back()
        note = self._notes[threading.get_ident()] = _Note(locks)
        deadline = time.monotonic() + timeout
        for lock in locks:
            left = max(deadline - time.monotonic(), 0)
            note.took.extend(map(lock.acquire, (True,), (left,)))
            if not note.took[-1]:
                return

    @property
    def is_taking(self) -> bool:
        """Whether this thread has taken what there was to be had, and not given it back."""
        return threading.get_ident() in self._notes

    @property
    def is_whole(self) -> bool:
        """Whether this thread has all of them; in a child, whether the one that forked had."""
        note = self._notes.get(threading.get_ident())
        return note is not None and len(note.took) == len(note.locks) and all(note.took)

    def give_back(self) -> None:
        """What this thread has taken. May be asked again if it was struck."""
        note = self._notes.get(threading.get_ident())
        if note is None:
            return
        if note.releases is None:
            pairs = zip(note.locks, note.took, strict=False)
            note.releases = iter([lock.release for lock, taken in pairs if taken])
        deque(map(call, note.releases), maxlen=0)
        self._notes.pop(threading.get_ident(), None)


_loading: Quiet = Quiet()


def renewed_in_children(holder: object, **kinds: Callable[[], Any]) -> None:
    """In the child of a fork, what is under these names in a module or an object is made anew."""
    _renewed.setdefault(holder, {}).update(kinds)


def finished_before_forks(module: ModuleType, name: str) -> None:
    """A lock of a module: a fork waits until it is free. What is done under it takes no time, or other locks
    that Python or SQLite would leave taken in the child."""
    _finished.append((module, name))
    renewed_in_children(module, **{name: threading.RLock})


def _is_imported_for_us() -> bool:
    """Whether another thread is in an import that farthing has begun, of whatever module."""
    me = threading.get_ident()
    for thread, at in sys._current_frames().items():  # noqa: SLF001  documented
        frame: FrameType | None = at if thread != me else None
        importing = False  # by this very frame: what a tracked function imports is not for us
        while frame is not None:
            package = str(frame.f_globals.get("__name__")).partition(".")[0]
            if importing and package == "farthing":
                return True
            importing = frame.f_code.co_filename == _IMPORTING or (importing and package == "importlib")
            frame = frame.f_back
    return False


def wait_before_others() -> None:
    """Have a fork wait for what is being loaded before the hooks that are registered so far take anything: of
    hooks before a fork, the last one runs first."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before)


def _before() -> None:
    """A module that a thread was importing stays locked in the child, where nobody ends its import."""
    if _loading.is_taking:
        return
    deadline = time.monotonic() + _PATIENCE
    while _is_imported_for_us() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    _loading.take([getattr(module, name) for module, name in _finished], _PATIENCE)


def _in_parent() -> None:
    try:
        _loading.give_back()
    except BaseException:  # of a signal handler: nobody else gives them back
        _loading.give_back()
        raise


def _in_child() -> None:
    global _loading  # noqa: PLW0603  as the locks
    _loading = Quiet()
    for holder, kinds in list(_renewed.items()):
        for name, make in kinds.items():
            setattr(holder, name, make())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
