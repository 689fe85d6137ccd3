"""What each kind of job is billed on, and what its end says when it did not go well."""

from __future__ import annotations

import json
import time

import pytest

from farthing import Meter
from intercept.jobs_kit import (
    BATCH_COST,
    BATCH_USAGE,
    batch,
    evaluation,
    told,
    tuning,
    video,
)
from intercept.kit import Kit, rows_of

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


def client_of(kit, **settings):
    return kit.client(provider="openai", **settings)


def a_batch(kit, client, *states):
    kit.provider.script(told(batch("validating")), *map(told, states))
    kit.run(
        client.batches.create(
            input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
        )
    )
    for _ in states:
        kit.run(client.batches.retrieve("batch_1"))


# -- batches --------------------------------------------------------------------------------------------


def test_a_batch_is_priced_at_the_rates_of_batches(kit):
    a_batch(kit, client_of(kit), batch("completed", model="gpt-4o-2024-08-06", usage=BATCH_USAGE))
    row = kit.row()
    assert (row.operation, row.service_tier, row.model) == ("batch", "batch", "gpt-4o-2024-08-06")
    assert (row.cost_nano, row.cost_source) == (BATCH_COST, "priced")
    assert (row.input_tokens, row.output_tokens) == (1_000_000, 100_000)


@pytest.mark.parametrize("status", ["cancelled", "expired"])
def test_a_batch_that_was_broken_off_is_billed_on_what_it_has_done(kit, status):
    a_batch(kit, client_of(kit), batch("cancelling"), batch(status, model="gpt-4o", usage=BATCH_USAGE))
    assert kit.row().cost_nano == BATCH_COST


def test_the_answer_to_a_cancellation_ends_a_batch_only_when_it_is_over(kit):
    client = client_of(kit)
    kit.provider.script(told(batch("in_progress")), told(batch("cancelling")), told(batch("cancelled")))
    kit.run(client.batches.create(input_file_id="f", endpoint="/v1/embeddings", completion_window="24h"))
    kit.run(client.batches.cancel("batch_1"))
    assert kit.meter.engine.ledger.facts()["open_calls"] == 1
    kit.run(client.batches.cancel("batch_1"))
    assert kit.row().outcome == "unknown"


@pytest.mark.parametrize("status", ["completed", "cancelled", "expired"])
def test_a_batch_that_does_not_say_what_it_used_is_unknown_and_not_free(kit, status):
    a_batch(kit, client_of(kit), batch(status, request_counts={"total": 2, "completed": 1, "failed": 1}))
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.cost_source) == ("unknown", None, "unpriced")
    assert row.usage_source == "unknown"


def test_a_batch_whose_server_does_not_count_is_unknown(kit):
    nothing = {**BATCH_USAGE, "input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    counts = {"total": 2, "completed": 2, "failed": 0}
    a_batch(kit, client_of(kit), batch("completed", model="gpt-4o", usage=nothing, request_counts=counts))
    assert kit.row().cost_nano is None


def test_a_batch_that_did_not_pass_its_validation_cost_nothing(kit):
    a_batch(kit, client_of(kit), batch("failed", request_counts={"total": 0, "completed": 0, "failed": 0}))
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.counted_nano, row.cost_source) == ("error", 0, 0, "none")


def test_a_failed_batch_that_had_done_something_is_billed_on_it(kit):
    counts = {"total": 2, "completed": 1, "failed": 1}
    a_batch(kit, client_of(kit), batch("failed", model="gpt-4o", usage=BATCH_USAGE, request_counts=counts))
    assert kit.row().cost_nano == BATCH_COST


def test_what_was_unknown_is_booked_when_it_is_known(kit):
    told_later = batch("completed", model="gpt-4o", usage=BATCH_USAGE)
    a_batch(kit, client_of(kit), batch("completed"), batch("completed"), told_later, told_later)
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.counted_nano) == ("complete", BATCH_COST, BATCH_COST)


def test_absurd_counts_are_suspect_and_their_cost_is_unknown(kit):
    usage = {**BATCH_USAGE, "input_tokens": -5}
    a_batch(kit, client_of(kit), batch("completed", model="gpt-4o", usage=usage))
    row = kit.row()
    assert (row.outcome, row.cost_nano) == ("complete", None)
    assert "suspect" in row.flags


def test_counts_that_no_batch_has_are_suspect_and_in_no_column(kit):
    usage = {**BATCH_USAGE, "input_tokens": 2**53 - 1, "output_tokens": 0, "total_tokens": 2**53 - 1}
    a_batch(kit, client_of(kit), batch("completed", model="gpt-4o", usage=usage))
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.cost_source) == ("complete", None, "unpriced")
    assert (row.input_tokens, row.counted_nano) == (None, row.held_nano)
    assert "suspect" in row.flags


def test_a_sum_of_requests_that_may_or_may_not_be_long_is_a_lower_bound(kit):
    usage = {**BATCH_USAGE, "input_tokens": 5_000_000, "output_tokens": 0, "total_tokens": 5_000_000}
    a_batch(kit, client_of(kit), batch("completed", model="gpt-5.4", usage=usage))
    row = kit.row()
    rates = kit.meter.engine.catalog.rates("gpt-5.4", provider="openai", at_ns=time.time_ns(), tier="batch")
    assert rates.bands, "a model with dearer prices for long input is what this test is about"
    assert row.cost_source == "partial"
    assert row.cost_nano == 5_000_000 * rates.prices["input"] // 1000


# -- videos ---------------------------------------------------------------------------------------------


def has_videos(kit):
    if not hasattr(kit.plain(), "videos"):
        pytest.skip("this version of openai makes no videos")


