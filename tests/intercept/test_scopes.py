"""Scopes: what is called inside is booked together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from decimal import Decimal

import pytest
from openai import AsyncOpenAI

from farthing import Budget, FarthingError, InsufficientCredits
from farthing.intercept import carried
from intercept.kit import ASK, TOLD, USUAL, rows_of
from intercept.steps import play, returning, settled, step

COST = Decimal("0.00322")


def _ask(kit, client):
    return kit.run(client.chat.completions.create(**ASK))


def test_a_scope_books_what_is_called_inside(kit):
    client = kit.client()
    with kit.meter.scope(account="acme", tags={"feature": "summary"}) as run:
        _ask(kit, client)
        _ask(kit, client)
    _ask(kit, client)
    assert (run.calls, run.cost, run.unpriced, run.usage.input_tokens) == (2, 2 * COST, 0, 2400)
    assert [receipt.cost for receipt in run.receipts()] == [COST, COST]
    assert [row.account for row in kit.rows()] == ["acme", "acme", "default"]
    assert [row.run for row in kit.rows()] == [run.run, run.run, None]
    assert kit.rows()[0].tags == {"feature": "summary"}


def test_nested_scopes_are_a_path_and_the_inner_one_wins(kit):
    client = kit.client(account="client", tags={"a": "client", "c": "client"})
    with kit.meter.scope(account="outer", tags={"a": "outer", "b": "outer"}) as outer:
        _ask(kit, client)
        with kit.meter.scope(tags={"b": "inner"}) as inner:
            _ask(kit, client)
    first, second = kit.rows()
    assert (first.run, second.run) == (outer.run, inner.run)
    assert inner.run.startswith(f"{outer.run}/")
    assert (second.account, second.tags) == ("outer", {"a": "outer", "b": "inner", "c": "client"})
    assert (outer.calls, inner.calls) == (2, 1)


def test_a_pinned_client_keeps_its_settings_and_is_in_the_run_all_the_same(kit):
    client = kit.client(account="house", context="system", tags={"a": "client"}, pin=True)
    with kit.meter.scope(account="acme", context="customer", tags={"a": "scope", "b": "scope"}) as run:
        _ask(kit, client)
    row = kit.row()
    assert (row.account, row.context, row.run) == ("house", "system", run.run)
    assert row.tags["a"] == "client"


def test_settings_are_those_of_the_instant_of_the_call(kit):
    client = kit.client()
    with kit.meter.scope(account="acme") as run:
        stream = kit.run(client.chat.completions.create(**ASK, stream=True))
    with kit.meter.scope(account="other"):
        list(kit.items(stream))
    assert (kit.row().account, kit.row().run) == ("acme", run.run)


def test_a_budget_of_a_scope_is_of_each_entry(kit):
    client = kit.client()
    for _ in range(2):
        with kit.meter.scope(budget="$0.022") as run:
            _ask(kit, client)
            assert run.remaining == Decimal("0.022") - COST
            with pytest.raises(InsufficientCredits) as caught:
                _ask(kit, client)
            assert caught.value.remaining == Decimal("0.022") - COST
    assert len(kit.rows()) == 2


def test_budgets_of_all_scopes_and_of_the_client_bind(kit):
    client = kit.client(budget=Budget("client", "5", "day"))
    kit.meter.set_budget(Budget("standing", "5", "day"))
    with (
        kit.meter.scope(budget=Budget("outer", "5", "day")),
        kit.meter.scope(budget=Budget("inner", "5", "day")),
    ):
        _ask(kit, client)
    spent = {window.budget: window.spent for window in kit.meter.windows()}
    assert spent == dict.fromkeys(("client", "standing", "outer", "inner"), 3_220_000)


def test_a_scope_is_opened_once_and_asked_after_it_was_entered(kit):
    scope = kit.meter.scope()
    with pytest.raises(FarthingError, match="not been entered"):
        _ = scope.cost
    with kit.inside(scope), pytest.raises(FarthingError, match="open already"):
        scope.__enter__()
    assert repr(scope).startswith("Scope(run=")


@pytest.mark.one_colour("threads call synchronous clients")
def test_a_bound_function_carries_the_scope_into_a_thread(kit_sync):
    kit = kit_sync
    client = kit.client()
    with kit.meter.scope(account="acme") as run:
        bound = threading.Thread(target=run.bind(lambda: _ask(kit, client)))
        plain = threading.Thread(target=lambda: _ask(kit, client))
        for thread in (bound, plain):
            thread.start()
            thread.join()
    assert [row.account for row in kit.rows()] == ["acme", "default"]
    assert run.calls == 1


def _binding(kit, what):
    """The accounts of a call by a function of this kind, bound in a scope and called after it."""
    create = functools.partial(kit.client().chat.completions.create, **ASK)

    def pages():
        yield create()

    async def apages():
        yield await create()

    async def ask():
        return await create()

    fn = {
        "function": create,
        "generator function": kit.pick(pages, apages),
        "coroutine function": ask,
        "function that returns a coroutine": returning(ask),
    }[what]
    with kit.meter.scope(account="acme", budget="$0.022") as run:
        bound = run.bind(fn)

    async def scenario():
        for _ in range(2):
            made = bound()
            await (step(made) if what == "generator function" else settled(made))
            await settled(create())

    with contextlib.suppress(InsufficientCredits):
        play(kit, scenario())
    return [row.account for row in kit.rows()]


@pytest.mark.parametrize("what", ["function", "generator function"])
def test_what_is_bound_is_in_the_scope_and_under_its_budget(kit, what):
    assert _binding(kit, what) == ["acme", "default"]


@pytest.mark.parametrize("kit", ["async"], indirect=True)
@pytest.mark.parametrize("what", ["coroutine function", "function that returns a coroutine"])
def test_a_coroutine_that_is_bound_is_in_the_scope_and_under_its_budget(kit, what):
    assert _binding(kit, what) == ["acme", "default"]


def test_the_control_a_generator_that_is_bound_as_a_function_is_not_in_the_scope(kit, monkeypatch):
    monkeypatch.setattr(carried, "runner", lambda fn: carried.function)
    assert _binding(kit, "generator function") == ["default"] * 4


def test_a_bound_function_keeps_its_kind_and_signature(kit):
    def pages(text, *, more=1):
        """Its words."""
        yield text

    async def apages(text, *, more=1):
        """Its words."""
        yield text

    def ask(text, *, more=1):
        """Its words."""

    async def aask(text, *, more=1):
        """Its words."""

    with kit.meter.scope() as run:
        for fn in (kit.pick(pages, apages), kit.pick(ask, aask)):
            bound = run.bind(fn)
            assert inspect.signature(bound) == inspect.signature(fn)
            assert (bound.__name__, bound.__doc__) == (fn.__name__, fn.__doc__)
            for kind in (
                inspect.isfunction,
                inspect.isgeneratorfunction,
                inspect.isasyncgenfunction,
                inspect.iscoroutinefunction,
            ):
                assert kind(bound) == kind(fn)


def _two_of(kit, what):
    """Two functions of one kind, and what calls them to their end."""
    body = {"model": "gpt-4o", "usage": TOLD}

    def summarise():
        return body

    def translate():
        return body

    async def asummarise():
        return body

    async def atranslate():
        return body

    def pages():
        yield body

    def lines():
        yield body

    async def apages():
        yield body

    async def alines():
        yield body

    if what == "function":
        return kit.pick((summarise, translate), (asummarise, atranslate)), lambda fn: kit.run(fn())
    return kit.pick((pages, lines), (apages, alines)), lambda fn: list(kit.items(fn()))


@pytest.mark.parametrize("what", ["function", "generator function"])
def test_bound_functions_that_are_tracked_keep_their_names_and_their_budgets_apart(kit, what):
    fns, call = _two_of(kit, what)
    with kit.meter.scope(account="acme") as run:
        tracked = [kit.meter.track_usage(budget="$1/day")(run.bind(fn)) for fn in fns]
    for fn in tracked:
        call(fn)
    assert [row.tags["function"] for row in kit.rows()] == [fn.__qualname__ for fn in fns]
    windows = kit.meter.windows()
    assert len({window.budget for window in windows}) == 2
    assert [window.spent for window in windows] == [USUAL, USUAL]


def test_a_bound_function_is_a_method_where_it_is_one_of_a_class(kit):
    client = kit.client()

    def ask(self):
        return self, client.chat.completions.create(**ASK)

    async def aask(self):
        return self, await client.chat.completions.create(**ASK)

    with kit.meter.scope(account="acme") as run:

        class Writer:
            write = run.bind(kit.pick(ask, aask))

    writer = Writer()
    assert kit.run(writer.write())[0] is writer
    assert kit.run(Writer.write(writer))[0] is writer
    assert kit.run(run.bind(writer.write)())[0] is writer
    assert [row.account for row in kit.rows()] == ["acme"] * 3


@pytest.mark.one_colour("tasks call asynchronous clients")
def test_tasks_are_in_the_scope_in_which_they_were_made(provider, meter):
    async def main():
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
            meter.wrap(client)

            async def of(account):
                async with meter.scope(account=account):
                    await client.chat.completions.create(**ASK)
                    await asyncio.gather(*(client.chat.completions.create(**ASK) for _ in range(2)))

            await asyncio.gather(of("a"), of("b"), of("c"))

    asyncio.run(main())
    accounts = sorted(row.account for row in rows_of(meter))
    assert accounts == ["a"] * 3 + ["b"] * 3 + ["c"] * 3


@pytest.mark.parametrize(
    "wrong", [{"budget": "€5"}, {"account": 7}, {"context": "other"}, {"tags": {"a": 1}}]
)
def test_a_setting_that_makes_no_sense_is_told_at_once(meter, wrong):
    with pytest.raises(FarthingError):
        meter.scope(**wrong)
    with pytest.raises(FarthingError):
        meter.track_usage(**wrong)
