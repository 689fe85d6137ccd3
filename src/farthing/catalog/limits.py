"""How much models take and give: a table of our own; the price source has no maxima of output.

Read in November 2026: [L] litellm's model_prices_and_context_window.json, [G] the context windows in
genai-prices 0.2.3, [V] the model pages of Vercel's AI Gateway, [D] models.dev as of 2026, [O] OpenAI's model
pages (developers.openai.com/api/docs/models). [R]: as it was at the model's release; no page of today has it.
Where they differ, the larger figure stands if in doubt, because it bounds a hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from farthing.catalog.names import base_of_fine_tuned

__all__ = ["Limits", "is_reasoning", "limits_of", "reasons"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Tokens. `context_window` holds input and output; `max_output` is reasoning included."""

    context_window: int
    max_output: int
    source: str


_TABLE: dict[str, Limits] = {
    "gpt-3.5-turbo": Limits(16_385, 4_096, "L G 2026-11"),
    "gpt-35-turbo": Limits(16_385, 4_096, "L G 2026-11; Azure's spelling"),
    "gpt-3.5-turbo-instruct": Limits(16_385, 4_097, "G; L has 8,192 of window"),
    "gpt-4": Limits(8_192, 8_192, "D; L has 4,096 of output"),
    "gpt-4-32k": Limits(32_768, 32_768, "R; G 32,000"),
    "gpt-4-turbo": Limits(128_000, 4_096, "L G 2026-11"),
    "gpt-4-0125": Limits(128_000, 4_096, "L G 2026-11"),
    "gpt-4-1106": Limits(128_000, 4_096, "L G 2026-11"),
    "gpt-4-vision": Limits(128_000, 4_096, "L G 2026-11"),
    "gpt-4.1": Limits(1_047_576, 32_768, "L 2026-11"),
    "gpt-4.5": Limits(128_000, 16_384, "R"),
    "gpt-4o": Limits(128_000, 16_384, "L G 2026-11"),
    "gpt-4o-2024-05-13": Limits(128_000, 4_096, "D; G 2026-11"),
    "gpt-4o-mini": Limits(128_000, 16_384, "L G 2026-11"),
    "gpt-4o-realtime": Limits(128_000, 4_096, "L 2026-11"),
    "gpt-4o-mini-realtime": Limits(128_000, 4_096, "L 2026-11"),
    "gpt-4o-transcribe": Limits(16_000, 2_000, "L G 2026-11"),
    "gpt-4o-mini-transcribe": Limits(16_000, 2_000, "L G 2026-11"),
    "chatgpt-4o": Limits(128_000, 16_384, "R; G 2026-11"),
    "gpt-audio": Limits(128_000, 16_384, "L G 2026-11"),
    "gpt-realtime": Limits(32_000, 4_096, "L G 2026-11"),
    "gpt-realtime-2": Limits(128_000, 32_000, "L G 2026-11"),
    "gpt-realtime-mini": Limits(128_000, 4_096, "L 2026-11"),
    "codex-mini": Limits(200_000, 100_000, "O G 2026-11"),
    "computer-use-preview": Limits(8_192, 1_024, "L G 2026-11"),
    "o1": Limits(200_000, 100_000, "L G 2026-11"),
    "o1-mini": Limits(128_000, 65_536, "D; G 2026-11"),
    "o1-preview": Limits(128_000, 32_768, "D; G 2026-11"),
    "o3": Limits(200_000, 100_000, "L G 2026-11"),
    "o4-mini": Limits(200_000, 100_000, "L G 2026-11"),
    "gpt-5": Limits(400_000, 128_000, "L G 2026-11"),
    "gpt-5-pro": Limits(400_000, 272_000, "D; L has 128,000 of output"),
    "gpt-5-chat": Limits(128_000, 16_384, "L 2026-11"),
    "gpt-5.1": Limits(400_000, 128_000, "L G 2026-11"),
    "gpt-5.1-chat": Limits(128_000, 16_384, "L 2026-11"),
    "gpt-5.2": Limits(400_000, 128_000, "L G 2026-11"),
    "gpt-5.2-chat": Limits(128_000, 16_384, "L 2026-11"),
    "gpt-5.3": Limits(128_000, 16_384, "L G 2026-11"),
    "gpt-5.3-codex": Limits(400_000, 128_000, "L G 2026-11"),
    "gpt-5.4": Limits(1_050_000, 128_000, "L G 2026-11"),
    "gpt-5.4-mini": Limits(400_000, 128_000, "G; L has 1,050,000 of window"),
    "gpt-5.4-nano": Limits(400_000, 128_000, "G; L has 1,050,000 of window"),
    "gpt-5.5": Limits(1_050_000, 128_000, "L 2026-11"),
    "gpt-5.6": Limits(1_050_000, 128_000, "O L V 2026-11"),
    "gpt-6": Limits(1_050_000, 128_000, "V G 2026-11"),
    "gpt-6.1": Limits(1_050_000, 128_000, "G 2026-11; output as of gpt-6"),
}

