"""Jobs that are billed when they end: what their last state says of it."""

from __future__ import annotations

from dataclasses import replace

from farthing.usage.flavours import openai
from farthing.usage.flavours.row import Row

__all__ = ["BATCHES", "EVALS", "FINE_TUNING", "VIDEOS"]

BATCHES = replace(
    openai.EMBEDDINGS,
    name="openai.batches",
    sources=("SDK types/batch.py, types/batch_usage.py: the sum of its requests",),
    status_at=("status",),
    silent_output=False,
    objects=frozenset({"batch"}),
)

VIDEOS = Row(
    name="openai.videos",
    sources=(
        "SDK types/video.py: seconds, as a text of digits; there is no usage object",
        "the same: of an extension, the seconds of the whole",
    ),
    counts={"seconds": "seconds"},
    bare=("seconds",),
    status_at=("status",),
    objects=frozenset({"video"}),
)

FINE_TUNING = Row(
    name="openai.fine_tuning",
    sources=("SDK types/fine_tuning/fine_tuning_job.py: trained_tokens",),
    counts={"trained_tokens": "trained_tokens"},
    bare=("trained_tokens",),
    status_at=("status",),
    objects=frozenset({"fine_tuning.job"}),
)

EVALS = Row(
    name="openai.evals",
    sources=("SDK types/evals/run_retrieve_response.py: per_model_usage, each at its own model's price",),
    counts={
        "prompt_tokens": "input_tokens",
        "completion_tokens": "output_tokens",
        "total_tokens": "total_tokens",
        "cached_tokens": "cached_tokens",
        "invocation_count": "",
        "steps": "",
    },
    parts_at="steps",
    status_at=("status",),
    objects=frozenset({"eval.run"}),
)
