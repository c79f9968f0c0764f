"""OpenAI's Agents SDK: its own loop, over chat completions and over responses. https://github.com/openai/openai-agents-python"""

import asyncio
from typing import Any

import turns
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from turns import Route

set_tracing_disabled(True)


async def turn(route: Route, kind: Any, *, stream: bool) -> dict[str, Any]:
    async with AsyncOpenAI(
        base_url=route.v1, api_key=route.key, max_retries=0, timeout=turns.TIMEOUT_SECONDS
    ) as client:
        model = kind(model="gpt-5", openai_client=client)
        agent = Agent(
            name="weather",
            instructions="Be brief.",
            model=model,
            tools=[function_tool(turns.get_weather)],
            model_settings=ModelSettings(include_usage=True),
        )
        if stream:
            ran: Any = Runner.run_streamed(agent, turns.PROMPT)
            async for _ in ran.stream_events():
                pass
        else:
            ran = await Runner.run(agent, turns.PROMPT)
        used = ran.context_wrapper.usage
        cached = used.input_tokens_details.cached_tokens
        return {
            "turns": len(ran.raw_responses),
            "last": ran.final_output,
            "usage": turns.usage(used.input_tokens, cached, used.output_tokens),
        }


def case(kind: Any, stream: bool) -> Any:
    return lambda route: asyncio.run(turn(route, kind, stream=stream))


turns.run(
    {
        name + ("-stream" if stream else ""): case(kind, stream)
        for name, kind in {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}.items()
        for stream in (False, True)
    }
)
