"""What another's server says is what is booked: tokens as it states them, priced to the nano-dollar.

The server counts tokens in its own way, so no figure here can come from farthing's own counting; what it
states is read from the answers that a client which nobody meters gets. Prices in USD per million tokens:
gpt-4o 2.50 and 10.00, text-embedding-3-small 0.02 (https://developers.openai.com/api/docs/pricing), and
claude-sonnet-5 2 and 10 (https://platform.claude.com/docs/en/about-claude/pricing), as of genai-prices 0.2.3.
"""

from __future__ import annotations

import json
import urllib.request

import pytest

from farthing import InsufficientCredits
from intercept.kit import ASK

ANSWER = {"model": "gpt-4o", "input": "What is a farthing?", "max_output_tokens": 2_000}
EMBED = {"model": "text-embedding-3-small", "input": ["a farthing", "a quarter of a penny"]}
MESSAGE = {"model": "claude-sonnet-5", "messages": ASK["messages"], "max_tokens": 2_000}


def told(usage):
    """Tokens in and out, however the API spells them."""
    said = usage.model_dump()
    names = (
        ("prompt_tokens", "completion_tokens")
        if "prompt_tokens" in said
        else ("input_tokens", "output_tokens")
    )
    return tuple(said.get(name) or 0 for name in names)


def booked(row):
    return row.input_tokens, row.output_tokens or 0


def script(llmock, **behaviour):
    """What the server shall do with the next request."""
    body = json.dumps({"behaviors": [behaviour]}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{llmock}/_llmock/scenario", data=body)) as done:
        assert done.status == 201


@pytest.fixture(autouse=True)
def _as_new(llmock):
    with urllib.request.urlopen(urllib.request.Request(f"{llmock}/_llmock/reset", method="POST")):
        pass


@pytest.fixture
def v1(llmock):
    return f"{llmock}/v1"


@pytest.fixture
def stated(kit, v1):
    """What the server states for the chat of these tests."""
    prompt, answer = told(kit.run(kit.plain(v1).chat.completions.create(**ASK)).usage)
    assert prompt > 0
    assert answer > 0
    return prompt, answer


def test_a_chat(kit, v1, stated):
    answer = kit.run(kit.client(v1).chat.completions.create(**ASK))
    row = kit.row()
    assert (row.outcome, row.operation, row.usage_source, row.model) == (
        "complete",
        "chat",
        "reported",
        "gpt-4o",
    )
    assert booked(row) == told(answer.usage) == stated
    assert row.cost_nano == row.counted_nano == stated[0] * 2_500 + stated[1] * 10_000


@pytest.mark.parametrize("asked", [True, False], ids=["usage asked by the caller", "by farthing"])
def test_a_streamed_chat(kit, v1, stated, asked):
    options = {"stream_options": {"include_usage": True}} if asked else {}
    chunks = list(kit.items(kit.run(kit.client(v1).chat.completions.create(**ASK, stream=True, **options))))
    assert [told(chunk.usage) for chunk in chunks if chunk.usage] == ([stated] if asked else [])
    assert all(chunk.choices or (asked and chunk.usage) for chunk in chunks)
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("complete", "reported")
    assert booked(row) == stated
    assert row.cost_nano == stated[0] * 2_500 + stated[1] * 10_000


def test_embeddings(kit, v1):
    answer = kit.run(kit.client(v1).embeddings.create(**EMBED))
    row = kit.row()
    assert (row.outcome, row.operation, row.usage_source) == ("complete", "embedding", "reported")
    assert row.input_tokens == answer.usage.prompt_tokens > 0
    assert row.cost_nano == answer.usage.prompt_tokens * 20


def test_responses(kit, v1):
    answer = kit.run(kit.client(v1).responses.create(**ANSWER))
    row = kit.row()
    assert (row.outcome, row.operation, row.usage_source) == ("complete", "responses", "reported")
    assert booked(row) == told(answer.usage)
    assert (row.cached_tokens, row.reasoning_tokens) == (0, 0)
    assert row.cost_nano == row.input_tokens * 2_500 + row.output_tokens * 10_000 > 0


def test_streamed_responses(kit, v1):
    events = list(kit.items(kit.run(kit.client(v1).responses.create(**ANSWER, stream=True))))
    assert events[-1].type == "response.completed"
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("complete", "reported")
    assert booked(row) == told(events[-1].response.usage)
    assert row.cost_nano == row.input_tokens * 2_500 + row.output_tokens * 10_000 > 0


def test_an_answer_after_a_rate_limit_is_one_call(kit, v1, stated):
    script(v1.removesuffix("/v1"), type="fail", status=429, retry_after=0.01)
    kit.run(kit.client(v1, options={"max_retries": 2}).chat.completions.create(**ASK))
    row = kit.row()
    assert (row.outcome, row.attempts, row.flags) == ("complete", 2, [])
    assert booked(row) == stated


def test_a_stream_that_the_server_drops_may_have_been_billed(kit, v1):
    script(v1.removesuffix("/v1"), type="stream_fault", kind="disconnect", after_chunks=2)
    stream = kit.run(kit.client(v1).chat.completions.create(**ASK, stream=True))
    with pytest.raises(Exception) as caught:  # noqa: PT011  which one is up to the SDK's version
        list(kit.items(stream))
    assert not isinstance(caught.value, AssertionError)
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0


def test_a_refused_call_never_reaches_the_server(kit, llmock, v1):
    client = kit.client(v1, budget="$0.001/day")
    with pytest.raises(InsufficientCredits):
        kit.run(client.chat.completions.create(**ASK))
    with urllib.request.urlopen(f"{llmock}/_llmock/requests") as served:
        assert json.load(served)["count"] == 0


class TestMessages:
    """Anthropic's own wire, by its own SDK."""

    @pytest.fixture
    def client(self, anthropic, kit, llmock):
        made = kit.pick(anthropic.Anthropic, anthropic.AsyncAnthropic)(
            base_url=f"{llmock}/anthropic", api_key="sk-test", max_retries=0
        )
        yield kit.meter.wrap(made)
        kit.run(made.close())

    def test_a_message(self, kit, client):
        answer = kit.run(client.messages.create(**MESSAGE))
        row = kit.row()
        assert (row.outcome, row.operation, row.usage_source) == ("complete", "chat", "reported")
        assert booked(row) == told(answer.usage)
        assert row.cost_nano == row.input_tokens * 2_000 + row.output_tokens * 10_000 > 0

    def test_a_streamed_message(self, kit, client):
        whole = told(kit.run(client.messages.create(**MESSAGE)).usage)
        events = list(kit.items(kit.run(client.messages.create(**MESSAGE, stream=True))))
        assert events[-1].type == "message_stop"
        said = [told(event.usage)[1] for event in events if event.type == "message_delta"]
        row = kit.rows()[-1]
        assert (row.outcome, row.usage_source) == ("complete", "reported")
        assert row.output_tokens == said[-1] == whole[1]
        assert row.input_tokens == told(events[0].message.usage)[0]
