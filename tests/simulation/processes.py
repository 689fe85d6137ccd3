"""Processes that each have the same ledger open, do what they are told, and can be killed or forked."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from farthing.ledger import Ledger
from farthing.ledger.calls.holding import matched
from farthing.ledger.store import Bound, Entry, Grant, Reservation, Settlement, Short, Stale
from farthing.records import Budget
from ledger.making import Clock, add_up_often, opened

PATIENCE = 60.0
_TRIES = 5


class Died(Exception):
    """The process was killed before it answered."""


class Process:
    """One process, as whoever tells it what to do sees it."""

    def __init__(self, pid: int, line: Connection) -> None:
        self.pid = pid
        self._line = line

    def begin(self, verb: str, *args: Any, at: int, looks: Sequence[Bound] = ()) -> None:
        """Have something done."""
        self._line.send((verb, args, at, tuple(looks)))

    def end(self) -> tuple[Any, list[Short]]:
        """What came of it, and how the windows stand that were to be looked at.

        Raises:
            Died: if the process is no more.
            Exception: that the verb raised.
        """
        try:
            if not self._line.poll(PATIENCE):
                raise TimeoutError(f"process {self.pid} does not answer")
            answer, looked = self._line.recv()
        except (EOFError, ConnectionResetError):
            raise Died from None
        if isinstance(answer, Exception):
            raise answer
        return answer, looked

    def do(self, verb: str, *args: Any, at: int, looks: Sequence[Bound] = ()) -> tuple[Any, list[Short]]:
        """Both."""
        self.begin(verb, *args, at=at, looks=looks)
        return self.end()

    def kill(self) -> tuple[Any, list[Short]] | None:
        """End it by SIGKILL; the answer that it had given before, if any."""
        os.kill(self.pid, signal.SIGKILL)
        try:
            return self.end()
        except Died:
            return None
        finally:
            self._line.close()


class Herd:
    """Starts processes on one ledger. None of them is this one, which never opens the file."""

    def __init__(self, path: Path, prepare: Callable[[], None] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="farthing-herd-")
        address = str(Path(self._folder.name) / "socket")
        self._listener = Listener(address, family="AF_UNIX", backlog=16)
        template = os.fork()
        if template == 0:
            os.setpgid(0, 0)  # with all that it will fork
            self._listener.close()
            if prepare is not None:
                prepare()
            _Worker(path, address).work()
        self._template = self._accepted()

    def _accepted(self) -> Process:
        line = self._listener.accept()
        return Process(line.recv(), line)

    def start(self) -> Process:
        """A new process, which opens the ledger with the first thing that it has to do."""
        self._template.do("fork", at=0)
        return self._accepted()

    def forked(self, parent: Process, at: int) -> Process:
        """A child of one that has it open."""
        parent.do("fork", at=at)
        return self._accepted()

    def close(self) -> None:
        """Kill them all, by their group: the number of one that has ended may be somebody else's by now."""
        with contextlib.suppress(PermissionError):  # macOS, if only the template is left and has ended
            os.killpg(self._template.pid, signal.SIGKILL)
        os.waitpid(self._template.pid, 0)
        self._listener.close()
        self._folder.cleanup()


class _Worker:
    """Inside of a process."""

    def __init__(self, path: Path, address: str) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for its children
        self._path = path
        self._address = address
        self._clock = Clock()
        self._ledger: Ledger | None = None
        add_up_often()
        self._line = self._connected()

    def _connected(self) -> Connection:
        line = Client(self._address, family="AF_UNIX")
        line.send(os.getpid())
        return line

    @property
    def ledger(self) -> Ledger:
        if self._ledger is None:
            self._ledger = opened(self._path, self._clock)
        return self._ledger

    def work(self) -> None:
        """Never returns: this is no place for what the parent has at its exit."""
        try:
            while True:
                verb, args, at, looks = self._line.recv()
                self._clock.now = at
                try:
                    answer = getattr(self, verb, None) or getattr(self.ledger, verb)
                    told = answer(*args) if callable(answer) else answer
                except Exception as error:  # noqa: BLE001  for whoever asked
                    error.add_note(traceback.format_exc())
                    told = error
                self._line.send((told, self.ledger.look(looks, at) if looks else []))
        except (EOFError, ConnectionResetError):
            os._exit(0)
        except BaseException:  # noqa: BLE001  it must not go on as its parent
            traceback.print_exc()
            os._exit(1)

    # What it can be told beside the ledger's own verbs

    def fork(self) -> None:
        if os.fork() == 0:
            self._line.close()
            self._line = self._connected()
            self.work()

    def leave(self) -> None:
        """Close the ledger; the next verb opens it again."""
        self.ledger.close()
        self._ledger = None

    def guarded(self, want: Reservation, attached: Sequence[Bound]) -> tuple[Grant | Short, bool, int]:
        """Reserve as the guard does: match, and match again while the budgets are others than it knew.

        The answer, whether it redefined an attached budget, and how often it was matched again.
        """
        redefined = False
        for again in range(_TRIES):
            answer = self.ledger.reserve(self._bound(want, attached))
            if not isinstance(answer, Stale):
                return answer, redefined, again
            redefined |= answer.changed
            self.ledger.standing(fresh=True)
        raise AssertionError("the budgets are other ones each time")

    def _bound(self, want: Reservation, attached: Sequence[Bound] = ()) -> Reservation:
        epoch, budgets = self.ledger.standing()
        return replace(
            want, epoch=epoch, bounds=(*attached, *matched(budgets, replace(want, bounds=(), epoch=epoch)))
        )

    def several(self, writes: Sequence[Reservation | tuple[Grant, Settlement, bool]]) -> list[Any]:
        """`together`, with what wants to be reserved matched by what this process knows of budgets."""
        self.ledger.standing(fresh=True)
        return list(
            self.ledger.together(
                [self._bound(each) if isinstance(each, Reservation) else each for each in writes]
            )
        )

    def settle_as(self, grant: Grant, end: Settlement, void: bool) -> bool:
        return self.ledger.settle(grant, end, void=void)

    def stands(self, budget: Budget) -> None:
        self.ledger.set_budget(budget, origin="cli")

    def corrected(self, call_id: str, cost: int | None) -> bool:
        return self.ledger.correct(call_id, cost=cost, void=cost is None, reason="simulated")

    def enter(self, entry: Entry) -> tuple[str, bool]:
        """`record`, matched likewise."""
        return self.ledger.record(replace(entry, reservation=self._bound(entry.reservation)))

    def sums(self) -> dict[str, int]:
        [total] = self.ledger.totals()
        return {name: getattr(total, name) for name in ("calls", "errors", "cost", "counted", "unpriced")}

    def sums_by_account(self) -> dict[str | None, tuple[int, int]]:
        return {total.group[0]: (total.calls, total.counted) for total in self.ledger.totals(["account"])}

    def rows(self) -> dict[str, tuple[Any, ...]]:
        return {
            row["id"]: (row["outcome"] == "error", row["account"], row["cost_nano"], row["counted_nano"])
            for row in self.ledger.calls(limit=10**7)
        }

    def open_calls(self) -> int:
        return int(self.ledger.facts()["open_calls"])
