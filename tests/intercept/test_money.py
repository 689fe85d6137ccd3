"""What an answer costs and counts, where it is not as simple as tokens times rates."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from openai import AsyncStream, Stream

from farthing import Budget, InsufficientCredits, Meter
from farthing.testing import Reply
from intercept.kit import ASK, USUAL

STREAM = {**ASK, "stream": True}


@pytest.fixture(params=["whole", "stream"])
def answer(request, kit):
    """Asks once, in either way, and reads all of it."""

    def ask(client, **more):
        more = {**ASK, **more}
        if request.param == "whole":
            return kit.run(client.chat.completions.create(**more))
        stream = kit.run(client.chat.completions.create(**more, stream=True))
        list(kit.items(stream))
        return stream

    return ask


@pytest.mark.parametrize(
    "stated", ["0.0123", {"total_cost": 0.0123, "input_tokens_cost": 0.01}], ids=["number", "object"]
)
def test_money_that_the_provider_states_is_the_cost(kit, answer, stated):
    kit.provider.script(Reply(cost=stated))
    got = answer(kit.client())
    row = kit.row()
    assert (row.cost_nano, row.counted_nano, row.cost_source) == (12_300_000, 12_300_000, "reported")
    assert kit.meter.receipt(got).cost == Decimal("0.0123")


def test_an_answer_without_usage_is_estimated_and_says_so(kit, answer):
    kit.provider.script(Reply("a farthing is a quarter of a penny " * 20, usage=None))
    answer(kit.client())
    row = kit.row()
    assert (row.outcome, row.usage_source, row.cost_source) == ("complete", "estimated", "priced")
    assert 100 < row.output_tokens < 200
    assert row.counted_nano == row.cost_nano == 2_500 * row.input_tokens + 10_000 * row.output_tokens


@pytest.mark.parametrize("count", [-5, 2**60])
def test_absurd_counts_give_no_cost_and_count_the_hold(kit, answer, count):
    kit.provider.script(Reply(usage={"prompt_tokens": count, "completion_tokens": 1, "total_tokens": 1}))
    answer(kit.client())
    row = kit.row()
    assert (row.cost_nano, row.cost_source, row.usage_source) == (None, "unpriced", "unknown")
    assert row.counted_nano == row.held_nano
    assert row.flags == ["suspect"]


def test_a_body_that_nobody_can_read_may_have_cost_the_hold(kit):
    kit.provider.script(Reply(body=b"busy", headers={"content-type": "text/plain"}))
    assert kit.run(kit.client().chat.completions.create(**ASK)) == "busy"
    row = kit.row()
    assert (row.outcome, row.counted_nano) == ("unknown", row.held_nano)


def test_a_bill_above_the_hold_is_booked_whole_and_the_next_call_refused(kit, answer):
    big = {"input_tokens": 1_000, "output_tokens": 2_000_000}
    kit.provider.script(Reply(usage=big))
    client = kit.client(budget="$5/day")
    got = answer(client)
    assert got is not None
    row = kit.row()
    assert row.cost_nano == row.counted_nano == 20_002_500_000
    assert row.flags == ["overrun"]
    assert row.overrun == row.cost_nano - row.held_nano
    assert kit.meter.receipt(got).overrun == Decimal(row.overrun) / 10**9
    with pytest.raises(InsufficientCredits) as caught:
        answer(client)
    assert not caught.value.transient
    assert len(kit.provider.requests) == 1


def test_output_above_our_cap_is_flagged_and_from_then_on_the_maximum_is_held(kit):
    kit.provider.usage = {"input_tokens": 10, "output_tokens": 900}
    client = kit.client(budget="$0.01/day")
    _uncapped(kit, client)
    row = kit.row()
    assert row.capped_at is not None
    assert row.capped_at < 900
    assert "cap_ignored" in row.flags
    with pytest.raises(InsufficientCredits) as caught:
        _uncapped(kit, client)
    assert caught.value.required > Decimal("0.16")  # 16,384 tokens at $10 per million


def test_an_estimate_above_our_cap_is_no_cap_that_was_ignored(kit, tmp_path):
    with Meter(tmp_path / "l.db", output_cap=5, durability="fast", wait=0) as meter:
        client = meter.wrap(kit.plain(), budget="$1/day")
        kit.provider.script(Reply(text="a farthing is a quarter of a penny " * 9, usage=None))
        receipt = meter.receipt(_uncapped(kit, client))
        assert (receipt.usage_source, receipt.capped_at) == ("estimated", 5)
        assert receipt.usage.output_tokens > 5
        assert "cap_ignored" not in receipt.flags
        assert meter.receipt(_uncapped(kit, client)).held == receipt.held


@pytest.mark.parametrize("ignores", [True, False], ids=["ignores", "heeds"])
def test_a_server_that_ignores_the_configured_cap_is_asked_with_it_and_held_for_the_maximum(
    kit, tmp_path, ignores
):
    kit.provider.usage = {"input_tokens": 10, "output_tokens": 5_000 if ignores else 500}
    with Meter(tmp_path / "l.db", output_cap=500, durability="fast", wait=0) as meter:
        client = meter.wrap(kit.plain(), budget="$0.22/day")
        first, second = [meter.receipt(_uncapped(kit, client)) for _ in range(2)]
        capped = [request.body["max_tokens"] for request in kit.provider.requests]
        assert capped == [first.capped_at, second.capped_at] == [500, 500]
        assert Decimal("0.005") < first.held < Decimal("0.0052")
        assert ("cap_ignored" in first.flags) is ("cap_ignored" in second.flags) is ignores
        if not ignores:
            assert second.held == first.held
            return
        assert first.overrun is not None
        assert second.held > Decimal("0.16")  # 16,384 tokens at $10 per million
        assert second.overrun is None
        with pytest.raises(InsufficientCredits) as caught:
            _uncapped(kit, client)
        assert caught.value.required == second.held
        assert caught.value.spent <= caught.value.limit


def _uncapped(kit, client, **more):
    ask = {key: value for key, value in ASK.items() if key != "max_tokens"} | more
    return kit.run(client.chat.completions.create(**ask))


@pytest.mark.parametrize(
    ("model", "field", "other"),
    [("gpt-4o", "max_tokens", "max_completion_tokens"), ("gpt-5", "max_completion_tokens", "max_tokens")],
)
def test_a_tight_budget_writes_the_field_of_the_family(kit, model, field, other):
    _uncapped(kit, kit.client(budget="$0.10/day"), model=model)
    body = kit.provider.requests[0].body
    assert body[field] == kit.row().capped_at
    assert other not in body
    assert kit.row().held_nano <= 100_000_000


def test_responses_are_capped_at_no_less_than_the_server_accepts(kit, tmp_path):
    with Meter(tmp_path / "l.db", min_output_tokens=1, durability="fast") as meter:
        client = meter.wrap(kit.plain(), budget="$0.0003/day")
        kit.run(client.responses.create(model="gpt-4o", input="hi"))
        assert kit.provider.requests[0].body["max_output_tokens"] >= 16


def test_without_a_budget_nothing_is_written(kit):
    _uncapped(kit, kit.client())
    assert set(kit.provider.requests[0].body) == {"model", "messages"}
    assert kit.row().capped_at is None


def test_the_callers_body_is_not_touched(kit):
    mine = {"model": "gpt-4o", "messages": ASK["messages"], "stream": True}
    before = json.dumps(mine)
    client = kit.client(budget="$0.10/day")
    stream = kit.run(
        client.post("/chat/completions", body=mine, cast_to=object, stream=True, stream_cls=_stream(kit))
    )
    list(kit.items(stream))
    assert json.dumps(mine) == before
    sent = kit.provider.requests[0].body
    assert sent["stream_options"] == {"include_usage": True}
    assert sent["max_tokens"] == kit.row().capped_at


def _stream(kit):

    return kit.pick(Stream[object], AsyncStream[object])


def test_a_cap_in_extra_body_is_the_callers(kit):
    _uncapped(kit, kit.client(budget="$0.10/day"), extra_body={"max_tokens": 300})
    assert kit.provider.requests[0].body["max_tokens"] == 300
    assert kit.row().capped_at is None


def test_a_server_that_refuses_our_field_gets_the_other_and_is_remembered(kit):
    def strict(request):
        if "max_tokens" in request.body:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return Reply(said, status=400)
        return None

    kit.provider.script(strict)
    client = kit.client(budget="$0.10/day")
    _uncapped(kit, client)
    _uncapped(kit, client)
    sent = [sorted({"max_tokens", "max_completion_tokens"} & set(r.body)) for r in kit.provider.requests]
    assert sent == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]
    assert [row.attempts for row in kit.rows()] == [2, 1]


def test_a_server_that_knows_only_the_old_field_gets_that(kit):
    def strict(request):
        if "max_completion_tokens" in request.body:
            return Reply("'max_completion_tokens' is unknown; did you mean max_tokens?", status=422)
        return None

    kit.provider.script(strict)
    _uncapped(kit, kit.client(budget="$0.50/day"), model="gpt-5")
    assert [("max_tokens" in r.body) for r in kit.provider.requests] == [False, True]


def test_a_refusal_of_the_callers_own_cap_is_not_asked_again(kit):
    kit.provider.script(Reply("max_tokens is too large", status=400))
    with pytest.raises(Exception, match="too large"):
        kit.run(kit.client(budget="$5/day").chat.completions.create(**ASK))
    assert len(kit.provider.requests) == 1


def test_what_is_served_is_what_is_priced(kit, answer):
    kit.provider.script(Reply(model="gpt-4o-mini-2024-07-18"))
    answer(kit.client(budget=Budget("b", "5", "day")))
    row = kit.row()
    assert (row.requested_model, row.model) == ("gpt-4o", "gpt-4o-mini-2024-07-18")
    assert row.cost_nano == (176 * 150 + 1024 * 75 + 150 * 600)
    assert row.cost_nano != USUAL
