"""Batches of Anthropic's: what is asked shows in the request, what it cost in the results alone."""

from __future__ import annotations

import json

import anthropic
import pytest

from farthing import Budget, InsufficientCredits, Unbounded
from farthing.testing import Reply
from intercept.jobs_kit import listed, message_batch, told

MODEL = "claude-sonnet-4-5"
CHEAP = "claude-haiku-4-5"


def ask(name, model=MODEL, **more):
    params = {"model": model, "max_tokens": 1_000, "messages": [{"role": "user", "content": "A farthing?"}]}
    return {"custom_id": name, "params": {**params, **more}}


def line(name, kind="succeeded", model=MODEL, **usage):
    told = {"input_tokens": 200, "output_tokens": 150, "service_tier": "batch", **usage}
    message = {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "A quarter of a penny.\u2028 " * 20}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": told,
    }
    result = {"type": kind, "message": message} if kind == "succeeded" else {"type": kind}
    return {"custom_id": name, "result": result}


def results(*lines, end="\n", **more):
    body = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines).removesuffix("\n") + end
    return Reply(body=body.encode(), headers={"content-type": "application/x-jsonl"}, **more)


def counts(succeeded=0, **more):
    return {"processing": 0, "succeeded": succeeded, "errored": 0, "canceled": 0, "expired": 0, **more}


def ended(kit, succeeded=2, **more):
    url = f"{kit.provider.base_url}/messages/batches/msgbatch_1/results"
    return told(
        message_batch(
            "ended", request_counts=counts(succeeded, **more), results_url=url if succeeded else None
        )
    )


LINE_COST = 200 * 1_500 + 150 * 7_500
"""Nano-dollars of one line: 1.50 and 7.50 USD per million, half of the usual price."""


@pytest.fixture
def plain(kit):
    made = []

    def client(**options):
        kind = kit.pick(anthropic.Anthropic, anthropic.AsyncAnthropic)
        base_url = kit.provider.base_url.removesuffix("/v1")
        one = kind(api_key="sk-test", base_url=base_url, max_retries=0, **options)
        made.append(one)
        return one

    yield client
    for one in made:
        kit.run(one.close())


@pytest.fixture
def batches(kit, plain):
    return kit.meter.wrap(plain()).messages.batches


def opened(kit):
    return kit.meter.engine.ledger.facts()["open_calls"]


def read(kit, batches):
    return [one.custom_id for one in kit.items(kit.run(batches.results("msgbatch_1")))]


def start(kit, batches, *asked):
    return kit.run(batches.create(requests=list(asked or (ask("a"), ask("b")))))


def test_a_batch_is_booked_when_its_results_have_been_read(kit, batches):
    kit.provider.script(
        told(message_batch("in_progress")), ended(kit), ended(kit), results(line("a"), line("b"))
    )
    start(kit, batches)
    assert kit.run(batches.retrieve("msgbatch_1")).processing_status == "ended"
    assert opened(kit) == 1
    assert read(kit, batches) == ["a", "b"]
    row = kit.row()
    assert (row.operation, row.service_tier, row.provider, row.model) == (
        "batch",
        "batch",
        "anthropic",
        MODEL,
    )
    assert (row.cost_nano, row.cost_source, row.usage_source) == (2 * LINE_COST, "priced", "reported")
    assert (row.input_tokens, row.output_tokens) == (400, 300)


def test_its_results_may_be_read_again(kit, batches):
    kit.provider.script(
        told(message_batch("in_progress")),
        *[reply for _ in range(3) for reply in (ended(kit), results(line("a"), line("b")))],
    )
    start(kit, batches)
    for _ in range(3):
        read(kit, batches)
    assert kit.row().cost_nano == 2 * LINE_COST


def test_results_that_were_not_read_to_their_end_book_nothing(kit, batches):
    many = [line(str(number)) for number in range(40)]
    kit.provider.script(
        told(message_batch("in_progress")), ended(kit, 40), results(*many), ended(kit, 40), results(*many)
    )
    start(kit, batches)
    stream = kit.run(batches.results("msgbatch_1"))
    next(kit.items(stream))
    kit.run(stream.close())
    del stream
    assert opened(kit) == 1
    read(kit, batches)
    assert kit.row().cost_nano == 40 * LINE_COST


def test_a_raw_answer_with_the_results_is_seen_too(kit, batches):
    kit.provider.script(told(message_batch("in_progress")), ended(kit), results(line("a"), end=""))
    start(kit, batches)
    raw = kit.run(batches.with_raw_response.results("msgbatch_1"))
    parsed = kit.run(raw.parse()) if kit.is_async else raw.parse()
    assert [one.custom_id for one in kit.items(parsed)] == ["a"]
    assert kit.row().cost_nano == LINE_COST


