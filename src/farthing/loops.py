"""The event loops in which a task can wait for a thread.

Of asyncio, the loop itself. Of trio, the same three methods on its own means: `trio.lowlevel.TrioToken`
is its one thread-safe door (trio.readthedocs.io, "Getting back into Trio from another thread").
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any, Protocol

__all__ = ["Loop", "Signal", "aside", "current_task", "is_running", "running", "task_here"]


class Signal(Protocol):
    """What one task waits for, once. Made and set in its loop."""

    def done(self) -> bool:
        """Whether it has been set, or nobody waits any more."""

    def set_result(self, result: None, /) -> None:
        """Wake the task."""

    def __await__(self) -> Generator[Any, Any, None]: ...


class Loop(Protocol):
    """Where a task runs. Equal for all tasks of one loop."""

    def create_future(self) -> Signal:
        """What the running task can wait for."""

    def call_soon_threadsafe(self, callback: Callable[[Any], None], /, *args: Any) -> object:
        """Have the loop call it; from any thread.

        Raises:
            RuntimeError: if the loop has ended.
        """


def running() -> Loop:
    """The loop that the caller's coroutine runs in.

    Where it is neither of asyncio nor of trio, one whose tasks hold it up while they wait: nobody knows how
    to wake them.
    """
    trio = sys.modules.get("trio")
    if trio is not None and _is_trio_running():
        return _Trio(trio)
    return _asyncios() or _Unknown()


def is_running() -> bool:
    """Whether a task of such a loop runs here and now: then nobody may wait here but by `await`."""
    return ("trio" in sys.modules and _is_trio_running()) or _asyncios() is not None


async def aside(work: Callable[[], object]) -> None:
    """Have something long done in a thread of its own and wait for it; what it raises is raised."""
    loop = running()
    done = loop.create_future()
    raised: list[BaseException] = []

    def do() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            raised.append(error)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(_set, done)

    threading.Thread(target=do, name="farthing-aside").start()
    await done
    if raised:
        raise raised[0]


def current_task(loop: Loop) -> object:
    """Which of asyncio's tasks runs in it now; None between tasks, and in other loops."""
    asyncio = sys.modules.get("asyncio")
    return None if asyncio is None else asyncio.current_task(loop)


def task_here() -> int:
    """The id of the task of asyncio's that runs here and now; 0 where none does."""
    try:
        loop = _asyncios()
        task = None if loop is None else current_task(loop)
    except (AttributeError, TypeError):  # at the end of the process, when there are no modules any more
        return 0
    return 0 if task is None else id(task)


def _asyncios() -> Any:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:  # nobody has imported it, and it is not to be imported for this
        return None
    try:
        return asyncio._get_running_loop()  # noqa: SLF001  it is in its `__all__`; the other one raises
    except AttributeError:  # in the middle of its import by another thread
        return None


def _set(signal: Signal) -> None:
    if not signal.done():
        signal.set_result(None)


def _is_trio_running() -> bool:
    """Not whether trio runs the thread: in its guest mode asyncio does too, and each has tasks of its own."""
    sniffio = sys.modules.get("sniffio")  # which trio imports
    try:
        return sniffio is not None and sniffio.current_async_library() == "trio"
    except RuntimeError:  # sniffio.AsyncLibraryNotFoundError
        return False


class _Trio:
    """A run of trio."""

    __slots__ = ("_token", "_trio")

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()

    def __eq__(self, other: object) -> bool:
        return type(other) is _Trio and other._token is self._token

    def __hash__(self) -> int:
        return id(self._token)

    def create_future(self) -> Signal:
        return _TrioSignal(self._trio.Event())

    def call_soon_threadsafe(self, callback: Callable[[Any], None], /, *args: Any) -> object:
        return self._token.run_sync_soon(callback, *args)  # RunFinishedError is a RuntimeError


class _TrioSignal:
    __slots__ = ("_event",)

    def __init__(self, event: Any) -> None:
        self._event = event

    def done(self) -> bool:
        return bool(self._event.is_set())

    def set_result(self, _: None, /) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, Any, None]:
        yield from self._event.wait().__await__()


class _Unknown:
    """No loop that is known, or none: a coroutine that somebody drives by hand."""

    __slots__ = ()

    @staticmethod
    def create_future() -> Signal:
        return _Blocking()

    @staticmethod
    def call_soon_threadsafe(callback: Callable[[Any], None], /, *args: Any) -> object:
        callback(*args)
        return None


class _Blocking:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, _: None, /) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, Any, None]:
        self._event.wait()
        return
        yield
