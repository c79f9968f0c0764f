"""Anthropic's Python SDK. https://github.com/anthropics/anthropic-sdk-python"""

from typing import Any

import turns
from anthropic import Anthropic, beta_tool
from turns import Route

TOOLS = [{"name": turns.TOOL, "description": turns.DESCRIPTION, "input_schema": turns.PARAMETERS}]
MODEL = "claude-sonnet-4-5"


def sdk(route: Route) -> Anthropic:
    return Anthropic(base_url=route.url, api_key=route.key, max_retries=0, timeout=turns.TIMEOUT_SECONDS)


def messages(route: Route, *, stream: bool) -> dict[str, Any]:
    def ask(client: Anthropic, said: list[Any]) -> Any:
        asked: Any = {
            "model": MODEL, "max_tokens": 4096, "messages": said, "tools": TOOLS,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        }  # fmt: skip
        if not stream:
            return client.messages.create(**asked)
        with client.messages.stream(**asked) as events:
            for _ in events:
                pass
            return events.get_final_message()

    said: list[Any] = [{"role": "user", "content": turns.PROMPT}]
    first = ask(sdk(route), said)
    blocks = {block.type: block for block in first.content}
    call = blocks["tool_use"]
    said.append({"role": "assistant", "content": first.content})
    said.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": turns.RESULT}]})
    second = ask(sdk(route.then), said)
    used = first.usage
    cached = used.cache_read_input_tokens or 0
    return {
        "first": blocks["text"].text,
        "thought": blocks["thinking"].thinking if "thinking" in blocks else "",
        "call": [call.name, call.input],
        "finish": [first.stop_reason, second.stop_reason],
        "last": "".join(block.text for block in second.content if block.type == "text"),
        "usage": turns.usage(used.input_tokens + cached, cached, used.output_tokens),
    }


def runner(route: Route, *, stream: bool) -> dict[str, Any]:
    """The SDK's own loop; without thinking."""
    ran = sdk(route).beta.messages.tool_runner(
        model=MODEL, max_tokens=1024, messages=[{"role": "user", "content": turns.PROMPT}],
        tools=[beta_tool(turns.get_weather)], stream=stream,
    )  # fmt: skip
    said = [each.get_final_message() if stream else each for each in ran]
    return {
        "turns": len(said),
        "finish": [each.stop_reason for each in said],
        "last": "".join(block.text for block in said[-1].content if block.type == "text"),
    }


def count(route: Route) -> dict[str, Any]:
    asked: Any = {"messages": [{"role": "user", "content": turns.PROMPT}], "tools": TOOLS}
    return {"count": sdk(route).messages.count_tokens(model=MODEL, **asked).input_tokens}


def errors(route: Route, *, stream: bool) -> dict[str, Any]:
    def ask(key: str, model: str) -> Any:
        return sdk(Route(route.url, key)).messages.create(
            model=model, max_tokens=10, messages=[{"role": "user", "content": "Hi"}], stream=stream
        )

    return turns.refused(ask, route.key)


def models(route: Route) -> dict[str, Any]:
    return {"models": [model.id for model in sdk(route).models.list()]}


turns.run(
    {
        "messages": lambda route: messages(route, stream=False),
        "messages-stream": lambda route: messages(route, stream=True),
        "messages-moved": lambda route: messages(route, stream=True),
        "runner": lambda route: runner(route, stream=False),
        "runner-stream": lambda route: runner(route, stream=True),
        "count": count,
        "models": models,
        "errors": lambda route: errors(route, stream=False),
        "errors-stream": lambda route: errors(route, stream=True),
    }
)
