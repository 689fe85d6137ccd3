"""A provider that answers at once: the network is an in-process transport, the SDK around it is the real one.

The answer is that of gpt-4o with 1,200 input tokens, 1,024 of them cached, and 150 output tokens: $0.00322.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import openai

__all__ = ["COST", "aclient", "client", "fresh", "request"]

COST = "0.00322"

_USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 150,
    "total_tokens": 1350,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_TEXT = "A farthing was a quarter of a penny, and the wren on its back is the smallest bird in the hedge. "
_HEADERS = {"content-type": "application/json", "x-request-id": "req_0123456789abcdef0123456789abcdef"}
_SSE = {**_HEADERS, "content-type": "text/event-stream"}


def _whole() -> bytes:
    return json.dumps(
        {
            "id": "chatcmpl-0123456789abcdefghijklmnopq",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": "gpt-4o-2024-08-06",
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": _TEXT * 5,
                        "refusal": None,
                        "annotations": [],
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
            "service_tier": "default",
            "system_fingerprint": "fp_0123456789",
        }
    ).encode()


def _event(choices: list[dict[str, object]], usage: object = None) -> bytes:
    body = {
        "id": "chatcmpl-0123456789abcdefghijklmnopq",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _choice(content: str | None, finish: str | None) -> list[dict[str, object]]:
    delta = {} if content is None else {"content": content}
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]


_WHOLE = _whole()
_CHUNK = _event(_choice(" word", None))
_FINISH = _event(_choice(None, "stop"))
_LAST = _event([], _USAGE)
_DONE = b"data: [DONE]\n\n"


class _Events(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """Content chunks, the finish, the usage if it was asked for: one event for each read."""

    def __init__(self, chunks: int, usage: bool) -> None:
        self._pieces = [_CHUNK] * chunks + [_FINISH] + ([_LAST] if usage else []) + [_DONE]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def _answer(request: httpx2.Request) -> httpx2.Response:
    asked = request.content
    if b'"stream":true' not in asked and b'"stream": true' not in asked:
        return httpx2.Response(200, headers=_HEADERS, content=_WHOLE)
    chunks = int(request.headers.get("x-chunks", "200"))
    return httpx2.Response(200, headers=_SSE, stream=_Events(chunks, b"include_usage" in asked))


async def _aanswer(request: httpx2.Request) -> httpx2.Response:
    return _answer(request)


def client() -> openai.OpenAI:
    """A client of the SDK without a network."""
    transport = httpx2.MockTransport(_answer)
    return openai.OpenAI(api_key="k", http_client=openai.DefaultHttpxClient(transport=transport))


def aclient() -> openai.AsyncOpenAI:
    """The same for coroutines."""
    transport = httpx2.MockTransport(_aanswer)
    return openai.AsyncOpenAI(api_key="k", http_client=openai.DefaultAsyncHttpxClient(transport=transport))


def request(characters: int, *, capped: bool = True) -> dict[str, object]:
    """The arguments of a call with a prompt of so many characters.

    Its cap makes the hold larger than the bill, as it is in practice: a call that is billed above its hold
    takes a dearer way through the ledger.
    """
    prompt = (_TEXT * (characters // len(_TEXT) + 1))[:characters]
    made: dict[str, object] = {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]}
    return {**made, "max_tokens": 1000} if capped else made


_numbers = itertools.count(100_000)


def fresh(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same call with a prompt of its own: nothing is remembered of its text."""
    prompt = arguments["messages"][0]["content"]
    return {**arguments, "messages": [{"role": "user", "content": f"{next(_numbers)}{prompt[6:]}"}]}
