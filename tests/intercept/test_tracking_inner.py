"""Scopes inside of tracked functions, and what runs after a function has returned it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import sys
import threading

import pytest

from farthing import InsufficientCredits
from farthing.intercept import carried, decorate
from intercept.kit import ASK, TOLD, USUAL
from intercept.steps import asking, close, play, returning, settled, step

BODY = {"model": "gpt-4o", "usage": TOLD}

TWO = "$0.025"
"""A budget that affords two calls of ASK."""


def _between(kit):
    """The accounts of what a tracked generator calls in a scope inside of it, and of a caller between."""
    client = kit.client()
    pages = kit.meter.track_usage(account="outer")(asking(kit, client, "alice", times=4, budget=TWO))

    async def scenario():
        run = pages()
        with contextlib.suppress(InsufficientCredits):
            for _ in range(4):
                await step(run)
                await settled(client.chat.completions.create(**ASK))
        await close(run)

    play(kit, scenario())
    return [row.account for row in kit.rows()]


def test_a_scope_inside_a_tracked_generator_lasts_over_its_yields(kit):
    assert _between(kit) == ["alice", "default"] * 2  # and the third is refused


def test_the_control_a_scope_ends_at_the_first_yield(kit, monkeypatch):
    monkeypatch.setattr(carried, "_innermost", lambda frame: frame)
    assert _between(kit) == ["alice", "default", *["outer", "default"] * 3, "outer"]


def test_a_tracked_generator_is_closed_in_the_scope_in_which_it_was_left(kit):
    client = kit.client()

    async def scenario():
        run = kit.meter.track_usage(asking(kit, client, "alice", times=2))()
        await step(run)
        await close(run)
        await settled(client.chat.completions.create(**ASK))

    play(kit, scenario())
    assert [row.account for row in kit.rows()] == ["alice", "alice", "default"]


def test_a_tracked_generator_takes_its_scopes_with_it_into_other_contexts(kit, caplog):
    run = kit.meter.track_usage(account="outer")(asking(kit, kit.client(), "alice", times=2))()
    for _ in range(3):
        contextvars.copy_context().run(lambda: play(kit, step(run)))
    assert [row.account for row in kit.rows()] == ["alice", "alice"]
    assert [record for record in caplog.records if record.name == "farthing"] == []


def test_tracked_generators_that_take_turns_keep_their_scopes_apart(kit):
    client = kit.client()

    async def scenario():
        alice, bob = (kit.meter.track_usage(asking(kit, client, who, times=2))() for who in ("alice", "bob"))
        for run in (alice, bob, alice, bob, alice, bob):
            await step(run)
        await settled(client.chat.completions.create(**ASK))

    play(kit, scenario())
    assert [row.account for row in kit.rows()] == ["alice", "bob", "alice", "bob", "default"]


ONLY_COROUTINES = pytest.mark.one_colour("only a coroutine runs after the function that made it has returned")


def _returning(what, create):
    """A callable that is no coroutine function, and returns a coroutine."""

    async def ask():
        return await create(**ASK)

    class Asks:
        async def __call__(self):
            return await create(**ASK)

    return {
        "a function": returning(ask),
        "a partial": functools.partial(create, **ASK),
        "an object": Asks(),
        "a wrapper": functools.wraps(ask)(returning(ask)),
    }[what]


SORTS = pytest.mark.parametrize("what", ["a function", "a partial", "an object", "a wrapper"])


@ONLY_COROUTINES
@SORTS
@pytest.mark.parametrize("kit", ["async"], indirect=True)
def test_a_coroutine_that_is_returned_runs_in_the_scope(kit, what):
    fn = _returning(what, kit.client().chat.completions.create)
    tracked = kit.meter.track_usage(account="acme", tags={"feature": "x"}, estimate="0.5")(fn)
    made = tracked()
    assert inspect.iscoroutine(made)
    answer = kit.run(made)
    assert kit.meter.receipt(answer).account == "acme"
    row = kit.row()
    assert (row.account, row.tags["feature"], row.cost_nano) == ("acme", "x", USUAL)
    assert row.run


@ONLY_COROUTINES
@SORTS
@pytest.mark.parametrize("kit", ["async"], indirect=True)
def test_a_coroutine_that_is_returned_is_under_the_budget(kit, what):
    fn = _returning(what, kit.client().chat.completions.create)
    with pytest.raises(InsufficientCredits):
        kit.run(kit.meter.track_usage(budget="$0.001")(fn)())
    assert kit.rows() == []
    assert kit.provider.requests == []


@ONLY_COROUTINES
@pytest.mark.parametrize("kit", ["async"], indirect=True)
def test_the_control_a_coroutine_that_is_returned_escapes_the_budget(kit, monkeypatch):
    monkeypatch.setattr(decorate, "CoroutineType", ())
    fn = _returning("a function", kit.client().chat.completions.create)
    kit.run(kit.meter.track_usage(budget="$0.001", account="acme")(fn)())
    assert kit.row().account == "default"


def test_what_a_returned_coroutine_gives_is_booked_once(kit):
    async def body():
        return BODY

    assert kit.run(kit.meter.track_usage(account="acme")(kit.pick(lambda: BODY, returning(body)))()) is BODY
    row = kit.row()
    assert (row.account, row.cost_nano) == ("acme", USUAL)


def test_a_returned_coroutine_that_fails_counts_its_estimate(kit):
    async def fail():
        return 1 / 0

    tracked = kit.meter.track_usage(estimate="0.5")(kit.pick(lambda: 1 / 0, returning(fail)))
    with pytest.raises(ZeroDivisionError):
        kit.run(tracked())
    row = kit.row()
    assert (row.outcome, row.counted_nano, row.error) == ("unknown", 500_000_000, "ZeroDivisionError")


def _fired(meter, how):
    """What came of a coroutine that runs as a task, and is returned by a function all the same."""
    ends, tasks = [], []

    async def work():
        await asyncio.sleep(0)
        ends.append("done")
        return BODY

    def fire():
        made = work()
        tasks.append(asyncio.ensure_future(made))
        return made

    with meter.scope() as scope:
        fn = scope.bind(fire) if how == "bound" else meter.track_usage(fire)

    async def main():
        fn()  # what it returns is dropped
        gc.collect()
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [BODY]
    return ends


@ONLY_COROUTINES
@pytest.mark.parametrize("how", ["tracked", "bound"])
def test_a_returned_coroutine_that_a_task_runs_goes_on_to_its_end(meter, how):
    assert _fired(meter, how) == ["done"]


@ONLY_COROUTINES
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("how", ["tracked", "bound"])
def test_the_control_a_returned_coroutine_is_taken_from_its_task(meter, monkeypatch, how):
    monkeypatch.setattr(carried, "ONE", sys.maxsize)
    with pytest.raises(RuntimeError, match="already awaited"):
        _fired(meter, how)


@ONLY_COROUTINES
@pytest.mark.parametrize("how", ["tracked", "bound"])
def test_a_returned_coroutine_that_is_kept_can_be_awaited_by_whoever_keeps_it(meter, how):
    kept = []

    async def work():
        return BODY

    def keep():
        kept.append(work())
        return kept[0]

    with meter.scope() as scope:
        fn = scope.bind(keep) if how == "bound" else meter.track_usage(keep)
    fn()
    gc.collect()
    assert asyncio.run(kept[0]) is BODY


@ONLY_COROUTINES
def test_a_returned_coroutine_that_is_cancelled_before_it_starts_holds_nothing(meter):
    meter.engine._keeper = threading.Thread()  # which is never started: nobody is faster

    async def ask():
        return BODY

    tracked = meter.track_usage(budget="$1/day", estimate="0.5")(returning(ask))

    async def main():
        task = asyncio.create_task(tracked())
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()
    meter.engine.sweep()
    (window,) = meter.windows()
    assert (window.held, window.spent) == (0, 0)
    assert asyncio.run(tracked()) is BODY  # and there is room for the next