def test_requests_that_did_not_succeed_are_not_billed(kit, batches):
    kit.provider.script(
        told(message_batch("in_progress")),
        ended(kit, 1, errored=1, expired=1),
        results(line("a"), line("b", "errored"), line("c", "expired")),
    )
    start(kit, batches)
    read(kit, batches)
    assert kit.row().cost_nano == LINE_COST


def test_a_batch_of_which_nothing_succeeded_is_over_and_free(kit, batches):
    kit.provider.script(told(message_batch("in_progress")), ended(kit, 0, canceled=2))
    start(kit, batches)
    kit.run(batches.cancel("msgbatch_1"))
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.counted_nano) == ("error", 0, 0)


def test_each_line_is_priced_at_its_own_model(kit, batches):
    kit.provider.script(
        told(message_batch("in_progress")), ended(kit), results(line("a"), line("b", model=CHEAP))
    )
    start(kit, batches, ask("a"), ask("b", CHEAP))
    read(kit, batches)
    row = kit.row()
    assert row.cost_nano == LINE_COST + 200 * 500 + 150 * 2_500


def test_searches_of_lines_are_paid_for_once(kit, batches):
    searched = line("a", server_tool_use={"web_search_requests": 3, "web_fetch_requests": 0})
    kit.provider.script(told(message_batch("in_progress")), ended(kit, 1), results(searched))
    start(kit, batches)
    read(kit, batches)
    assert kit.row().cost_nano == LINE_COST + 3 * 10_000_000


def test_a_line_whose_usage_cannot_be_read_leaves_the_cost_unknown(kit, batches):
    kit.provider.script(
        told(message_batch("in_progress")), ended(kit), results(line("a"), line("b", input_tokens=-1))
    )
    start(kit, batches)
    read(kit, batches)
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.counted_nano) == ("complete", None, row.held_nano)
    assert "suspect" in row.flags


def test_what_all_requests_may_cost_together_is_held(kit, plain):
    client = kit.meter.wrap(plain(), budget="$1/day")
    kit.provider.script(told(message_batch("in_progress")), ended(kit), results(line("a"), line("b")))
    start(kit, client.messages.batches)
    (window,) = kit.meter.engine.ledger.windows()
    assert 2 * 1_000 * 7_500 < window.held < 2 * (1_000 * 7_500 + 100 * 1_500)
    read(kit, client.messages.batches)
    row = kit.row()
    assert (row.held_nano, row.counted_nano) == (window.held, 2 * LINE_COST)


def test_a_batch_that_may_cost_more_than_is_left_is_refused(kit, plain):
    client = kit.meter.wrap(plain(), budget="$0.01/day")
    with pytest.raises(InsufficientCredits):
        start(kit, client.messages.batches)
    assert kit.provider.requests == []


def test_a_batch_with_hosted_tools_without_a_limit_has_no_bound(kit, plain):
    client = kit.meter.wrap(plain(), budget="$1/day")
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    with pytest.raises(Unbounded, match="/v1/messages/batches"):
        start(kit, client.messages.batches, ask("a", tools=tools))
    assert kit.provider.requests == []


def test_the_budget_of_any_model_in_it_binds_a_batch(kit, plain):
    kit.meter.set_budget(Budget("haiku", "0.01", "day", model="claude-haiku*"))
    client = kit.meter.wrap(plain())
    kit.provider.script(told(message_batch("in_progress")), ended(kit, 0))
    with pytest.raises(InsufficientCredits) as refused:
        start(kit, client.messages.batches, ask("a"), ask("b", CHEAP, max_tokens=4_000))
    assert refused.value.budget == "haiku"
    start(kit, client.messages.batches, ask("a"))
    kit.run(client.messages.batches.retrieve("msgbatch_1"))
    assert kit.row().outcome == "error"


def test_a_list_ends_those_of_which_nothing_succeeded(kit, batches):
    over = message_batch("ended", request_counts=counts(0, expired=2))
    kit.provider.script(told(message_batch("in_progress")), listed(over))
    start(kit, batches)
    kit.run(batches.list())
    assert kit.row().outcome == "error"


def test_batches_of_the_beta_are_batches(kit, plain):
    batches = kit.meter.wrap(plain()).beta.messages.batches
    kit.provider.script(told(message_batch("in_progress")), ended(kit), results(line("a"), line("b")))
    start(kit, batches)
    read(kit, batches)
    assert kit.row().cost_nano == 2 * LINE_COST


def test_compressed_results_are_read(kit, batches):
    import gzip  # noqa: PLC0415  for this one

    body = gzip.compress((json.dumps(line("a")) + "\n" + json.dumps(line("b"))).encode())
    kit.provider.script(
        told(message_batch("in_progress")),
        ended(kit),
        Reply(body=body, headers={"content-type": "application/x-jsonl", "content-encoding": "gzip"}),
    )
    start(kit, batches)
    assert read(kit, batches) == ["a", "b"]
    assert kit.row().cost_nano == 2 * LINE_COST
