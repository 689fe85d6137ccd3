"""Amazon Bedrock's own wires: Converse, and InvokeModel, whose bodies are those of the model's maker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.usage.flavours.row import Positive, Row

__all__ = ["CONVERSE", "INVOKE"]

_CACHED = Positive("cached_tokens")
_WRITTEN = Positive("cache_write_tokens")

_TOKEN_USAGE: Mapping[str, str] = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "totalTokens": "total_tokens",
    "cacheReadInputTokens": "cached_tokens",
    "cacheWriteInputTokens": "cache_write_tokens",
    # An older spelling, which models without a cache state as 0
    "cacheReadInputTokenCount": _CACHED,
    "cacheWriteInputTokenCount": _WRITTEN,
    "cacheDetails[1h]": "cache_write_1h_tokens",
    "cacheDetails[5m]": "",  # the rest
}


def _of_tools(fields: Mapping[str, Any], found: dict[str, Any]) -> None:
    """`serverToolUsage`: tools that the model's maker runs and bills; it is empty without any."""
    usage = fields.get("usage")
    tools = usage.get("serverToolUsage") if isinstance(usage, Mapping) else None
    if isinstance(tools, Mapping):
        calls = sum(count for count in tools.values() if type(count) is int and 0 < count < 10_000)
        if calls:
            found["hosted_tool_calls"] = calls


CONVERSE = Row(
    name="bedrock.converse",
    sources=(
        "docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html",
        "the same, API_runtime_ConverseStreamMetadataEvent.html, API_runtime_ServiceTier.html",
        "input leaves out the cache, as recorded: 22 + 2492 read + 13 = 2527",
    ),
    counts={**_TOKEN_USAGE, "serverToolUsage": ""},
    further=_of_tools,
    cache_outside=True,
    inside=("metadata",),
    tier_at=("serviceTier.type", "performanceConfig.latency"),
    marks=frozenset({"inputTokens", "outputTokens"}),
    seen=(
        (None, "contentBlockStart.start.toolUse.name"),
        (None, "contentBlockDelta.delta.text"),
        (None, "contentBlockDelta.delta.toolUse.input"),
        (None, "contentBlockDelta.delta.reasoningContent.text"),
        (None, "output.message.content[].text"),
        (None, "output.message.content[].toolUse.name"),
        (None, "output.message.content[].toolUse.input"),
        (None, "output.message.content[].reasoningContent.reasoningText.text"),
    ),
    end_at=("messageStop.stopReason",),
)


def _of_titan(fields: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Titan counts the output of each of its results; an embedding has none."""
    results = fields.get("results")
    listed: list[Any] = results if isinstance(results, list) else []
    counts: list[Any] = [result.get("tokenCount") for result in listed if isinstance(result, Mapping)]
    if counts and all(type(count) is int and 0 <= count <= 2**40 for count in counts):
        found.setdefault("output_tokens", min(sum(counts), 2**53))
    elif "embedding" in fields or "embeddingsByType" in fields:
        found.setdefault("output_tokens", 0)


INVOKE = Row(
    name="bedrock.invoke",
    sources=(
        "docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-text.html",
        "the same, model-parameters-titan-embed-text.html, model-parameters-meta.html",
        "the last chunk of every stream: amazon-bedrock-invocationMetrics, as recorded",
    ),
    usage_at=("usage", "amazon-bedrock-invocationMetrics"),
    counts={
        **_TOKEN_USAGE,
        # Titan
        "inputTextTokenCount": "input_tokens",
        "totalOutputTextTokenCount": "output_tokens",
        # Llama
        "prompt_token_count": "input_tokens",
        "generation_token_count": "output_tokens",
        # Anthropic
        "input_tokens": "input_tokens",
        "output_tokens": "output_tokens",
        "cache_read_input_tokens": "cached_tokens",
        "cache_creation_input_tokens": "cache_write_tokens",
        "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m_tokens",
        "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h_tokens",
        # Metrics of a stream
        "inputTokenCount": "input_tokens",
        "outputTokenCount": "output_tokens",
        "invocationLatency": "",
        "firstByteLatency": "",
    },
    further=_of_titan,
    cache_outside=True,
    fieldwise=True,
    yields=True,
    bare=(
        "inputTextTokenCount",
        "totalOutputTextTokenCount",
        "prompt_token_count",
        "generation_token_count",
    ),
    inside=("message", "metadata"),
    marks=frozenset({"inputTextTokenCount", "generation_token_count", "amazon-bedrock-invocationMetrics"}),
    seen=(
        (None, "outputText|generation|completion"),
        (None, "results[].outputText"),
        (None, "outputs[].text"),
        ("content_block_start", "content_block.name"),
        ("content_block_delta", "delta.thinking|text|partial_json"),
        (None, "contentBlockDelta.delta.text"),
    ),
    ends=frozenset({"message_stop"}),
    end_at=("completionReason|stop_reason", "messageStop.stopReason", "amazon-bedrock-invocationMetrics"),
)
