"""What the tests of a broken world share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from farthing.testing import FakeProvider
from faults.world import USAGE, close_clients


@pytest.fixture(autouse=True)
def _no_client_stays_open() -> Iterator[None]:
    yield
    close_clients()


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(usage=USAGE) as fake:
        yield fake
