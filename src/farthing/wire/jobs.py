"""Work that is billed later than its first answer: a table of what starts it, and of what tells how it ended.

A further kind is a row. Read on 2026-11-21 in the openai package 3.52 (`resources/**`, `types/**`) and the
anthropic package 2.11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from farthing.wire.route import Route, fits, steps

__all__ = ["GOING_ON", "JOBS", "JOB_ROUTES", "Asked", "Job", "job_asked", "job_made"]

Fields = Mapping[str, Any]

GOING_ON = frozenset({"queued", "in_progress"})
"""Of a response that will finish later (SDK types/responses/response_status.py)."""

_HOUR = 3_600 * 10**9
_A_DAY = 26 * _HOUR
"""What must be done within 24 hours, with an hour to finish and one to be asked for."""


def _never(_: Fields) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One kind of work.

    Attributes:
        kind: its name in the ledger.
        starts: requests that start one.
        if_field: the field of the request that makes it one; "" if it always is.
        asks: (method, path) of requests whose answer is the job; the last star is its id.
        lists: paths whose answers list jobs.
        lines: path of its results, one to a line, which alone say what it was billed on; "" if the job does.
        status: the field that tells how far it is.
        ends: what that says when it has ended.
        nothing_billed: tells of an ended job whether it cannot have cost anything.
        flavour: how it states its usage.
        within: key of the event of a stream that holds it; "" where the event itself is it.
        object: what it calls itself.
        waits_ns: how long its result is waited for.
    """

    kind: str
    starts: tuple[Route, ...]
    if_field: str = ""
    asks: tuple[tuple[str, str], ...]
    lists: tuple[str, ...] = ()
    lines: str = ""
    status: str = "status"
    ends: frozenset[str]
    nothing_billed: Callable[[Fields], bool] = _never
    flavour: str
    within: str = ""
    object: str = ""
    waits_ns: int = _A_DAY


def _route(path: str, flavour: str, operation: str = "other", **more: Any) -> Route:
    return Route(path, operation, flavour, "", measure="work", **more)


def _video(path: str, **more: Any) -> Route:
    return _route(path, "openai.videos", "video", labels=("size",), **more)


def _number(value: object) -> int:
    return value if type(value) is int else 0


def _inside(fields: Fields, name: str) -> Fields:
    """A field that is an object, of JSON or of an SDK."""
    value = fields.get(name)
    return value if isinstance(value, Mapping) else getattr(value, "__dict__", None) or {}


def _never_began(batch: Fields) -> bool:
    """`failed` is what did not pass the validation of its input (platform.openai.com/docs/guides/batch)."""
    return (
        batch.get("status") == "failed"
        and not _number(_inside(batch, "usage").get("total_tokens"))
        and not _number(_inside(batch, "request_counts").get("completed"))
    )


def _bad_file(job: Fields) -> bool:
    """Its error names a parameter, "usually `training_file`" (SDK types/fine_tuning/fine_tuning_job.py)."""
    named = _inside(job, "error").get("param")
    return job.get("status") == "failed" and bool(named) and not job.get("trained_tokens")


def _none_succeeded(batch: Fields) -> bool:
    """What erred, was cancelled or expired is not billed (platform.claude.com, "Batch processing")."""
    counts = _inside(batch, "request_counts")
    return type(counts.get("succeeded")) is int and counts["succeeded"] == 0


