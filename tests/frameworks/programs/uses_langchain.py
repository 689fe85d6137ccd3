"""LangChain's ChatOpenAI and OpenAIEmbeddings: https://python.langchain.com/docs/integrations/chat/openai/."""

from __future__ import annotations

import asyncio

from kit import QUESTION, clients, told, wrapped
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Coin(BaseModel):
    """A coin."""

    name: str
    pence: float


@tool
def worth(coin: str) -> str:
    """What a coin is worth."""
    return f"{coin}: a quarter of a penny"


def shown(message):
    return [message.content, message.tool_calls, message.usage_metadata]


def streamed(chunks):
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return [len([chunk for chunk in chunks if chunk.text]), *shown(whole)]


def models(**more):
    sync, aio = clients()
    own = {} if sync is None else {"client": sync.embeddings, "async_client": aio.embeddings}
    model = ChatOpenAI(model="gpt-4o", **more)
    wrapped(model.root_client, model.root_async_client)
    embeddings = OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False, **own)
    return model, embeddings


async def main() -> None:
    model, embeddings = models()
    told("invoke", shown(model.invoke(QUESTION)))
    told("stream", streamed(list(model.stream(QUESTION))))
    told("stream with usage", streamed(list(model.stream(QUESTION, stream_usage=True))))
    told("ainvoke", shown(await model.ainvoke(QUESTION)))
    told("astream", streamed([chunk async for chunk in model.astream(QUESTION)]))
    told("batch", [shown(message) for message in model.batch([QUESTION], config={"max_concurrency": 1})])
    told("abatch", [shown(message) for message in await model.abatch([QUESTION])])
    offered = model.bind_tools([worth])
    called = offered.invoke(QUESTION)
    told("tools", shown(called))
    result = worth.invoke(called.tool_calls[0])
    told("tools, answered", shown(offered.invoke([("user", QUESTION), called, result])))
    told("tools, streamed", streamed(list(offered.stream(QUESTION))))
    told("structured", model.with_structured_output(Coin).invoke(QUESTION).model_dump())
    by_tool = model.with_structured_output(Coin, method="function_calling")
    told("structured by a tool", by_tool.invoke(QUESTION).model_dump())
    told("structured, streamed", [str(part) for part in model.with_structured_output(Coin).stream(QUESTION)])
    told("structured, async", (await model.with_structured_output(Coin).ainvoke(QUESTION)).model_dump())
    told("embed_documents", embeddings.embed_documents(["a", "b"]))
    told("aembed_query", await embeddings.aembed_query("a"))
    responses, _ = models(use_responses_api=True)
    told("responses", shown(responses.invoke(QUESTION)))
    told("responses, streamed", streamed(list(responses.stream(QUESTION))))
    told("responses, async", shown(await responses.ainvoke(QUESTION)))
    told("responses, structured", responses.with_structured_output(Coin).invoke(QUESTION).model_dump())


if __name__ == "__main__":
    asyncio.run(main())
