"""What the tests of the interception share."""

from __future__ import annotations

import pytest

import farthing.log
import farthing.meter.default
from farthing import Meter
from intercept.kit import Kit


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "one_colour(reason): the behaviour exists for sync or for async clients only"
    )


@pytest.fixture(autouse=True)
def _said_nothing_yet(monkeypatch):
    """Each cause is logged once per process: here, once per test."""
    monkeypatch.setattr(farthing.log, "_said", set())


@pytest.fixture
def meter(ledger_path):
    made = Meter(ledger_path, durability="fast")
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def kit(request, provider, meter):
    made = Kit(request.param, provider, meter)
    yield made
    made.finish()


@pytest.fixture
def kit_sync(provider, meter):
    """For the few behaviours that only synchronous clients have."""
    made = Kit("sync", provider, meter)
    yield made
    made.finish()


@pytest.fixture
def no_default(monkeypatch):
    """No default meter has been made yet; the one that is made is closed."""
    module = farthing.meter.default
    monkeypatch.setattr(module, "_meter", None)
    monkeypatch.setattr(module, "_given", {})
    yield module
    if module._meter is not None:
        module._meter.close()
