"""Pydantic AI: https://ai.pydantic.dev/models/openai/."""

from __future__ import annotations

import asyncio

from kit import QUESTION, clients, told
from pydantic import BaseModel
from pydantic_ai import Agent, Embedder, NativeOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class Coin(BaseModel):
    name: str
    pence: float


def worth(coin: str) -> str:
    """What a coin is worth."""
    return f"{coin}: a quarter of a penny"


def shown(result):
    usage = result.usage() if callable(result.usage) else result.usage
    return [
        str(result.output),
        usage.requests,
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.output_tokens,
    ]


async def streamed(agent):
    async with agent.run_stream(QUESTION) as result:
        parts = [str(part) async for part in result.stream_output(debounce_by=None)]
        usage = result.usage() if callable(result.usage) else result.usage
        return [parts, usage.input_tokens, usage.output_tokens]


async def main() -> None:
    _, aio = clients()
    if aio is None:
        kinds = {"chat": "openai-chat:gpt-4o", "responses": "openai-responses:gpt-4o"}
        embedder = Embedder("openai:text-embedding-3-small")
    else:
        provider = OpenAIProvider(openai_client=aio)
        kinds = {
            "chat": OpenAIChatModel("gpt-4o", provider=provider),
            "responses": OpenAIResponsesModel("gpt-4o", provider=provider),
        }
        embedder = Embedder(OpenAIEmbeddingModel("text-embedding-3-small", provider=provider))
    for name, model in kinds.items():
        plain = Agent(model)
        told(f"{name}: run", shown(await plain.run(QUESTION)))
        told(f"{name}: run_stream", await streamed(plain))
        handy = Agent(model, tools=[worth])
        told(f"{name}: tools", shown(await handy.run(QUESTION)))
        told(f"{name}: tools, streamed", await streamed(handy))
        told(f"{name}: output by a tool", shown(await Agent(model, output_type=Coin).run(QUESTION)))
        native = Agent(model, output_type=NativeOutput(Coin))
        told(f"{name}: native output", shown(await native.run(QUESTION)))
        told(f"{name}: native output, streamed", await streamed(native))
    found = await embedder.embed_query("a")
    told("embed", list(found.embeddings[0]))


if __name__ == "__main__":
    asyncio.run(main())
