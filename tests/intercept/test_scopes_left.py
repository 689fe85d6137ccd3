"""Scopes that are left out of order, or in another context than they were entered in."""

from __future__ import annotations

import asyncio
import contextvars

import pytest
from openai import AsyncOpenAI

from farthing import settings
from farthing.intercept import carried, decorate, scopes
from farthing.settings import current, put_back
from intercept.kit import ASK, rows_of
from intercept.steps import asking, play, returning, settled, step


def _told(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "farthing"]


def _leave_elsewhere(scope, error=None):
    contextvars.copy_context().run(scope.__enter__)
    scope.__exit__(None if error is None else type(error), error, None)


def test_a_scope_that_is_closed_in_another_context_says_nothing(kit, caplog):
    _leave_elsewhere(kit.meter.scope(account="acme"), GeneratorExit())
    kit.run(kit.client().chat.completions.create(**ASK))
    assert kit.row().account == "default"
    assert _told(caplog) == []


def test_a_scope_that_has_run_to_its_end_in_another_context_is_told_once(kit, caplog):
    for error in (None, None, ValueError()):
        _leave_elsewhere(kit.meter.scope(account="acme"), error)
    kit.run(kit.client().chat.completions.create(**ASK))
    assert kit.row().account == "default"
    (line,) = _told(caplog)
    assert "another context" in line


def test_a_generator_whose_steps_run_in_different_contexts_is_told(kit, caplog):
    pages = asking(kit, kit.client(), "acme", times=2)()
    for _ in range(3):  # the last one ends it
        contextvars.copy_context().run(lambda: play(kit, step(pages)))
    assert [row.account for row in kit.rows()] == ["acme", "default"]
    assert len(_told(caplog)) == 1


def _take_turns(kit):
    """Two generators with a scope each take turns, then a call is made outside of both: all accounts."""
    client = kit.client()

    async def scenario():
        alice, bob = (asking(kit, client, who, times=2)() for who in ("alice", "bob"))
        for run in (alice, bob, alice, bob, alice, bob):
            await step(run)
        await settled(client.chat.completions.create(**ASK))

    play(kit, scenario())
    return [row.account for row in kit.rows()]


def test_a_scope_that_is_left_comes_back_with_no_other(kit, caplog):
    assert _take_turns(kit)[-1] == "default"
    assert _told(caplog) == []


def test_the_control_a_scope_that_is_left_comes_back(kit, monkeypatch):
    for module in (scopes, settings):
        monkeypatch.setattr(module, "is_within", lambda frame: True)
    assert _take_turns(kit)[-1] == "alice"


def test_an_old_scope_that_is_closed_leaves_a_newer_one_in_force(kit):
    client = kit.client()

    async def scenario():
        alice, bob = (asking(kit, client, who, times=1)() for who in ("alice", "bob"))
        for run in (alice, bob, alice):
            await step(run)
        with kit.meter.scope(account="carol"):
            await step(bob)
            await settled(client.chat.completions.create(**ASK))
        await settled(client.chat.completions.create(**ASK))

    play(kit, scenario())
    assert [row.account for row in kit.rows()] == ["alice", "bob", "carol", "default"]


def _end(pages):
    list(pages)


async def _aend(pages):
    async for _ in pages:
        pass


def _end_and_yield(pages):
    yield _end(pages)


async def _aend_and_yield(pages):
    yield await _aend(pages)


def _end_within(kit, how, what):
    """The accounts of a scope in a generator that such a function runs to its end, and of a call after it."""
    client = kit.client()
    fn = {
        "function": kit.pick(_end, _aend),
        "generator function": kit.pick(_end_and_yield, _aend_and_yield),
        "function that returns a coroutine": returning(_aend),
    }[what]

    async def scenario():
        pages = asking(kit, client, "alice", times=1)()
        await step(pages)
        with kit.meter.scope(account="bob") as run:
            around = run.bind(fn) if how == "bound" else None
        made = (around or kit.meter.track_usage(account="bob")(fn))(pages)
        if what == "generator function":
            for _ in range(2):  # the second one ends it
                await step(made)
        else:
            await settled(made)
        await settled(client.chat.completions.create(**ASK))

    play(kit, scenario())
    return [row.account for row in kit.rows()]


HOW = pytest.mark.parametrize("how", ["tracked", "bound"])
WHAT = pytest.mark.parametrize("what", ["function", "generator function"])
ONLY_COROUTINES = pytest.mark.parametrize("kit", ["async"], indirect=True)


def _leave_always(monkeypatch):
    for module in (carried, decorate):
        monkeypatch.setattr(module, "leave", lambda _frame, token: put_back(current, token))


@HOW
@WHAT
def test_a_scope_that_a_function_has_ended_does_not_come_back_after_it(kit, how, what):
    assert _end_within(kit, how, what) == ["alice", "default"]


@HOW
@ONLY_COROUTINES
def test_a_scope_that_a_returned_coroutine_has_ended_does_not_come_back_after_it(kit, how):
    assert _end_within(kit, how, "function that returns a coroutine") == ["alice", "default"]


@HOW
@WHAT
def test_the_control_a_scope_that_a_function_has_ended_comes_back(kit, monkeypatch, how, what):
    _leave_always(monkeypatch)
    assert _end_within(kit, how, what) == ["alice", "alice"]


@HOW
@ONLY_COROUTINES
def test_the_control_a_scope_that_a_returned_coroutine_has_ended_comes_back(kit, monkeypatch, how):
    _leave_always(monkeypatch)
    assert _end_within(kit, how, "function that returns a coroutine") == ["alice", "alice"]


@pytest.mark.one_colour("tasks call asynchronous clients")
def test_a_task_that_outlives_its_scope_stays_in_it_between_scopes_of_its_own(provider, meter):
    async def main():
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
            meter.wrap(client)
            left = asyncio.Event()

            async def work():
                async with meter.scope(name="step"):
                    await left.wait()
                    await client.chat.completions.create(**ASK)
                await client.chat.completions.create(**ASK)

            async with meter.scope(account="acme"):
                task = asyncio.create_task(work())
                await asyncio.sleep(0)
            left.set()
            await task

    asyncio.run(main())
    assert [row.account for row in rows_of(meter)] == ["acme", "acme"]
