"""Tracked functions of every kind: each entry is a scope; what it returns is booked if nothing inside was."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import threading
from decimal import Decimal

import pytest

import farthing
from farthing import FarthingError, InsufficientCredits, InvalidBudget, Usage
from intercept.kit import ASK, TOLD, USUAL

BODY = {"model": "gpt-4o", "usage": TOLD}


class Kind:
    """One kind of function, in either colour: `define` makes one that returns `value`; `call` calls it."""

    def __init__(self, kit, name):
        self.kit, self.name = kit, name

    def define(self, act):
        """A function of `act`; a generator yields what `act` gives, then ends."""
        if self.name == "generator":
            if self.kit.is_async:

                async def summarise(text="", *, more=1):
                    """Its words."""
                    yield await _settled(act())

            else:

                def summarise(text="", *, more=1):
                    """Its words."""
                    yield act()

        elif self.kit.is_async:

            async def summarise(text="", *, more=1):
                """Its words."""
                return await _settled(act())

        else:

            def summarise(text="", *, more=1):
                """Its words."""
                return act()

        return summarise

    def call(self, fn, *args):
        made = fn(*args)
        return list(self.kit.items(made)) if self.name == "generator" else self.kit.run(made)


async def _settled(value):
    return await value if inspect.isawaitable(value) else value


@pytest.fixture(params=["function", "generator"])
def kind(request, kit):
    return Kind(kit, request.param)


def test_the_function_stays_what_it_is(kind):
    plain = kind.define(lambda: None)
    tracked = kind.kit.meter.track_usage(plain)
    for ask in (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.isfunction,
        inspect.signature,
    ):
        assert ask(tracked) == ask(plain)
    assert (tracked.__name__, tracked.__qualname__, tracked.__doc__, tracked.__module__) == (
        plain.__name__,
        plain.__qualname__,
        plain.__doc__,
        plain.__module__,
    )


def test_calls_inside_are_booked_with_its_tags_and_never_twice(kind):
    client = kind.kit.client()
    fn = kind.define(lambda: client.chat.completions.create(**ASK))
    tracked = kind.kit.meter.track_usage(account="acme", tags={"feature": "summary"})(fn)
    kind.call(tracked)
    kind.call(tracked)
    first, second = kind.kit.rows()
    assert (first.cost_nano, second.cost_nano) == (USUAL, USUAL)
    assert first.account == "acme"
    assert first.tags == {"feature": "summary", "function": fn.__qualname__}
    assert first.run
    assert first.run != second.run


@pytest.mark.parametrize("what", ["object", "dict", "usage", "function of it"])
def test_what_it_returns_is_booked_if_nothing_inside_was_metered(kind, what):
    kit = kind.kit
    client = kit.plain()
    values = {
        "object": lambda: client.chat.completions.create(**ASK),
        "dict": lambda: BODY,
        "usage": lambda: Usage(input_tokens=1200, cached_tokens=1024, output_tokens=150),
        "function of it": lambda: ("text", BODY),
    }
    settings = {"usage": lambda result: result[1]} if what == "function of it" else {}
    settings |= {"model": "gpt-4o"} if what == "usage" else {}
    kind.call(kit.meter.track_usage(account="acme", **settings)(kind.define(values[what])))
    row = kit.row()
    assert (row.account, row.model, row.cost_nano, row.usage_source) == ("acme", "gpt-4o", USUAL, "reported")
    assert row.tags["function"].endswith("summarise")


def test_plain_text_is_not_booked_and_said_once(kind, caplog):
    fn = kind.kit.meter.track_usage(kind.define(lambda: "just text"))
    kind.call(fn)
    kind.call(fn)
    assert kind.kit.rows() == []
    (line,) = [r for r in caplog.records if r.name == "farthing"]
    assert "usage=" in line.getMessage()


def test_nothing_returned_is_nothing_to_say(kind, caplog):
    kind.call(kind.kit.meter.track_usage(kind.define(lambda: None)))
    assert kind.kit.rows() == []
    assert [r for r in caplog.records if r.name == "farthing"] == []


def test_an_estimate_is_held_and_gives_way_to_the_first_metered_call(kind):
    kit = kind.kit
    client = kit.client()
    seen = []

    def act():
        seen.append([w.held for w in kit.meter.windows()])
        return client.chat.completions.create(**ASK)

    kind.call(kit.meter.track_usage(budget="$0.03/day", estimate="0.02")(kind.define(act)))
    assert seen == [[20_000_000]]
    assert kit.row().cost_nano == USUAL
    assert [(w.spent, w.held) for w in kit.meter.windows()] == [(USUAL, 0)]


def test_an_estimate_is_settled_by_what_is_returned(kind):
    tracked = kind.kit.meter.track_usage(budget="$1/day", estimate=lambda *a: Decimal("0.5"))(
        kind.define(lambda: BODY)
    )
    kind.call(tracked)
    row = kind.kit.row()
    assert (row.cost_nano, row.held_nano) == (USUAL, 500_000_000)


def test_an_estimate_that_the_budget_does_not_afford_refuses_the_entry(kind):
    entered = []
    tracked = kind.kit.meter.track_usage(budget="$1/day", estimate=2)(kind.define(lambda: entered.append(1)))
    with pytest.raises(InsufficientCredits):
        kind.call(tracked)
    assert entered == []
    assert kind.kit.rows() == []


def test_an_estimate_whose_function_fails_counts(kind):
    tracked = kind.kit.meter.track_usage(budget="$1/day", estimate="0.5")(kind.define(lambda: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        kind.call(tracked)
    row = kind.kit.row()
    assert (row.outcome, row.counted_nano, row.error) == ("unknown", 500_000_000, "ZeroDivisionError")


@pytest.mark.parametrize("estimate", ["0.6", lambda *given, **named: "0.6"], ids=["amount", "function"])
@pytest.mark.parametrize("given", [(1, 2), {"less": 1}], ids=["too many", "unknown"])
def test_a_generator_function_with_wrong_arguments_holds_nothing(kit, estimate, given):
    fn = Kind(kit, "generator").define(lambda: BODY)
    tracked = kit.meter.track_usage(budget="$1/day", estimate=estimate)(fn)
    run = tracked(**given) if isinstance(given, dict) else tracked(*given)
    with pytest.raises(TypeError, match="summarise"):
        next(kit.items(run))
    assert kit.rows() == []
    assert all((window.held, window.spent) == (0, 0) for window in kit.meter.windows())
    assert list(kit.items(tracked("right"))) == [BODY]
    assert (kit.row().held_nano, kit.row().cost_nano) == (600_000_000, USUAL)


def test_a_budget_without_a_period_is_of_each_entry(kind):
    client = kind.kit.client()
    tracked = kind.kit.meter.track_usage(budget="$0.022")(
        kind.define(lambda: client.chat.completions.create(**ASK))
    )
    kind.call(tracked)
    kind.call(tracked)
    assert len(kind.kit.rows()) == 2


def test_a_budget_that_is_used_up_refuses_the_next_entry_without_an_estimate(kind):
    tracked = kind.kit.meter.track_usage(budget="$0.003/day")(kind.define(lambda: BODY))
    kind.call(tracked)
    with pytest.raises(InsufficientCredits, match="summarise"):
        kind.call(tracked)
    assert len(kind.kit.rows()) == 1


def test_its_own_errors_pass_through(kind):
    with pytest.raises(ZeroDivisionError) as caught:
        kind.call(kind.kit.meter.track_usage(kind.define(lambda: 1 / 0)))
    assert caught.value.__cause__ is None
    assert kind.kit.rows() == []


def test_a_reader_that_fails_is_logged_and_breaks_nothing(kind, caplog):
    tracked = kind.kit.meter.track_usage(usage=lambda result: 1 / 0)(kind.define(lambda: BODY))
    kind.call(tracked)
    assert kind.kit.rows() == []
    assert len([r for r in caplog.records if r.name == "farthing"]) == 1


@pytest.mark.one_colour("a coroutine that a plain function makes runs after it has returned")
def test_methods_of_all_sorts(kit_sync):
    kit = kit_sync
    track = kit.meter.track_usage
    client = kit.client()

    class Writer:
        @track
        def method(self, text):
            return (self, client.chat.completions.create(**ASK))

        @classmethod
        @track
        def of_the_class(cls, text):
            return (cls, client.chat.completions.create(**ASK))

        @track
        @classmethod
        def of_the_class_too(cls, text):
            return (cls, client.chat.completions.create(**ASK))

        @staticmethod
        @track
        def static(text):
            return (text, client.chat.completions.create(**ASK))

        @track
        @staticmethod
        def static_too(text):
            return (text, client.chat.completions.create(**ASK))

    writer = Writer()
    for name, owner in (
        ("method", writer),
        ("of_the_class", Writer),
        ("of_the_class_too", Writer),
        ("static", "x"),
        ("static_too", "x"),
    ):
        assert getattr(writer, name)("x")[0] is owner
    names = [row.tags["function"].rpartition(".")[2] for row in kit.rows()]
    assert names == ["method", "of_the_class", "of_the_class_too", "static", "static_too"]


def test_asynchronous_methods(kit):
    client = kit.client()

    class Writer:
        @kit.meter.track_usage(account="acme")
        async def method(self):
            return await _settled(client.chat.completions.create(**ASK))

    asked = Writer().method()
    asyncio.run(asked) if not kit.is_async else kit.run(asked)
    assert kit.row().account == "acme"


@pytest.mark.one_colour("sending values into it is the protocol of plain generators")
def test_a_generator_is_driven_as_it_always_was(meter):
    @meter.track_usage
    def echo():
        got = yield "first"
        try:
            got = yield got
        except KeyError:
            got = yield "caught"
        return got

    run = echo()
    assert next(run) == "first"
    assert run.send(2) == 2
    assert run.throw(KeyError()) == "caught"
    with pytest.raises(StopIteration) as stop:
        run.send("the end")
    assert stop.value.value == "the end"


@pytest.mark.one_colour("asend and athrow are the protocol of asynchronous generators")
def test_an_asynchronous_generator_is_driven_as_it_always_was(meter):
    @meter.track_usage
    async def echo():
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield "caught"

    async def main():
        run = echo()
        assert await anext(run) == "first"
        assert await run.asend(2) == 2
        assert await run.athrow(KeyError()) == "caught"
        await run.aclose()

    asyncio.run(main())


def test_the_scope_of_a_generator_ends_at_each_yield(kit):
    client = kit.client()
    ask = functools.partial(client.chat.completions.create, **ASK)
    generator = Kind(kit, "generator")
    fn = kit.meter.track_usage(account="inside")(generator.define(ask))
    for _ in kit.items(fn()):
        kit.run(ask())
    assert [row.account for row in kit.rows()] == ["inside", "default"]


@pytest.mark.one_colour("an asynchronous one is closed by its loop, in the loop's own context")
def test_a_generator_may_be_closed_in_another_context(meter):
    closed = []

    @meter.track_usage
    def pages():
        try:
            yield BODY
        finally:
            closed.append(True)

    run = pages()
    next(run)
    contextvars.copy_context().run(run.close)
    assert closed == [True]
    (row,) = meter.engine.ledger.calls()
    assert row["cost_nano"] == USUAL


@pytest.mark.one_colour("collections run on whichever thread writes the ledger; coroutines never do")
@pytest.mark.parametrize("estimate", [None, "0.5"])
def test_a_generator_that_is_collected_while_its_thread_writes_the_ledger_is_booked_afterwards(
    kit_sync, estimate
):
    kit = kit_sync
    kit.meter.engine._keeper = threading.Thread()  # which is never started: nobody is faster
    client = kit.client()

    @kit.meter.track_usage(estimate=estimate)
    def pages(box):
        box.append(box)  # a cycle: only a collection ends it
        yield BODY

    def start():
        box = []
        run = pages(box)
        box.append(run)
        next(run)

    ledger = kit.meter.engine.ledger
    inside = ledger._reserve

    def collecting(conn, want):
        gc.collect()
        return inside(conn, want)

    gc.disable()
    try:
        start()
        ledger._reserve = collecting
        client.chat.completions.create(**ASK)
    finally:
        gc.enable()
        del ledger._reserve
    kit.meter.engine.sweep()
    assert len(kit.rows()) == 2


def test_a_tracked_function_finds_the_default_meter_when_it_is_called(
    kind, no_default, tmp_path, monkeypatch
):

    monkeypatch.chdir(tmp_path)
    tracked = farthing.track_usage(account="acme")(kind.define(lambda: BODY))
    meter = farthing.configure(ledger=tmp_path / "later.db")
    kind.call(tracked)
    assert [row["account"] for row in meter.engine.ledger.calls()] == ["acme"]


@pytest.mark.parametrize("thing", [int, 7], ids=["a class", "a number"])
def test_what_is_no_function_is_refused(meter, thing):
    with pytest.raises(FarthingError, match="functions and methods"):
        meter.track_usage()(thing)


def test_a_budget_that_makes_no_sense_is_told_at_decoration(meter):
    with pytest.raises(InvalidBudget):
        meter.track_usage(budget="5/fortnight")
