"""OpenAI, and everybody who speaks its shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from farthing.usage.flavours.hosted import of_chat, of_responses
from farthing.usage.flavours.row import Row, under

__all__ = [
    "ASSISTANTS",
    "CHAT",
    "COMPLETIONS",
    "EMBEDDINGS",
    "GEMINI_CHAT",
    "IMAGES",
    "MODERATIONS",
    "RESPONSES",
    "SPEECH",
    "TRANSCRIPTIONS",
    "XAI_CHAT",
]

_COUNTS: Mapping[str, str] = {
    # SDK types/completion_usage.py, types/create_embedding_response.py
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    # SDK types/responses/response_usage.py, types/images_response.py, types/audio/transcription.py
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "seconds": "seconds",
    "type": "",
    # SDK; in the singular: Assistants' runs, Mistral, Writer, transcriptions
    **under(
        ("prompt_tokens_details", "input_tokens_details", "prompt_token_details", "input_token_details"),
        {
            "cached_tokens": "cached_tokens",
            "cache_write_tokens": "cache_write_tokens",
            "cache_write_tokens_details.ttl_30m_tokens": "cache_write_30m_tokens",
            "cache_write_tokens_details.ttl_12h_tokens": "cache_write_12h_tokens",
            "cache_creation_tokens": "cache_write_tokens",  # LiteLLM's proxy
            "audio_tokens": "audio_input_tokens",
            "image_tokens": "image_input_tokens",
            "video_tokens": "video_input_tokens",  # openrouter.ai, recorded bodies
            "text_tokens": "",  # the rest
        },
    ),
    **under(
        ("completion_tokens_details", "output_tokens_details", "output_token_details"),
        {
            "reasoning_tokens": "reasoning_tokens",
            "audio_tokens": "audio_output_tokens",
            "image_tokens": "image_output_tokens",
            "accepted_prediction_tokens": "accepted_prediction_tokens",  # both are part of the output
            "rejected_prediction_tokens": "rejected_prediction_tokens",
            "text_tokens": "",
        },
    ),
    # Cache reads and writes by other names. DeepSeek: api-docs.deepseek.com/guides/kv_cache (prompt =
    # hit + miss; the details may say 0 beside a hit); Moonshot, Together; Mistral; LiteLLM's proxy.
    "prompt_cache_hit_tokens": "cached_tokens",
    "prompt_cache_miss_tokens": "",
    "cached_tokens": "cached_tokens",
    "num_cached_tokens": "cached_tokens",
    "cache_read_input_tokens": "cached_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "cache_write_tokens": "cache_write_tokens",
    # Perplexity Sonar: github.com/agno-agi/agno/issues/6058
    "reasoning_tokens": "reasoning_tokens",
    "citation_tokens": "citation_tokens",
    "num_search_queries": "web_searches",
    "search_context_size": "",
    # OpenRouter, see openrouter.ai/docs/use-cases/usage-accounting
    "server_tool_use.web_search_requests": "web_searches",
    # xAI, as recorded in public repositories (2026); the tools are billed beside the tokens
    "num_sources_used": "sources_used",
    "num_server_side_tools_used": "server_side_tools_used",
    "server_side_tool_usage_details.web_search_calls": "web_searches",
    **under(
        ("server_side_tool_usage_details",),
        {
            name: name
            for name in (
                "x_search_calls",
                "code_interpreter_calls",
                "file_search_calls",
                "mcp_calls",
                "document_search_calls",
                "image_generation_calls",
            )
        },
    ),
    "context_details": "",
    # Perplexity's Agent API, billed within `cost`
    "tool_calls_details": "",
    # Mistral's Voxtral, as recorded
    "prompt_audio_seconds": "seconds",
    "request_count": "",
    # Money, which `reported.py` reads
    "cost": "",
    "cost_details": "",
    "cost_in_usd_ticks": "",
    "is_byok": "",
    # Groq, as recorded: durations of the computation, nothing that is billed
    "queue_time": "",
    "prompt_time": "",
    "completion_time": "",
    "total_time": "",
}

CHAT = Row(
    name="openai.chat",
    sources=(
        "SDK types/completion_usage.py, types/chat/chat_completion_chunk.py",
        "Groq's streams, as recorded: usage in x_groq of the last chunk",
        "reasoning in the total only, Gemini's OpenAI endpoint: github.com/openai/openai-python/issues/2544",
        "the same, xAI: litellm's fold_reasoning_tokens_into_completion",
        "llama.cpp, whose usage leaves out its cache: github.com/ggml-org/llama.cpp/issues/15827",
    ),
    usage_at=("usage", "x_groq.usage"),
    counts=_COUNTS,
    beside={"timings.cache_n": "cached_tokens"},
    beside_at="timings",
    further=of_chat,
    objects=frozenset({"chat.completion", "chat.completion.chunk"}),
    seen=(
        (None, "choices[].delta|message.reasoning_content|reasoning"),  # DeepSeek, vLLM | OpenRouter, Groq
        (None, "choices[].delta|message.content"),
        (None, "choices[].delta|message.refusal"),
        (None, "choices[].delta|message.function_call.name"),
        (None, "choices[].delta|message.function_call.arguments"),
        (None, "choices[].delta|message.tool_calls[].function.name"),
        (None, "choices[].delta|message.tool_calls[].function.arguments"),
        (None, "choices[].delta|message.audio.transcript"),
    ),
    end_at=("choices[].finish_reason",),
)

COMPLETIONS = replace(
    CHAT,
    name="openai.completions",
    sources=("SDK types/completion.py, types/completion_usage.py",),
    objects=frozenset({"text_completion"}),
    seen=((None, "choices[].text"),),
)

EMBEDDINGS = Row(
    name="openai.embeddings",
    sources=("SDK types/create_embedding_response.py: an embedding has no output tokens, so they are 0",),
    counts=_COUNTS,
    total_binds=False,
    silent_output=True,
    objects=frozenset({"embedding"}),
)

RESPONSES = Row(
    name="openai.responses",
    sources=(
        "SDK types/responses/response_usage.py, types/responses/response_stream_event.py",
        "SDK types/responses/response.py: tool_usage, status",
    ),
    counts=_COUNTS,
    beside={
        # Hosted tools are billed apart from `usage`; "tool families with no recorded usage have zero
        # counts" (SDK types/responses/response.py, ToolUsage), so a zero here states nothing.
        "tool_usage.web_search.num_requests": "web_search_calls",
        "tool_usage.image_gen.input_tokens": "image_gen_input_tokens",
        "tool_usage.image_gen.input_tokens_details.image_tokens": "image_gen_image_input_tokens",
        "tool_usage.image_gen.cached_tokens": "image_gen_cached_tokens",
        "tool_usage.image_gen.output_tokens": "image_gen_output_tokens",
    },
    further=of_responses,
    inside=("response",),
    status_at=("status",),
    objects=frozenset({"response", "response.compaction"}),
    seen=(
        ("response.output_text.delta", "delta"),
        ("response.refusal.delta", "delta"),
        ("response.reasoning_text.delta", "delta"),
        ("response.reasoning_summary_text.delta", "delta"),
        ("response.output_item.added", "item.name"),
        ("response.function_call_arguments.delta", "delta"),
        ("response.custom_tool_call_input.delta", "delta"),
        ("response.mcp_call_arguments.delta", "delta"),
        ("response.code_interpreter_call_code.delta", "delta"),
        ("response.audio.transcript.delta", "delta"),
        # a whole answer
        ("response", "output[].summary[].text"),
        ("response", "output[].content[].text|refusal"),
        ("response", "output[].name"),
        ("response", "output[].arguments|input"),
    ),
    ends=frozenset({"response.completed", "response.incomplete", "response.failed", "error"}),
    fails=frozenset({"response.failed", "error"}),
)

MODERATIONS = Row(
    name="openai.moderations",
    sources=("SDK types/moderation_create_response.py: no usage is stated",),
    counts=_COUNTS,
)

IMAGES = Row(
    name="openai.images",
    sources=(
        "SDK types/images_response.py, types/image_gen_completed_event.py",
        "SDK types/image_edit_completed_event.py",
        "SDK types/images_response.py, svg_usage: of another model, which is kept in `units`",
    ),
    counts={**_COUNTS, "images": "images"},
    items={"data": "images"},
    beside={
        "svg_usage.input_tokens": "svg_input_tokens",
        "svg_usage.output_tokens": "svg_output_tokens",
    },
    beside_at="svg_usage",
    total_binds=False,
    objects=frozenset({"image_generation.completed", "image_edit.completed"}),
    ends=frozenset({"image_generation.completed", "image_edit.completed", "error"}),
    fails=frozenset({"error"}),
)

SPEECH = Row(
    name="openai.speech",
    sources=(
        "API reference, audio/speech: speech.audio.done of `stream_format` sse; else nothing is stated",
    ),
    counts=_COUNTS,
    total_binds=False,
    objects=frozenset({"speech.audio.done"}),
    ends=frozenset({"speech.audio.done", "error"}),
    fails=frozenset({"error"}),
)

TRANSCRIPTIONS = Row(
    name="openai.transcriptions",
    sources=(
        "SDK types/audio/transcription.py: usage of the type tokens or duration",
        "SDK types/audio/transcription_verbose.py, types/audio/translation_verbose.py: duration",
        "SDK types/audio/transcription_text_done_event.py",
    ),
    counts={**_COUNTS, "duration": "seconds"},
    bare=("duration", "seconds"),
    total_binds=False,
    objects=frozenset({"transcript.text.done", "duration"}),
    marks=frozenset({"duration"}),
    seen=(("transcript.text.delta", "delta"),),
    ends=frozenset({"transcript.text.done", "error"}),
    fails=frozenset({"error"}),
)

ASSISTANTS = Row(
    name="openai.assistants",
    sources=("SDK types/beta/threads/run.py; the steps before state their own, the run their sum",),
    counts=_COUNTS,
    status_at=("status",),
    objects=frozenset({"thread.run"}),
    seen=(("thread.message.delta", "delta.content[].text.value"),),
)

# Google's endpoint for OpenAI's shapes states no total in some versions of it: then thoughts are outside too.
GEMINI_CHAT = replace(CHAT, reasoning_outside=True)

# xAI's completion_tokens leave out reasoning: litellm's fold_reasoning_tokens_into_completion.
XAI_CHAT = replace(CHAT, reasoning_outside=True)
