"""OpenAI's Python SDK: chat completions, responses, embeddings, models. https://github.com/openai/openai-python"""

import json
from typing import Any

import turns
from openai import OpenAI
from turns import Route

TOOLS = [
    {
        "type": "function",
        "function": {"name": turns.TOOL, "description": turns.DESCRIPTION, "parameters": turns.PARAMETERS},
    }
]
FLAT_TOOLS = [
    {
        "type": "function",
        "name": turns.TOOL,
        "description": turns.DESCRIPTION,
        "parameters": {**turns.PARAMETERS, "additionalProperties": False},
        "strict": True,
    }
]


def sdk(route: Route) -> OpenAI:
    return OpenAI(base_url=route.v1, api_key=route.key, max_retries=0, timeout=turns.TIMEOUT_SECONDS)


def chat(route: Route, *, stream: bool) -> dict[str, Any]:
    def ask(client: OpenAI, messages: list[Any]) -> Any:
        asked: Any = {
            "model": "gpt-5", "messages": messages, "tools": TOOLS, "reasoning_effort": "low",
            "max_completion_tokens": 4096,
        }  # fmt: skip
        if not stream:
            return client.chat.completions.create(**asked)
        with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
            for _ in events:
                pass
            return events.get_final_completion()

    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": turns.PROMPT}]},
    ]
    first = ask(sdk(route), messages)
    said = first.choices[0].message
    call = said.tool_calls[0]
    messages.append(
        said.model_dump(
            exclude_none=True,
            exclude={"parsed": True, "tool_calls": {"__all__": {"function": {"parsed_arguments"}, "index": True}}},
        )
    )
    messages.append({"role": "tool", "tool_call_id": call.id, "content": turns.RESULT})
    second = ask(sdk(route.then), messages)
    used = first.usage
    return {
        "first": said.content,
        "thought": getattr(said, "reasoning_content", None),
        "call": [call.function.name, json.loads(call.function.arguments)],
        "finish": [first.choices[0].finish_reason, second.choices[0].finish_reason],
        "last": second.choices[0].message.content,
        "usage": turns.usage(used.prompt_tokens, used.prompt_tokens_details.cached_tokens, used.completion_tokens),
    }


def responses(route: Route, *, stream: bool) -> dict[str, Any]:
    def ask(client: OpenAI, items: list[Any]) -> Any:
        asked: Any = {
            "model": "gpt-5", "input": items, "tools": FLAT_TOOLS, "instructions": "Be brief.", "store": False,
            "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"],
        }  # fmt: skip
        if not stream:
            return client.responses.create(**asked)
        with client.responses.stream(**asked) as events:
            for _ in events:
                pass
            return events.get_final_response()

    items: list[Any] = [{"role": "user", "content": turns.PROMPT}]
    first = ask(sdk(route), items)
    call = next(item for item in first.output if item.type == "function_call")
    thought = "".join(part.text for item in first.output if item.type == "reasoning" for part in item.summary)
    items += [
        item.model_dump(
            exclude_none=True,
            exclude={"parsed_arguments": True, "content": {"__all__": {"parsed"}}}
            if item.type != "reasoning"
            else None,
        )
        for item in first.output
    ]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": turns.RESULT})
    second = ask(sdk(route.then), items)
    used = first.usage
    return {
        "first": first.output_text,
        "thought": thought,
        "call": [call.name, json.loads(call.arguments)],
        "finish": [first.status, second.status],
        "last": second.output_text,
        "usage": turns.usage(used.input_tokens, used.input_tokens_details.cached_tokens, used.output_tokens),
    }


@turns.only("direct", "chat", "generate")
def embeddings(route: Route) -> dict[str, Any]:
    made = sdk(route).embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    return {"vectors": [row.embedding[:2] for row in made.data]}


def errors(route: Route, *, responses: bool, stream: bool) -> dict[str, Any]:
    def ask(key: str, model: str) -> Any:
        client = sdk(Route(route.url, key))
        if responses:
            return client.responses.create(model=model, input="Hi", stream=stream)
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}], stream=stream)

    return turns.refused(ask, route.key)


def models(route: Route) -> dict[str, Any]:
    return {"models": [model.id for model in sdk(route).models.list()]}


turns.run(
    {
        "chat": lambda route: chat(route, stream=False),
        "chat-stream": lambda route: chat(route, stream=True),
        "chat-moved": lambda route: chat(route, stream=True),
        "responses": lambda route: responses(route, stream=False),
        "responses-stream": lambda route: responses(route, stream=True),
        "responses-moved": lambda route: responses(route, stream=True),
        "embeddings": embeddings,
        "models": models,
        "chat-errors": lambda route: errors(route, responses=False, stream=False),
        "chat-errors-stream": lambda route: errors(route, responses=False, stream=True),
        "responses-errors": lambda route: errors(route, responses=True, stream=False),
        "responses-errors-stream": lambda route: errors(route, responses=True, stream=True),
    }
)
