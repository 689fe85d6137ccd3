"""Google's own wire: the Gemini API and Vertex."""

from __future__ import annotations

import re
from collections.abc import Mapping

from farthing.usage.flavours.row import Row

__all__ = ["GENERATE_CONTENT"]


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
    usage_at=("usageMetadata", "usage_metadata"),
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
    model_at=("modelVersion", "model_version", "model"),
    id_at=("responseId", "response_id"),
    tier_at=("usageMetadata.serviceTier", "usage_metadata.service_tier"),
    marks=frozenset({"usageMetadata", "usage_metadata"}),
    seen=(
        (None, "candidates[].content.parts[].text"),
        (None, "candidates[].content.parts[].functionCall.name"),
        (None, "candidates[].content.parts[].functionCall.args"),
    ),
    end_at=("candidates[].finishReason|finish_reason",),
)
