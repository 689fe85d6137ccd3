"""Runs of assistants: asked for again and again, or streamed, with tools in between."""

from __future__ import annotations

import pytest

from farthing import Budget
from farthing.testing import Reply
from intercept.jobs_kit import RUN_COST, RUN_USAGE, thread_events, thread_run, told

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")  # of the Assistants API

STEP = {
    "id": "step_1",
    "object": "thread.run.step",
    "run_id": "run_1",
    "status": "completed",
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
WAITS = thread_run("requires_action")
DONE = thread_run("completed", usage=RUN_USAGE)


def opened(kit):
    return kit.meter.engine.ledger.facts()["open_calls"]


@pytest.fixture
def runs(kit):
    return kit.client(provider="openai").beta.threads.runs


def read(kit, stream):
    return [event.event for event in kit.items(kit.run(stream))]


def test_a_run_that_the_sdk_waits_for_is_one_row(kit, runs):
    kit.provider.script(told(thread_run("queued")), told(thread_run("in_progress")), told(DONE))
    kit.run(runs.create_and_poll(thread_id="thread_1", assistant_id="asst_1", poll_interval_ms=1))
    row = kit.row()
    assert (row.operation, row.cost_nano, row.model) == ("other", RUN_COST, "gpt-4o")


def test_a_run_in_a_new_thread_is_metered_too(kit):
    threads = kit.client(provider="openai").beta.threads
    kit.provider.script(told(thread_run("queued")), told(DONE))
    kit.run(threads.create_and_run(assistant_id="asst_1"))
    kit.run(threads.runs.retrieve("run_1", thread_id="thread_1"))
    assert kit.row().cost_nano == RUN_COST


def test_tool_outputs_go_on_with_the_same_run(kit, runs):
    kit.provider.script(told(thread_run("queued")), told(WAITS), told(thread_run("queued")), told(DONE))
    kit.run(runs.create("thread_1", assistant_id="asst_1"))
    kit.run(runs.retrieve("run_1", thread_id="thread_1"))
    kit.run(runs.submit_tool_outputs("run_1", thread_id="thread_1", tool_outputs=[]))
    assert opened(kit) == 1
    kit.run(runs.retrieve("run_1", thread_id="thread_1"))
    assert kit.row().cost_nano == RUN_COST


def test_a_streamed_run_is_booked_when_its_stream_says_that_it_has_ended(kit, runs):
    kit.provider.script(
        thread_events(
            ("thread.run.created", thread_run("queued")),
            ("thread.run.step.completed", STEP),
            ("thread.run.completed", DONE),
        )
    )
    seen = read(kit, runs.create("thread_1", assistant_id="asst_1", stream=True))
    assert seen == ["thread.run.created", "thread.run.step.completed", "thread.run.completed"]
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.input_tokens) == ("complete", RUN_COST, 2_000)


def test_a_streamed_run_that_wants_tool_outputs_waits_for_the_stream_of_those(kit, runs):
    kit.provider.script(
        thread_events(("thread.run.created", thread_run("queued")), ("thread.run.requires_action", WAITS)),
        thread_events(("thread.run.queued", thread_run("queued")), ("thread.run.completed", DONE)),
    )
    read(kit, runs.create("thread_1", assistant_id="asst_1", stream=True))
    assert opened(kit) == 1
    made = runs.submit_tool_outputs("run_1", thread_id="thread_1", tool_outputs=[], stream=True)
    read(kit, made)
    assert kit.row().cost_nano == RUN_COST


def test_the_stream_of_a_run_that_nobody_started_here_costs_nothing(kit, runs):
    kit.provider.script(thread_events(("thread.run.completed", DONE)))
    made = runs.submit_tool_outputs("run_1", thread_id="thread_1", tool_outputs=[], stream=True)
    assert read(kit, made) == ["thread.run.completed"]
    assert kit.rows() == []


