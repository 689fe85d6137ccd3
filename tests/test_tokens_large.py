"""Counting that takes a while: no event loop waits for it, and a task that waits can be cancelled."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI

from farthing import Meter, quote
from farthing.testing import FakeClock
from farthing.tokens import count_messages, count_text, is_large, ranks, text, warm
from farthing.tokens.sizes import LARGE
from farthing.tokens.text import Tokenizer

PATIENCE = 60.0
PROSE = "The quick brown fox jumps over the lazy dog. "
LARGE_CHAT = [{"role": "user", "content": PROSE * 8_000}]  # 360 KB
CHAT = [{"role": "user", "content": PROSE}]


@pytest.fixture(autouse=True)
def _loaded():
    warm(("o200k_base", "cl100k_base"))


@pytest.fixture
def meter(ledger_path):
    with Meter(ledger_path, clock=FakeClock(), durability="fast") as made:
        yield made


@pytest.fixture
def client(meter, provider):
    return meter.wrap(AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0))


class Gate:
    """A tokenizer that waits, once it has been asked, until it is let go; where it ran is kept."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.real = ranks.encoding("o200k_base").encode_ordinary
        self.entered, self.go = threading.Event(), threading.Event()
        self.threads: set[int] = set()
        self.timed_out = False
        self.patience = patience

    def __call__(self, piece: str) -> list[int]:
        self.threads.add(threading.get_ident())
        self.entered.set()
        self.timed_out |= not self.go.wait(self.patience)
        return self.real(piece)

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE)  # and then the loop has to go on


@pytest.fixture
def gate(monkeypatch):
    made = Gate()
    monkeypatch.setattr(text, "_tokenizers", {"o200k_base": Tokenizer(made)})
    yield made
    made.go.set()


def run(client, main):
    async def whole():
        async with client:
            return await main()

    return asyncio.run(whole())


def ask(client, messages=LARGE_CHAT, model="gpt-4o"):
    return client.chat.completions.create(model=model, messages=messages, max_tokens=10)


def test_a_loop_goes_on_while_a_large_prompt_is_counted(meter, client, gate, provider):
    async def main():
        task = asyncio.ensure_future(ask(client))
        await gate.until_entered()
        assert provider.requests == []
        gate.go.set()
        return await task

    receipt = meter.receipt(run(client, main))
    assert not gate.timed_out
    assert gate.threads.isdisjoint({threading.get_ident()})
    exact = meter.estimate(model="gpt-4o", messages=LARGE_CHAT, max_output_tokens=10)
    assert exact.method == "exact"
    assert receipt.held == exact.upper


def test_counted_on_the_loop_a_large_prompt_would_hold_it_up(meter, client, gate, monkeypatch):
    """The control of the test above, with its guard taken out."""
    monkeypatch.setattr(quote, "is_heavy", lambda ask: False)
    gate.patience = 0.1

    async def main():
        task = asyncio.ensure_future(ask(client))
        await gate.until_entered()
        gate.go.set()
        await task

    run(client, main)
    assert gate.timed_out
    assert gate.threads == {threading.get_ident()}


def test_a_task_is_cancelled_though_its_prompt_is_being_counted(meter, client, gate, provider):
    async def main():
        task = asyncio.ensure_future(ask(client))
        await gate.until_entered()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not gate.go.is_set()
        gate.go.set()
        await ask(client, CHAT)

    run(client, main)
    assert len(provider.requests) == 1
    assert len(meter.engine.ledger.calls()) == 1


def test_a_small_prompt_is_counted_where_it_is(client, gate):
    gate.go.set()
    run(client, lambda: ask(client, CHAT))
    assert gate.threads == {threading.get_ident()}


def test_a_loop_goes_on_while_a_vocabulary_is_loaded(client, monkeypatch):
    entered, go, real = threading.Event(), threading.Event(), ranks._load

    def load(name, vocabulary):
        entered.set()
        assert go.wait(PATIENCE)
        return real(name, vocabulary)

    async def main():
        await ask(client, CHAT)  # whatever the first call loads
        monkeypatch.setattr(ranks, "_encodings", {})
        monkeypatch.setattr(text, "_tokenizers", {})
        monkeypatch.setattr(ranks, "_load", load)
        task = asyncio.ensure_future(ask(client, CHAT, model="gpt-4"))
        assert await asyncio.to_thread(entered.wait, PATIENCE)
        go.set()
        await task

    run(client, main)


def test_an_estimate_in_a_loop_waits_for_no_vocabulary(meter, monkeypatch):
    go, real = threading.Event(), ranks._load
    monkeypatch.setattr(ranks, "_encodings", {})
    monkeypatch.setattr(text, "_tokenizers", {})
    monkeypatch.setattr(ranks, "_load", lambda *which: go.wait(PATIENCE) and real(*which))
    monkeypatch.setattr(text, "_coming", set())

    async def main():
        found = [meter.estimate(model="gpt-4o", messages=CHAT) for _ in range(3)]
        go.set()
        for thread in threading.enumerate():
            if thread.name == "farthing-vocabulary":
                await asyncio.to_thread(thread.join, PATIENCE)
        return found, meter.estimate(model="gpt-4o", messages=CHAT)

    before, after = asyncio.run(main())
    assert {found.method for found in before} == {"heuristic"}
    assert after.method == "exact"
    assert before[0].input_tokens_upper >= len(PROSE) > after.input_tokens_upper


