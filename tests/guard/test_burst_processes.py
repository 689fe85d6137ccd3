"""The same burst from several processes on one ledger file."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from farthing import Budget, InsufficientCredits, Meter
from farthing.ledger.calls import sql
from farthing.ledger.writing import batch
from farthing.testing import FakeProvider
from guard.making import COST, HANGING, ask, held_and_spent, limit_for, metered, openai

PROCESSES = 8
THREADS = 4
ASKED = PROCESSES * THREADS
SERVED = 5

pytestmark = pytest.mark.timeout(400)


def child(path: str, url: str, barrier: Any, answers: Any, *, guarded: bool, meter: Meter | None) -> None:
    """Asks from its threads at once; says of each what came of it."""
    if not guarded:
        sql.HOLD_GUARDED = sql.HOLD
        batch.Money.affords = lambda *_: True
    meter = meter or metered(path, ledger_timeout=HANGING)
    try:
        meter.warm()
        client = meter.wrap(openai(url))
    except BaseException:
        barrier.abort()  # the others need not wait for it
        raise

    def one() -> None:
        try:
            barrier.wait(HANGING)
            answer = ask(client)
        except BaseException as error:
            answers.put(repr(error))
            raise
        answers.put("refused" if isinstance(answer, InsufficientCredits) else "served")

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    meter.close()


class Children:
    """Processes that ask at once."""

    def __init__(
        self, context: BaseContext, path: Path, provider: FakeProvider, *, guarded: bool = True, **more: Any
    ) -> None:
        self.answers = context.Queue()
        self.barrier = context.Barrier(ASKED)
        options = {"guarded": guarded, "meter": None} | more
        self.processes = [
            context.Process(  # type: ignore[attr-defined]
                target=child,
                args=(str(path), provider.base_url, self.barrier, self.answers),
                kwargs=options,
                daemon=True,
            )
            for _ in range(PROCESSES)
        ]
        for process in self.processes:
            process.start()

    def next(self, count: int) -> list[str]:
        return [self.answers.get(timeout=HANGING) for _ in range(count)]

    def join(self) -> None:
        for process in self.processes:
            process.join(HANGING)
            assert process.exitcode == 0
            process.close()
        self.answers.close()
        self.answers.join_thread()


def race(children: Children, provider: FakeProvider, served: int) -> None:
    assert children.next(ASKED - served) == ["refused"] * (ASKED - served)
    provider.wait_for(served, HANGING)
    provider.release()
    assert children.next(served) == ["served"] * served
    children.join()


def test_spawned_processes_are_served_exactly_what_the_budget_affords(
    meter: Meter, ledger_path: Path, provider: FakeProvider
) -> None:
    meter.set_budget(Budget("all", limit_for(meter, SERVED), "month"))
    provider.hold()
    race(Children(multiprocessing.get_context("spawn"), ledger_path, provider), provider, SERVED)
    assert provider.most_in_flight == provider.served == SERVED
    assert held_and_spent(meter) == [(0, SERVED * COST)]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_forked_processes_are_served_exactly_what_the_budget_affords(
    meter: Meter, ledger_path: Path, provider: FakeProvider
) -> None:
    """They go on with their parent's meter, whose ledger is open."""
    meter.set_budget(Budget("all", limit_for(meter, SERVED), "month"))
    provider.hold()
    children = Children(multiprocessing.get_context("fork"), ledger_path, provider, meter=meter)
    race(children, provider, SERVED)
    assert provider.most_in_flight == provider.served == SERVED
    assert held_and_spent(meter) == [(0, SERVED * COST)]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_without_the_check_processes_overspend(
    meter: Meter, ledger_path: Path, provider: FakeProvider
) -> None:
    """The control."""
    meter.set_budget(Budget("all", limit_for(meter, SERVED), "month"))
    provider.hold()
    children = Children(multiprocessing.get_context("fork"), ledger_path, provider, guarded=False)
    race(children, provider, ASKED)
    [(held, spent)] = held_and_spent(meter)
    assert (held, spent) == (0, ASKED * COST)
