"""Anthropic's own wire."""

from __future__ import annotations

from farthing.usage.flavours.hosted import of_messages
from farthing.usage.flavours.row import Row

__all__ = ["MESSAGES"]

MESSAGES = Row(
    name="anthropic.messages",
    sources=(
        "anthropic package 2.10 types/usage.py",
        "its types/message_delta_usage.py: a delta's counts are cumulative",
    ),
    counts={
        "input_tokens": "input_tokens",
        "cache_read_input_tokens": "cached_tokens",
        "cache_creation_input_tokens": "cache_write_tokens",
        "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m_tokens",
        "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h_tokens",
        "output_tokens": "output_tokens",
        "output_tokens_details.thinking_tokens": "reasoning_tokens",
        "server_tool_use.web_search_requests": "web_searches",
        "server_tool_use.web_fetch_requests": "web_fetches",
        "service_tier": "",
        "inference_geo": "",
        "speed": "",
        "iterations": "",
    },
    further=of_messages,
    tier_label="speed",  # the fast mode has a price of its own
    labels={"inference_geo": ("global", "not_available"), "speed": ("standard",)},
    parts_at="iterations",
    cache_outside=True,
    total_binds=False,
    inside=("message",),
    fieldwise=True,
    tier_at=("usage.service_tier",),
    objects=frozenset({"message", "message_start", "message_delta"}),
    marks=frozenset(
        {
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "cache_creation",
            "inference_geo",
            "iterations",
        }
    ),
    seen=(
        ("content_block_start", "content_block.name"),
        ("content_block_delta", "delta.thinking|text|partial_json"),
    ),
    ends=frozenset({"message_stop", "error"}),
    fails=frozenset({"error"}),
)