def a_video(kit, client, *states, **ask):
    kit.provider.script(told(video("queued")), *map(told, states))
    kit.run(client.videos.create(prompt="a farthing turns", **ask))
    for _ in states:
        kit.run(client.videos.retrieve("video_1"))


def test_a_video_without_a_price_has_its_seconds_and_an_unknown_cost(kit):
    has_videos(kit)
    a_video(kit, client_of(kit), video("in_progress"), video("completed"), size="720x1280")
    row = kit.row()
    assert (row.operation, row.cost_nano, row.cost_source) == ("video", None, "unpriced")
    assert json.loads(row.units) == {"seconds": "8", "size": "720x1280"}


def test_a_video_is_held_and_priced_by_the_second_where_a_second_has_a_price(kit, tmp_path):
    has_videos(kit)
    meter = Meter(tmp_path / "priced.db", durability="fast", prices={"sora-2": {"second": "0.10"}})
    with meter:
        inner = Kit(kit.pick("sync", "async"), kit.provider, meter)
        client = client_of(inner, budget="$1/day")
        kit.provider.script(told(video("queued")), told(video("completed")))
        inner.run(client.videos.create(prompt="a farthing turns", seconds="8"))
        (window,) = meter.engine.ledger.windows()
        assert window.held == 800_000_000
        inner.run(client.videos.retrieve("video_1"))
        (row,) = rows_of(meter)
        assert (row.cost_nano, row.held_nano, row.cost_source) == (800_000_000, 800_000_000, "priced")
        inner.finish()


def test_a_video_that_failed_cost_nothing(kit):
    has_videos(kit)
    a_video(kit, client_of(kit), video("failed", error={"code": "moderation", "message": "no"}))
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.counted_nano) == ("error", 0, 0)


def test_a_video_that_is_waited_for_by_the_sdk_is_one_row(kit):
    has_videos(kit)
    client = client_of(kit)
    kit.provider.script(told(video("queued")), told(video("in_progress")), lambda _: told(video("completed")))
    made = kit.run(client.videos.create_and_poll(prompt="a farthing", poll_interval_ms=1))
    assert made.status == "completed"
    assert json.loads(kit.row().units)["seconds"] == "8"


def test_an_extension_is_billed_on_the_seconds_that_were_asked_for(kit):
    has_videos(kit)
    if not hasattr(kit.plain().videos, "extend"):
        pytest.skip("this version of openai extends no videos")
    client = client_of(kit)
    kit.provider.script(
        told(video("queued", id="video_2", seconds="20")),
        told(video("completed", id="video_2", seconds="20")),
    )
    kit.run(client.videos.extend(prompt="further", seconds="12", video=b"\0mp4"))
    kit.run(client.videos.retrieve("video_2"))
    assert json.loads(kit.row().units)["seconds"] == "12"


@pytest.mark.parametrize("how", ["edit", "remix"])
def test_an_edit_and_a_remix_are_videos_too(kit, how):
    has_videos(kit)
    client = client_of(kit)
    if not hasattr(client.videos, how):
        pytest.skip("this version of openai cannot")
    kit.provider.script(told(video("queued", id="video_2")), told(video("completed", id="video_2")))
    if how == "edit":
        kit.run(client.videos.edit(prompt="further", video=b"\0mp4"))
    else:
        kit.run(client.videos.remix("video_1", prompt="further"))
    kit.run(client.videos.retrieve("video_2"))
    row = kit.row()
    assert (row.operation, row.model, json.loads(row.units)["seconds"]) == ("video", "sora-2", "8")


# -- fine-tuning ----------------------------------------------------------------------------------------


def a_tuning(kit, *states):
    client = client_of(kit)
    kit.provider.script(told(tuning("queued")), *map(told, states))
    kit.run(client.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file="file-1"))
    for _ in states:
        kit.run(client.fine_tuning.jobs.retrieve("ftjob-1"))
    return kit.row()


def test_a_fine_tuning_is_counted_in_trained_tokens(kit):
    row = a_tuning(kit, tuning("running"), tuning("succeeded", trained_tokens=5_000))
    assert (row.outcome, row.cost_nano, row.cost_source) == ("complete", None, "unpriced")
    assert json.loads(row.units) == {"trained_tokens": 5_000}


def test_a_fine_tuning_that_was_cancelled_is_billed_on_what_it_has_trained(kit):
    row = a_tuning(kit, tuning("cancelled", trained_tokens=2_000))
    assert json.loads(row.units) == {"trained_tokens": 2_000}


def test_a_fine_tuning_whose_file_was_refused_cost_nothing(kit):
    error = {"code": "invalid_training_file", "param": "training_file", "message": "empty"}
    row = a_tuning(kit, tuning("failed", error=error))
    assert (row.outcome, row.cost_nano) == ("error", 0)


def test_a_fine_tuning_that_failed_for_another_reason_is_unknown(kit):
    row = a_tuning(kit, tuning("failed", error={"code": "server_error", "param": None, "message": "x"}))
    assert (row.outcome, row.cost_nano) == ("unknown", None)


# -- evals ----------------------------------------------------------------------------------------------


def test_an_eval_without_counts_of_its_models_is_unknown(kit):
    client = client_of(kit)
    kit.provider.script(told(evaluation("queued")), told(evaluation("failed")))
    source = {"type": "jsonl", "source": {"type": "file_id", "id": "file-1"}}
    kit.run(client.evals.runs.create("eval_1", data_source=source))
    kit.run(client.evals.runs.retrieve("evalrun_1", eval_id="eval_1"))
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.usage_source) == ("unknown", None, "unknown")
