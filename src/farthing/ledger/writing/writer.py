"""Who writes: the caller's own thread while nobody else does, else one thread that does what has queued up.

A write that is handed over costs two switches between threads, so a caller that is alone does without.
Under contention one thread for each store waits for the lock file in the kernel, which keeps the order of
those that wait; what has queued up by then is done in one transaction, and each caller is answered after the
commit. Nobody lingers for more. Callers wait on locks of their own until their deadline; what they give up
on is not done any more, or undone if it is being done already. What cannot be undone is waited for then.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from copy import copy
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol, TypeVar

from farthing.errors import LedgerError, LedgerLocked
from farthing.ledger.writing.connection import Connections
from farthing.ledger.writing.lock import Busy, FileLock
from farthing.struck import pass_on

__all__ = ["Operation", "Work", "Writer"]

_MOST: Final = 512
"""Writes of one turn."""

_IDLE: Final = 5.0
"""Seconds after which the thread ends; the next contention starts another."""

_SOON: Final = 2e-3
"""Seconds after a turn in which callers still queue, because others do most probably."""

_LONELY: Final = 4
"""Turns in a row of a single write, after which callers try for themselves again."""

_GRACE: Final = 5.0
"""Seconds for a write that cannot be left, after those for which it may wait itself for another program."""

_T = TypeVar("_T")
Operation = Callable[[sqlite3.Connection, Any], Any]


class Work(Protocol):
    """What a writer has to know of the ledger that it writes."""

    def can_be_grouped(self, operation: Operation) -> bool:
        """Whether writes of this kind can be done together."""

    def can_be_left(self, operation: Operation) -> bool:
        """Whether a write may be given up while it is done: it is taken back then, or it may be done again to
        the same effect."""

    def do_all(self, write: Callable[..., Any], arguments: Sequence[Any], *, full: bool) -> Sequence[Any]:
        """Do writes of such kinds by `write(operation, argument, full=...)`; the answer or error of each."""

    def abandoned(self, argument: object) -> Operation:
        """A write was committed although its caller has given it up; a write that takes it back."""


class _Slot:
    """One write and its caller, who sleeps on `done`."""

    __slots__ = (
        "abandoned",
        "answer",
        "argument",
        "begun",
        "done",
        "finished",
        "full",
        "grouped",
        "operation",
    )

    def __init__(self, operation: Operation, argument: object, *, full: bool, grouped: bool) -> None:
        self.operation = operation
        self.argument = argument
        self.full = full
        self.grouped = grouped
        self.abandoned = self.finished = False
        self.answer: Any = None
        self.begun = threading.Lock()  # whoever gets it decides: it is done, or given up before
        self.done = threading.Lock()
        self.done.acquire()


class Writer:
    """The queue and the thread of one store. Usable from any thread, finalizers and signal handlers."""

    def __init__(self, connections: Connections, work: Work) -> None:
        self._connections = connections
        self._work = work
        self._stopped = False  # no thread is started any more
        self._alone = False  # and none runs: it takes the lock file before the mutex, callers the mutex first
        self._begin()

    def _begin(self) -> None:
        self._queue: SimpleQueue[_Slot | None] = SimpleQueue()
        self._queueing = False  # whether callers queue
        self._lonely = 0
        self._thread: threading.Thread | None = None
        self._ident = 0  # of the thread that runs
        self._starting = threading.Lock()
        self._running = threading.Lock()
        self._lock: FileLock | None = None

    # For callers

    def write(
        self, operation: Callable[[sqlite3.Connection, Any], _T], argument: object, *, full: bool
    ) -> _T:
        """`Connections.write`, by whichever thread.

        Raises:
            LedgerError: of the fitting kind; nothing was written, or it will be undone.
        """
        connections = self._connections
        if self._alone:
            return connections.write(operation, argument, full=full)
        if not (self._queueing or connections.mutex.locked()):
            try:
                return connections.write(operation, argument, full=full, patient=False)
            except Busy:
                pass
            except BaseException:  # of a signal handler, perhaps between the commit and the lock file
                connections.give_back()
                raise
        answer: _T = self._handed_over(operation, argument, full=full)
        return answer

    def at_once(
        self, operation: Callable[[sqlite3.Connection, Any], _T], argument: object, *, full: bool = False
    ) -> _T:
        """The same where nobody may wait.

        Raises:
            LedgerError: of the fitting kind; nothing was written.
            Busy: if it would have to be waited for, or others wait already; nothing was written.
        """
        connections = self._connections
        if self._queueing:
            raise Busy
        try:
            return connections.write(operation, argument, full=full, at_once=True)
        except LedgerLocked as error:
            raise Busy from error
        except Busy:
            raise
        except BaseException:
            connections.give_back()
            raise

    def writing_here(self) -> bool:
        """True if this thread is writing, or is the one that others wait for: it must not wait itself."""
        return self._connections.writing_here() or self._ident == threading.get_ident()

    def _handed_over(self, operation: Operation, argument: object, *, full: bool) -> Any:
        if self.writing_here():
            raise LedgerLocked(f"{self._connections.where} is being written by this very thread, below us.")
        slot = _Slot(operation, argument, full=full, grouped=self._work.can_be_grouped(operation))
        try:
            self._put(slot)
            in_time = slot.done.acquire(timeout=self._connections.timeout)
        except BaseException:  # of a signal handler
            self._give_up(slot)
            raise
        if not in_time and self._gave_up(slot):
            self._connections.give_back()
            raise LedgerLocked(
                f"Others have been writing {self._connections.where} for too long; nothing was written."
            )
        answer = slot.answer
        if isinstance(answer, LedgerError):
            own = copy(answer)  # it may be the answer of many, and where it is raised is written into it
            own.__cause__ = answer
            raise own
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _gave_up(self, slot: _Slot) -> bool:
        """It takes too long: give it up. False if somebody had begun it and has done it meanwhile.

        Raises:
            LedgerLocked: if that is still not done.
        """
        if not slot.begun.acquire(blocking=False) and not self._work.can_be_left(slot.operation):
            timeout = self._connections.timeout
            if slot.done.acquire(timeout=2 * timeout + _GRACE):
                return False
            raise LedgerLocked(
                f"{self._connections.where} is being written for too long; it may still be done."
            )
        self._give_up(slot)
        return True

    def _give_up(self, slot: _Slot) -> None:
        # Set and then looked at, as `_tell` does the other way round: one of the two sees it, or both.
        slot.abandoned = True
        if slot.finished:
            self._undo(slot)

    def _undo(self, slot: _Slot) -> None:
        if not isinstance(slot.answer, BaseException):
            self._put(_Slot(self._work.abandoned(slot.argument), None, full=False, grouped=False))

    def _put(self, slot: _Slot) -> None:
        self._queue.put(slot)
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._start()

    # The thread

    def _start(self) -> None:
        with self._starting:
            thread = self._thread
            if thread is not None and thread.is_alive():
                return
            try:
                if not self._stopped:
                    self._thread = threading.Thread(target=self._run, name="farthing-writer", daemon=True)
                    self._thread.start()
                    return
            except RuntimeError as error:  # no more threads here
                pass_on(error)
                self._thread = None
            self._drain()  # whoever asks does what is queued

    def _run(self) -> None:
        with self._running:  # a second one was started if a signal handler raised while the first was
            if self._stopped:  # it came too late
                self._drain()
                return
            self._ident = threading.get_ident()
            try:
                self._lock = self._connections.another_lock()
                while self._turn():
                    pass
            except (LedgerError, OSError):  # each will be told when its own write fails
                self._drain()
            finally:
                self._queueing = False
                self._ident = 0
                lock, self._lock = self._lock, None
                if lock is not None:
                    lock.close()

    def _turn(self) -> bool:
        """Wait for a write and do what has queued up; False if there will be none."""
        queue = self._queue
        try:
            first = queue.get(timeout=_SOON if self._queueing else _IDLE)
        except Empty:
            return self._goes_on()
        if first is None:
            return False
        self._queueing = True
        slots, goes_on, lock = [first], True, self._lock
        told: list[tuple[_Slot, Any]] = []
        try:
            if lock is not None:
                self._connections.give_back()
                lock.wait()
            while len(slots) < _MOST and not queue.empty():
                slot = queue.get()
                if slot is None:
                    goes_on = False
                    break
                slots.append(slot)
            self._do(slots, told, lock)
        except BaseException as error:  # noqa: BLE001  it is the answer
            answered = {id(slot) for slot, _ in told}
            told += [(slot, error) for slot in slots if id(slot) not in answered]
        finally:
            if lock is not None:
                lock.release()
        self._tell(told)
        self._lonely = self._lonely + 1 if len(slots) == 1 else 0
        if self._lonely >= _LONELY:
            self._queueing = False
        return goes_on

    def _goes_on(self) -> bool:
        """Nothing has queued up for some time: callers may try for themselves, and later the thread ends."""
        if self._queueing:
            self._queueing = False
        else:
            thread, self._thread = self._thread, None
            if self._queue.empty():
                return False
            self._thread = thread  # somebody believed that there is one
        return True

    def _do(self, slots: list[_Slot], told: list[tuple[_Slot, Any]], lock: FileLock | None) -> None:
        connections = self._connections

        def write(operation: Operation, argument: object, *, full: bool) -> Any:
            return connections.write(operation, argument, full=full, held=lock)

        for grouped, some in groupby(slots, key=_is_grouped):
            group = list(some)
            if grouped and len(group) > 1:
                group = [slot for slot in group if _begins(slot)]
                full = any(slot.full for slot in group)
                if group:
                    answers = self._work.do_all(write, [slot.argument for slot in group], full=full)
                    told += zip(group, answers, strict=True)
                continue
            for slot in filter(_begins, group):
                try:
                    answer = write(slot.operation, slot.argument, full=slot.full)
                except BaseException as error:  # noqa: BLE001  it is the answer
                    answer = error
                told.append((slot, answer))

    def _tell(self, told: list[tuple[_Slot, Any]]) -> None:
        for slot, answer in told:
            slot.answer = answer
            slot.finished = True
            if slot.abandoned:
                self._undo(slot)
            else:
                slot.done.release()

    def _drain(self) -> None:
        """Do what is queued in this thread."""
        while True:
            try:
                slot = self._queue.get_nowait()
            except Empty:
                return
            if slot is None or not _begins(slot):
                continue
            try:
                answer = self._connections.write(slot.operation, slot.argument, full=slot.full)
            except BaseException as error:  # noqa: BLE001  it is the answer
                answer = error
            self._tell([(slot, answer)])

    # The process

    def stop(self) -> None:
        """Do what is queued; from then on each caller writes for itself."""
        with self._starting:  # one that is about to run does so before it is waited for
            self._stopped = True
        if self._ident == threading.get_ident():
            self._drain()
            return
        self._queue.put(None)
        if not self._running.acquire(timeout=self._connections.timeout):
            return  # the lock file is held by somebody else; callers give up by themselves
        try:
            self._drain()
            self._alone = True
        finally:
            self._running.release()

    def after_fork_in_child(self) -> None:
        """The queue is that of the parent's threads. Its lock file is only closed: unlocking would unlock the
        parent, which shares the open file."""
        lock = self._lock
        self._begin()
        if lock is not None:
            lock.close()


def _is_grouped(slot: _Slot) -> bool:
    return slot.grouped


def _begins(slot: _Slot) -> bool:
    """Whether a write is to be done; its caller will know that somebody has begun it."""
    return not slot.abandoned and slot.begun.acquire(blocking=False)
