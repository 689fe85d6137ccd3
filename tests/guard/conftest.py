"""What the tests of the guard share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farthing import Meter
from farthing.testing import FakeClock, FakeProvider
from guard.making import USAGE, adds_up, close_clients, metered


@pytest.fixture(autouse=True)
def _no_client_stays_open() -> Iterator[None]:
    yield
    close_clients()


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(usage=USAGE) as fake:
        yield fake


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def meter(ledger_path: Path) -> Iterator[Meter]:
    """On a file, with the real clock; whatever a test did with it, its ledger adds up."""
    with metered(ledger_path) as made:
        yield made
        assert adds_up(made)


@pytest.fixture
def still(ledger_path: Path, clock: FakeClock) -> Iterator[Meter]:
    """The same, with a clock that stands still."""
    with metered(ledger_path, clock=clock) as made:
        yield made
        assert adds_up(made)
