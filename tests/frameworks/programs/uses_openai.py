"""OpenAI's own SDK, without a framework: https://github.com/openai/openai-python."""

from __future__ import annotations

import asyncio

from kit import QUESTION, clients, told
from openai import AsyncOpenAI, OpenAI

ASKED = [{"role": "user", "content": QUESTION}]


async def main() -> None:
    sync, aio = clients()
    sync, aio = sync or OpenAI(), aio or AsyncOpenAI()
    asks = {"model": "gpt-4o", "messages": ASKED}
    told("create", sync.chat.completions.create(**asks).to_dict())
    told("stream", [part.model_dump() for part in sync.chat.completions.create(stream=True, **asks)])
    told("async create", (await aio.chat.completions.create(**asks)).to_dict())
    stream = await aio.chat.completions.create(stream=True, **asks)
    told("async stream", [part.model_dump() async for part in stream])
    told("responses", sync.responses.create(model="gpt-4o", input=QUESTION).to_dict())
    events = sync.responses.create(model="gpt-4o", input=QUESTION, stream=True)
    told("responses, streamed", [event.to_dict() for event in events])
    found = sync.embeddings.create(model="text-embedding-3-small", input="a")
    told("embeddings", found.to_dict())


if __name__ == "__main__":
    asyncio.run(main())