JOBS: tuple[Job, ...] = (
    Job(
        kind="response",
        starts=(),  # /responses is a route of its own
        if_field="background",
        asks=(("get", "responses/*"), ("post", "responses/*/cancel")),
        ends=frozenset({"completed", "failed", "incomplete", "cancelled"}),
        flavour="openai.responses",
        within="response",
        object="response",
    ),
    Job(
        kind="batch",
        starts=(_route("/batches", "openai.batches", "batch", tier="batch"),),
        asks=(("get", "batches/*"), ("post", "batches/*/cancel")),
        lists=("batches",),
        ends=frozenset({"completed", "failed", "expired", "cancelled"}),
        nothing_billed=_never_began,
        flavour="openai.batches",
        object="batch",
    ),
    Job(
        kind="message_batch",
        starts=(_route("/v1/messages/batches", "anthropic.batches", "batch", tier="batch"),),
        asks=(("get", "messages/batches/*"), ("post", "messages/batches/*/cancel")),
        lists=("messages/batches",),
        lines="messages/batches/*/results",
        status="processing_status",
        ends=frozenset({"ended"}),
        nothing_billed=_none_succeeded,
        flavour="anthropic.batches",
        object="message_batch",
    ),
    Job(
        kind="video",
        starts=(
            _video("/videos", model="sora-2"),
            _video("/videos/edits"),
            _video("/videos/extensions"),
            _video("/videos/*/remix"),
        ),
        asks=(("get", "videos/*"),),
        lists=("videos",),
        ends=frozenset({"completed", "failed"}),
        nothing_billed=lambda video: video.get("status") == "failed",
        flavour="openai.videos",
        object="video",
    ),
    Job(
        kind="fine_tuning",
        starts=(_route("/fine_tuning/jobs", "openai.fine_tuning"),),
        asks=(
            ("get", "fine_tuning/jobs/*"),
            ("post", "fine_tuning/jobs/*/cancel"),
            ("post", "fine_tuning/jobs/*/pause"),
        ),
        lists=("fine_tuning/jobs",),
        ends=frozenset({"succeeded", "failed", "cancelled"}),
        nothing_billed=_bad_file,
        flavour="openai.fine_tuning",
        object="fine_tuning.job",
        # Nothing limits its queue and its training, and no money is held while it is waited for, as its
        # request does not show what it will read.
        waits_ns=30 * 24 * _HOUR,
    ),
    Job(
        kind="eval_run",
        starts=(_route("/evals/*/runs", "openai.evals"),),
        asks=(
            ("get", "evals/*/runs/*"),
            ("post", "evals/*/runs/*"),
            ("post", "evals/*/runs/*/cancel"),
        ),
        lists=("evals/*/runs",),
        ends=frozenset({"completed", "failed", "canceled", "cancelled"}),
        flavour="openai.evals",
        object="eval.run",
    ),
    Job(
        kind="thread_run",
        starts=(_route("/threads/*/runs", "openai.assistants"), _route("/threads/runs", "openai.assistants")),
        asks=(
            ("get", "threads/*/runs/*"),
            ("post", "threads/*/runs/*"),
            ("post", "threads/*/runs/*/cancel"),
            ("post", "threads/*/runs/*/submit_tool_outputs"),
        ),
        lists=("threads/*/runs",),
        ends=frozenset({"completed", "failed", "incomplete", "cancelled", "expired"}),
        flavour="openai.assistants",
        object="thread.run",
        waits_ns=2 * _HOUR,  # it expires ten minutes after it began (API reference, Runs)
    ),
)

JOB_ROUTES: tuple[Route, ...] = tuple(route for job in JOBS for route in job.starts)

_BY_ROUTE = {route.path: job for job in JOBS for route in job.starts} | {"/responses": JOBS[0]}


def job_made(route: Route, body: Fields) -> Job | None:
    """What a request starts that goes on after its first answer; None for any other."""
    job = _BY_ROUTE.get(route.path)
    return job if job is None or not job.if_field or body.get(job.if_field) else None


class Asked(NamedTuple):
    """A request that may learn how jobs ended.

    Attributes:
        id: of the one that it asks for; "" if it lists them.
        lines: True if its answer is the results, one to a line.
    """

    job: Job
    id: str
    lines: bool = False


@lru_cache(maxsize=1024)
def job_asked(method: str, url: str) -> Asked | None:
    """What a request asks for; None for one that asks for no job."""
    method = method.lower()
    if method not in ("get", "post"):
        return None
    parts = steps(url)
    for job in JOBS:
        for wanted, path in job.asks:
            pattern = path.split("/")
            if wanted == method and fits(parts, pattern):
                return Asked(job, parts[len(pattern) - 1 - pattern[::-1].index("*")])
        if method != "get":
            continue
        if job.lines and fits(parts, job.lines.split("/")):
            return Asked(job, parts[-2], lines=True)
        if any(fits(parts, path.split("/")) for path in job.lists):
            return Asked(job, "")
    return None
