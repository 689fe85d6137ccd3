"""Jobs as providers state them, and what is asked of each kind in the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from farthing.testing import Reply

HOUR = 3_600


def batch(status: str, **more: Any) -> dict[str, Any]:
    """A batch; its usage is stated when it has finished (SDK types/batch.py)."""
    return {
        "id": "batch_1",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-1",
        "completion_window": "24h",
        "created_at": 1,
        "status": status,
        **more,
    }


BATCH_USAGE = {
    "input_tokens": 1_000_000,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 100_000,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 1_100_000,
}
BATCH_COST = 1_000_000 * 1_250 + 100_000 * 5_000
"""Nano-dollars of gpt-4o in a batch: 1.25 and 5.00 USD per million."""


def video(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "video_1",
        "object": "video",
        "created_at": 1,
        "model": "sora-2",
        "progress": 100 if status == "completed" else 0,
        "seconds": "8",
        "size": "720x1280",
        "status": status,
        **more,
    }


def tuning(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "created_at": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "training_file": "file-1",
        "organization_id": "org-1",
        "hyperparameters": {"n_epochs": 1},
        "result_files": [],
        "seed": 1,
        "status": status,
        "trained_tokens": None,
        "fine_tuned_model": None,
        "error": None,
        **more,
    }


def evaluation(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "evalrun_1",
        "object": "eval.run",
        "eval_id": "eval_1",
        "created_at": 1,
        "model": "gpt-4o-mini",
        "name": "pennies",
        "status": status,
        "data_source": {"type": "jsonl", "source": {"type": "file_id", "id": "file-1"}},
        "error": None,
        "report_url": "",
        "result_counts": {"total": 0, "errored": 0, "failed": 0, "passed": 0},
        "per_model_usage": [],
        "per_testing_criteria_results": [],
        **more,
    }


def thread_run(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "run_1",
        "object": "thread.run",
        "created_at": 1,
        "thread_id": "thread_1",
        "assistant_id": "asst_1",
        "model": "gpt-4o",
        "instructions": "",
        "tools": [],
        "parallel_tool_calls": True,
        "status": status,
        "usage": None,
        **more,
    }


RUN_USAGE = {"prompt_tokens": 2_000, "completion_tokens": 300, "total_tokens": 2_300}
RUN_COST = 2_000 * 2_500 + 300 * 10_000


def message_batch(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": status,
        "request_counts": {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-02T00:00:00Z",
        "ended_at": None,
        "results_url": None,
        "archived_at": None,
        "cancel_initiated_at": None,
        **more,
    }


def told(body: Any, **more: Any) -> Reply:
    """An answer with this body."""
    return Reply(body=body, **more)


def listed(*jobs: dict[str, Any]) -> Reply:
    """A page of a list."""
    return Reply(
        body={"object": "list", "data": [*jobs], "has_more": False, "first_id": None, "last_id": None}
    )


def thread_events(*events: tuple[str, dict[str, Any]], done: bool = True) -> Reply:
    """A stream of an assistant's run, as it is sent: named events, then one without JSON."""
    frames = [f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events]
    return Reply(
        body="".join([*frames, "event: done\ndata: [DONE]\n\n" * done]).encode(),
        headers={"content-type": "text/event-stream"},
    )


@dataclass(frozen=True)
class Kind:
    """One kind of job, and how its client asks for it."""

    name: str
    start: Callable[[Any], Any]
    ask: Callable[[Any], Any]
    running: dict[str, Any]
    done: dict[str, Any]
    model: str | None = None
    cost: int | None = None
    cancel: Callable[[Any], Any] | None = None
    all: Callable[[Any], Any] | None = None
    has: Callable[[Any], bool] = field(default=lambda _: True)


KINDS = [
    Kind(
        "batch",
        lambda c: c.batches.create(
            input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
        ),
        lambda c: c.batches.retrieve("batch_1"),
        batch("validating"),
        batch("completed", model="gpt-4o", usage=BATCH_USAGE),
        "gpt-4o",
        BATCH_COST,
        lambda c: c.batches.cancel("batch_1"),
        lambda c: c.batches.list(),
    ),
    Kind(
        "video",
        lambda c: c.videos.create(prompt="a farthing turns", seconds="8"),
        lambda c: c.videos.retrieve("video_1"),
        video("queued"),
        video("completed"),
        "sora-2",
        None,
        None,
        lambda c: c.videos.list(),
        lambda c: hasattr(c, "videos"),
    ),
    Kind(
        "fine_tuning",
        lambda c: c.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file="file-1"),
        lambda c: c.fine_tuning.jobs.retrieve("ftjob-1"),
        tuning("validating_files"),
        tuning("succeeded", trained_tokens=5_000),
        "gpt-4o-mini-2024-07-18",
        None,
        lambda c: c.fine_tuning.jobs.cancel("ftjob-1"),
        lambda c: c.fine_tuning.jobs.list(),
    ),
    Kind(
        "eval_run",
        lambda c: c.evals.runs.create(
            "eval_1", data_source={"type": "jsonl", "source": {"type": "file_id", "id": "file-1"}}
        ),
        lambda c: c.evals.runs.retrieve("evalrun_1", eval_id="eval_1"),
        evaluation("queued"),
        evaluation(
            "completed",
            per_model_usage=[
                {
                    "model_name": model,
                    "invocation_count": 2,
                    "prompt_tokens": 1_000,
                    "completion_tokens": 100,
                    "cached_tokens": 0,
                    "total_tokens": 1_100,
                }
                for model in ("gpt-4o", "gpt-4o-mini")
            ],
        ),
        "gpt-4o-mini",
        1_000 * 2_500 + 100 * 10_000 + 1_000 * 150 + 100 * 600,
        lambda c: c.evals.runs.cancel("evalrun_1", eval_id="eval_1"),
        lambda c: c.evals.runs.list("eval_1"),
    ),
    Kind(
        "thread_run",
        lambda c: c.beta.threads.runs.create("thread_1", assistant_id="asst_1"),
        lambda c: c.beta.threads.runs.retrieve("run_1", thread_id="thread_1"),
        thread_run("queued"),
        thread_run("completed", usage=RUN_USAGE),
        "gpt-4o",
        RUN_COST,
        lambda c: c.beta.threads.runs.cancel("run_1", thread_id="thread_1"),
        lambda c: c.beta.threads.runs.list("thread_1"),
    ),
]
