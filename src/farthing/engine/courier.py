"""A thread that waits for the ledger so that event loops need not.

Jobs are done in order. What an awaiting task gives up on is done all the same, and its result handed to
`orphan`: a reserve that was committed for a cancelled task has to be voided.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["Courier"]

Job = Callable[[], Any]
Deliver = Callable[[Any, BaseException | None], None]


class _Errand:
    """One job for one task. Its result goes to the task or to `orphan`, whatever their threads do when."""

    __slots__ = ("_abandoned", "_error", "_finished", "_lock", "_orphan", "_result")

    def __init__(self, orphan: Callable[[Any], None]) -> None:
        self._lock = threading.Lock()
        self._orphan = orphan
        self._result: Any = None
        self._error: BaseException | None = None
        self._finished = False
        self._abandoned = False

    def finish(self, result: Any, error: BaseException | None) -> bool:
        """The job is done. False if nobody waits for it any more."""
        with self._lock:
            self._result, self._error, self._finished = result, error, True
            alone = self._abandoned
        if alone and error is None:
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


class Courier:
    """One daemon thread, started when it is first needed, and again after a fork."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Job, Deliver | None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopped = False

    def post(self, job: Job, deliver: Deliver | None = None) -> None:
        """Have a job done; nobody waits. Inline once the courier has been stopped."""
        if self._stopped:
            _do(job, deliver)
            return
        if self._thread is None:
            self._start()
        self._jobs.put((job, deliver))

    async def bring(self, job: Job, orphan: Callable[[Any], None]) -> Any:
        """Have a job done and wait for its result; it goes to `orphan` if the task is cancelled meanwhile."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        errand = _Errand(orphan)

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        def deliver(result: Any, error: BaseException | None) -> None:
            if errand.finish(result, error):
                try:
                    loop.call_soon_threadsafe(wake)
                except RuntimeError:  # the loop was closed meanwhile
                    errand.abandon()

        self.post(job, deliver)
        try:
            await done
        except BaseException:  # cancelled, or dropped with its loop
            errand.abandon()
            raise
        return errand.answer()

    def stop(self) -> None:
        """Do what is queued, then nothing more: later jobs are done by whoever posts them."""
        thread, self._stopped = self._thread, True
        if thread is not None and thread is not threading.current_thread():
            self._jobs.put(None)
            thread.join(timeout=10)
        with contextlib.suppress(Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    _do(*job)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="farthing-ledger", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            _do(*job)


def _do(job: Job, deliver: Deliver | None) -> None:
    result, error = None, None
    try:
        result = job()
    except BaseException as caught:
        error = caught
    if deliver is not None:
        deliver(result, error)
