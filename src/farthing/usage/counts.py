"""Usage object -> counts: one pass over it, then the arithmetic of its row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from farthing.records import Usage
from farthing.usage.flavours.row import IGNORED, Labelled, Positive, Row
from farthing.usage.paths import fields_of, plain
from farthing.usage.reading import Part

__all__ = ["Absurd", "Found", "collect", "parts_of", "settle", "stated", "units_of"]

Found = dict[str, Any]
"""Count -> what was found: an int, or a Decimal for `seconds`."""

MAX = 2**53
"""No count is larger: beyond it JSON readers disagree about the number."""

_DEEP = 8
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
"""Durations are texts in some bodies: those of videos, and of transcriptions by older servers."""
_LABELS = ("modality", "ttl")
_AMOUNTS = ("tokenCount", "token_count", "inputTokens", "tokens")

_COLUMNS = frozenset(
    {"input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"}
)
_WORKING = frozenset({"total_tokens", "tool_input_tokens"})
_WHOLES = frozenset({"input_tokens", "output_tokens", "total_tokens"})
_ALONE = ("seconds", "characters", "images", "pages", "search_units", "classifications", "trained_tokens")
"""Counts that an answer may be billed by without any tokens."""


class Absurd(Exception):
    """A count is negative, above 2**53 or no number at all."""


def collect(tree: Mapping[str, Any], usage: Mapping[str, Any], found: Found) -> bool:
    """Put what `usage` states into `found`; True if it states more than that. Inside it may be objects of an
    SDK, which are looked into and not copied.

    Raises:
        Absurd: for a count that cannot be one.
    """
    more, name_of, note = False, tree.get, found.setdefault
    for key, value in usage.items():
        if value is None:
            continue
        name = name_of(key)
        if name is None:
            more = more or stated(plain(value))
        elif type(name) is str:
            if type(value) is not int or value < 0 or value > MAX:
                if not value and name not in _WHOLES and not isinstance(value, (int, float, str, Decimal)):
                    continue  # {}, as Mistral states no audio, or what an SDK has in a field that is not set
                value = _number(name, value)  # noqa: PLW2901
            before = note(name, value)
            if before is not value and before != value:
                more = True
                found[name] = max(before, value)
        elif type(name) is dict:
            inside = value if type(value) is dict else fields_of(value)
            more = (stated(value) if inside is None else collect(name, inside, found)) or more
        elif type(name) is Positive:
            if value:
                note(str(name), value if type(value) is int and 0 <= value <= MAX else _number(name, value))
        elif type(name) is Labelled:
            more = _listed(name, plain(value), found) or more
    return more


def _number(name: str, value: object) -> int | Decimal:
    if name == "seconds" and isinstance(value, str) and _SECONDS.fullmatch(value):
        value = Decimal(value)
    if type(value) is float or (name == "seconds" and isinstance(value, (int, Decimal))):
        number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
        if number.is_finite() and 0 <= number <= MAX:
            if name == "seconds":
                return number
            if number == int(number):  # a server whose JSON writer knows only one kind of number
                return int(number)
    raise Absurd


def _listed(labels: Labelled, value: object, found: Found) -> bool:
    """A list of counts by modality. Of two entries of one modality both count."""
    if not isinstance(value, list):
        return stated(value)
    more, sums = False, dict[str, int]()
    for entry in value:
        if not isinstance(entry, Mapping):
            more = more or stated(entry)
            continue
        label = next((entry[k] for k in _LABELS if k in entry), None)
        amount = next((entry[k] for k in _AMOUNTS if k in entry), None)
        name = labels.get(label) if isinstance(label, str) else None
        if name is None:
            more = more or stated(amount)
        elif name is not IGNORED and amount is not None:
            if type(amount) is not int or not 0 <= amount <= MAX:
                amount = _number(name, amount)
            sums[name] = sums.get(name, 0) + int(amount)
    found.update({name: min(amount, MAX) for name, amount in sums.items()})
    return more


def stated(value: object, depth: int = 0) -> bool:
    """Whether a value says anything: not so null, zero, "", and containers of nothing else."""
    if not value or depth > _DEEP:
        return bool(value)
    if isinstance(value, Mapping):
        return any(stated(inner, depth + 1) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return any(stated(inner, depth + 1) for inner in value)
    return True


def settle(row: Row, found: Found) -> tuple[Usage | None, bool, bool]:
    """The usage that `found` amounts to, whether it was clamped, and whether the columns lose something.

    The whole counts are made first: what the row says is left out is added, and a total that leaves room
    for more output is believed. Parts that are then larger than their whole are cut to it, whereby reads
    of a cache come before writes.

    Raises:
        Absurd: for sums above 2**53.
    """
    get = found.get
    cached, written = get("cached_tokens"), get("cache_write_tokens")
    five, hour = get("cache_write_5m_tokens"), get("cache_write_1h_tokens")
    if written is None and (five is not None or hour is not None):
        written = (five or 0) + (hour or 0)
    inp, out, guessed = _wholes(row, found, cached, written)
    if inp is None and out is None and not any(name in found for name in _ALONE):
        return None, False, True
    seconds, reasoning = get("seconds"), get("reasoning_tokens")
    heard, spoken = get("audio_input_tokens"), get("audio_output_tokens")
    looked, drawn = get("image_input_tokens"), get("image_output_tokens")
    clamped, room, total = False, inp or 0, get("total_tokens")
    if (cached or 0) + (written or 0) > room or (heard or 0) > room or (looked or 0) > room:
        clamped = True
        cached, heard, looked = _cut(inp, cached), _cut(inp, heard), _cut(inp, looked)
        written = _cut(inp, written, cached)
    made = out or 0
    if room > MAX or made > MAX:
        raise Absurd
    if (reasoning or 0) > made or (spoken or 0) > made or (drawn or 0) > made:
        clamped = True
        reasoning, spoken, drawn = _cut(out, reasoning), _cut(out, spoken), _cut(out, drawn)
    if (five or 0) + (hour or 0) > (written or 0):
        clamped = True
        hour = _cut(written, hour)  # the dearer hour first: what is cut is cut from the five minutes
        five = _cut(written, five, hour)
    usage = Usage.in_order(
        (
            inp,
            cached,
            written,
            five,
            hour,
            out,
            reasoning,
            heard,
            spoken,
            looked,
            drawn,
            None if seconds is None else Decimal(seconds),
            get("characters"),
            get("images"),
            get("web_searches"),
        )
    )
    loses = guessed or clamped or (total is not None and total != room + made)
    return usage, clamped, loses


def _cut(whole: int | None, part: int | None, taken: int | None = None) -> int | None:
    """A part, no larger than its whole leaves room for; that of an unknown whole is unknown."""
    return None if whole is None or part is None else min(part, whole - (taken or 0))


def _wholes(
    row: Row, found: Found, cached: int | None, written: int | None
) -> tuple[int | None, int | None, bool]:
    """All input, all output, and whether one of them is not what the provider calls so."""
    get = found.get
    inp, out, total = get("input_tokens"), get("output_tokens"), get("total_tokens")
    silent = row.silent_output and (inp is not None or total is not None)
    if out is None and silent and not (row.total_binds and inp is not None and total is not None):
        out = 0
    aside, reasoning = (cached or 0) + (written or 0), get("reasoning_tokens")
    if inp is None and total is not None and out is not None:
        return max(0, total - (out or 0)), out, True
    if inp is not None:
        if row.cache_outside and (not aside or total is None or total != inp + (out or 0)):
            inp += aside
        inp += get("tool_input_tokens") or 0
    if reasoning and "citation_tokens" in found:  # Perplexity's Deep Research, whose total leaves it out too
        out, total = (out or 0) + reasoning, None
    elif row.reasoning_outside and reasoning and (inp is None or total is None or total != inp + (out or 0)):
        out = (out or 0) + reasoning
    if not row.total_binds or inp is None or total is None:
        return inp, out, False
    if aside > inp and total == inp + aside + (out or 0):
        return inp + aside, out, True  # this server's input leaves out its cache, and its total says so
    least = total - inp
    if out is None:
        return inp, (least if least >= 0 else None), False
    return (inp, least, True) if least > out else (inp, out, False)


def units_of(found: Found) -> dict[str, int | str] | None:
    """The counts above 0 that a call has no column for, by name."""
    units: dict[str, int | str] | None = None
    for name, value in found.items():
        if value and name not in _COLUMNS and name not in _WORKING:
            units = units or {}
            units[name] = str(value) if isinstance(value, Decimal) else value
    return units


def parts_of(row: Row, steps: object) -> tuple[Part, ...]:
    """The steps of an answer that are billed one by one; () where there is only one, of its own model.

    Raises:
        Absurd: for a count that cannot be one.
    """
    if not isinstance(steps, list):
        return ()
    parts: list[Part] = []
    for step in steps:
        if not isinstance(step, Mapping):
            continue
        found: Found = {}
        collect(row.tree, {k: v for k, v in step.items() if k not in {"type", "model"}}, found)
        usage, _, _ = settle(row, found)
        if usage is not None:
            kind, model = step.get("type"), step.get("model")
            parts.append(
                Part(
                    kind=kind if isinstance(kind, str) else "",
                    model=model if isinstance(model, str) else None,
                    usage=usage,
                )
            )
    return tuple(parts) if len(parts) > 1 or any(part.model for part in parts) else ()
