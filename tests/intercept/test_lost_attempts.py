"""Attempts that the SDK gave up and made again, though they may have been billed."""

from __future__ import annotations

import openai
import pytest

from farthing import Budget, LedgerError
from farthing.testing import Reply
from intercept.kit import ASK, SOON, USUAL

LOST = Reply(status=502, headers={"retry-after-ms": "1"})
FREE = Reply(status=429, headers={"retry-after-ms": "1"})


def _ask(kit, client):
    return kit.run(client.chat.completions.create(**ASK))


def test_each_lost_attempt_adds_its_prompt_to_the_cost_and_its_hold_to_what_is_counted(kit):
    kit.provider.script(LOST, FREE, LOST, Reply())
    answer = _ask(kit, kit.client(budget="$5/day", options={"max_retries": 3}))
    row = kit.row()
    assert (row.outcome, row.attempts, row.usage_source, row.flags) == (
        "complete",
        4,
        "reported",
        ["lost_attempts"],
    )
    prompt = row.held_nano - 20_000_000
    assert USUAL + prompt < row.cost_nano <= USUAL + 2 * prompt
    assert row.counted_nano == USUAL + 2 * row.held_nano
    assert row.input_tokens == 1200
    assert [window.spent for window in kit.meter.windows()] == [row.counted_nano]
    assert kit.meter.receipt(answer).flags == ("lost_attempts",)


def test_a_connection_that_is_cut_is_a_lost_attempt(kit):
    kit.provider.script(Reply(no_answer=True), Reply())
    _ask(kit, kit.client(options={"max_retries": 1}))
    assert kit.row().flags == ["lost_attempts"]
    assert kit.row().counted_nano == USUAL + kit.row().held_nano


def test_a_call_whose_last_attempt_is_free_may_have_cost_those_before(kit):
    kit.provider.script(LOST, FREE)
    with pytest.raises(openai.RateLimitError):
        _ask(kit, kit.client(budget="$5/day", options={"max_retries": 1}))
    row = kit.row()
    assert (row.outcome, row.usage_source, row.flags) == ("unknown", "estimated", ["lost_attempts"])
    assert row.counted_nano == row.held_nano > row.cost_nano > 0


def test_a_call_whose_attempts_are_all_lost_counts_all_of_them(kit):
    kit.provider.script(LOST, LOST)
    with pytest.raises(openai.InternalServerError):
        _ask(kit, kit.client(options={"max_retries": 1}))
    row = kit.row()
    assert (row.outcome, row.counted_nano) == ("unknown", 2 * row.held_nano)


@pytest.mark.parametrize("reply", [LOST, Reply(no_answer=True)], ids=["502", "cut"])
def test_a_retry_that_the_budget_does_not_afford_is_not_made(kit, reply):
    kit.provider.script(reply)
    plain = kit.plain(max_retries=0)
    with pytest.raises(openai.APIError) as unmetered:
        _ask(kit, plain)
    kit.provider.clear()
    kit.provider.script(reply)
    client = kit.client(budget="$0.03/day", options={"max_retries": 5})
    with pytest.raises(openai.APIError) as caught:
        _ask(kit, client)
    assert type(caught.value) is type(unmetered.value)
    assert str(caught.value) == str(unmetered.value)
    assert len(kit.provider.requests) == 1
    row = kit.row()
    assert (row.outcome, row.attempts, row.counted_nano) == ("unknown", 1, row.held_nano)


def test_a_read_timeout_is_not_tried_again_without_the_money(kit):
    kit.provider.hold()
    client = kit.client(budget="$0.03/day", options={"max_retries": 2, "timeout": SOON})
    with pytest.raises(openai.APITimeoutError):
        _ask(kit, client)
    kit.provider.wait_for(1)
    kit.provider.release()
    assert len(kit.provider.requests) == 1
    assert kit.row().outcome == "unknown"


def test_a_retry_needs_the_ledger_under_a_hard_budget(kit, monkeypatch):
    kit.provider.script(LOST, Reply())
    client = kit.client(budget="$5/day", options={"max_retries": 1})
    reserve = kit.meter.engine.ledger._reserve
    asked = []

    def once(conn, wanted):
        asked.append(wanted)
        if len(asked) > 1:
            raise LedgerError("gone")
        return reserve(conn, wanted)

    monkeypatch.setattr(kit.meter.engine.ledger, "_reserve", once)
    with pytest.raises(openai.InternalServerError):
        _ask(kit, client)
    assert len(kit.provider.requests) == 1


def test_a_limit_that_is_changed_between_attempts_binds_the_next(kit):
    kit.meter.set_budget(Budget("all", "5", "day"))

    def lower(request):
        if request.order == 1:
            kit.meter.set_budget(Budget("all", "0.03", "day"))
            return LOST
        return None

    kit.provider.script(lower)
    with pytest.raises(openai.InternalServerError):
        _ask(kit, kit.client(options={"max_retries": 1}))
    assert len(kit.provider.requests) == 1
