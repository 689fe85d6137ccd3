"""Response bodies with what they cost: worked out by hand from the published rates beside each. Nobody's
recordings: the numbers are made up, the shapes are those of the providers' references."""

from __future__ import annotations

from typing import Any

__all__ = ["BODIES"]


def _chat(model: str, prompt: int, out: int, cached: int = 0, **more: Any) -> dict[str, Any]:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": out,
        "total_tokens": prompt + out,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": more.pop("heard", 0)},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": more.pop("spoken", 0)},
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_795_000_000,
        "model": model,
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
        ],
        "usage": {**usage, **more.pop("usage", {})},
        **more,
    }


def _claude(model: str, plain: int, out: int, **usage: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": plain, "output_tokens": out, **usage},
    }


def _gemini(model: str, prompt: int, out: int, thoughts: int = 0, cached: int = 0) -> dict[str, Any]:
    return {
        "modelVersion": model,
        "candidates": [{"content": {"parts": [{"text": "hello"}], "role": "model"}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": prompt,
            "candidatesTokenCount": out,
            "thoughtsTokenCount": thoughts,
            "cachedContentTokenCount": cached,
            "totalTokenCount": prompt + out + thoughts,
        },
    }


BODIES: list[dict[str, Any]] = [
    # 176 x 2.50 + 1024 x 1.25 + 150 x 10
    {"provider": "openai", "wire": "openai.chat", "body": _chat("gpt-4o-2024-08-06", 1200, 150, 1024),
     "cost": "0.00322"},
    # 1000 x 0.15 + 500 x 0.60
    {"provider": "openai", "wire": "openai.chat", "body": _chat("gpt-4o-mini", 1000, 500), "cost": "0.00045"},
    # 1000 x 2 + 1000 x 8 now, five times as much before 10 June 2025
    {"provider": "openai", "wire": "openai.chat", "body": _chat("o3", 1000, 1000), "cost": "0.01"},
    {"provider": "openai", "wire": "openai.chat", "body": _chat("o3", 1000, 1000), "cost": "0.05",
     "date": "2025-06-01"},
    # 500 x 1.25 + 500 x 0.125 + 2000 x 10, twice that at priority, half at flex
    {"provider": "openai", "wire": "openai.chat", "body": _chat("gpt-5", 1000, 2000, 500),
     "cost": "0.0206875"},
    {"provider": "openai", "wire": "openai.chat", "cost": "0.041375",
     "body": _chat("gpt-5", 1000, 2000, 500, service_tier="priority")},
    {"provider": "openai", "wire": "openai.chat", "cost": "0.01034375",
     "body": _chat("gpt-5", 1000, 2000, 500, service_tier="flex")},
    # the long request as a whole: 300,000 x 5 + 1000 x 22.50
    {"provider": "openai", "wire": "openai.chat", "body": _chat("gpt-5.4", 300_000, 1000), "cost": "1.5225"},
    # and one of 272,000: x 2.50 + 1000 x 15
    {"provider": "openai", "wire": "openai.chat", "body": _chat("gpt-5.4", 272_000, 1000), "cost": "0.695"},
    # data residency: 10 % above 1000 x 2.50 + 100 x 15
    {"provider": "openai", "wire": "openai.chat", "body": _chat("gpt-5.4", 1000, 100), "cost": "0.0044",
     "url": "https://eu.api.openai.com/v1"},
    # 200 x 2.50 + 100 of audio x 32 + 30 x 10 + 50 of audio x 64
    {"provider": "openai", "wire": "openai.chat", "body": _chat("gpt-audio", 300, 80, heard=100, spoken=50),
     "cost": "0.0072"},
    # fine-tuned: 500 x 0.30 + 500 x 0.15 + 100 x 1.20
    {"provider": "openai", "wire": "openai.chat", "cost": "0.000345",
     "body": _chat("ft:gpt-4o-mini-2024-07-18:acme::a1", 1000, 100, 500)},
    # 1,000,000 x 0.02
    {"provider": "openai", "wire": "openai.embeddings", "cost": "0.02",
     "body": {"object": "list", "data": [], "model": "text-embedding-3-small",
              "usage": {"prompt_tokens": 1_000_000, "total_tokens": 1_000_000}}},
    # 1000 x 3 + 400 written x 3.75 + 600 for an hour x 6 + 2000 read x 0.30 + 500 x 15
    {"provider": "anthropic", "wire": "anthropic.messages", "cost": "0.0162",
     "body": _claude("claude-sonnet-4-5-20250929", 1000, 500, cache_read_input_tokens=2000,
                     cache_creation_input_tokens=1000,
                     cache_creation={"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600})},
    # 200,001 in all, 200,000 of it read: 1 x 6 + 200,000 x 0.60 + 10 x 22.50
    {"provider": "anthropic", "wire": "anthropic.messages", "cost": "0.120231", "date": "2026-02-20",
     "body": _claude("claude-sonnet-4-5", 1, 10, cache_read_input_tokens=200_000)},
    # in the United States alone: 1.1 x (1000 x 5 + 100 x 25)
    {"provider": "anthropic", "wire": "anthropic.messages", "cost": "0.00825",
     "body": _claude("claude-opus-4-6", 1000, 100, inference_geo="us")},
    # 1000 x 5 + 100 x 25, and two searches at 10 a thousand
    {"provider": "anthropic", "wire": "anthropic.messages", "cost": "0.0275",
     "body": _claude("claude-opus-4-6", 1000, 100, server_tool_use={"web_search_requests": 2})},
    # thoughts are output: 1000 x 0.30 + 600 x 2.50
    {"provider": "google", "wire": "google.generate_content", "cost": "0.0018",
     "body": _gemini("gemini-2.5-flash", 1000, 100, 500)},
    # 100,001 x 2.50 + 100,000 read x 0.25 + 10 x 15
    {"provider": "google", "wire": "google.generate_content", "cost": "0.2751525",
     "body": _gemini("gemini-2.5-pro", 200_001, 10, cached=100_000)},
    # 700 x 0.15 + 300 x 0.075 + 200 x 0.60
    {"provider": "groq", "wire": "openai.chat", "body": _chat("openai/gpt-oss-120b", 1000, 200, 300),
     "cost": "0.0002475"},
    # 1000 x 0.28 + 100 x 0.42, without the night discount of the year before
    {"provider": "deepseek", "wire": "openai.chat", "cost": "0.000322", "date": "2026-03-02T20:00:00",
     "body": _chat("deepseek-chat", 1000, 100,
                   usage={"prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 1000})},
    # the router states its own bill
    {"provider": "openrouter", "wire": "openai.chat", "cost": "0.00123",
     "body": _chat("anthropic/claude-sonnet-4.5", 200, 40, usage={"cost": 0.00123})},
    # nobody knows these: any number would be wrong, 0 above all
    {"provider": "openai", "wire": "openai.chat", "body": _chat("gpt-99-mystery", 1000, 100), "cost": None},
    {"provider": "anthropic", "wire": "anthropic.messages", "body": _claude("claude-mystery-9", 1000, 100),
     "cost": None},
]  # fmt: skip
