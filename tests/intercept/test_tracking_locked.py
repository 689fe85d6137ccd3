"""Tracked functions while the ledger cannot be written: nothing that was paid is lost, nothing stays held."""

from __future__ import annotations

import contextlib
import signal

import pytest

from farthing import Budget, InsufficientCredits, LedgerError, Meter
from intercept.kit import ASK, TOLD, USUAL, Kit

fcntl = pytest.importorskip("fcntl")

BODY = {"model": "gpt-4o", "usage": TOLD}
SHORT = 0.2


@pytest.fixture
def meter(ledger_path):
    made = Meter(ledger_path, durability="fast", ledger_timeout=SHORT, wait=0)
    made.warm()
    yield made
    made.close()


@contextlib.contextmanager
def locked(meter):
    """As another program locks it."""
    try:
        with meter.ledger_path.with_name(meter.ledger_path.name + ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    finally:
        meter.engine.ledger.wait_longer(30)  # however slow the machine is


def returns(kit, value):
    """A function of the kit's colour."""
    if not kit.is_async:
        return lambda: value

    async def job():
        return value

    return job


def test_what_a_function_returns_is_booked_once_the_ledger_is_free_again(kit):
    job = kit.meter.track_usage(account="acme")(returns(kit, BODY))
    with locked(kit.meter):
        kit.run(job())
        assert kit.rows() == []
    for _ in range(2):
        kit.meter.engine.tick()
    row = kit.row()
    assert (row.account, row.outcome, row.cost_nano) == ("acme", "complete", USUAL)
    assert "spilled" in row.flags


@pytest.mark.parametrize("functions", [0, 2])
def test_what_a_function_returned_counts_before_it_is_booked(kit, functions):
    meter = Meter(kit.meter.ledger_path, ledger_timeout=SHORT, wait=0, on_ledger_error="allow")
    meter.set_budget(Budget("all", 2 * USUAL / 10**9, "day"))
    client = meter.wrap(kit.plain())
    with locked(meter), meter:
        for _ in range(functions):
            kit.run(meter.track_usage(returns(kit, BODY))())
        refused = pytest.raises(InsufficientCredits) if functions else contextlib.nullcontext()
        with refused:
            kit.run(client.chat.completions.create(**{**ASK, "max_tokens": 300}))


def test_a_hold_that_gives_way_while_the_ledger_is_locked_is_free_soon(kit):
    client = kit.client()
    create = client.chat.completions.create

    async def acall():
        with locked(kit.meter):
            return await create(**ASK)

    def call():
        with locked(kit.meter):
            return create(**ASK)

    job = kit.meter.track_usage(estimate=1, budget=Budget("own", 5, "day"))(acall if kit.is_async else call)
    with pytest.raises(LedgerError):
        kit.run(job())
    kit.run(client.chat.completions.create(**ASK))
    kit.meter.engine.courier.stop()
    assert [window.held for window in kit.meter.windows()] == [0]


@pytest.mark.one_colour("signal handlers run on the main thread")
def test_an_interrupt_while_a_hold_is_released_or_a_result_booked_leaves_neither(provider, meter):
    kit = Kit("sync", provider, meter)
    ledger = meter.engine.ledger

    def struck(*_):
        signal.raise_signal(signal.SIGINT)

    job = meter.track_usage(lambda: BODY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "record", struck)
        with pytest.raises(KeyboardInterrupt):
            job()
    meter.engine.tick()
    assert kit.row().cost_nano == USUAL

    client = kit.client()
    held = meter.track_usage(estimate="1.00", budget=Budget("own", 5, "day"))(
        lambda: client.chat.completions.create(**ASK)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "release", struck)
        with pytest.raises(KeyboardInterrupt):
            held()
    meter.engine.courier.stop()
    assert [window.held for window in meter.windows()] == [0]
    kit.finish()
