"""Scopes that are left out of order, or in another context than they were entered in."""

from __future__ import annotations

import asyncio
import contextvars

import pytest
from openai import AsyncOpenAI

from farthing.intercept import scopes
from intercept.kit import ASK, rows_of
from intercept.steps import asking, play, settled, step


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
    monkeypatch.setattr(scopes, "within", lambda frame: True)
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


def test_a_scope_that_a_tracked_function_has_ended_does_not_come_back_after_it(kit):
    client = kit.client()

    async def scenario():
        pages = asking(kit, client, "alice", times=1)()
        await step(pages)
        await settled(kit.meter.track_usage(kit.pick(_end, _aend))(pages))
        await settled(client.chat.completions.create(**ASK))

    play(kit, scenario())
    assert [row.account for row in kit.rows()] == ["alice", "default"]


def _end(pages):
    list(pages)


async def _aend(pages):
    async for _ in pages:
        pass


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
