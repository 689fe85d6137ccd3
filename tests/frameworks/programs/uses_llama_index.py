"""LlamaIndex: https://docs.llamaindex.ai/en/stable/examples/llm/openai/."""

from __future__ import annotations

import asyncio

from kit import QUESTION, clients, told, wrapped
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses
from pydantic import BaseModel

ASKED = [ChatMessage(role="user", content=QUESTION)]


class Coin(BaseModel):
    """A coin."""

    name: str
    pence: float


def worth(coin: str) -> str:
    """What a coin is worth."""
    return f"{coin}: a quarter of a penny"


def made():
    sync, aio = clients()
    own = {} if sync is None else {"openai_client": sync, "async_openai_client": aio}
    model, responses = OpenAI(model="gpt-4o", **own), OpenAIResponses(model="gpt-4o", **own)
    embedding = OpenAIEmbedding(model="text-embedding-3-small")
    wrapped(embedding._get_client(), embedding._get_aclient())  # it takes no client, and shows none
    return model, responses, embedding


async def main() -> None:
    model, responses, embedding = made()
    told("complete", str(model.complete(QUESTION)))
    told("chat", str(model.chat(ASKED)))
    told("stream_chat", [part.delta for part in model.stream_chat(ASKED)])
    told("stream_complete", [part.delta for part in model.stream_complete(QUESTION)])
    told("acomplete", str(await model.acomplete(QUESTION)))
    told("achat", str(await model.achat(ASKED)))
    told("astream_chat", [part.delta async for part in await model.astream_chat(ASKED)])
    tool = FunctionTool.from_defaults(worth)
    called = model.get_tool_calls_from_response(model.chat_with_tools([tool], QUESTION))
    told("chat_with_tools", [call.tool_kwargs for call in called])
    template = PromptTemplate("Name a coin.")
    told("structured_predict", model.structured_predict(Coin, template).model_dump())
    told("responses: complete", str(responses.complete(QUESTION)))
    told("responses: stream_chat", [part.delta for part in responses.stream_chat(ASKED)])
    told("responses: achat", str(await responses.achat(ASKED)))
    told("get_text_embedding", embedding.get_text_embedding("a"))
    told("get_text_embedding_batch", embedding.get_text_embedding_batch(["a", "b"]))
    told("aget_text_embedding", await embedding.aget_text_embedding("a"))


if __name__ == "__main__":
    asyncio.run(main())