_OTHERS: dict[str, Limits] = {
    "claude-3": Limits(200_000, 4_096, "D"),
    "claude-3-5": Limits(200_000, 8_192, "D"),
    "claude-3-7-sonnet": Limits(200_000, 128_000, "D 64,000; R: 128,000 with the beta header output-128k"),
    "claude-opus-4": Limits(200_000, 32_000, "D"),
    "claude-opus-4-5": Limits(200_000, 64_000, "L 2026-11"),
    "claude-opus-4-6": Limits(1_000_000, 128_000, "L 2026-11"),
    "claude-opus-4-7": Limits(1_000_000, 128_000, "L 2026-11"),
    "claude-opus-4-8": Limits(1_000_000, 128_000, "L 2026-11"),
    "claude-opus-5": Limits(1_000_000, 128_000, "L 2026-11"),
    "claude-sonnet-4": Limits(200_000, 64_000, "D; R: the beta header context-1m has 1,000,000 of window"),
    "claude-sonnet-4-5": Limits(200_000, 64_000, "L G 2026-11; as claude-sonnet-4"),
    "claude-sonnet-4-6": Limits(1_000_000, 128_000, "L 2026-11"),
    "claude-sonnet-5": Limits(1_000_000, 128_000, "L 2026-11"),
    "claude-haiku-4-5": Limits(200_000, 64_000, "L 2026-11"),
    "claude-haiku-5-5": Limits(1_000_000, 128_000, "L 2026-11"),
    "claude-fable-5": Limits(1_000_000, 128_000, "L 2026-11"),
    "claude-mythos": Limits(1_000_000, 128_000, "L 2026-11"),
    "gemini-1.5-pro": Limits(2_097_152, 8_192, "R"),
    "gemini-1.5-flash": Limits(1_048_576, 8_192, "M"),
    "gemini-2.0": Limits(1_048_576, 8_192, "M"),
    "gemini-2.5": Limits(1_048_576, 65_536, "L 2026-11"),
    "gemini-3": Limits(1_048_576, 65_536, "L 2026-11"),
    "gemini-3.1": Limits(1_048_576, 65_536, "L 2026-11"),
    "gemini-3.5": Limits(1_048_576, 65_536, "L 2026-11"),
    "gemini-3.6": Limits(1_048_576, 65_536, "L 2026-11"),
    "gemini-3.7": Limits(1_048_576, 65_536, "L 2026-11"),
    "gemini-3.8": Limits(1_048_576, 65_536, "L 2026-11"),
    "gemini-4": Limits(1_048_576, 1_048_576, "L 2026-11"),
    "deepseek-chat": Limits(131_072, 8_192, "L 2026-11; DeepSeek's models and pricing page"),
    "deepseek-reasoner": Limits(131_072, 65_536, "L 2026-11; DeepSeek's models and pricing page"),
    "deepseek-flash": Limits(1_000_000, 393_216, "L 2026-11"),
    "deepseek-v4": Limits(1_000_000, 393_216, "L 2026-11"),
    "gpt-oss-20b": Limits(131_072, 131_072, "L 2026-11; Groq has 65,536 of output"),
    "gpt-oss-120b": Limits(131_072, 131_072, "L 2026-11; Groq has 65,536 of output"),
    "grok-3": Limits(131_072, 131_072, "G 2026-11; no maximum of output but the window"),
    "grok-4": Limits(256_000, 256_000, "G 2026-11; as grok-3"),
    "grok-4.3": Limits(1_000_000, 1_000_000, "L 2026-11"),
    "grok-4.5": Limits(500_000, 500_000, "L 2026-11"),
    "grok-4.6": Limits(500_000, 500_000, "L 2026-11"),
    "grok-4.7": Limits(500_000, 500_000, "L 2026-11"),
    "grok-4.20": Limits(1_000_000, 1_000_000, "L 2026-11"),
    "grok-code-fast": Limits(256_000, 256_000, "L 2026-11"),
    "mistral-large": Limits(262_144, 262_144, "L 2026-11; no maximum of output but the window"),
    "mistral-large-4": Limits(1_048_576, 1_048_576, "L 2026-11; as mistral-large"),
    "mistral-medium": Limits(262_144, 262_144, "L 2026-11; as mistral-large"),
    "mistral-small": Limits(262_144, 262_144, "L 2026-11; as mistral-large"),
    "magistral": Limits(262_144, 262_144, "L 2026-11; as mistral-large"),
    "codestral": Limits(256_000, 256_000, "L 2026-11; as mistral-large"),
    "command-a": Limits(256_000, 8_000, "L 2026-11"),
    "command-a-plus": Limits(128_000, 64_000, "L 2026-11"),
    "command-r": Limits(128_000, 4_096, "L 2026-11"),
    "sonar-pro": Limits(200_000, 8_000, "L 2026-11"),
    "kimi-k2": Limits(262_144, 262_144, "L 2026-11"),
    "kimi-k2.5": Limits(262_144, 262_144, "L 2026-11"),
    "kimi-k2.6": Limits(262_144, 262_144, "L 2026-11"),
    "kimi-k3": Limits(1_048_576, 1_048_576, "L 2026-11"),
    "nova-micro": Limits(128_000, 10_000, "L 2026-11"),
    "nova-lite": Limits(300_000, 10_000, "L 2026-11"),
    "nova-pro": Limits(300_000, 10_000, "L 2026-11"),
}
"""[M]: Google's model pages (ai.google.dev/gemini-api/docs/models). Gemini's windows are of input alone."""

