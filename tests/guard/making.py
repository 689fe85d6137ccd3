"""Meters, calls and bursts for the tests of the guard."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from openai import OpenAI

from farthing import InsufficientCredits, Meter
from farthing.ledger.calls import sql
from farthing.ledger.writing import batch
from farthing.testing import FakeProvider

MESSAGES = [{"role": "user", "content": "Say something."}]
MAX_TOKENS = 300
CALL = {"model": "gpt-4o", "messages": MESSAGES, "max_tokens": MAX_TOKENS}
USAGE = {"input_tokens": 5, "cached_tokens": 0, "output_tokens": MAX_TOKENS}
COST = 5 * 2_500 + MAX_TOKENS * 10_000
"""Nano-dollars of one answer: gpt-4o is $2.50 and $10 per million tokens."""

PATIENCE = 60.0
"""Seconds after which a test that waits for something gives up; none waits for time to pass."""

HANGING = 300.0
"""Seconds after which processes are taken to hang: how long they take to start and to answer says how busy
the machine is. A test that waits so long has a time limit of its own."""


def metered(path: object, **options: Any) -> Meter:
    return Meter(path, **({"durability": "fast", "ledger_timeout": 20.0, "wait": 0} | options))


_clients: list[OpenAI] = []


def openai(provider: FakeProvider | str, **options: Any) -> OpenAI:
    url = provider if isinstance(provider, str) else provider.base_url
    client = OpenAI(base_url=url, api_key="test", **({"max_retries": 0} | options))
    _clients.append(client)
    return client


def close_clients() -> None:
    """Those that `openai` has made: collected in any order, their connections might complain first."""
    while _clients:
        _clients.pop().close()


def upper(meter: Meter, **call: Any) -> Decimal:
    """USD that one call holds."""
    asked = CALL | call
    found = meter.estimate(
        model=asked["model"], messages=asked["messages"], max_output_tokens=asked.get("max_tokens")
    ).upper
    assert found is not None
    return found


def limit_for(meter: Meter, calls: int) -> Decimal:
    """USD for so many holds, and half of one more."""
    return upper(meter) * calls + upper(meter) / 2


def ask(client: OpenAI, **call: Any) -> Any:
    """The answer, or the refusal."""
    try:
        return client.chat.completions.create(**(CALL | call))
    except InsufficientCredits as refusal:
        return refusal


class Burst:
    """Threads that all ask at once. `answers` has what came of them, in the order in which it came."""

    def __init__(self, ways: list[Callable[[], Any]]) -> None:
        self.answers: queue.Queue[Any] = queue.Queue()
        barrier = threading.Barrier(len(ways))

        def run(way: Callable[[], Any]) -> None:
            barrier.wait(PATIENCE)
            try:
                self.answers.put(way())
            except BaseException as error:  # noqa: BLE001  for the test to judge
                self.answers.put(error)

        self.threads = [threading.Thread(target=run, args=(way,)) for way in ways]
        for thread in self.threads:
            thread.start()

    def next(self, count: int) -> list[Any]:
        """What the next `count` of them got."""
        return [self.answers.get(timeout=PATIENCE) for _ in range(count)]

    def join(self) -> list[Any]:
        """Wait for all; what those got that `next` has not told."""
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        return self.next(self.answers.qsize())


def refusals(answers: list[Any]) -> int:
    """How many there are; everything else must not be an error."""
    errors = [a for a in answers if isinstance(a, BaseException) and not isinstance(a, InsufficientCredits)]
    assert errors == []
    return sum(isinstance(answer, InsufficientCredits) for answer in answers)


def unguarded(patch: pytest.MonkeyPatch) -> None:
    """The control: a reserve takes money without asking whether it is there, alone and with others."""
    patch.setattr(sql, "HOLD_GUARDED", sql.HOLD)
    patch.setattr(batch.Money, "affords", lambda *_: True)


def held_and_spent(meter: Meter, budget: str | None = None) -> list[tuple[int, int]]:
    return [(w.held, w.spent) for w in meter.windows() if budget is None or w.budget == budget]


def adds_up(meter: Meter) -> bool:
    faults = meter.engine.ledger.check()
    assert faults == []
    return True
