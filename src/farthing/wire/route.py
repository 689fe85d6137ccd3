"""What is known of one kind of request that is metered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Measure", "Route", "fits", "steps"]

Measure = Literal["tokens", "characters", "images", "seconds", "work"]


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Attributes:
        path: as the SDK posts it, relative to the base URL; a star for a step that differs.
        operation: of the row that it leaves.
        flavour: how its answers state usage (`farthing.usage`).
        prompt: the field that holds what is read, and is counted.
        caps: fields that limit its output, the one to write first; empty if nothing limits it.
        least_cap: the smallest cap that the server accepts.
        asks_usage: True if a stream states its usage only when `stream_options.include_usage` asks.
        generates: True if it has an output of tokens.
        measure: what its answers are billed by. Of all but tokens, and of the tokens of images and of sound,
            a request shows no more than it says itself: characters to speak, images to make. "work" is what
            a job will have done when it ends.
        labels: fields of the request that its price may depend on; they are kept with the row.
        model: that serves it where the request names none.
        texts: True if it may answer with something that is no JSON.
        hides: True if what is read is never all in the field `prompt`.
        tier: of its price where the request names none.
    """

    path: str
    operation: str
    flavour: str
    prompt: str
    caps: tuple[str, ...] = ()
    least_cap: int = 1
    asks_usage: bool = False
    generates: bool = False
    measure: Measure = "tokens"
    labels: tuple[str, ...] = ()
    model: str = ""
    texts: bool = False
    hides: bool = False
    tier: str | None = None


def steps(url: str) -> list[str]:
    """The steps of a path, from what comes after the version."""
    path = url.split("?", 1)[0].split("#", 1)[0]
    if "://" in path:
        path = path.split("://", 1)[1].partition("/")[2]
    parts = [part for part in path.split("/") if part]
    return parts[parts.index("v1") + 1 :] if "v1" in parts else parts


def fits(parts: list[str], pattern: list[str]) -> bool:
    """Whether a path is of a pattern: a star stands for any step, two at its end for any steps."""
    if pattern[-1] == "**":
        return len(parts) >= len(pattern) and fits(parts[: len(pattern) - 1], pattern[:-1])
    return len(parts) == len(pattern) and all(
        p in ("*", part) for part, p in zip(parts, pattern, strict=True)
    )
