"""Tokens of the content of a message: a text, or a list of parts in the shapes of chat completions,
Responses and Anthropic's Messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from farthing.tokens.media import add_audio, add_file, add_image
from farthing.tokens.tally import Tally, as_mapping

__all__ = ["add_beside", "add_content"]

Part = Mapping[str, Any]
Kind = tuple[Callable[[Tally, Part], None] | None, frozenset[str]]
"""What counts parts of a type, and the names of what it looks at."""


def add_content(tally: Tally, content: object) -> None:
    """The content of a message or of a tool's answer; None adds nothing."""
    if isinstance(content, str):
        tally.text(content)
    elif isinstance(content, (list, tuple)):
        for part in content:
            _add_part(tally, part)
    elif content is not None:
        _add_part(tally, content)


def add_beside(tally: Tally, fields: Part, known: Collection[str]) -> None:
    """What else stands in an object: a maker may show it to the model, so the upper figure has its texts."""
    for name, value in fields.items():
        if value and name not in known and not isinstance(value, (bool, int, float)):
            tally.beside(value)


def _add_part(tally: Tally, part: object) -> None:
    if isinstance(part, str):
        tally.text(part)
        return
    fields = as_mapping(part)
    if fields is None:
        tally.json(part)
        return
    kind = fields.get("type")
    adder, known = _KINDS.get(kind, _NO_KIND) if isinstance(kind, str) else _NO_KIND
    if adder is not None:
        adder(tally, fields)
        if len(fields) > 2:
            add_beside(tally, fields, known)
    elif isinstance(text := fields.get("text"), str):
        tally.text(text)
        add_beside(tally, fields, _TEXT)
    elif any(_ELSEWHERE.search(str(name)) for name in (kind, *fields)):
        tally.unseen(1000)
    else:
        tally.json(fields)


def _add_refusal(tally: Tally, part: Part) -> None:
    add_content(tally, part.get("refusal"))


def _add_text(tally: Tally, part: Part) -> None:
    text = part.get("text")
    if isinstance(text, str):
        tally.text(text)
    elif text is not None:
        tally.json(text)


def _add_image_part(tally: Tally, part: Part) -> None:
    image = part.get("image_url")
    if isinstance(image, Mapping):
        add_image(tally, image.get("url"), image.get("detail"))
    else:
        add_image(tally, image, part.get("detail"))


def _add_audio_part(tally: Tally, part: Part) -> None:
    audio = part.get("input_audio")
    add_audio(tally, audio.get("data") if isinstance(audio, Mapping) else None)


def _add_file_part(tally: Tally, part: Part) -> None:
    file = part.get("file")
    fields = file if isinstance(file, Mapping) else part
    add_file(tally, fields.get("file_data"))
    if name := fields.get("filename"):
        tally.beside(name)


def _add_source(tally: Tally, part: Part) -> None:
    source = part.get("source")
    fields = source if isinstance(source, Mapping) else {}
    if part.get("type") == "image":
        add_image(tally, fields.get("url"))
    elif fields.get("type") in {"text", "content"}:
        add_content(tally, fields.get("data") or fields.get("content"))
    else:
        add_file(tally, fields.get("data"))


def _add_tool_use(tally: Tally, part: Part) -> None:
    tally.text(str(part.get("name") or ""))
    tally.json(part.get("input") or {})
    tally.guess(tally.family.round_trip, 2 * tally.family.round_trip + 10)


def _add_tool_result(tally: Tally, part: Part) -> None:
    add_content(tally, part.get("content"))
    tally.guess(tally.family.round_trip, 2 * tally.family.round_trip + 10)


def _add_thinking(tally: Tally, part: Part) -> None:
    add_content(tally, part.get("thinking"))


def _reads(*names: str) -> frozenset[str]:
    return frozenset(("type", "id", *names))


_TEXT: Final = _reads("text")
_ELSEWHERE: Final = re.compile("url|uri|file|video|audio|image|media|upload", re.IGNORECASE)
"""In the names of parts whose content is no text, or is not in the request."""

_NO_KIND: Final[Kind] = (None, frozenset())

_KINDS: Final[dict[str, Kind]] = {
    "text": (_add_text, _TEXT),
    "input_text": (_add_text, _TEXT),
    "output_text": (_add_text, _TEXT),
    "summary_text": (_add_text, _TEXT),
    "reasoning_text": (_add_text, _TEXT),
    "refusal": (_add_refusal, _reads("refusal")),
    "image_url": (_add_image_part, _reads("image_url", "detail")),
    "input_image": (_add_image_part, _reads("image_url", "detail", "file_id")),
    "computer_screenshot": (_add_image_part, _reads("image_url", "detail", "file_id")),
    "input_audio": (_add_audio_part, _reads("input_audio")),
    "file": (_add_file_part, _reads("file")),
    "input_file": (_add_file_part, _reads("file_data", "file_id", "file_url", "filename", "detail")),
    "image": (_add_source, _reads("source")),
    "document": (_add_source, _reads("source")),
    "tool_use": (_add_tool_use, _reads("name", "input")),
    "tool_result": (_add_tool_result, _reads("content")),
    "thinking": (_add_thinking, _reads("thinking")),
}
