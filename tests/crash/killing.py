"""Kills of a process whose threads are calling, and what must be true of the ledger afterwards.

The threads of the killed process print the id of each receipt after its call has returned: that is an
acknowledged call. The provider counts what arrived, so that a kill happens at a moment that is known: either
with all threads waiting for held answers, or in the midst of work. Each kill has a provider of its own: what
a dead process had sent may be read late, and must not count as the next one's.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from farthing import Meter
from farthing.testing import FakeClock, FakeProvider
from guard.making import CALL, COST, HANGING, USAGE, metered, upper
from ledger.making import python

THREADS = 8
LEASE_SECONDS = 600

NURSERY = """
import itertools, json, os, signal, sys, threading
signal.signal(signal.SIGINT, signal.SIG_IGN)
from farthing.testing import FakeClock, FakeIds
from guard.making import *
from ledger.making import add_up_often
def call(path, url, name, durability, now):
    clock, ids = FakeClock(now), FakeIds(name)
    meter = metered(path, clock=clock, ids=ids, durability=durability, ledger_timeout=HANGING)
    client = meter.wrap(openai(url), budget="$1000/total", tags={"process": name})
    def work():
        for turn in itertools.count():
            answer = client.chat.completions.create(**CALL, stream=turn % 3 == 2)
            if turn % 3 == 2:
                list(answer)
            os.write(1, (meter.receipt(answer).id + "\\n").encode())
    for _ in range(8):
        threading.Thread(target=work, daemon=True).start()
    threading.Event().wait()
add_up_often()
with metered(":memory:") as meter:
    meter.warm()
    meter.wrap(openai("http://127.0.0.1:9/v1")).close()
for thread in threading.enumerate():
    if thread is not threading.main_thread():  # a meter that is closed has told its thread to end
        thread.join(HANGING)
assert threading.active_count() == 1
for line in sys.stdin:
    said, complained, *order = json.loads(line)
    child = os.fork()
    if child == 0:
        for fd, path in (1, said), (2, complained):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), fd)
        call(*order)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """A process that has loaded everything and opened no ledger; it forks the callers that are killed.

    `prepare` is code that it runs first: the fault of a control. A Ctrl-C is for whoever started it.
    """

    def __init__(self, folder: Path, prepare: str = "") -> None:
        self._folder = folder
        self._process = python(prepare + NURSERY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _, errors = self._process.communicate(timeout=HANGING)
        assert errors == "", errors

    @contextmanager
    def caller(self, *order: object) -> Iterator[list[str]]:
        """A caller, killed at the end; then the list has the lines that it wrote whole."""
        given, told = self._process.stdin, self._process.stdout
        assert given is not None
        assert told is not None
        said, complained = self._folder / "said", self._folder / "complained"
        for file in (said, complained):
            file.unlink(missing_ok=True)
        given.write(json.dumps([str(said), str(complained), *order]) + "\n")
        given.flush()
        child = int(told.readline())
        lines: list[str] = []
        try:
            yield lines
        except BaseException as error:
            error.add_note(
                f"The caller ended with {self._end(child)}; {complained.read_text() or 'no complaint'}"
            )
            raise
        end = self._end(child)
        complaints = complained.read_text()
        assert complaints == "", complaints
        assert end == -signal.SIGKILL, end
        lines += [
            line.rstrip("\n") for line in said.read_text().splitlines(keepends=True) if line[-1:] == "\n"
        ]

    def _end(self, child: int) -> int:
        """Kill it, if it has not ended by itself; how it ended."""
        assert self._process.stdout is not None
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return int(self._process.stdout.readline())


@dataclass
class Kill:
    """What one kill left."""

    acknowledged: set[str]
    held_open: int
    requests: int


@dataclass
class Tally:
    """What all kills left."""

    kills: int = 0
    with_open_holds: int = 0
    acknowledged: set[str] = field(default_factory=set)
    expired: int = 0

    def add(self, kill: Kill) -> None:
        """One more, whose holds have been booked since."""
        self.kills += 1
        self.with_open_holds += kill.held_open > 0
        self.acknowledged |= kill.acknowledged
        self.expired += kill.held_open


def kill_one(path: Path, nursery: Nursery, seed: int, *, durability: str, now: int) -> Kill:
    """Start a caller, let its threads call for a while that the seed decides, and kill it."""
    rng = random.Random(seed)
    waiting = rng.random() < 0.6
    requests = rng.randrange(1, 60)
    with FakeProvider(usage=USAGE) as provider:
        if waiting:
            provider.hold()
        with nursery.caller(str(path), provider.base_url, f"k{seed}", durability, now) as said:
            if waiting:
                provider.wait_for(THREADS, HANGING)
                provider.release(requests)
                provider.wait_for(THREADS + requests, HANGING)
            else:
                provider.wait_for(requests, HANGING)
    assert len(set(said)) == len(said)
    return Kill(set(said), open_calls(path), len(provider.requests))


def open_calls(path: Path) -> int:
    """Asked with another connection, before anything has been reopened."""
    with closing(sqlite3.connect(path)) as conn:
        return int(conn.execute("SELECT count(*) FROM open_calls").fetchone()[0])


def everything_is_there(path: Path, kill: Kill, clock: FakeClock, tally: Tally) -> None:
    """Reopen the ledger, and again when the lease of the dead has run out."""
    with reopened(path, clock) as meter:
        store = meter.engine.ledger
        hold = int(upper(meter) * 10**9)
        prompt = prompt_cost(meter)
        rows = finished(meter)
        assert kill.acknowledged <= rows.keys()
        assert {rows[call]["outcome"] for call in kill.acknowledged} <= {"complete"}
        assert {rows[call]["counted_nano"] for call in kill.acknowledged} <= {COST}
        [window] = meter.windows()
        assert window.held == kill.held_open * hold
        assert window.spent == sum(row["counted_nano"] for row in rows.values())
        assert store.expire(clock.time_ns()) == 0

        clock.advance(LEASE_SECONDS + 1)
        assert store.expire(clock.time_ns()) == kill.held_open
        after = finished(meter)
        assert rows.items() <= after.items()
        lost = [row for call, row in after.items() if call not in rows]
        assert len(lost) == kill.held_open
        for row in lost:
            assert (row["outcome"], row["cost_nano"], row["counted_nano"]) == ("expired", prompt, hold)
            assert (row["usage_source"], row["output_tokens"]) == ("estimated", None)
        [window] = meter.windows()
        assert (window.held, window.spent) == (0, sum(row["counted_nano"] for row in after.values()))
    tally.add(kill)
    assert tally.acknowledged <= after.keys()


def every_request_has_a_row(path: Path, kill: Kill, seed: int, clock: FakeClock) -> None:
    """What reached the provider was committed before it was sent; each thread may have one more."""
    with reopened(path, clock) as meter:
        mine = [row for row in finished(meter) if row.startswith(f"k{seed}-")]
        assert kill.requests <= len(mine) <= kill.requests + THREADS


def prompt_cost(meter: Meter) -> int:
    """Nano-dollars of the prompt alone."""
    expected = meter.estimate(model=CALL["model"], messages=CALL["messages"]).expected
    assert expected is not None
    return int(expected * 10**9)


def finished(meter: Meter) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in meter.engine.ledger.calls(limit=10**6)}


@contextmanager
def reopened(path: Path, clock: FakeClock) -> Iterator[Meter]:
    with metered(path, clock=clock) as meter:
        yield meter
        assert meter.engine.ledger.check() == []