def test_a_streamed_run_that_is_left_is_unknown_until_it_is_asked_for(kit, runs):
    kit.provider.script(
        thread_events(
            ("thread.run.created", thread_run("queued")),
            ("thread.run.in_progress", thread_run("in_progress")),
            done=False,
        ),
        told(DONE),
    )
    stream = kit.run(runs.create("thread_1", assistant_id="asst_1", stream=True))
    next(kit.items(stream))
    kit.close(stream)
    assert kit.row().outcome == "unknown"
    kit.run(runs.retrieve("run_1", thread_id="thread_1"))
    row = kit.row()
    assert (row.outcome, row.cost_nano) == ("complete", RUN_COST)


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired", "incomplete"])
def test_a_run_that_did_not_end_well_is_billed_on_what_it_states(kit, runs, status):
    kit.provider.script(told(thread_run("queued")), told(thread_run(status, usage=RUN_USAGE)))
    kit.run(runs.create("thread_1", assistant_id="asst_1"))
    kit.run(runs.cancel("run_1", thread_id="thread_1"))
    assert kit.row().cost_nano == RUN_COST


def test_a_run_with_bounds_of_its_own_is_held_at_them(kit):
    client = kit.client(provider="openai", budget=Budget("house", "1", "day"))
    kit.provider.script(told(thread_run("queued")), told(DONE))
    bounds = {"max_prompt_tokens": 20_000, "max_completion_tokens": 5_000}
    kit.run(client.beta.threads.runs.create("thread_1", assistant_id="asst_1", model="gpt-4o", **bounds))
    (window,) = kit.meter.engine.ledger.windows()
    assert window.held == 20_000 * 2_500 + 5_000 * 10_000
    kit.run(client.beta.threads.runs.retrieve("run_1", thread_id="thread_1"))
    row = kit.row()
    assert (row.cost_nano, row.counted_nano, row.flags) == (RUN_COST, RUN_COST, [])


# -- responses in the background --------------------------------------------------------------------------


def response(status, usage=None):
    return {
        "id": "resp_bg",
        "object": "response",
        "created_at": 1,
        "model": "gpt-4o",
        "status": status,
        "output": [],
        "parallel_tool_calls": True,
        "tools": [],
        "usage": usage,
    }


SPENT = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}
SPENT_COST = 1000 * 2_500 + 10 * 10_000


def events(*states):
    return Reply(
        events=[
            {"type": f"response.{state['status']}", "sequence_number": number, "response": state}
            for number, state in enumerate(states)
        ]
    )


def in_background(kit, client, **more):
    return kit.run(client.responses.create(model="gpt-4o", input="pennies", background=True, **more))


def test_a_background_stream_that_is_read_to_its_end_is_booked_by_it(kit):
    client = kit.client(provider="openai")
    kit.provider.script(events(response("queued"), response("in_progress"), response("completed", SPENT)))
    stream = in_background(kit, client, stream=True)
    assert len(list(kit.items(stream))) == 3
    row = kit.row()
    assert (row.outcome, row.cost_nano) == ("complete", SPENT_COST)
    assert kit.meter.receipt(stream).id == row.id


def test_a_background_stream_that_broke_off_is_taken_up_again_by_another(kit):
    client = kit.client(provider="openai")
    kit.provider.script(
        events(response("queued"), response("in_progress")),
        thread_events(
            (
                "response.completed",
                {
                    "type": "response.completed",
                    "sequence_number": 2,
                    "response": response("completed", SPENT),
                },
            )
        ),
    )
    list(kit.items(in_background(kit, client, stream=True)))
    assert opened(kit) == 1
    again = kit.run(client.responses.retrieve("resp_bg", stream=True, starting_after=1))
    list(kit.items(again))
    assert kit.row().cost_nano == SPENT_COST


def test_a_background_stream_that_was_left_is_corrected_when_it_is_asked_for(kit):
    client = kit.client(provider="openai", budget="$5/day")
    kit.provider.script(
        Reply(chunks=3, piecewise=True, pause_after=1), lambda request: told(response("completed", SPENT))
    )
    stream = in_background(kit, client, stream=True, max_output_tokens=1000)
    first = next(kit.items(stream))
    kit.close(stream)
    kit.provider.resume()
    assert kit.row().outcome == "unknown"
    kit.run(client.responses.retrieve(first.response.id))
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.counted_nano) == ("complete", SPENT_COST, SPENT_COST)


def test_a_response_that_is_not_in_the_background_waits_for_nothing(kit):
    client = kit.client(provider="openai")
    kit.provider.script(told(response("in_progress")))
    kit.run(client.responses.create(model="gpt-4o", input="pennies"))
    assert kit.row().outcome == "unknown"
