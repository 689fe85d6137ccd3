"""What a metered call costs, in what can be counted: functions of farthing, files, threads.

Times are measured in `benchmarks/overhead.py`; this is here so that nobody adds to each call by accident.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from openai import OpenAI

import farthing
from farthing import Meter, wire
from farthing.catalog import default
from farthing.guard import holding
from farthing.quote import quote
from farthing.settings import Who
from farthing.wire import asking

SOURCE = str(Path(farthing.__file__).parent)
LEDGER = str(Path(SOURCE, "ledger"))

MOST = 140
"""Functions of farthing on the way of one call, without those of the ledger."""

FEW = 5
"""Functions that a call may run more once the bills of its model are known to exceed the counts."""

CALL: dict[str, Any] = {"model": "gpt-4o", "max_tokens": 300}


@pytest.fixture
def call(provider, ledger_path) -> Iterator[Callable[[], Any]]:
    """A warm call with one hard budget, with a text of its own each time."""
    numbers = iter(range(1_000_000))
    with Meter(ledger_path, durability="fast") as meter:
        client = meter.wrap(
            OpenAI(base_url=provider.base_url, api_key="test", max_retries=0), budget="$1000/day"
        )

        def ask() -> Any:
            text = f"{next(numbers):06d}: what is the smallest bird in the hedge?"
            return client.chat.completions.create(messages=[{"role": "user", "content": text}], **CALL)

        for _ in range(5):
            assert meter.receipt(ask()).outcome == "complete"
        yield ask


def functions(work: Callable[[], Any]) -> list[str]:
    """The functions of farthing that it runs in this thread, but for those of the ledger."""
    ran: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(SOURCE) and not file.startswith(LEDGER):
            ran.append(frame.f_code.co_qualname)

    gc.disable()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return ran


def test_a_call_runs_few_functions(call):
    ran = min((functions(call) for _ in range(5)), key=len)
    assert "Guard.acquire" in ran, "the path of a call is no longer what is counted here"
    assert len(ran) <= MOST, ran


def test_a_further_call_runs_no_more_than_the_one_before(call):
    """Nothing piles up: not with what was remembered of texts, rates and settings."""
    before = min((functions(call) for _ in range(5)), key=len)
    for _ in range(200):
        call()
    after = min((functions(call) for _ in range(5)), key=len)
    assert len(after) <= len(before) + FEW


def test_what_is_made_field_by_field_has_every_field():
    """A field that is added later must not be forgotten there: to make one anew asks for all of them."""
    asked = wire.read_request("post", "/chat/completions", {**CALL, "messages": []})
    assert asked is not None
    quoted = quote(asked, default(), provider="openai", base_url=None, at_ns=0)
    assert replace(quoted) == quoted
    wanted = holding.wanted(quoted, Who(), (), (), call_id="", now_ns=0, elastic=False, epoch=0)
    assert replace(wanted) == wanted


def test_an_end_has_every_field(provider, ledger_path):
    with Meter(ledger_path) as meter:
        client = meter.wrap(OpenAI(base_url=provider.base_url, api_key="test", max_retries=0))
        answer = client.chat.completions.create(messages=[{"role": "user", "content": "hi"}], **CALL)
        found = meter.engine.receipts.find(answer)
        assert found is not None
        assert found.settlement is not None
        assert replace(found.settlement) == found.settlement


PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a farthing?"}]


SAYS_MORE: dict[str, Any] = {
    "conversation": "conv_1",
    "functions": [{"name": "f"}],
    "n": 2,
    "best_of": 2,
    "previous_response_id": "resp_1",
    "prediction": {"type": "content", "content": "x"},
    "prompt": {"id": "pmpt_1"},
    "reasoning": {"effort": "high"},
    "response_format": {"type": "json_object"},
    "search_parameters": {"mode": "on"},
    "service_tier": "flex",
    "speed": "fast",
    "text": {"format": {"type": "json_schema"}},
    "thinking": {"type": "enabled"},
    "tools": [{"type": "web_search"}],
    "web_search_options": {},
}
"""Fields that change what a call may cost, or how it is counted."""


@pytest.mark.parametrize("path", [route.path for route in wire.ROUTES if "*" not in route.path])
@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4o-search-preview", "sonar-deep-research", "claude-sonnet-4-5"]
)
def test_a_request_of_usual_fields_is_read_as_any_other(path, model):
    """One that says nothing is all that is added for that."""
    usual: dict[str, Any] = dict.fromkeys(asking._PLAIN, 7)
    usual |= {"model": model, "messages": PROMPT, "input": "What is a farthing?", "system": "Be brief."}
    quickly = wire.read_request("post", path, usual)
    slowly = wire.read_request("post", path, {**usual, "n": None})
    assert quickly is not None
    assert slowly is not None
    assert quickly.plain
    assert not slowly.plain
    assert quickly == replace(slowly, body=usual, sent=usual, plain=True)
    for field, said in SAYS_MORE.items():
        assert not wire.read_request("post", path, {**usual, field: said}).plain, field
    if quickly.route.measure == "tokens":
        price = {"provider": None, "base_url": None, "at_ns": 0}
        fast, slow = (quote(each, default(), **price) for each in (quickly, slowly))
        assert fast == replace(slow, ask=quickly)


_watching: list[list[str]] = []


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if event in {"open", "sqlite3.connect", "subprocess.Popen"}:
        for seen in _watching:
            seen.append(event)


@pytest.fixture
def seen(monkeypatch) -> Iterator[list[str]]:
    """Files that are opened and threads that are started from here on, wherever that is."""
    if not getattr(sys, "_farthing_audited", False):  # a hook cannot be taken out again
        sys._farthing_audited = True  # type: ignore[attr-defined]
        sys.addaudithook(_audit)
    found: list[str] = []
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        found.append("thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)
    _watching.append(found)
    yield found
    _watching.remove(found)


def test_a_call_opens_no_file_and_starts_no_thread(call, seen):
    seen.clear()
    for _ in range(3):
        call()
    assert seen == []


def test_the_watch_sees_files_and_threads(seen, tmp_path):
    seen.clear()
    (tmp_path / "file").write_text("x")
    thread = threading.Thread(target=str)
    thread.start()
    thread.join()
    assert seen == ["open", "thread"]
