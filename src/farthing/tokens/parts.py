"""Tokens of the content of a message: a text, or a list of parts in the shapes of chat completions,
Responses and Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from farthing.tokens.media import add_audio, add_file, add_image
from farthing.tokens.tally import Tally, as_mapping

__all__ = ["add_content"]

Part = Mapping[str, Any]


def add_content(tally: Tally, content: object) -> None:
    """The content of a message or of a tool's answer; None adds nothing."""
    if isinstance(content, str):
        tally.text(content)
    elif isinstance(content, (list, tuple)):
        for part in content:
            _add_part(tally, part)
    elif content is not None:
        _add_part(tally, content)


def _add_part(tally: Tally, part: object) -> None:
    if isinstance(part, str):
        tally.text(part)
        return
    fields = as_mapping(part)
    if fields is None:
        tally.json(part)
        return
    kind = fields.get("type")
    adder = _KINDS.get(kind) if isinstance(kind, str) else None
    if adder is not None:
        adder(tally, fields)
    elif isinstance(text := fields.get("text"), str):
        tally.text(text)
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
    add_file(tally, (file if isinstance(file, Mapping) else part).get("file_data"))


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


_KINDS: Final[dict[str, Callable[[Tally, Part], None]]] = {
    "text": _add_text,
    "input_text": _add_text,
    "output_text": _add_text,
    "summary_text": _add_text,
    "reasoning_text": _add_text,
    "refusal": _add_refusal,
    "image_url": _add_image_part,
    "input_image": _add_image_part,
    "input_audio": _add_audio_part,
    "file": _add_file_part,
    "input_file": _add_file_part,
    "image": _add_source,
    "document": _add_source,
    "tool_use": _add_tool_use,
    "tool_result": _add_tool_result,
    "thinking": _add_thinking,
}
