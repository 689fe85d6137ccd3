"""Whether the ledger has what the provider was asked, and the program was answered as without a meter."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from farthing.testing import Request
from frameworks.answering import stated

RATES = {"gpt-4o": (2_500, 1_250, 10_000), "text-embedding-3-small": (20, 20, 0)}
"""Nano-dollars for each input, cached and output token: https://platform.openai.com/docs/pricing."""

REFUSED = 3
"""What `farthing run` exits with when the program dies of a refusal."""

_ROW = (
    "id, request_id, operation, outcome, requested_model, input_tokens, cached_tokens, output_tokens, "
    "reasoning_tokens, usage_source, cost_nano, counted_nano, cost_source"
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a program: what it printed, what the provider was asked, what the ledger has."""

    answers: list[Any]
    requests: Sequence[Request]
    rows: list[Row] = field(default_factory=list)
    held: int = 0
    spent: int = 0
    elsewhere: list[str] = field(default_factory=list)
    """Other machines that it tried to reach."""
    status: int = 0
    """That it exited with."""


def read(path: Path) -> tuple[list[Row], int, int]:
    """The finished calls of a ledger that no process has open, what its windows hold, and have spent."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
        ledger.row_factory = sqlite3.Row
        rows = [dict(row) for row in ledger.execute(f"SELECT {_ROW} FROM calls ORDER BY started_at, id")]
        (running,) = ledger.execute("SELECT count(*) FROM open_calls").fetchone()
        held, spent = ledger.execute(
            "SELECT coalesce(sum(held_nano), 0), coalesce(sum(spent_nano), 0) FROM budget_windows"
        ).fetchone()
    if running:
        rows += [{"request_id": None, "outcome": "still open"}] * running
    return rows, held, spent


def complaints(bare: Ran, metered: Ran) -> list[str]:
    """What is not as it should be; nothing if all is well."""
    return [*of_ledger(metered), *_unchanged(bare, metered)]


def of_ledger(ran: Ran) -> list[str]:
    """The same without an unmetered run to compare it with."""
    said = [f"the program tried to reach {host}" for host in ran.elsewhere]
    return [*said, *_booked_once(ran), *_figures(ran), *_windows(ran)]


def of_refusal(ran: Ran, status: int = REFUSED) -> list[str]:
    """What is wrong with a run whose first call its budget refuses: nothing may be sent, and it says so."""
    said = [f"{len(ran.requests)} requests were sent"] if ran.requests else []
    if ran.rows:
        said.append(f"{len(ran.rows)} calls were booked")
    return said if ran.status == status else [*said, f"the program exited with {ran.status}, not {status}"]


def _booked_once(ran: Ran) -> list[str]:
    sent = Counter(request_id(request) for request in ran.requests)
    booked = Counter(row["request_id"] for row in ran.rows)
    lost, more = sent - booked, booked - sent
    said = []
    if lost:
        said.append(f"not booked: {sorted(lost)}")
    if more:
        said.append(f"booked, and not or not so often sent: {sorted(map(str, more))}")
    if not ran.requests:
        said.append("the program asked nothing")
    return said


def _figures(ran: Ran) -> list[str]:
    by_id = {request_id(request): request for request in ran.requests}
    return [
        f"{row['request_id']} ({request.path}): {wrong}"
        for row in ran.rows
        if (request := by_id.get(row["request_id"])) is not None and (wrong := _wrong(row, request))
    ]


def figures_right(ran: Ran) -> int:
    """Rows with the counts and the cost of the answer to their request."""
    by_id = {request_id(request): request for request in ran.requests}
    return sum(not _wrong(row, by_id[row["request_id"]]) for row in ran.rows if row["request_id"] in by_id)


def _wrong(row: Row, request: Request) -> str:
    should = expected(request)
    wrong = {name: (row.get(name), value) for name, value in should.items() if row.get(name) != value}
    return ", ".join(f"{name} is {is_!r} and not {value!r}" for name, (is_, value) in wrong.items())


def expected(request: Request) -> Row:
    """What the row of a request has to say."""
    counts = stated(request.order)
    model = str(request.model)
    fresh, cached, out = RATES[model]
    row: Row = {
        "outcome": "complete",
        "usage_source": "reported",
        "cost_source": "priced",
        "requested_model": model,
    }
    if request.path.endswith("/embeddings"):
        row |= {"operation": "embedding", "input_tokens": counts["input_tokens"]}
        cost = counts["input_tokens"] * fresh
    else:
        row |= {"operation": "responses" if request.path.endswith("/responses") else "chat", **counts}
        cost = (
            (counts["input_tokens"] - counts["cached_tokens"]) * fresh
            + counts["cached_tokens"] * cached
            + counts["output_tokens"] * out
        )
    return {**row, "cost_nano": cost, "counted_nano": cost}


def _windows(ran: Ran) -> list[str]:
    counted = sum(row.get("counted_nano") or 0 for row in ran.rows)
    said = [] if ran.held == 0 else [f"budgets still hold {ran.held} nano-dollars"]
    return (
        said if ran.spent == counted else [*said, f"budgets have spent {ran.spent}, rows counted {counted}"]
    )


def _unchanged(bare: Ran, metered: Ran) -> list[str]:
    said = []
    if bare.answers != metered.answers:
        differ = [
            f"{mine} instead of {theirs}"
            for mine, theirs in zip(metered.answers, bare.answers, strict=False)
            if mine != theirs
        ]
        count = f"{len(metered.answers)} answers instead of {len(bare.answers)}"
        said.append(f"the program was answered otherwise: {differ[0] if differ else count}")
    before, after = ([asked(request) for request in ran.requests] for ran in (bare, metered))
    if before != after:
        said.append("the provider was asked otherwise than by an unmetered program")
    return said


def asked(request: Request) -> tuple[str, str, Any]:
    """A request without the one thing that may be added to it here: the wish for a stream's usage."""
    body = request.body
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name != "stream_options"}
    return request.method, request.path, body


def request_id(request: Request) -> str:
    """The id that the provider gives to the answer."""
    return f"req_{request.order:06d}"
