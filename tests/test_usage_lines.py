"""Lines of the files that batches end in."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from farthing.catalog import default
from farthing.quote import cost_of
from farthing.records import Usage
from farthing.usage import batch_line, read

NOW = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
}
MESSAGE = {
    "type": "message",
    "model": "claude-sonnet-4-5",
    "usage": {"input_tokens": 1000, "output_tokens": 100, "service_tier": "batch"},
}
GEMINI = {
    "modelVersion": "gemini-2.5-flash",
    "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100},
}
LINES = {
    "openai": {"id": "b", "custom_id": "1", "response": {"status_code": 200, "body": CHAT}, "error": None},
    "anthropic": {"custom_id": "1", "result": {"type": "succeeded", "message": MESSAGE}},
    "gemini": {"key": "1", "response": GEMINI},
    "vertex": {"request": {}, "status": "", "processed_time": "t", "response": GEMINI},
    "bedrock": {"recordId": "1", "modelInput": {}, "modelOutput": MESSAGE},
}
FAILED = {
    "status": {"custom_id": "1", "response": {"status_code": 400, "body": {"error": {}}}, "error": None},
    "expired": {"custom_id": "1", "response": None, "error": {"code": "batch_expired"}},
    "errored": {"custom_id": "1", "result": {"type": "errored", "error": {}}},
    "canceled": {"custom_id": "1", "result": {"type": "canceled"}},
    "gemini": {"key": "1", "error": {"code": 3}},
    "vertex": {"request": {}, "status": "Bad Request", "response": {}},
    "bedrock": {"recordId": "1", "modelInput": {}, "error": {"errorCode": 400}},
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_line_is_read_as_the_answer_in_it_at_the_tier_of_batches(line):
    reading = read(line)
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (1000, 100)
    assert (reading.service_tier, reading.raw) == ("batch", None)
    assert reading.model is not None


@pytest.mark.parametrize("line", FAILED.values(), ids=FAILED)
def test_a_request_that_failed_is_not_billed(line):
    found = batch_line(line)
    assert found is not None
    assert found.body is None
    assert read(line).usage is None
    assert not read(line).unread


@pytest.mark.parametrize("body", [CHAT, MESSAGE, GEMINI, {}, {"custom_id": "1"}, {"key": "k"}, {"error": {}}])
def test_what_is_no_line_is_none(body):
    assert batch_line(body) is None


@pytest.mark.parametrize("odd", [None, 3, "x", [], {}, [{}]])
def test_odd_envelopes_break_nothing(odd):
    for line in (
        {"custom_id": odd, "response": odd},
        {"custom_id": odd, "response": {"status_code": odd, "body": odd}},
        {"custom_id": odd, "result": odd},
        {"custom_id": odd, "result": {"type": "succeeded", "message": odd}},
        {"key": odd, "response": odd},
        {"request": odd, "response": odd, "status": odd},
        {"recordId": odd, "modelInput": odd, "modelOutput": odd},
    ):
        assert read(line).usage is None


def test_an_envelope_in_an_envelope_is_not_opened_twice():
    assert read({"key": "1", "response": LINES["openai"]}).usage is None


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("openai", "0.00175"),  # 2.50 and 10.00 USD per million, half of it
        ("anthropic", "0.00225"),  # 3.00 and 15.00
        ("vertex", "0.000275"),  # 0.30 and 2.50
    ],
)
def test_a_line_costs_half(name, usd):
    provider = {"openai": "openai", "anthropic": "anthropic", "vertex": "google"}[name]
    assert cost_of(LINES[name], default(), at_ns=NOW, provider=provider).usd == Decimal(usd)


def test_a_flavour_that_is_asked_for_is_not_taken_for_a_line():
    both = {**CHAT, "custom_id": "1", "response": None}
    assert read(both, flavour="openai.chat").usage == Usage(input_tokens=1000, output_tokens=100)
