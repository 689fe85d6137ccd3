"""Google's own wire: the Gemini API and Vertex."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from farthing.usage.flavours.hosted import of_gemini, of_interactions
from farthing.usage.flavours.row import Row
from farthing.usage.paths import first

__all__ = ["GENERATE_CONTENT", "INTERACTIONS", "PREDICT"]


def _both_cases(counts: Mapping[str, str]) -> dict[str, str]:
    """REST spells in camelCase, the SDK's objects in snake_case."""

    def snake(path: str) -> str:
        return re.sub(r"(?<=[a-z])([A-Z])", lambda m: "_" + m[1].lower(), path)

    return {**counts, **{snake(path): name for path, name in counts.items()}}


GENERATE_CONTENT = Row(
    name="google.generate_content",
    silent_output=True,  # JSON of protocol buffers leaves out zeros
    sources=(
        "google-genai package 3.4 types.GenerateContentResponseUsageMetadata",
        "the chunks of a stream are cumulative: github.com/langchain-ai/langchainjs/issues/8694",
        "candidates that hold the thoughts after all: litellm's is_candidate_token_count_inclusive",
    ),
    usage_at=("usageMetadata", "usage_metadata", "usage"),
    counts=_both_cases(
        {
            "promptTokenCount": "input_tokens",
            "toolUsePromptTokenCount": "tool_input_tokens",
            "cachedContentTokenCount": "cached_tokens",
            "candidatesTokenCount": "output_tokens",
            "responseTokenCount": "output_tokens",
            "thoughtsTokenCount": "reasoning_tokens",
            "totalTokenCount": "total_tokens",
            "promptTokensDetails[AUDIO]": "audio_input_tokens",
            "promptTokensDetails[IMAGE]": "image_input_tokens",
            "promptTokensDetails[VIDEO]": "video_input_tokens",
            "promptTokensDetails[TEXT]": "",
            "promptTokensDetails[DOCUMENT]": "",
            "promptTokenDetails[TEXT]": "",
            "cacheTokensDetails[AUDIO]": "audio_cached_tokens",
            "cacheTokensDetails[IMAGE]": "",
            "cacheTokensDetails[VIDEO]": "",
            "cacheTokensDetails[TEXT]": "",
            "candidatesTokensDetails[AUDIO]": "audio_output_tokens",
            "candidatesTokensDetails[IMAGE]": "image_output_tokens",
            "candidatesTokensDetails[TEXT]": "",
            "toolUsePromptTokensDetails[TEXT]": "",
            "serviceTier": "",
            "trafficType": "",
        }
    ),
    reasoning_outside=True,
    further=of_gemini,
    model_at=("modelVersion", "model_version", "model"),
    id_at=("responseId", "response_id"),
    tier_at=(
        *(
            f"{place}.{name}"
            for name in ("serviceTier", "service_tier", "trafficType", "traffic_type")
            for place in ("usageMetadata", "usage_metadata", "usage")
        ),
    ),
    tiers={
        "unspecified": "",
        "SERVICE_TIER_UNSPECIFIED": "",
        "TRAFFIC_TYPE_UNSPECIFIED": "",
        "ON_DEMAND": "",
        "ON_DEMAND_PRIORITY": "priority",
        "ON_DEMAND_FLEX": "flex",
    },
    marks=frozenset(
        {
            "usageMetadata",
            "usage_metadata",
            *("promptTokenCount", "candidatesTokenCount", "totalTokenCount"),
            *("candidates_token_count", "total_token_count"),
        }
    ),
    seen=(
        (None, "candidates[].content.parts[].text"),
        (None, "candidates[].content.parts[].functionCall.name"),
        (None, "candidates[].content.parts[].functionCall.args"),
    ),
    end_at=("candidates[].finishReason|finish_reason",),
)

INTERACTIONS = Row(
    name="google.interactions",
    sources=(
        "docs.cloud.google.com/gemini-enterprise-agent-platform/reference/rest/v1beta1/Usage",
        "ai.google.dev/gemini-api/docs/interactions/tokens: the same in snake_case",
    ),
    counts=_both_cases(
        {
            "totalInputTokens": "input_tokens",
            "totalToolUseTokens": "tool_input_tokens",
            "totalCachedTokens": "cached_tokens",
            "totalOutputTokens": "output_tokens",
            "totalThoughtTokens": "reasoning_tokens",
            "totalTokens": "total_tokens",
            "groundingToolCount": "",
            **{
                f"{kind}TokensByModality[{label}]": name
                for kind, audio, image in (
                    ("input", "audio_input_tokens", "image_input_tokens"),
                    ("output", "audio_output_tokens", "image_output_tokens"),
                    ("cached", "audio_cached_tokens", ""),
                    ("toolUse", "", ""),
                )
                for modality, name in (("TEXT", ""), ("AUDIO", audio), ("IMAGE", image))
                for label in (modality, modality.lower())
            },
        }
    ),
    reasoning_outside=True,
    further=of_interactions,
    inside=("interaction",),
    status_at=("status",),
    objects=frozenset({"interaction", "interaction.complete"}),
    marks=frozenset({"totalInputTokens", "total_input_tokens"}),
    seen=(("content.delta", "delta.text|arguments"), (None, "outputs[].text")),
    ends=frozenset({"interaction.complete", "error"}),
    fails=frozenset({"error"}),
)


def _of_predictions(fields: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Tokens of embedded texts, each with its own; pictures, one for each prediction."""
    predictions = fields.get("predictions")
    tokens, images = 0, 0
    for prediction in predictions if isinstance(predictions, list) else ():
        if not isinstance(prediction, Mapping):
            continue
        count = first(prediction, "embeddings.statistics.token_count")
        if isinstance(count, (int, float)) and not isinstance(count, bool) and 0 <= count <= 2**40:
            tokens += int(count)
        kind = prediction.get("mimeType")
        images += isinstance(kind, str) and kind.startswith("image/")
    if tokens:
        found["input_tokens"], found["output_tokens"] = tokens, 0
    if images:
        found["images"] = images


PREDICT = Row(
    name="google.predict",
    sources=(
        "docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api: statistics",
        "docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api: predictions",
    ),
    usage_at=("metadata",),
    counts={"billableCharacterCount": "billable_characters", "predictions": ""},
    further=_of_predictions,
    bare=("predictions",),
    marks=frozenset({"predictions"}),
)
