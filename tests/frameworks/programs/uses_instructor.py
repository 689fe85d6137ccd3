"""Instructor: https://python.useinstructor.com/."""

from __future__ import annotations

import asyncio

import instructor
from kit import QUESTION, clients, told
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

ASKED = [{"role": "user", "content": QUESTION}]


class Coin(BaseModel):
    name: str
    pence: float


async def main() -> None:
    sync, aio = clients()
    sync, aio = sync or OpenAI(), aio or AsyncOpenAI()
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        client, aclient = instructor.from_openai(sync, mode=mode), instructor.from_openai(aio, mode=mode)
        asks = {"model": "gpt-4o", "messages": ASKED}
        create, acreate = client.chat.completions, aclient.chat.completions
        told(f"{mode}: create", create.create(response_model=Coin, **asks).model_dump())
        coin, raw = create.create_with_completion(response_model=Coin, **asks)
        told(f"{mode}: create_with_completion", [coin.model_dump(), raw.usage.total_tokens])
        told(
            f"{mode}: create_partial",
            [str(part) for part in create.create_partial(response_model=Coin, **asks)],
        )
        told(f"{mode}: async create", (await acreate.create(response_model=Coin, **asks)).model_dump())
        parts = [str(part) async for part in acreate.create_partial(response_model=Coin, **asks)]
        told(f"{mode}: async create_partial", parts)


if __name__ == "__main__":
    asyncio.run(main())
