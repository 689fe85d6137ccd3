"""Jobs that have ended -> `Reading`: one answer of many requests, maybe of several models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from farthing.errors import InvalidUsage
from farthing.records import Usage
from farthing.usage.bodies import read
from farthing.usage.paths import fields_of, plain
from farthing.usage.reading import Part, Reading

__all__ = ["MANY", "job_fields", "read_job", "read_results"]

MANY = "requests"
"""Kind of a part that is the sum of several requests, whose single lengths nobody states."""


def job_fields(body: object) -> Mapping[str, Any] | None:
    """The fields of a job or of a list of jobs: parsed JSON, or an object of an SDK; None if it has none."""
    return fields_of(body)


def read_job(body: object, *, flavour: str, provider: str | None = None) -> Reading:
    """What a job that has ended says that it was billed on. Never raises for any JSON value."""
    if flavour == "openai.responses":
        return read(body, flavour=flavour, provider=provider)
    if flavour == "openai.evals":
        body = _eval(fields_of(body) or {})
    reading = read(body, flavour=flavour, provider=provider)
    if reading.usage is None or reading.usage.total_tokens is None:
        return reading
    parts = reading.parts or (Part(kind=MANY, model=None, usage=reading.usage),)
    return replace(reading, parts=tuple(replace(part, kind=MANY) for part in parts))


def _eval(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run of an eval with its models' counts as the steps of one usage object."""
    listed = plain(run.get("per_model_usage"))
    models = [model for model in listed if isinstance(model, Mapping)] if isinstance(listed, list) else []
    steps = [
        {
            "type": MANY,
            "model": model.get("model_name") or model.get("run_model_name"),
            **{key: value for key, value in model.items() if not key.endswith("model_name")},
        }
        for model in models
    ]
    return {**run, "usage": {"steps": steps}} if steps else {**run, "usage": None}


def read_results(messages: Iterable[object], *, provider: str | None = None) -> Reading:
    """What the messages of a batch of Anthropic's were billed on together; each stays a part of its own, as
    long input is priced by the request."""
    parts: list[Part] = []
    usages: list[Usage] = []
    units: dict[str, int | str] = {}
    suspect = silent = clamped = False
    for message in messages:
        reading = read(message, flavour="anthropic.messages", provider=provider)
        suspect, clamped = suspect or reading.suspect, clamped or reading.clamped
        if reading.usage is None:
            silent = True
            continue
        usages.append(reading.usage)
        for part in reading.parts or (Part(kind="message", model=None, usage=reading.usage),):
            # Searches are fees of the whole answer (see `farthing.quote`).
            alone = replace(part.usage, web_searches=None) if part.usage.web_searches else part.usage
            parts.append(replace(part, model=part.model or reading.model, usage=alone))
        for name, count in (reading.units or {}).items():
            before = units.get(name, 0)
            units[name] = before + count if isinstance(count, int) and isinstance(before, int) else count
    if suspect or silent or not parts:
        return Reading(usage=None, suspect=suspect)
    try:
        total = reduce(add, usages)
    except InvalidUsage:
        return Reading(usage=None, suspect=True)
    model = parts[0].model if len({part.model for part in parts}) == 1 else None
    return Reading(usage=total, model=model, parts=tuple(parts), units=units or None, clamped=clamped)