def test_in_a_loop_the_bytes_of_a_large_text_bound_it(meter):
    async def main():
        return (
            meter.estimate(model="gpt-4o", messages=LARGE_CHAT),
            await meter.aestimate(model="gpt-4o", messages=LARGE_CHAT),
            meter.cheapest(["gpt-4o"], messages=LARGE_CHAT, max_output_tokens=1),
            await meter.acheapest(["gpt-4o"], messages=LARGE_CHAT, max_output_tokens=1),
        )

    bounded, counted, [also_bounded], [also_counted] = asyncio.run(main())
    size = len(LARGE_CHAT[0]["content"])
    assert (bounded.method, counted.method) == ("heuristic", "exact")
    assert counted == meter.estimate(model="gpt-4o", messages=LARGE_CHAT)
    assert bounded.input_tokens == pytest.approx(counted.input_tokens, rel=0.1)
    assert size <= bounded.input_tokens_upper <= size * 1.01
    assert also_bounded.estimate.input_tokens == bounded.input_tokens
    assert also_counted.estimate.input_tokens == counted.input_tokens


def test_in_a_loop_a_long_history_is_counted_in_part(gate, meter):
    """Two thousand messages of 5 KB: each is small, and all are 10 MB."""
    gate.go.set()
    seen: list[int] = []
    real = gate.real
    gate.real = lambda piece: seen.append(len(piece)) or real(piece)
    history = [{"role": "user", "content": PROSE * 110}] * 2_000

    async def main():
        return meter.estimate(model="gpt-4o", messages=history)

    found = asyncio.run(main())
    size = len(PROSE) * 110 * 2_000
    assert sum(seen) < 2 * LARGE
    assert found.method == "heuristic"
    assert found.input_tokens == pytest.approx(size / 4.5, rel=0.1)
    assert size - LARGE <= found.input_tokens_upper <= size * 1.01


def test_a_history_of_many_megabytes_is_counted_in_part_anywhere(gate):
    gate.go.set()
    seen: list[int] = []
    real = gate.real
    gate.real = lambda piece: seen.append(len(piece)) or real(piece)
    count = count_messages([{"role": "user", "content": PROSE * 1100}] * 200, "gpt-4o")
    size = len(PROSE) * 1100 * 200
    assert sum(seen) < 5_000_000 < size
    assert count.method == "heuristic"
    assert size - 5_000_000 <= count.upper <= size
    assert count.tokens == pytest.approx(size / 4.5, rel=0.1)


def test_what_was_guessed_of_tools_in_a_loop_is_counted_outside():
    tool = {"name": "f", "description": PROSE * 6_000, "parameters": {"type": "object", "properties": {}}}

    async def main():
        return count_messages(CHAT, "gpt-4o", tools=[tool])

    assert asyncio.run(main()).method == "heuristic"
    count = count_messages(CHAT, "gpt-4o", tools=[tool])
    assert count.method == "approximate"
    assert count.tokens == pytest.approx(6_000 * 10, rel=0.01)


def test_the_scope_of_a_task_binds_what_it_asks_aside(meter):
    async def main():
        with meter.scope(budget="$0.001"):
            inside = await meter.acan_afford("0.01")
        return inside, await meter.acan_afford("0.01")

    inside, outside = asyncio.run(main())
    assert not inside
    assert outside


@pytest.mark.parametrize(
    ("value", "large"),
    [
        ("a" * LARGE, False),
        ("a" * (LARGE + 1), True),
        ("汉" * (LARGE // 3 + 1), True),
        ("汉" * (LARGE // 3 - 1), False),
        ([{"role": "user", "content": "a" * 1000}] * 250, True),
        ([{"role": "user", "content": "a" * 1000}] * 150, False),
        (list(range(LARGE + 1)), True),
        ({"a": {"b": [("a" * LARGE, "a")]}}, True),
        (None, False),
        (b"a" * (LARGE + 1), False),
    ],
    ids=lambda value: str(len(str(value))),
)
def test_what_is_large(value, large):
    assert is_large(value) is large


def test_a_value_within_itself_is_large():
    loop: list = []
    loop.append(loop)
    assert is_large(loop)


@settings(deadline=None)
@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_little_is_never_large(value):
    assert not is_large(value)


def test_a_sample_of_a_text_is_near_its_count():
    words = PROSE * 20_000
    real = count_text(words, "gpt-4o").tokens
    assert text.tokenizer("o200k_base").sampled(words, 1 << 14) == pytest.approx(real, rel=0.05)
    assert text.tokenizer("o200k_base").sampled(words, len(words)) == real
