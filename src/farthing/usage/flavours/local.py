"""Servers of one's own machine, in the shapes of their own."""

from __future__ import annotations

from farthing.usage.flavours.row import Row

__all__ = ["LLAMA_CPP", "OLLAMA"]

OLLAMA = Row(
    name="ollama.chat",
    sources=(
        "github.com/ollama/ollama docs/api.md: chat, generate, embed; counts in the last object",
        "its api/types.go, Metrics: what is 0 is left out",
    ),
    counts={"prompt_eval_count": "input_tokens", "eval_count": "output_tokens"},
    bare=("prompt_eval_count", "eval_count"),
    silent_output=True,
    marks=frozenset({"prompt_eval_count", "eval_count"}),
    seen=(
        (None, "message.thinking"),
        (None, "message.content"),
        (None, "message.tool_calls[].function.name"),
        (None, "message.tool_calls[].function.arguments"),
        (None, "response"),
    ),
    end_at=("done",),
)

LLAMA_CPP = Row(
    name="llamacpp.completion",
    sources=(
        "github.com/ggml-org/llama.cpp tools/server/README.md, POST /completion",
        "prompt_n leaves out cache_n: github.com/ggml-org/llama.cpp/issues/15827",
    ),
    usage_at=("timings",),
    counts={
        "prompt_n": "input_tokens",
        "cache_n": "cached_tokens",
        "predicted_n": "output_tokens",
        "tokens_evaluated": "input_tokens",
        "tokens_predicted": "output_tokens",
        "draft_n": "",
        "draft_n_accepted": "",
        **{
            f"{kind}_{measure}": ""
            for kind in ("prompt", "predicted")
            for measure in ("ms", "per_token_ms", "per_second")
        },
    },
    cache_outside=True,
    bare=("tokens_evaluated", "tokens_predicted"),
    marks=frozenset({"timings", "tokens_evaluated"}),
    seen=((None, "content"),),
    end_at=("stop",),
)
