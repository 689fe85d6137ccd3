"""Which ends are billed may differ by provider: a table says by whom."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from farthing import Meter
from farthing.engine.ends import BILLED_BY
from farthing.testing import Reply
from intercept.kit import ASK


@pytest.fixture
def meter(ledger_path):
    """With a price that no provider needs to be known for."""
    with Meter(ledger_path, durability="fast", prices={"gpt-4o": {"input": "2.5", "output": 10}}) as made:
        yield made


def refused(status: int, code: str | None = None) -> Reply:
    body = {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": code}}
    return Reply(status=status, body=body, headers={"retry-after-ms": "1"})


def fail(kit: Any, maker: str, reply: Reply) -> Any:
    kit.provider.script(reply)
    with pytest.raises(openai.APIStatusError):
        kit.run(kit.client(provider=maker, budget="$5/day").chat.completions.create(**ASK))
    return kit.row()


@pytest.mark.parametrize("code", ["content_filter", "context_length_exceeded"])
def test_azure_bills_a_prompt_that_it_has_filtered(kit, code):
    row = fail(kit, "azure", refused(400, code))
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.held_nano > row.counted_nano >= row.cost_nano > 0  # there was no output


@pytest.mark.parametrize(
    ("maker", "code"),
    [("openai", "content_filter"), ("azure", None), ("azure", "unknown_parameter")],
    ids=["another provider", "no code", "another code"],
)
def test_other_bad_requests_cost_nothing(kit, maker, code):
    row = fail(kit, maker, refused(400, code))
    assert (row.outcome, row.cost_nano, row.counted_nano) == ("error", 0, 0)


@pytest.mark.parametrize(
    ("maker", "status", "outcome"),
    [
        ("acme", 503, "unknown"),
        ("acme", 502, "error"),
        ("acme", 504, "unknown"),
        ("openai", 503, "error"),
        ("openai", 502, "unknown"),
    ],
)
def test_the_table_goes_before_what_holds_for_all(kit, monkeypatch, maker, status, outcome):
    monkeypatch.setitem(BILLED_BY, "acme", {503: frozenset(), 502: None})
    assert fail(kit, maker, refused(status)).outcome == outcome


@pytest.mark.parametrize(("maker", "lost"), [("acme", 0), ("openai", 1)])
def test_it_tells_of_attempts_that_are_made_again_too(kit, monkeypatch, maker, lost):
    monkeypatch.setitem(BILLED_BY, "acme", {502: None})
    kit.provider.script(refused(502), Reply())
    client = kit.client(provider=maker, budget="$5/day", options={"max_retries": 1})
    kit.run(client.chat.completions.create(**ASK))
    row = kit.row()
    assert (row.outcome, row.attempts) == ("complete", 2)
    assert row.flags == ["lost_attempts"] * lost
    assert (row.counted_nano > row.held_nano) == bool(lost)
