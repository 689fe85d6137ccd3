"""What models take and give, and which of them reason unseen."""

from __future__ import annotations

import pytest

from farthing.catalog import default, reasons
from farthing.catalog.limits import _TABLE
from farthing.catalog.source import load

catalog = default()


@pytest.mark.parametrize(
    ("model", "output", "window"),
    [
        ("gpt-3.5-turbo-0125", 4_096, 16_385),
        ("gpt-4", 8_192, 8_192),
        ("gpt-4-0613", 8_192, 8_192),
        ("gpt-4-1106-preview", 4_096, 128_000),
        ("gpt-4-turbo-2024-04-09", 4_096, 128_000),
        ("gpt-4o", 16_384, 128_000),
        ("gpt-4o-2024-05-13", 4_096, 128_000),
        ("gpt-4o-2024-08-06", 16_384, 128_000),
        ("gpt-4o-mini-2024-07-18", 16_384, 128_000),
        ("gpt-4.1-nano", 32_768, 1_047_576),
        ("gpt-4.5-preview-2025-02-27", 16_384, 128_000),
        ("gpt-5", 128_000, 400_000),
        ("gpt-5-mini-2025-08-07", 128_000, 400_000),
        ("gpt-5-pro", 272_000, 400_000),
        ("gpt-5-chat-latest", 16_384, 128_000),
        ("gpt-5.1-codex-max", 128_000, 400_000),
        ("gpt-5.2-chat-latest", 16_384, 128_000),
        ("gpt-5.4-pro", 128_000, 1_050_000),
        ("gpt-5-4-mini", 128_000, 400_000),
        ("gpt-6.1-sol", 128_000, 1_050_000),
        ("gpt-5.9-nova", 128_000, 1_050_000),
        ("o1-preview", 32_768, 128_000),
        ("o3-deep-research", 100_000, 200_000),
        ("o4-mini-2025-04-16", 100_000, 200_000),
        ("o5-mini", 100_000, 200_000),
        ("ft:gpt-4o-mini-2024-07-18:org::id", 16_384, 128_000),
        ("openai/gpt-4o", 16_384, 128_000),
    ],
)
def test_models_of_openai_have_limits(model, output, window):
    assert (catalog.max_output(model), catalog.context_window(model)) == (output, window)


@pytest.mark.parametrize(
    ("model", "output", "window"),
    [
        ("claude-sonnet-4-5-20250929", 64_000, 200_000),
        ("anthropic/claude-sonnet-4.5", 64_000, 200_000),
        ("us.anthropic.claude-opus-4-6-v1", 128_000, 1_000_000),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0", 64_000,
         200_000),
        ("claude-opus-4-1@20250805", 32_000, 200_000),
        ("claude-3-opus-20240229", 4_096, 200_000),
        ("claude-3.5-sonnet", 8_192, 200_000),
        ("claude-sonnet-5-5", 128_000, 1_000_000),
        ("models/gemini-2.5-pro", 65_536, 1_048_576),
        ("gemini-3-flash-preview", 65_536, 1_048_576),
        ("gemini-2.0-flash-001", 8_192, 1_048_576),
        ("publishers/google/models/gemini-2.5-flash", 65_536, 1_048_576),
        ("deepseek/deepseek-chat", 8_192, 131_072),
        ("deepseek-v4-flash", 393_216, 1_000_000),
        ("openai/gpt-oss-120b", 131_072, 131_072),
        ("grok-4-0709", 256_000, 256_000),
        ("mistral-large-latest", 262_144, 262_144),
        ("command-r-plus-08-2024", 4_096, 128_000),
        ("us.amazon.nova-pro-v1:0", 10_000, 300_000),
    ],
)  # fmt: skip
def test_models_of_others_have_limits_however_they_are_spelt(model, output, window):
    assert (catalog.max_output(model), catalog.context_window(model)) == (output, window)


def test_the_route_to_a_model_does_not_change_its_limits():
    assert catalog.max_output("openai/gpt-4o", provider="openrouter") == 16_384
    assert catalog.max_output("gpt-35-turbo", provider="azure") == 4_096


def test_what_we_do_not_know_is_none():
    assert catalog.max_output("claude-opus-2") is None
    assert catalog.max_output("gpt-4ever") is None
    assert catalog.max_output("mystery-1") is None
    assert catalog.context_window("my-own-model") is None


def test_the_window_of_other_models_is_the_sources():
    assert catalog.context_window("claude-sonnet-4-5") == 200_000
    assert catalog.context_window("gemini-2.5-flash", provider="google") == 1_048_576


def test_no_window_is_below_its_output_and_none_is_far_from_the_sources():
    for model, limits in _TABLE.items():
        assert limits.max_output <= limits.context_window
        assert limits.source
        entry = load().find("openai", model)
        if entry is not None and entry.context_window and not model.endswith(("-chat", "realtime")):
            assert 0.9 < limits.context_window / entry.context_window < 1.1, model


@pytest.mark.parametrize(
    "model",
    ["o1", "o1-mini", "o3-pro", "o4-mini-2025-04-16", "gpt-5", "gpt-5-nano", "gpt-5.4-mini", "gpt-6-sol",
     "O3", "gpt-5.2-codex", "openai/gpt-5", "gpt-oss-120b", "codex-mini-latest", "ft:o4-mini:a::b",
     "gemini-2.5-pro", "models/gemini-3-flash-preview", "gemini-2.5-flash", "grok-4-0709", "grok-3-mini",
     "gemini-flash-latest", "~google/gemini-pro-latest"],
)  # fmt: skip
def test_models_that_reason(model):
    assert catalog.is_reasoning(model)
    assert reasons(model)


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "gpt-5-chat", "gpt-4.5-preview", "gpt-3.5-turbo", "gpt-audio",
     "omni-moderation-latest", "o100b", "ollama", "claude-sonnet-4-5", "gpt-image-1", "", "gemini-2.0-flash",
     "gemini-2.5-flash-lite", "gemini-2.5-flash-image", "grok-4.20-0309-non-reasoning", "grok-3"],
)  # fmt: skip
def test_models_that_do_not_reason_as_openai_does(model):
    assert not catalog.is_reasoning(model)


@pytest.mark.parametrize(
    "model",
    ["deepseek-reasoner", "deepseek/deepseek-r1-0528:free", "us.deepseek.r1-v1:0", "perplexity/r1-1776",
     "@cf/deepseek-ai/deepseek-r1-distill-qwen-32b", "magistral-medium-latest", "kimi-k2-thinking-turbo",
     "moonshotai/Kimi-K2-Thinking", "qwq-32b-preview", "qwen/qwen3-235b-a22b-thinking-2507",
     "sonar-reasoning-pro", "sonar-deep-research", "phi-4-reasoning-plus",
     "anthropic/claude-3.7-sonnet:thinking"],
)  # fmt: skip
def test_models_that_show_their_reasoning_reason_too_but_not_unseen(model):
    assert reasons(model)
    assert not catalog.is_reasoning(model)


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "deepseek-chat", "kimi-k2", "sonar-pro", "mistral-large-latest", "gemini-flash-lite-latest",
     "grok-4.20-0309-non-reasoning", "claude-sonnet-4-5", "r1x", "thinking", ""],
)  # fmt: skip
def test_models_that_answer_at_once(model):
    assert not reasons(model)
