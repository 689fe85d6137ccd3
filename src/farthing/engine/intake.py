"""Calls that were spilled are brought to the ledger: by one thread at a time, and who reserves waits for it.

A signal handler may raise between any two steps: what waits is dropped after it is booked, never before, and
brought once more if need be, which changes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Final

from farthing.engine.bugs import tell_of_bug
from farthing.errors import LedgerError, LedgerLocked
from farthing.ledger.spilled import Spilled
from farthing.ledger.store import Clock, Ledger
from farthing.ledger.upkeep.spill import Line, SpillFile, is_at, left_behind
from farthing.log import logger, say_once
from farthing.struck import pass_on

if TYPE_CHECKING:
    from farthing.engine.call import Settle

__all__ = ["Intake"]

_CHUNK: Final = 200
"""Calls that are booked in one commit: others wait for it."""


class Intake:
    """The part of `Overdue` that takes in.

    Attributes:
        due: whether something that was spilled is to be booked. True until it is.
    """

    due: bool
    _booked: Callable[[], None]
    _clock: Clock
    _ends: int  # that have been spilled
    _file: SpillFile | None  # the one of `_files` that is written
    _files: list[SpillFile]  # of this process, until they are taken in
    _inside: bool  # `_taking` is taken by more than a collection which the same thread has run into
    _kept: deque[Spilled]
    _ledger_id: str | None
    _mutex: threading.RLock
    _sent: dict[str, Spilled]
    _settles: deque[Settle]
    _spill: Callable[[Spilled], None]
    _taking: threading.RLock  # its owner can be told from others
    _where: Callable[[], str | None]
    _wrote: Callable[[Spilled], bool]

    def take_in(self, ledger: Ledger, *, others: bool, patience: float = 0.0) -> None:
        """Book what was spilled by this process, and by `others` that have died.

        Args:
            patience: seconds to wait for another thread that does it; without any it is left to that.

        Raises:
            LedgerError: if the ledger cannot be used; what is not booked stays where it is.
        """
        where = self._where()
        patience = min(patience, threading.TIMEOUT_MAX)
        try:  # from the first step on: a signal handler may raise as soon as it is taken
            if self._taking.acquire(timeout=patience):
                self._take_own(ledger, where, others=others)
            elif patience:
                raise LedgerLocked("another thread has been booking what was spilled for too long")
        finally:
            try:  # noqa: SIM105  no call before it, at whose end a signal handler might raise
                self._taking.release()
            except RuntimeError:
                pass  # it was not taken
        if others and where is not None:
            self._take_others(ledger, where)

    def _take_own(self, ledger: Ledger, where: str | None, *, others: bool) -> None:
        if self._inside or not (self.due or (others and (self._files or self._kept))):
            return
        try:
            self._inside = True
            ledger.take_in((), self._clock.time_ns())  # if it cannot be used, before all is read in vain
            with self._mutex:
                ends, self._file = self._ends, None
                self._files = [file for file in self._files if not file.closed]
                files, kept = list(self._files), list(self._kept)
            ended = {each.reservation.id for each in kept if each.state != "sent"}
            failed = self._take_files(ledger, files, ended, where, kept=len(kept))
            if failed is not None:
                raise failed
            with self._mutex:
                if self._ends == ends:
                    self.due = False
            if not self.due and not self._settles:
                self._booked()
        finally:
            self._inside = False

    def _take_files(
        self, ledger: Ledger, files: list[SpillFile], ended: set[str], where: str | None, *, kept: int
    ) -> Exception | None:
        """Take in what is kept and what is in files; the first error that is one file's own."""
        known = self._ledger_id or ledger.ledger_id()
        failed: Exception | None = None
        found: list[tuple[SpillFile, bool]] = []
        for file in files:  # all of them first: a call may have been sent in one and have ended in another
            try:
                ids = _ended_in(file, known, where or "")
            except OSError as error:
                pass_on(error)
                failed = failed or error
                continue
            ended |= ids or set()
            found.append((file, ids is not None))
        self._take_kept(ledger, kept, ended)
        for file, mine in found:
            try:
                if mine:
                    self._take_file(ledger, file, ended, own=True)
                file.close()  # one of another ledger, which will take it in
                self._files.remove(file)
            except LedgerError:
                raise
            except Exception as error:  # it must not keep the other files
                pass_on(error)
                failed = failed or error
        return failed

    def _take_others(self, ledger: Ledger, where: str) -> None:
        known = self._ledger_id or ledger.ledger_id()
        for file in left_behind(where):
            try:
                ended = _ended_in(file, known, where)
                if ended is not None:
                    self._take_file(ledger, file, ended, own=False)
            except LedgerError:
                raise
            except Exception:
                tell_of_bug("booking what another process has spilled")
            finally:
                file.close()

    def _take_kept(self, ledger: Ledger, count: int, ended: set[str]) -> None:
        now = self._clock.time_ns()
        while count > 0:
            with self._mutex:
                some = list(islice(self._kept, min(_CHUNK, count)))
            ripe = [each for each in some if each.state == "ended"]
            for answer in ledger.take_in(ripe, now):
                if isinstance(answer, Exception):
                    _tell(answer)
            with self._mutex:
                for each in some:
                    if each.state == "sent" and self._runs(each, ended) and not self._wrote(each):
                        self._kept.append(each)
                    self._kept.popleft()
            count -= len(some)

    def _runs(self, call: Spilled, ended: set[str]) -> bool:
        return call.reservation.id in self._sent and call.reservation.id not in ended

    def _take_file(self, ledger: Ledger, file: SpillFile, ended: set[str], *, own: bool) -> None:
        bad: list[bytes] = []
        lines = file.lines()
        while chunk := list(islice(lines, _CHUNK)):
            bad += self._take_lines(ledger, chunk, ended, own=own)
        if bad:
            logger.error("%d lines of %s cannot be booked; they are kept as .bad", len(bad), file.path)
            file.keep(bad)
        file.remove()

    def _take_lines(self, ledger: Ledger, lines: list[Line], ended: set[str], *, own: bool) -> list[bytes]:
        bad = [line.raw for line in lines if line.spilled is None]
        ripe: list[tuple[Line, Spilled]] = []
        for line in lines:
            call = line.spilled
            if call is None or call.state == "gone":
                continue
            if call.state == "sent" and own and self._runs(call, ended):
                self._spill(call)  # a new file has to know of it
            elif call.state == "ended" or call.reservation.id not in ended:
                ripe.append((line, call))
        answers = ledger.take_in([call for _, call in ripe], self._clock.time_ns())
        for (line, _), answer in zip(ripe, answers, strict=True):
            if isinstance(answer, Exception):
                _tell(answer)
                bad.append(line.raw)
        return bad


def _ended_in(file: SpillFile, ledger_id: str, where: str) -> set[str] | None:
    """The calls whose ends a file tells; None if it is of another ledger."""
    ended: set[str] = set()
    elsewhere = cache(is_at)
    for line in file.lines():
        call = line.spilled
        if call is None:
            continue
        if not line.belongs_to(ledger_id, where, elsewhere):
            return None
        if call.state != "sent":
            ended.add(call.reservation.id)
    return ended


def _tell(error: Exception) -> None:
    key = ("spilled", type(error).__name__)
    say_once(key, logging.ERROR, "a spilled call cannot be booked: %s", error)
