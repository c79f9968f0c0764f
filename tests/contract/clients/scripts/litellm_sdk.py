"""LiteLLM as a library, in front of each API of ours. https://docs.litellm.ai"""

import gc
import json
from typing import Any

import litellm
import turns
from turns import Route

# It leaves streams before their end; where the collector closes one inside httpcore's lock, the next request waits for
# ever.
gc.disable()

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {"name": turns.TOOL, "description": turns.DESCRIPTION, "parameters": turns.PARAMETERS},
    }
]
MODELS = {
    "openai": ("openai/gpt-5", "{url}/v1"),
    "anthropic": ("anthropic/claude-sonnet-4-5", "{url}"),
    "gemini": ("gemini/gemini-2.5-pro", "{url}/v1beta"),
}


def complete(route: Route, name: str, *, stream: bool) -> dict[str, Any]:
    model, base = MODELS[name]

    def ask(messages: list[Any]) -> Any:
        asked: Any = {
            "model": model, "api_base": base.format(url=route.url), "api_key": route.key, "messages": messages,
            "tools": TOOLS, "timeout": turns.TIMEOUT_SECONDS, "num_retries": 0, "max_tokens": 4096,
            "reasoning_effort": "low",
        }  # fmt: skip
        if not stream:
            return litellm.completion(**asked)
        chunks = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
        return litellm.stream_chunk_builder(chunks, messages=messages)

    messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": turns.PROMPT}]
    first = ask(messages)
    said = first.choices[0].message
    call = said.tool_calls[0]
    messages.append(said.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": turns.RESULT})
    second = ask(messages)
    used = first.usage
    return {
        "first": said.content,
        "thought": getattr(said, "reasoning_content", None) or "",
        "call": [call.function.name, json.loads(call.function.arguments)],
        "finish": [first.choices[0].finish_reason, second.choices[0].finish_reason],
        "last": second.choices[0].message.content,
        "usage": turns.usage(
            used.prompt_tokens, (used.prompt_tokens_details and used.prompt_tokens_details.cached_tokens) or 0,
            used.completion_tokens,
        ),
    }  # fmt: skip


def case(name: str, stream: bool) -> Any:
    return lambda route: complete(route, name, stream=stream)


turns.run({name + ("-stream" if stream else ""): case(name, stream) for name in MODELS for stream in (False, True)})
