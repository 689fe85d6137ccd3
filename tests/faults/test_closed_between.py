"""A ledger that is closed between two steps of a call: by another thread, or by a collection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farthing import Budget, LedgerError, Meter
from farthing.testing import FakeProvider
from faults.world import ask, client_of, metered

ACTS: dict[str, Callable[[Meter], Any]] = {
    "record": lambda meter: meter.record(model="gpt-4o", usage={"input_tokens": 1, "output_tokens": 1}),
    "reserve": lambda meter: meter.reserve(model="gpt-4o", amount=1).void(),
    "look": lambda meter: meter.track_usage(lambda: None, budget="$1/day")(),
}


@pytest.mark.parametrize("verb", ACTS)
def test_a_meter_that_is_closed_before_it_writes_opens_its_ledger_again(tmp_path: Path, verb: str) -> None:
    with metered(tmp_path / "ledger.db", budgets=[Budget("all", 5, "day")]) as meter:
        ledger = meter.engine.ledger
        verb_of_it = getattr(ledger, verb)

        def closed_before(*given: Any) -> Any:
            meter.close()
            return verb_of_it(*given)

        setattr(ledger, verb, closed_before)
        ACTS[verb](meter)
        assert meter.engine.ledger is not ledger
        assert len(meter.engine.ledger.calls()) == (0 if verb == "look" else 1)


def test_tasks_that_write_together_open_it_again(tmp_path: Path) -> None:
    with metered(tmp_path / "ledger.db", budgets=[Budget("all", 5, "day")]) as meter:
        ledger = meter.engine.ledger
        inside = ledger.together

        def closed_before(writes: Any) -> Any:
            meter.close()
            return inside(writes)

        ledger.at_once = lambda writes: None
        ledger.together = closed_before

        async def main() -> None:
            holds = await asyncio.gather(*(meter.areserve(model="gpt-4o", amount=1) for _ in range(4)))
            await asyncio.gather(*(hold.avoid() for hold in holds))

        asyncio.run(main())
        assert len(meter.engine.ledger.calls()) == 4


def test_an_error_of_a_ledger_that_is_still_open_is_raised(tmp_path: Path, provider: FakeProvider) -> None:
    tries = []

    def refused(*_: Any) -> None:
        tries.append(1)
        raise LedgerError("it cannot be used")

    with metered(tmp_path / "ledger.db") as meter:
        client = client_of(meter, provider, budget="$1/day")
        meter.engine.ledger.reserve = refused
        with pytest.raises(LedgerError, match="it cannot be used"):
            ask(client)
    assert tries == [1]
