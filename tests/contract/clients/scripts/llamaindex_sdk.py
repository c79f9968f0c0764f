"""LlamaIndex's LLMs for the three vendors. https://developers.llamaindex.ai/python/framework/module_guides/models/llms"""

from collections.abc import Callable
from typing import Any

import turns
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.google_genai import GoogleGenAI
from llama_index.llms.openai import OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from turns import Route

TOOLS = [FunctionTool.from_defaults(turns.get_weather)]


def openai_like(route: Route) -> Any:
    return OpenAILike(
        model="gpt-5", api_base=route.v1, api_key=route.key, max_retries=0, is_chat_model=True,
        is_function_calling_model=True, context_window=100_000, timeout=turns.TIMEOUT_SECONDS,
    )  # fmt: skip


def openai_responses(route: Route) -> Any:
    return OpenAIResponses(
        model="gpt-5", api_base=route.v1, api_key=route.key, max_retries=0, timeout=turns.TIMEOUT_SECONDS
    )


def anthropic(route: Route) -> Any:
    return Anthropic(
        model="claude-sonnet-4-5", base_url=route.url, api_key=route.key, max_retries=0,
        timeout=turns.TIMEOUT_SECONDS, max_tokens=4096,
    )  # fmt: skip


def google(route: Route) -> Any:
    return GoogleGenAI(
        model="gemini-2.5-pro", api_key=route.key, max_retries=0, context_window=100_000,
        http_options={"base_url": route.url, "timeout": turns.TIMEOUT_SECONDS * 1000},
    )  # fmt: skip


def turn(make: Callable[[Route], Any], route: Route, *, stream: bool) -> dict[str, Any]:
    llm = make(route)

    def ask(history: list[ChatMessage]) -> Any:
        if not stream:
            return llm.chat_with_tools(TOOLS, chat_history=history)
        return list(llm.stream_chat_with_tools(TOOLS, chat_history=history))[-1]

    history = [
        ChatMessage(role=MessageRole.SYSTEM, content="Be brief."),
        ChatMessage(role=MessageRole.USER, content=turns.PROMPT),
    ]
    first = ask(history)
    call = llm.get_tool_calls_from_response(first)[0]
    answered = ChatMessage(
        role=MessageRole.TOOL,
        blocks=[TextBlock(text=turns.RESULT)],
        additional_kwargs={"tool_call_id": call.tool_id, "call_id": call.tool_id, "name": call.tool_name},
    )
    second = ask([*history, first.message, answered])
    return {
        "first": first.message.content,
        "call": [call.tool_name, call.tool_kwargs],
        "last": second.message.content,
    }


def case(make: Callable[[Route], Any], stream: bool) -> Any:
    return lambda route: turn(make, route, stream=stream)


turns.run(
    {
        name + ("-stream" if stream else ""): case(make, stream)
        for name, make in {
            "openai": openai_like, "responses": openai_responses, "anthropic": anthropic, "google": google,
        }.items()
        for stream in (False, True)
    }
)  # fmt: skip
