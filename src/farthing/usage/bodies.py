"""Bodies and events -> `Reading`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from farthing.errors import InvalidUsage
from farthing.records import Usage
from farthing.struck import pass_on
from farthing.usage.counts import Absurd, Found, collect, parts_of, settle, stated, units_of
from farthing.usage.flavours import FLAVOURS, row_of
from farthing.usage.flavours.row import Row
from farthing.usage.lines import batch_line
from farthing.usage.paths import WORD, fields_of, first, plain, shown, word
from farthing.usage.reading import Part, Reading
from farthing.usage.reported import reported

__all__ = ["flavour_of", "read", "read_event"]

_DEFAULT = "openai.chat"
_NOTHING = Reading(usage=None)
_USUAL = frozenset({"standard", "default", "on_demand"})
_WHOLES = ("input_tokens", "output_tokens", "total_tokens")


def flavour_of(body: Mapping[str, Any]) -> str:
    """The flavour of a body or event, by its shape; "openai.chat" if nothing tells."""
    told = {value for value in (body.get("object"), body.get("type")) if isinstance(value, str)}
    usage = plain(body.get("usage") or body.get("meta"))
    keys = set(body) | (set(usage) if isinstance(usage, Mapping) else set())
    for name in FLAVOURS:
        row = row_of(name)
        if row is not None and told & row.objects:
            return name
    if "prompt_tokens" not in keys and "object" not in body:
        for name in FLAVOURS:
            row = row_of(name)
            if row is not None and row.marks & keys:
                return name
    if "prompt_tokens" in keys:
        vectors = body.get("object") == "list" or not keys & {"choices", "completion_tokens", "object"}
        return "openai.embeddings" if vectors else _DEFAULT
    responses = "input_tokens" in keys or any(kind.startswith("response.") for kind in told)
    return "openai.responses" if responses else _DEFAULT


def read(body: object, *, flavour: str | None = None, provider: str | None = None) -> Reading:
    """What a body says of itself. Never raises for any JSON value.

    Args:
        body: parsed JSON, or the SDK's object made from it, of which only the fields that matter are
            looked at; also a bare mapping of a model and a usage object, or of a model and counts; without
            a flavour also a line of a batch's results, whose tier is "batch". A `Usage` is what it says.
        flavour: a name of `FLAVOURS`; by the body's shape if it is not given or not known.
        provider: where it comes from, for dialects of a flavour.
    """
    fields = body if type(body) is dict else fields_of(body) or _dumped(body)
    if fields is None:
        return Reading(usage=body) if isinstance(body, Usage) else _NOTHING
    row = row_of(flavour, provider)
    if row is None:
        line = batch_line(fields)
        if line is not None:
            body = line.body
            answer = _NOTHING if body is None else read(body, flavour=flavour_of(body), provider=provider)
            return replace(answer, service_tier="batch")
    if row is None or row.yields:
        row = row_of(flavour_of(fields), provider)
    if row is None:
        return _NOTHING
    for key in row.inside:
        inner = fields.get(key)
        if inner is not None:
            fields = fields_of(inner) or fields
    usage = _usage_at(row, fields)
    if usage is None and _is_bare(row, fields):
        fields = {**fields, row.usage_at[0]: fields}  # where its tier is looked for
    if usage is None or row.items or row.bare:
        usage = _usage_in(row, fields, usage)
    reading = _reading(row, fields, usage)
    return reading if row.apart is None else row.apart(reading)


def read_event(event: Mapping[str, Any], *, flavour: str, provider: str | None = None) -> Reading | None:
    """What one parsed event of a stream says; None if it states no usage."""
    if not isinstance(event, Mapping):
        return None
    row = row_of(flavour, provider) or row_of(_DEFAULT)
    if row is None:
        return None
    fields: Mapping[str, Any] = event
    for key in row.inside:
        inner = event.get(key)
        if isinstance(inner, Mapping):
            fields = inner
    usage = _usage_at(row, fields)
    if usage is None and row.bare:
        usage = _measures_in(row, fields, None)
    if usage is None:
        return None
    reading = _reading(row, fields, usage)
    stating = reading.usage is not None or reading.suspect or reading.reported_nano is not None
    return reading if stating else None


def _usage_at(row: Row, fields: Mapping[str, Any]) -> Any:
    for path in row.usage_at:
        value = fields.get(path) if "." not in path else first(fields, path)
        if value is not None and not (isinstance(value, dict) and not value):
            return value
    return None


def _usage_in(row: Row, fields: Mapping[str, Any], usage: Any) -> Any:
    """What a body counts beside its usage object, if it has one; of a bare body, those fields that are
    counts."""
    if row.items or row.bare:
        return _measures_in(row, fields, usage)
    if not _is_bare(row, fields):
        return None
    return {key: value for key, value in fields.items() if key in row.tree and key != "service_tier"}


def _measures_in(row: Row, fields: Mapping[str, Any], usage: Any) -> Any:
    """The usage object with what a body counts beside it, or states in its place; None without both."""
    if usage is None:
        usage = {key: fields[key] for key in row.bare if fields.get(key) is not None}
    inner = plain(usage)
    if not isinstance(inner, Mapping):
        return usage
    items = {name: len(fields[key]) for key, name in row.items.items() if isinstance(fields.get(key), list)}
    return {**inner, **items} or None


def _is_bare(row: Row, fields: Mapping[str, Any]) -> bool:
    """Whether a body is its own usage object: it states a whole count, or what holds the counts."""
    return any(
        value is not None and (row.tree.get(key) in _WHOLES or (key in row.marks and key in row.tree))
        for key, value in fields.items()
    )


def _dumped(body: object) -> Mapping[str, Any] | None:
    """An object that is no mapping and shows no fields may still know how to dump itself."""
    dump = getattr(body, "model_dump", None)
    if not callable(dump) or isinstance(body, type):
        return None
    try:
        dumped = dump()
    except Exception as error:  # noqa: BLE001 - whatever it does, an answer that was paid for is returned
        pass_on(error)
        return None
    return dumped if isinstance(dumped, Mapping) else None


def _reading(row: Row, fields: Mapping[str, Any], usage: Any) -> Reading:
    whole = usage
    if type(usage) is not dict and not isinstance(usage, Usage):
        inside = fields_of(usage)
        as_it_is = inside is not None and row.parts_at is None and inside.get("cost") is None
        usage = inside if as_it_is else plain(usage)
    beside = _beside(row, fields) if row.beside and fields.get(row.beside_at) is not None else None
    counts: Usage | None = None
    found: Found = {}
    units: dict[str, int | str] | None = None
    parts: tuple[Part, ...] = ()
    clamped = suspect = keep = False
    tier: int | str | None = None
    money: int | None = None
    if type(usage) is dict or isinstance(usage, Mapping):
        money = reported(usage) if "cost" in usage or "cost_in_usd_ticks" in usage else None
        try:
            keep = collect(row.tree, usage, found)
            if beside:
                found.update({name: max(found.get(name, 0), value) for name, value in beside.items()})
            if row.further is not None:
                row.further(fields, found)
            counts, clamped, loses = settle(row, found)
            keep = keep or (loses and stated(plain(whole)))
            if row.parts_at is not None and usage.get(row.parts_at):
                parts = parts_of(row, usage[row.parts_at])
                counts, keep = _sum(parts, counts), keep or bool(parts)
            units = units_of(found)
        except Absurd:
            counts, units, parts, clamped, suspect, keep = None, None, (), False, True, True
        if row.labels:
            units = _labels(row, usage, units)
            tier = (units or {}).get(row.tier_label) if row.tier_label is not None else None
    elif isinstance(usage, Usage):
        counts = usage
    elif usage is not None:
        suspect = keep = stated(usage)
    return Reading(
        counts,
        _name(fields, row.model_at),
        str(tier) if tier else _name(fields, row.tier_at) if len(row.tier_at) == 1 else _tier(fields, row),
        _name(fields, row.id_at),
        money,
        shown(plain(whole)) if keep else None,
        units,
        clamped,
        suspect,
        _name(fields, row.status_at) if row.status_at else None,
        parts,
        row.name,
        found if row.fieldwise and not suspect else None,
    )


def _name(fields: Mapping[str, Any], paths: tuple[str, ...]) -> str | None:
    for path in paths:
        value = first(fields, path) if "." in path else fields.get(path)
        if type(value) is str and 0 < len(value) <= WORD:
            return value
        name = None if value is None else word(value)
        if name is not None:
            return name
    return None


def _tier(fields: Mapping[str, Any], row: Row) -> str | None:
    """The first unusual one, where a body may name several."""
    said = [name for path in row.tier_at if (name := _name(fields, (path,))) is not None]
    said = [row.tiers.get(name, name) for name in said]
    return (
        next((name for name in said if name and name.lower() not in _USUAL), said[0] if said else None)
        or None
    )


def _beside(row: Row, fields: Mapping[str, Any]) -> Found:
    """Counts outside the usage object. An absurd one is left out: it must not hide what was billed."""
    found: Found = {}
    for path, name in row.beside.items():
        value = first(fields, path)
        if type(value) is int and 0 < value <= 2**53:
            found[name] = value
    return found


def _labels(
    row: Row, usage: Mapping[str, Any], units: dict[str, int | str] | None
) -> dict[str, int | str] | None:
    for key, usual in row.labels.items():
        value = word(usage.get(key))
        if value is not None and value not in usual:
            units = {**(units or {}), key: value}
    return units


def _sum(parts: tuple[Part, ...], whole: Usage | None) -> Usage | None:
    """All steps together; the top level of such a body leaves some of them out."""
    if not parts:
        return whole
    try:
        total = reduce(add, (part.usage for part in parts))
        known = whole.reasoning_tokens if whole is not None else None
        if total.reasoning_tokens is None and known is not None:
            total = replace(total, reasoning_tokens=min(known, total.output_tokens or 0))
        return replace(total, web_searches=whole.web_searches) if whole is not None else total
    except InvalidUsage:
        raise Absurd from None
