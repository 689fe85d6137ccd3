"""The stores that keep the contract: each suite that takes `ledger` runs on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farthing.ledger import Ledger
from ledger.making import Clock, opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    store = opened(":memory:" if request.param == "memory" else tmp_path / "ledger.db", clock)
    yield store
    faults = store.check()
    store.close()
    assert faults == []