_UNLISTED: tuple[tuple[re.Pattern[str], Limits], ...] = (
    (
        re.compile(r"^gpt-(?:[5-9]|\d{2,})(?=[-.:@]|$)"),
        Limits(1_050_000, 128_000, "as the newest that are listed"),
    ),
    (re.compile(r"^o[1-9]\d?(?=[-:@]|$)"), Limits(200_000, 100_000, "as the o-series that is listed")),
)
"""A younger model of a known line: a hold without any bound would be worse than one after its elders."""

_HYPHENATED = re.compile(r"^gpt-(\d)-(\d)(?=-|$)")
_DOTTED = re.compile(r"^(claude-(?:[a-z]+-)?\d)\.(\d)")
_BEDROCK = re.compile(
    r"^(?:(?:us|eu|apac|au|jp|ca|global|us-gov)\.)?(?:anthropic|amazon|mistral|cohere|deepseek|openai)\."
)
_REASONING = re.compile(
    r"^(?:o[1-9]\d?|gpt-(?:[5-9]|\d{2,})(?:\.\d+)?|gpt-oss|codex-mini"
    r"|gemini-(?:2\.5-pro|2\.5-flash|[3-9](?:\.\d+)?|\d{2,}|(?:flash|pro)-latest)|grok-(?:3-mini|[4-9](?:\.\d+)?|code|build))(?=[-:@]|$)"
)
_NOT_REASONING = re.compile(r"^gpt-5-(?:chat|image)|^gemini-2\.5-flash-(?:lite|image)|^grok-.*non-reasoning")

_REASONING_SHOWN = {
    "deepseek-reasoner": "api-docs.deepseek.com, Reasoning model: the chain of thought is within max_tokens",
    "deepseek-r1": "as deepseek-reasoner, which it was",
    "r1": "deepseek-r1 at Bedrock, deepseek.r1; Perplexity's r1-1776 is made of it",
    "magistral": "docs.mistral.ai, Reasoning: always generates reasoning traces",
    "qwq": "huggingface.co/Qwen/QwQ-32B: the reasoning model of the Qwen series",
    "sonar-deep-research": "docs.perplexity.ai, Pricing: it is billed on reasoning tokens",
}
"""Models that always reason before they answer, as part of the answer. Read in November 2026."""

_NAMED_FOR_IT = re.compile(r"(?<!non)[-:](?:thinking|reasoning)(?=[-:@]|$)")
"""What says so in its name: kimi-k2-thinking (docs.together.ai, its quickstart: reasoning and content
tokens), sonar-reasoning (docs.perplexity.ai, FAQ: a <think> section, then the answer), phi-4-reasoning and
the Thinking models of Qwen3 (their model cards on huggingface.co), what OpenRouter lists with :thinking."""


@lru_cache(maxsize=1024)
def limits_of(model: str) -> Limits | None:
    """The row of the longest name that a model's name is or goes on from with "-", ":" or "@"."""
    plain = name = _plain(model)
    while name:
        found = _TABLE.get(name) or _OTHERS.get(name)
        if found is not None:
            return found
        name = _shorter(name)
    return next((limits for pattern, limits in _UNLISTED if pattern.match(plain)), None)


@lru_cache(maxsize=1024)
def is_reasoning(model: str) -> bool:
    """Whether a model reasons unseen before it answers, unless it is told not to.

    OpenAI's from o1 on, Gemini from 2.5 on, Grok from 4 on; Claude does where the request asks for it. The
    latest Flash and Pro are of Gemini 3 and later (ai.google.dev/gemini-api/docs/models, "Latest").
    """
    name = _plain(model)
    return bool(_REASONING.match(name)) and not _NOT_REASONING.match(name)


@lru_cache(maxsize=1024)
def reasons(model: str) -> bool:
    """Whether a model reasons before it answers, shown or unseen, so that a short answer is none."""
    name = _plain(model)
    if is_reasoning(model) or _NAMED_FOR_IT.search(name):
        return True
    while name and name not in _REASONING_SHOWN:
        name = _shorter(name)
    return bool(name)


def _shorter(name: str) -> str:
    """What a name goes on from; "" if nothing."""
    return name[: max(name.rfind("-"), name.rfind(":"), name.rfind("@"), 0)]


def _plain(model: str) -> str:
    """Lower case, the base of a fine-tuned model, without Bedrock's prefixes, and with versions as their
    makers write them: "gpt-5.4" for Azure's "gpt-5-4", "claude-opus-4-5" for OpenRouter's "claude-opus-4.5".
    """
    name = _BEDROCK.sub("", model.strip().lower().rpartition("/")[2])
    name = base_of_fine_tuned(name) or name
    return _DOTTED.sub(r"\1-\2", _HYPHENATED.sub(r"gpt-\1.\2", name))
