"""Functions in their corners: nothing is booked twice, no hold is lost, no decorator is broken."""

import asyncio
import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import OpenAI

from farthing import Budget, InsufficientCredits, Meter

pytestmark = pytest.mark.one_colour("what differs is the decorated function, not the client inside of it")

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


@pytest.fixture
def meter(ledger_path):
    with Meter(ledger_path, durability="fast") as made:
        yield made


@pytest.fixture
def client(meter, provider):
    with OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as plain:
        yield meter.wrap(plain)


def rows(meter):
    return len(meter.engine.ledger.calls())


def test_an_answer_that_was_metered_before_is_not_booked_again(meter, client):
    answer = client.chat.completions.create(**CHAT)
    cached = meter.track_usage(lambda: answer)
    assert cached() is cached() is answer
    assert rows(meter) == 1


def test_an_answer_that_was_metered_in_a_thread_of_the_function_is_not_booked_again(meter, client):
    @meter.track_usage(estimate="0.5")
    def ask():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(client.chat.completions.create, **CHAT).result()

    ask()
    assert rows(meter) == 1
    assert all(window.held == 0 for window in meter.windows())


def test_a_context_manager_stays_one(meter, client):
    @meter.track_usage
    @contextlib.contextmanager
    def opened():
        yield client.chat.completions.create(**CHAT)

    with opened() as answer:
        assert meter.receipt(answer).cost is not None


def test_a_coroutine_around_a_plain_function_is_tracked_as_what_it_is(meter):
    def plain():
        """Sync inside."""

    @meter.track_usage(tags={"feature": "x"})
    @functools.wraps(plain)
    async def around():
        await asyncio.sleep(0)
        return {"model": "gpt-4o", "usage": {"prompt_tokens": 5, "completion_tokens": 5}}

    asyncio.run(around())
    assert '"feature":"x"' in meter.engine.ledger.calls()[0]["tags"].replace(" ", "")


def test_partials_and_callable_objects_can_be_tracked(meter):
    class Asks:
        def __call__(self, count):
            return {"model": "gpt-4o", "usage": {"prompt_tokens": count, "completion_tokens": 1}}

    meter.track_usage(Asks())(5)
    meter.track_usage(functools.partial(Asks(), 6))()
    assert [row["input_tokens"] for row in meter.engine.ledger.calls()] == [6, 5]


def test_what_an_async_generator_does_while_it_is_closed_is_in_its_scope(meter, client):
    refused = []

    @meter.track_usage(budget="$0.000001")
    async def lines():
        try:
            yield 1
        finally:
            try:
                client.chat.completions.create(**CHAT)
            except InsufficientCredits as refusal:
                refused.append(refusal)

    async def left_early():
        stream = lines()
        await anext(stream)
        await stream.aclose()

    asyncio.run(left_early())
    assert len(refused) == 1


def test_a_usage_function_that_fails_loses_no_hold(meter):
    @meter.track_usage(usage=lambda result: result["nope"], estimate="0.5", budget=Budget("fn", 1, "day"))
    def ask():
        return {}

    ask()
    (window,) = meter.windows()
    assert (window.held, window.spent) == (0, 500_000_000)  # what happened nobody knows: the hold counts
    assert meter.engine.ledger.calls()[0]["outcome"] == "unknown"
