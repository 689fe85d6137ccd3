"""Budgets that stand only in a ledger bind also a process that has never been able to write it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from farthing import InsufficientCredits, LedgerLocked, Meter
from farthing.engine import Engine
from farthing.ledger.writing.lock import FileLock
from farthing.records import Budget
from farthing.testing import FakeProvider
from faults.world import CALL, ask, client_of, metered

Door = Callable[[Meter, FakeProvider], object]


def by_client(meter: Meter, provider: FakeProvider) -> object:
    return ask(client_of(meter, provider))


def by_task(meter: Meter, provider: FakeProvider) -> object:
    async def main() -> object:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client:
            return await meter.wrap(client).chat.completions.create(**CALL)

    return asyncio.run(main())


def by_hand(meter: Meter, _: FakeProvider) -> object:
    return meter.reserve(model="gpt-4o", amount="0.001").settle({"input_tokens": 5})


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes."""
    lock = FileLock(f"{path}.lock", str(path))
    lock.acquire(None)
    try:
        yield
    finally:
        lock.release()
        lock.close()


@contextmanager
def in_transaction(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        yield
        conn.execute("ROLLBACK")


@pytest.fixture
def used_up(ledger_path: Path) -> Path:
    with metered(ledger_path) as meter:
        meter.set_budget(Budget("house", "0.01", "total"))
        meter.record(model="gpt-4o", usage={"input_tokens": 1}, cost="0.01")
    return ledger_path


@pytest.mark.parametrize("held", [locked, in_transaction])
@pytest.mark.parametrize("door", [by_client, by_task, by_hand])
@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_standing_budget_binds_a_process_that_could_not_open_the_ledger(  # noqa: PLR0917  its cases
    used_up: Path,
    provider: FakeProvider,
    held: Callable[[Path], Any],
    door: Door,
    guarded: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not guarded:
        monkeypatch.setattr(Engine, "_glimpse", lambda _: None)
    with metered(used_up, ledger_timeout=0.05) as meter:
        with held(used_up):
            for _ in range(2):
                if guarded:
                    with pytest.raises(LedgerLocked):
                        door(meter, provider)
                else:
                    assert door(meter, provider) is not None
        assert guarded is (provider.requests == [] and meter.engine.ledger.totals()[0].calls == 1)
        with pytest.raises(InsufficientCredits):
            door(meter, provider)


def test_what_the_program_declares_goes_before_what_the_ledger_says(
    used_up: Path, provider: FakeProvider
) -> None:
    """As it does when the ledger is opened; so a budget that was for all calls is not for these any more."""
    declared = Budget("house", 5, "total", account="acme")
    with metered(used_up, ledger_timeout=0.05, budgets=[declared]) as meter:
        with locked(used_up):
            by_client(meter, provider)
            with pytest.raises(LedgerLocked):
                ask(client_of(meter, provider, account="acme"))
        assert len(provider.requests) == 1


def test_calls_that_it_does_not_bind_go_on(used_up: Path, provider: FakeProvider) -> None:
    with metered(used_up) as meter:
        meter.set_budget(Budget("house", "0.01", "total", account="acme"))
    with metered(used_up, ledger_timeout=0.05) as meter:
        with locked(used_up):
            by_client(meter, provider)
        assert meter.engine.ledger.totals()[0].calls == 2


def test_or_all_where_it_may_be_let_go(used_up: Path, provider: FakeProvider) -> None:
    with metered(used_up, ledger_timeout=0.05, on_ledger_error="allow") as meter:
        with locked(used_up):
            by_client(meter, provider)
            with pytest.raises(InsufficientCredits):
                meter.reserve(model="gpt-4o", amount="0.02")
        assert [window.spent for window in meter.engine.ledger.windows()] != [10_000_000]


@pytest.mark.parametrize("declared", ["5", "soft"])
def test_what_was_set_at_run_time_stands_before_what_the_program_declares(
    used_up: Path, provider: FakeProvider, declared: str
) -> None:
    with metered(used_up) as meter:
        meter.engine.ledger.set_budget(Budget("house", "0.01", "total"), origin="cli")
    stated = Budget("house", 5, "total", mode="soft" if declared == "soft" else "hard")
    with locked(used_up), metered(used_up, ledger_timeout=0.2, budgets=[stated]) as meter:
        with pytest.raises(LedgerLocked):
            by_client(meter, provider)
        assert provider.requests == []
