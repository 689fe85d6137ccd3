"""Cohere's own wire: chat (v1 and v2), embed, rerank, classify."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.usage.flavours.row import Row

__all__ = ["CHAT"]


def _of_images(_: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Tokens of images are billed beside those of texts; ours are a part of the input."""
    images = found.get("image_input_tokens")
    if images:
        found["input_tokens"] = found.get("input_tokens", 0) + images


CHAT = Row(
    name="cohere.chat",
    sources=(
        "docs.cohere.com/reference/chat: billed_units are billed; tokens and cached_tokens are of the model",
        "docs.cohere.com/v1/reference/chat, /embed, /rerank, /classify: the same under `meta`",
        "docs.cohere.com/docs/streaming: usage in the event message-end, in v1 stream-end",
    ),
    usage_at=("usage", "meta"),
    counts={
        "billed_units.input_tokens": "input_tokens",
        "billed_units.output_tokens": "output_tokens",
        "billed_units.image_tokens": "image_input_tokens",
        "billed_units.images": "images",
        "billed_units.search_units": "search_units",
        "billed_units.classifications": "classifications",
        "tokens.input_tokens": "",
        "tokens.output_tokens": "",
        "cached_tokens": "",  # of the template too, which is not billed
        "api_version": "",
        "warnings": "",
    },
    further=_of_images,
    silent_output=True,
    inside=("response", "delta"),
    id_at=("response_id", "generation_id", "id"),
    objects=frozenset({"message-end"}),
    marks=frozenset({"billed_units"}),
    seen=(
        ("content-delta", "delta.message.content.text|thinking"),
        ("tool-plan-delta", "delta.message.tool_plan"),
        ("tool-call-start", "delta.message.tool_calls.function.name"),
        ("tool-call-delta", "delta.message.tool_calls.function.arguments"),
        (None, "text"),
        (None, "message.content[].text|thinking"),
        (None, "message.tool_plan"),
        (None, "message.tool_calls[].function.name"),
        (None, "message.tool_calls[].function.arguments"),
    ),
    ends=frozenset({"message-end"}),
    end_at=("is_finished",),
)
