"""LiteLLM's own SDK, on OpenAI's models: https://docs.litellm.ai/docs/providers/openai."""

from __future__ import annotations

import asyncio

import litellm
from kit import QUESTION, clients, told
from pydantic import BaseModel

ASKED = [{"role": "user", "content": QUESTION}]
TOOL = {
    "type": "function",
    "function": {
        "name": "worth",
        "description": "What a coin is worth.",
        "parameters": {"type": "object", "properties": {"coin": {"type": "string"}}},
    },
}


class Coin(BaseModel):
    name: str
    pence: float


def shown(answer):
    message, usage = answer.choices[0].message, answer.usage
    calls = [call.function.arguments for call in message.tool_calls or ()]
    return [message.content, calls, usage.prompt_tokens, usage.completion_tokens]


def text(stream):
    return [part.choices[0].delta.content for part in stream]


async def main() -> None:
    sync, aio = clients()
    one, other = ({}, {}) if sync is None else ({"client": sync}, {"client": aio})
    asks = {"model": "openai/gpt-4o", "messages": ASKED}
    told("completion", shown(litellm.completion(**asks, **one)))
    told("stream", text(litellm.completion(stream=True, **asks, **one)))
    usage = {"stream_options": {"include_usage": True}, "stream": True}
    told("stream with usage", text(litellm.completion(**usage, **asks, **one)))
    told("tools", shown(litellm.completion(tools=[TOOL], **asks, **one)))
    told("structured", shown(litellm.completion(response_format=Coin, **asks, **one)))
    told("acompletion", shown(await litellm.acompletion(**asks, **other)))
    stream = await litellm.acompletion(stream=True, **asks, **other)
    told("async stream", [part.choices[0].delta.content async for part in stream])
    embedding = {"model": "openai/text-embedding-3-small", "input": ["a"]}
    told("embedding", litellm.embedding(**embedding, **one).data[0]["embedding"])
    told("aembedding", (await litellm.aembedding(**embedding, **other)).data[0]["embedding"])


if __name__ == "__main__":
    asyncio.run(main())
