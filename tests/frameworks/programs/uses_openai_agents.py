"""The OpenAI Agents SDK: https://openai.github.io/openai-agents-python/."""

from __future__ import annotations

import asyncio

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_default_openai_client,
)
from kit import QUESTION, clients, told
from openai import AsyncOpenAI
from pydantic import BaseModel


class Coin(BaseModel):
    name: str
    pence: float


@function_tool
def worth(coin: str) -> str:
    """What a coin is worth."""
    return f"{coin}: a quarter of a penny"


def shown(result):
    usage = result.context_wrapper.usage
    return [str(result.final_output), usage.requests, usage.input_tokens, usage.output_tokens]


async def main() -> None:
    _, aio = clients()
    if aio is not None:
        set_default_openai_client(aio, use_for_tracing=False)
    client = aio or AsyncOpenAI()
    kinds = {
        "default": "gpt-4o",
        "responses": OpenAIResponsesModel("gpt-4o", client),
        "chat": OpenAIChatCompletionsModel("gpt-4o", client),
    }
    for name, model in kinds.items():
        plain = Agent(name="Teller", instructions="Be brief.", model=model)
        told(f"{name}: run", shown(await Runner.run(plain, QUESTION)))
        result = Runner.run_streamed(plain, QUESTION)
        kinds_of_event = [event.type async for event in result.stream_events()]
        told(f"{name}: run_streamed", [*shown(result), kinds_of_event])
        handy = Agent(name="Teller", model=model, tools=[worth])
        told(f"{name}: tools", shown(await Runner.run(handy, QUESTION)))
        result = Runner.run_streamed(handy, QUESTION)
        told(
            f"{name}: tools, streamed",
            [[event.type async for event in result.stream_events()], *shown(result)],
        )
        typed = Agent(name="Teller", model=model, output_type=Coin)
        told(f"{name}: structured", shown(await Runner.run(typed, QUESTION)))
        first = Agent(name="Desk", model=model, handoffs=[plain])
        told(f"{name}: handoff", shown(await Runner.run(first, QUESTION)))


if __name__ == "__main__":
    asyncio.run(main())
