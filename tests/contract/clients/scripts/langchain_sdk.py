"""LangChain's chat models for the three vendors. https://docs.langchain.com/oss/python/integrations/chat"""

from collections.abc import Callable
from typing import Any

import turns
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from turns import Route

weather = tool(turns.get_weather)


def openai_chat(route: Route) -> Any:
    return ChatOpenAI(
        model="gpt-5", base_url=route.v1, api_key=route.key, max_retries=0, timeout=turns.TIMEOUT_SECONDS,
        stream_usage=True,
    )  # fmt: skip


def openai_responses(route: Route) -> Any:
    return ChatOpenAI(
        model="gpt-5", base_url=route.v1, api_key=route.key, max_retries=0, timeout=turns.TIMEOUT_SECONDS,
        use_responses_api=True, reasoning={"effort": "low", "summary": "auto"}, store=False,
        include=["reasoning.encrypted_content"],
    )  # fmt: skip


def anthropic(route: Route) -> Any:
    return ChatAnthropic(
        model_name="claude-sonnet-4-5", base_url=route.url, api_key=route.key, max_retries=0,
        timeout=turns.TIMEOUT_SECONDS, max_tokens_to_sample=4096, stop=None,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )  # fmt: skip


def google(route: Route) -> Any:
    return ChatGoogleGenerativeAI(
        model="gemini-2.5-pro", base_url=route.url, google_api_key=route.key, max_retries=0, include_thoughts=True,
        timeout=turns.TIMEOUT_SECONDS,
    )  # fmt: skip


def turn(make: Callable[[Route], Any], route: Route, *, stream: bool) -> dict[str, Any]:
    model = make(route).bind_tools([weather])

    def ask(messages: list[Any]) -> Any:
        if not stream:
            return model.invoke(messages)
        whole = None
        for chunk in model.stream(messages):
            whole = chunk if whole is None else whole + chunk
        return whole

    messages: list[Any] = [SystemMessage("Be brief."), HumanMessage(turns.PROMPT)]
    first = ask(messages)
    call = first.tool_calls[0]
    messages += [first, ToolMessage(content=turns.RESULT, tool_call_id=call["id"], name=call["name"])]
    second = ask(messages)
    used = first.usage_metadata
    blocks = first.content_blocks
    meta = [each.response_metadata for each in (first, second)]
    return {
        "first": first.text,
        "thought": "".join(block.get("reasoning", "") for block in blocks if block["type"] == "reasoning"),
        "call": [call["name"], call["args"]],
        "finish": [each.get("finish_reason") or each.get("stop_reason") or each.get("status") for each in meta],
        "last": second.text,
        "usage": turns.usage(
            used["input_tokens"], used.get("input_token_details", {}).get("cache_read", 0), used["output_tokens"]
        ),
    }


def case(make: Callable[[Route], Any], stream: bool) -> Any:
    return lambda route: turn(make, route, stream=stream)


turns.run(
    {
        name + ("-stream" if stream else ""): case(make, stream)
        for name, make in {
            "openai": openai_chat, "responses": openai_responses, "anthropic": anthropic, "google": google,
        }.items()
        for stream in (False, True)
    }
)  # fmt: skip
