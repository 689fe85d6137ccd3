"""Recorded usage of real providers is read as their own arithmetic says, count by count.

The cases are read where they are; the fields are described in their README. `expected` is only compared with.
"""

from __future__ import annotations

import json
import os
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from farthing import usage as reader
from farthing.usage import Reading, finished, flavour_of, merge, read, read_event, visible

CASES = Path(__file__).resolve().parents[1] / "../shared/cases"

COUNTS = {
    "input_tokens": "input_tokens",
    "cached_read_tokens": "cached_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_5m_tokens": "cache_write_5m_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "output_tokens": "output_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "audio_input_tokens": "audio_input_tokens",
    "audio_output_tokens": "audio_output_tokens",
    "web_search_requests": "web_searches",
}


def load(name: str) -> Any:
    path = CASES / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


ALL = load("usage_cases.json")
BODIES = load("bodies/index.json") or {}
BY_ID = {case["id"]: case for case in ALL + load("iterations_cases.json")}


def flavour_of_file(name: str) -> str:
    return ".".join(name.split(".")[:2])


def test_the_cases_are_there():
    if ALL:
        assert len(ALL) > 200
        assert {case["wire"] for case in BY_ID.values()} <= set(reader.FLAVOURS)
        assert {flavour_of_file(name) for name in BODIES} <= set(reader.FLAVOURS)
        return
    if os.environ.get("CI"):
        pytest.fail(f"no cases at {CASES}")
    pytest.skip(f"no cases at {CASES}")


def counts_of(case: dict[str, Any], reading: Reading | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was read and what is expected."""
    assert reading is not None
    assert reading.usage is not None
    got = {theirs: getattr(reading.usage, ours) for theirs, ours in COUNTS.items()}
    expected = {theirs: case["expected"].get(theirs) for theirs in COUNTS}
    return got, expected


def body_of(case: dict[str, Any]) -> dict[str, Any]:
    fields = {key: value for key, value in case["response_fields"].items() if key != "item_types"}
    return {"model": case["model"], **fields, case["usage_at"]: case["usage"]}


def event_of(case: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    inner: Any = event["usage"]
    for key in reversed(event["at"].split(".")):
        inner = {key: inner}
    kind = "object" if case["wire"] in {"openai.chat", "openai.assistants"} else "type"
    choices = {"choices": [{"index": 0, "delta": {}}] * event["choices"]} if "choices" in event else {}
    return {kind: event["type"], **choices, **inner}


def replayed(case: dict[str, Any]) -> Reading | None:
    events = (event_of(case, event) for event in case["usage_events"])
    readings = (read_event(event, flavour=case["wire"]) for event in events)
    return reduce(lambda so_far, new: merge(so_far, new) if new else so_far, readings, None)


@pytest.mark.parametrize("case", [c for c in ALL if not c["stream"]], ids=lambda case: case["id"])
def test_a_body_is_counted_as_its_provider_counts(case):
    body = body_of(case)
    got, expected = counts_of(case, read(body, flavour=case["wire"], provider=case["provider"]))
    assert got == expected
    assert flavour_of(body) == case["wire"] or case["wire"] == "openai.completions"


@pytest.mark.parametrize("case", [c for c in ALL if c["stream"]], ids=lambda case: case["id"])
def test_a_stream_is_counted_as_its_provider_counts(case):
    got, expected = counts_of(case, replayed(case))
    assert got == expected


@pytest.mark.parametrize(
    "case", [c for c in ALL if "reported_cost_usd" in c["expected"]], ids=lambda case: case["id"]
)
def test_the_providers_own_money_is_read_to_the_last_digit(case):
    reading = replayed(case) if case["stream"] else read(body_of(case), flavour=case["wire"])
    details = case["usage"]["cost_details"]
    own_key = case["usage"]["is_byok"]
    stated = float(case["expected"]["reported_cost_usd"]) + own_key * (
        details["upstream_inference_cost"] or 0
    )
    assert reading.reported_nano == round(stated * 10**9)


@pytest.mark.parametrize("name", [n for n in BODIES if n.endswith(".json") and ".stream." not in n])
def test_a_whole_recorded_body_is_read_and_its_flavour_is_told_by_its_shape(name):
    body = load(f"bodies/{name}")
    assert flavour_of(body) == flavour_of_file(name)
    reading = read(body)
    case = BY_ID[BODIES[name]["case"]]
    if "iterations" in case["expected"]:
        for part, step in zip(reading.parts, case["expected"]["iterations"], strict=True):
            assert (part.kind, part.model or case["model"]) == (step["type"], step["model"])
            assert part.usage.input_tokens == step["input_tokens"]
            assert part.usage.output_tokens == step["output_tokens"]
        wanted = {key: case["expected"][key] for key in ("input_tokens", "output_tokens")}
        assert wanted == {key: getattr(reading.usage, key) for key in wanted}
        return
    got, expected = counts_of(case, reading)
    assert got == expected
    assert reading.model == (case["model"] if "model" in body or "modelVersion" in body else None)
    assert not reading.clamped
    assert not reading.suspect


def events_in(name: str) -> list[dict[str, Any]]:
    if name.endswith(".json"):
        return load(f"bodies/{name}")
    lines = (CASES / "bodies" / name).read_text(encoding="utf-8").splitlines()
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    return [json.loads(item) for item in data if item != "[DONE]"]


@pytest.mark.parametrize("name", [n for n in BODIES if n.endswith((".sse", ".stream.json"))])
def test_a_whole_recorded_stream_is_read(name):
    flavour, events = flavour_of_file(name), events_in(name)
    reading: Reading | None = None
    for event in events:
        new = read_event(event, flavour=flavour)
        reading = merge(reading, new) if new else reading
    assert set(visible(flavour, events).replace("hello", "").replace("lookup", "")) <= {"{", "}"}
    assert "hello" in visible(flavour, events) or "{}" in visible(flavour, events)
    assert any(finished(event, flavour) for event in events) or flavour == "openai.assistants"
    case_id = BODIES[name]["case"]
    if case_id is None:
        assert reading is None
        return
    case = BY_ID[case_id]
    got, expected = counts_of(case, reading)
    assert got == expected
    named = {read(event, flavour=flavour).model for event in events} - {None}
    assert not named or case["model"] in {*named, *(f"anthropic.{name}-v1:0" for name in named)}


def test_what_the_columns_give_back_is_not_kept_a_second_time():
    kept = {
        case["id"]: reading.raw
        for case in ALL
        if case["wire"].startswith("openai.")
        and (reading := replayed(case) if case["stream"] else read(body_of(case), flavour=case["wire"])).raw
    }
    assert len(kept) <= len(ALL) // 100, kept
