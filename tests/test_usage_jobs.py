"""What jobs that have ended say that they were billed on."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.records import Usage
from farthing.usage import MANY, Reading, read, read_job, read_results

COUNTS = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107}
FLAVOURS = (
    "openai.responses", "openai.batches", "openai.videos", "openai.fine_tuning", "openai.evals",
    "openai.assistants", "anthropic.batches",
)  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["usage", "model", "seconds", "trained_tokens", "per_model_usage", "prompt_tokens",
                         "completion_tokens", "input_tokens", "output_tokens", "model_name", "status"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def test_a_batch_is_the_sum_of_its_requests():
    details = {"input_tokens_details": {"cached_tokens": 5}, "output_tokens_details": {"reasoning_tokens": 3}}
    body = {"object": "batch", "id": "batch_1", "model": "gpt-4o", "usage": {**COUNTS, **details}}
    told = read_job(body, flavour="openai.batches")
    usage = Usage(input_tokens=100, cached_tokens=5, output_tokens=7, reasoning_tokens=3)
    assert (told.usage, told.model, told.response_id) == (usage, "gpt-4o", "batch_1")
    assert [(part.kind, part.model, part.usage) for part in told.parts] == [(MANY, None, usage)]
    assert read(body).usage == usage


@pytest.mark.parametrize(("seconds", "stated"), [("8", 8), (4, 4), (8.5, "8.5"), ("12.25", "12.25")])
def test_the_seconds_of_a_video_may_be_a_text(seconds, stated):
    told = read_job({"object": "video", "model": "sora-2", "seconds": seconds}, flavour="openai.videos")
    assert told.usage == Usage(seconds=Decimal(stated))


@pytest.mark.parametrize("seconds", ["eight", "-8", "1e3", "", "٨", True, -1, float("nan")])
def test_seconds_that_cannot_be_are_suspect(seconds):
    told = read_job({"object": "video", "seconds": seconds}, flavour="openai.videos")
    assert told.usage is None
    assert told.suspect


def test_trained_tokens_are_a_unit_and_no_usage():
    told = read_job({"object": "fine_tuning.job", "trained_tokens": 500}, flavour="openai.fine_tuning")
    assert told.units == {"trained_tokens": 500}
    assert told.usage in (None, Usage())
    assert told.parts == ()


def test_each_model_of_an_eval_is_a_part():
    counts = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "cached_tokens": 1}
    models = [{"model_name": name, "invocation_count": 1, **counts} for name in ("gpt-4o", "gpt-4o-mini")]
    told = read_job({"object": "eval.run", "per_model_usage": models}, flavour="openai.evals")
    assert told.usage == Usage(input_tokens=10, cached_tokens=2, output_tokens=6)
    assert [part.model for part in told.parts] == ["gpt-4o", "gpt-4o-mini"]


def test_an_eval_without_models_says_nothing():
    assert read_job({"object": "eval.run", "per_model_usage": []}, flavour="openai.evals").usage is None


def message(model="claude-sonnet-4-5", **usage):
    return {"type": "message", "model": model, "usage": {"input_tokens": 5, "output_tokens": 6, **usage}}


def test_results_keep_their_messages_apart_and_their_searches_together():
    searched = message(server_tool_use={"web_search_requests": 2})
    told = read_results([message(cache_read_input_tokens=4), searched])
    assert told.usage == Usage(input_tokens=14, cached_tokens=4, output_tokens=12, web_searches=2)
    assert [part.usage.input_tokens for part in told.parts] == [9, 5]
    assert all(part.usage.web_searches is None for part in told.parts)
    assert told.model == "claude-sonnet-4-5"


def test_results_of_several_models_have_no_model_of_their_own():
    told = read_results([message(), message("claude-haiku-4-5")])
    assert (told.model, [part.model for part in told.parts]) == (
        None,
        ["claude-sonnet-4-5", "claude-haiku-4-5"],
    )


def test_results_of_which_one_is_silent_are_unknown():
    assert read_results([message(), {"type": "message", "model": "m"}]).usage is None
    assert read_results([]).usage is None


@given(body=JSON, flavour=st.sampled_from(FLAVOURS))
def test_no_body_of_a_job_raises(body, flavour):
    assert isinstance(read_job(body, flavour=flavour), Reading)


@given(messages=st.lists(JSON, max_size=3))
def test_no_results_raise(messages):
    assert isinstance(read_results(messages), Reading)
