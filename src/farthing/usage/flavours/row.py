"""What a row of the table is.

A path is dotted; `[]` goes through a list, `a|b` takes the first that is there, and `name[LABEL]` is the
entry of a list of `{modality, tokenCount}` objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from farthing.usage.flavours.hosted import Further
from farthing.usage.reading import Reading

__all__ = ["IGNORED", "Labelled", "Positive", "Row", "under"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One flavour.

    Attributes:
        name: of the flavour.
        sources: where it was read.
        usage_at: paths of the usage object in a body, the first one that is there counts.
        counts: path in the usage object -> count: a field of `Usage`, `total_tokens`,
            `tool_input_tokens` (input beyond `input_tokens`), another name (kept in `units` only), or ""
            for what says nothing new. Of several paths to one count the largest is taken. The zeros of a
            `Positive` count state nothing.
        beside: the same, but paths in the body, of counts outside the usage object; zeros are not taken.
            All of them begin with `beside_at`.
        apart: divides a whole answer into steps that have prices of their own.
        further: adds what no path can say, such as hosted tools that only the output shows.
        labels: path in the usage object -> its usual values; any other value is kept in `units`.
        parts_at: path in the usage object of the steps that it is the sum of.
        cache_outside: `input_tokens` as stated leaves out what was read from or written to a cache, unless
            input and output are the whole total.
        reasoning_outside: `output_tokens` as stated leaves out reasoning, unless input and output are
            the whole total.
        total_binds: output is at least total - input: some providers state reasoning in the total only.
        yields: a body in the shape of another flavour is read by that one.
        bare: fields of a body that are counts where it has no usage object.
        items: field of a body -> count: how many items a list has, beside what the usage object states.
        tier_label: path in the usage object of a label that is the tier if it is not the usual one.
        silent_output: no output stated is an output of 0.
        inside: keys of an event that holds the body, or the part of it that states usage.
        fieldwise: events of a stream state some of the counts each, later ones replace earlier ones.
        model_at, id_at, tier_at, status_at: paths in a body; of tiers the first unusual one counts.
        tiers: tiers as they are spelt -> the name that prices have for them, "" for the usual one.
        objects: values of "object", or of "type", that tell this flavour.
        marks: keys that tell it; in the body or in its usage object.
        seen: (type of event or None, path) of the output text in events.
        ends: types of the event that ends a stream, `end_at` a path that is not null in it.
        fails: types of the event that says that the answer failed; a key "error" always does.
        tree: `counts` as nested mappings.
    """

    name: str
    sources: tuple[str, ...]
    usage_at: tuple[str, ...] = ("usage",)
    counts: Mapping[str, str]
    beside: Mapping[str, str] = field(default_factory=dict)
    beside_at: str = "tool_usage"
    apart: Callable[[Reading], Reading] | None = None
    further: Further | None = None
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts_at: str | None = None
    cache_outside: bool = False
    reasoning_outside: bool = False
    total_binds: bool = True
    silent_output: bool = False
    yields: bool = False
    bare: tuple[str, ...] = ()
    items: Mapping[str, str] = field(default_factory=dict)
    tier_label: str | None = None
    inside: tuple[str, ...] = ()
    fieldwise: bool = False
    model_at: tuple[str, ...] = ("model",)
    id_at: tuple[str, ...] = ("id",)
    tier_at: tuple[str, ...] = ("service_tier",)
    status_at: tuple[str, ...] = ()
    tiers: Mapping[str, str] = field(default_factory=dict)
    objects: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()
    seen: tuple[tuple[str | None, str], ...] = ()
    ends: frozenset[str] = frozenset()
    end_at: tuple[str, ...] = ()
    fails: frozenset[str] = frozenset()
    tree: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", _tree(self.counts))


IGNORED = object()
"""Stands in a tree for what says nothing new."""


class Positive(str):
    """A count that some servers state as 0 where they do not know of it."""

    __slots__ = ()


class Labelled(dict[str, Any]):
    """Label -> count, for a list of `{modality, tokenCount}` objects."""


def _tree(counts: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, name in counts.items():
        *branches, leaf = path.split(".")
        here = tree
        for key in branches:
            here = here.setdefault(key, {})
        listed = re.fullmatch(r"(\w+)\[(\w+)\]", leaf)
        if listed:
            here.setdefault(listed[1], Labelled())[listed[2]] = name or IGNORED
        else:
            here[leaf] = name or IGNORED
    return tree


def under(containers: Iterable[str], counts: Mapping[str, str]) -> dict[str, str]:
    """The same counts inside each of these containers, by path."""
    return {f"{container}.{key}": name for container in containers for key, name in counts.items()}
