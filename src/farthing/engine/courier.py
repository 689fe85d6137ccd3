"""A thread that waits for the ledger so that event loops need not.

Jobs are done in order; what has queued up meanwhile is done in one go where it can be (`Together`), and each
loop is woken once for it. What the tasks of a loop ask for in one of its rounds is put together until all
that could run has run: taken one by one, each would be a commit and a fight for the interpreter.

What needs no waiting at all (`Together.at_once`) is not handed over: to change threads twice costs a loop
several times what it saves. It is done in the loop itself, for a lone task when it asks, for several at the
end of their round.

What an awaiting task gives up on is done all the same, and its result handed to `orphan`: a reserve that was
committed for a cancelled task has to be voided.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, Final
from weakref import ref

from farthing.errors import LedgerLocked
from farthing.loops import Loop, Signal, current_task, running
from farthing.struck import pass_on

__all__ = ["Courier", "Together"]

_Lock: Final = type(threading.RLock())  # which there is a function of Python around

_MOST: Final = 512
"""Jobs that the thread takes at once."""

_MOST_AT_ONCE: Final = 64
"""Jobs that a loop does itself: one or two milliseconds of work."""


class Together:
    """A job that is done with its neighbours of the same kind: `of_all` takes what each wants, and gives the
    answer, or the error, of each. So does `at_once`, or it gives None if that would take waiting."""

    __slots__ = ("at_once", "of_all", "want")

    def __init__(
        self,
        of_all: Callable[[list[Any]], list[Any]],
        want: Any,
        at_once: Callable[[list[Any]], list[Any] | None] = lambda _: None,
    ) -> None:
        self.of_all = of_all
        self.want = want
        self.at_once = at_once


Job = Callable[[], Any] | Together


class _Errand:
    """One job for one task. Its result goes to the task or to `orphan`, whatever their threads do when."""

    __slots__ = (
        "__weakref__",
        "_abandoned",
        "_error",
        "_finished",
        "_lock",
        "_orphan",
        "_result",
        "done",
        "loop",
    )

    def __init__(self, loop: Loop, orphan: Callable[[Any], None]) -> None:
        self.loop = loop
        self.done: Signal = loop.create_future()
        self._lock = _Lock()  # a collection inside may abandon it
        self._orphan = orphan
        self._result: Any = None
        self._error: BaseException | None = None
        self._finished = False
        self._abandoned = False

    def finish(self, result: Any) -> bool:
        """The job is done; an exception is its error. False if nobody waits for it any more."""
        with self._lock:
            if isinstance(result, BaseException):
                self._error = self._error or result
            else:
                self._result = result
            self._finished = True
            alone = self._abandoned
        if alone and not isinstance(result, BaseException):
            self._orphan(result)
        return not alone

    def strike(self, error: BaseException) -> None:
        """`error` came while nobody can say what has become of the job: its task has that for an answer, and
        what the job may still bring is an orphan. To be called in its loop."""
        with self._lock:
            if not self._finished:
                self._error = error
                self._abandoned = True
        _wake([self])

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


class _Round:
    """The end of a round, as the loop calls it; if the loop is closed before, what was asked in it is left to
    the thread. A signal handler may raise anywhere in it: then that strikes all who wait in the loop."""

    __slots__ = ("_courier", "_ended", "_loop")

    def __init__(self, courier: Courier, loop: Loop) -> None:
        self._courier = courier
        self._loop = loop
        self._ended = False

    def __call__(self) -> None:
        try:
            self._courier.end_round(self._loop)
        except BaseException as error:
            self._courier.strike(self._loop, error)
            raise
        self._ended = True

    def __del__(self) -> None:
        if not self._ended:
            self._courier.lose_round(self._loop)


class Courier:
    """One daemon thread, started when it is first needed, and again after a fork."""

    def __init__(self, name: str = "farthing-ledger") -> None:
        self._name = name
        self._jobs: SimpleQueue[_Queued | None] = SimpleQueue()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopped = False
        self._at_work = False  # the thread
        self._asked: dict[int, SimpleQueue[_Queued | None]] = {}  # by loops in the rounds that they are in
        self._waiting: dict[int, ref[_Errand]] = {}  # for any of those; weakly, as loops may be dropped
        self._in_round: Loop | None = None  # the last loop that is in one
        self._asker = 0  # the first task that asked in it
        self._several = False  # whether others did, too
        self._crowded = False  # and in the one before

    def post(self, job: Job) -> None:
        """Have a job done; nobody waits. Inline once the courier has been stopped."""
        self._hand_over([(job, None)])

    async def bring(self, job: Job, orphan: Callable[[Any], None]) -> Any:
        """Have a job done and wait for its result; it goes to `orphan` if the task is cancelled meanwhile."""
        loop = running()
        soon = getattr(loop, "call_soon", None)  # only asyncio's have one
        if soon is not None:
            task = id(current_task(loop))  # which is not to be kept alive
            if self._in_round is not loop:
                soon(_Round(self, loop))
                self._in_round = loop  # in this order: an interrupt between them must not silence the loop
                self._asker, self._several = task, False
            elif self._asker != task:
                self._several = True
            if not (self._several or self._crowded) and type(job) is Together and self._is_idle():
                answers = job.at_once([job.want])
                if answers is not None:
                    return _given(answers[0])
        errand = _Errand(loop, orphan)
        if self._thread is threading.current_thread():  # in a collection: it would wait for itself
            errand.abandon()
            self._hand_over([(job, errand)])
            raise LedgerLocked("this very thread is what would be waited for, below us; it is done later")
        self._waiting[id(errand)] = ref(errand)
        try:
            if soon is not None and type(job) is Together:
                self._start()  # it does what the loop cannot, or does not live to do
                self._asked_in(loop).put((job, errand))
            else:
                before = [each for each in _all_of(self._asked_in(loop)) if each is not None]
                self._hand_over([*before, (job, errand)])
            await errand.done
        except BaseException:  # struck, cancelled, or dropped with its loop, whose round will never end
            errand.abandon()
            self._bell.put(None)
            raise
        finally:
            self._waiting.pop(id(errand), None)
        return errand.answer()

    def end_round(self, loop: Loop) -> None:
        """All tasks of a loop have asked that could."""
        self._in_round = None
        self._crowded = self._several
        # Its own only: those of other loops would not be told if a signal handler raised here.
        asked = [each for each in _all_of(self._asked_in(loop)) if each is not None]
        self._asked.pop(id(loop), None)
        jobs = [job for job, _ in asked if type(job) is Together]
        if jobs and len(jobs) <= _MOST_AT_ONCE and self._is_idle():
            answers = jobs[0].at_once([job.want for job in jobs])
            if answers is not None:
                _tell([errand for _, errand in asked], answers, loop)
                return
        self._hand_over(asked)

    def _asked_in(self, loop: Loop) -> SimpleQueue[_Queued | None]:
        """What is asked in the rounds of a loop; to be called in that loop."""
        asked = self._asked.get(id(loop))
        if asked is None:
            asked = self._asked[id(loop)] = SimpleQueue()
        return asked

    def strike(self, loop: Loop, error: BaseException) -> None:
        """`error` came at the end of a round: nobody knows how far that has come."""
        for errand in [waiting() for waiting in list(self._waiting.values())]:
            if errand is not None and errand.loop is loop:
                errand.strike(error)

    def lose_round(self, loop: Loop) -> None:
        """A round may not have come to its end. From a finalizer, too."""
        if self._in_round is loop:
            self._in_round = None
        self._bell.put(None)

    def _is_idle(self) -> bool:
        """Whether nothing is overtaken by what is done at once: who gives money back and then asks for some
        has it."""
        return self._jobs.empty() and not self._at_work  # in this order: it is at work before it takes them

    def _hand_over(self, jobs: Sequence[_Queued]) -> None:
        if not jobs:
            return
        if self._stopped or not self._start():
            self._carry(jobs)
            return
        for each in jobs:
            self._jobs.put(each)
        self._bell.put(None)

    def stop(self) -> None:
        """Do what is queued, then nothing more: later jobs are done by whoever posts them."""
        thread, self._stopped = self._thread, True
        if thread is not None and thread is not threading.current_thread():
            self._jobs.put(None)
            self._bell.put(None)
            thread.join(timeout=10)
        while jobs := [job for job in self._queued() if job is not None]:
            self._carry(jobs)

    def _start(self) -> bool:
        """Whether there is a thread that will do what is queued."""
        if self._thread is not None or self._stopped:
            return not self._stopped
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # there can be no more threads now, or the interpreter exits
                    pass_on(error)
                    return False
                self._thread = thread
        return True

    def _run(self) -> None:
        while self._round():
            pass

    def _round(self) -> bool:
        """Wait for the bell and do what is queued by then; False if it was the last."""
        self._bell.get()
        self._at_work = True
        jobs = self._queued()
        if len(jobs) >= _MOST:
            self._bell.put(None)  # a loop has rung once for all of them
        self._carry([job for job in jobs if job is not None])
        if None in jobs:  # for another thread, too: who starts one may be struck before it is known
            self._jobs.put(None)
            self._bell.put(None)
            return False
        return True

    def _carry(self, jobs: Iterable[_Queued]) -> None:
        """Do jobs in order. Whoever is told finds the courier idle if there is nothing else to do."""
        errands: list[_Errand | None] = []
        results: list[Any] = []
        for of_all, group in groupby(jobs, key=_kind):
            if of_all is None:
                for job, errand in group:
                    _tell(errands, results)
                    errands, results = [errand], [_done(job)]  # type: ignore[arg-type]
                continue
            _tell(errands, results)
            wants, errands = [], []
            for job, errand in group:
                wants.append(job.want)  # type: ignore[union-attr]
                errands.append(errand)
            results = _done_together(of_all, wants)
        self._at_work = False
        _tell(errands, results)

    def _queued(self) -> list[_Queued | None]:
        """What is queued at this moment, by loops too that may never end their round; nobody lingers."""
        asked = [each for queue in list(self._asked.values()) for each in _all_of(queue)]
        return _all_of(self._jobs, _MOST) + asked


def _given(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _all_of(queue: SimpleQueue[_Queued | None], most: int = sys.maxsize) -> list[_Queued | None]:
    """What is in it at this moment."""
    found: list[_Queued | None] = []
    with contextlib.suppress(Empty):
        while len(found) < most and not queue.empty():
            found.append(queue.get_nowait())
    return found


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


def _tell(errands: Sequence[_Errand | None], results: list[Any], here: Loop | None = None) -> None:
    """Give each errand its result, and wake each loop once; the one that runs `here` at once."""
    told: dict[Loop, list[_Errand]] = {}
    for errand, result in zip(errands, results, strict=True):
        if errand is not None and errand.finish(result):
            told.setdefault(errand.loop, []).append(errand)
    for loop, waiting in told.items():
        if loop is here:
            _wake(waiting)
            continue
        try:
            loop.call_soon_threadsafe(_wake, waiting)
        except RuntimeError:  # the loop was closed meanwhile
            for errand in waiting:
                errand.abandon()


def _wake(waiting: list[_Errand]) -> None:
    for errand in waiting:
        if not errand.done.done():
            errand.done.set_result(None)
