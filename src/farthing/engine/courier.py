"""A thread that waits for the ledger so that event loops need not.

Jobs are done in order; what has queued up meanwhile is done in one go where it can be (`Together`), and each
loop is woken once for it. A loop rings for the courier once in each of its rounds, when all that could run
has run: rung for by each task, it mostly took one job at a time, each with a commit and a fight for the
interpreter (64 tasks in one loop made 0.66 of the calls of a bare client then, and make 0.80 now). What an
awaiting task gives up on is done all the same, and its result handed to `orphan`: a reserve that was
committed for a cancelled task has to be voided.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any

from farthing.loops import Loop, Signal, running

__all__ = ["Courier", "Together"]

_MOST = 512
"""Jobs that are taken at once."""


class Together:
    """A job that is done with its neighbours of the same kind: `of_all` takes what each wants, and gives the
    answer, or the error, of each."""

    __slots__ = ("of_all", "want")

    def __init__(self, of_all: Callable[[list[Any]], list[Any]], want: Any) -> None:
        self.of_all = of_all
        self.want = want


Job = Callable[[], Any] | Together


class _Errand:
    """One job for one task. Its result goes to the task or to `orphan`, whatever their threads do when."""

    __slots__ = ("_abandoned", "_error", "_finished", "_lock", "_orphan", "_result", "done", "loop")

    def __init__(self, loop: Loop, orphan: Callable[[Any], None]) -> None:
        self.loop = loop
        self.done: Signal = loop.create_future()
        self._lock = threading.Lock()
        self._orphan = orphan
        self._result: Any = None
        self._error: BaseException | None = None
        self._finished = False
        self._abandoned = False

    def finish(self, result: Any) -> bool:
        """The job is done; an exception is its error. False if nobody waits for it any more."""
        with self._lock:
            if isinstance(result, BaseException):
                self._error = result
            else:
                self._result = result
            self._finished = True
            alone = self._abandoned
        if alone and self._error is None:
            self._orphan(result)
        return not alone

    def abandon(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            alone = self._finished and self._error is None and not self._abandoned
            self._abandoned = True
        if alone:
            self._orphan(self._result)

    def answer(self) -> Any:
        """What came of the job that is finished."""
        if self._error is not None:
            raise self._error
        return self._result


_Queued = tuple[Job, _Errand | None]


class Courier:
    """One daemon thread, started when it is first needed, and again after a fork."""

    def __init__(self, name: str = "farthing-ledger") -> None:
        self._name = name
        self._jobs: SimpleQueue[_Queued | None] = SimpleQueue()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopped = False
        self._ringer: Loop | None = None  # the last loop that is going to ring

    def post(self, job: Job, errand: _Errand | None = None) -> None:
        """Have a job done; nobody waits. Inline once the courier has been stopped."""
        if self._stopped:
            _carry([(job, errand)])
            return
        if self._thread is None:
            self._start()
        self._jobs.put((job, errand))
        soon = None if errand is None else getattr(errand.loop, "call_soon", None)  # only asyncio's have one
        if errand is None or soon is None:
            self._bell.put(None)
        elif self._ringer is not errand.loop:
            soon(self._ring)
            self._ringer = errand.loop  # in this order: an interrupt between them must not silence the loop

    def _ring(self) -> None:
        self._ringer = None
        self._bell.put(None)

    async def bring(self, job: Job, orphan: Callable[[Any], None]) -> Any:
        """Have a job done and wait for its result; it goes to `orphan` if the task is cancelled meanwhile."""
        errand = _Errand(running(), orphan)
        self.post(job, errand)
        try:
            await errand.done
        except BaseException:  # cancelled, or dropped with its loop, which will never ring
            errand.abandon()
            self._bell.put(None)
            raise
        return errand.answer()

    def stop(self) -> None:
        """Do what is queued, then nothing more: later jobs are done by whoever posts them."""
        thread, self._stopped = self._thread, True
        if thread is not None and thread is not threading.current_thread():
            self._jobs.put(None)
            self._bell.put(None)
            thread.join(timeout=10)
        while jobs := self._queued():
            _carry(job for job in jobs if job is not None)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while self._round():
            pass

    def _round(self) -> bool:
        """Wait for the bell and do what is queued by then; False if it was the last."""
        self._bell.get()
        jobs = self._queued()
        if len(jobs) == _MOST:
            self._bell.put(None)  # a loop has rung once for all of them
        _carry(job for job in jobs if job is not None)
        return None not in jobs

    def _queued(self) -> list[_Queued | None]:
        """What is queued at this moment; nobody lingers for more."""
        jobs: list[_Queued | None] = []
        with contextlib.suppress(Empty):
            while len(jobs) < _MOST and not self._jobs.empty():
                jobs.append(self._jobs.get_nowait())
        return jobs


def _carry(jobs: Iterable[_Queued]) -> None:
    """Do jobs in order."""
    for of_all, group in groupby(jobs, key=_kind):
        if of_all is None:
            for job, errand in group:
                _tell([errand], [_done(job)])  # type: ignore[arg-type]
            continue
        wants, errands = [], []
        for job, errand in group:
            wants.append(job.want)  # type: ignore[union-attr]
            errands.append(errand)
        _tell(errands, _done_together(of_all, wants))


def _kind(queued: _Queued) -> Callable[[list[Any]], list[Any]] | None:
    job = queued[0]
    return job.of_all if type(job) is Together else None


def _done(job: Callable[[], Any]) -> Any:
    try:
        return job()
    except BaseException as error:
        return error


def _done_together(of_all: Callable[[list[Any]], list[Any]], wants: list[Any]) -> list[Any]:
    try:
        return of_all(wants)
    except BaseException as error:
        return [error] * len(wants)


def _tell(errands: list[_Errand | None], results: list[Any]) -> None:
    """Give each errand its result, and wake each loop once."""
    told: dict[Loop, list[_Errand]] = {}
    for errand, result in zip(errands, results, strict=True):
        if errand is not None and errand.finish(result):
            told.setdefault(errand.loop, []).append(errand)
    for loop, waiting in told.items():
        try:
            loop.call_soon_threadsafe(_wake, waiting)
        except RuntimeError:  # the loop was closed meanwhile
            for errand in waiting:
                errand.abandon()


def _wake(waiting: list[_Errand]) -> None:
    for errand in waiting:
        if not errand.done.done():
            errand.done.set_result(None)
