"""Google's Gen AI SDK for Python. https://github.com/googleapis/python-genai"""

from typing import Any

import turns
from google import genai
from google.genai import types
from turns import Route

MODEL = "gemini-2.5-pro"


def sdk(route: Route) -> genai.Client:
    """Keep a name for it: it closes its connections when nobody does."""
    options = types.HttpOptions(base_url=route.url, timeout=turns.TIMEOUT_SECONDS * 1000)
    return genai.Client(api_key=route.key, http_options=options)


def generate(route: Route, *, stream: bool) -> dict[str, Any]:
    clients = sdk(route), sdk(route.then)
    declaration = types.FunctionDeclaration(
        name=turns.TOOL, description=turns.DESCRIPTION, parameters_json_schema=turns.PARAMETERS
    )
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        tools=[types.Tool(function_declarations=[declaration])],
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024),
        max_output_tokens=4096,
    )

    def ask(client: genai.Client, contents: list[Any]) -> tuple[list[types.Part], str, Any]:
        if stream:
            chunks = list(client.models.generate_content_stream(model=MODEL, contents=contents, config=config))
        else:
            chunks = [client.models.generate_content(model=MODEL, contents=contents, config=config)]
        parts: list[types.Part] = []
        finish = ""
        for chunk in chunks:
            for candidate in chunk.candidates or []:
                parts += (candidate.content and candidate.content.parts) or []
                finish = candidate.finish_reason.value if candidate.finish_reason else finish
        return parts, finish, chunks[-1].usage_metadata

    contents: list[Any] = [types.Content(role="user", parts=[types.Part(text=turns.PROMPT)])]
    parts, first_finish, used = ask(clients[0], contents)
    call = next(part.function_call for part in parts if part.function_call)
    contents.append(types.Content(role="model", parts=[part for part in parts if part.text != ""]))
    answered = types.FunctionResponse(id=call.id, name=call.name, response={"result": turns.RESULT})
    contents.append(types.Content(role="user", parts=[types.Part(function_response=answered)]))
    last, last_finish, _ = ask(clients[1], contents)
    output = (used.candidates_token_count or 0) + (used.thoughts_token_count or 0)
    return {
        "first": "".join(part.text or "" for part in parts if not part.thought),
        "thought": "".join(part.text or "" for part in parts if part.thought),
        "call": [call.name, call.args],
        "finish": [first_finish, last_finish],
        "last": "".join(part.text or "" for part in last if not part.thought),
        "usage": turns.usage(used.prompt_token_count, used.cached_content_token_count or 0, output),
    }


def calling(route: Route) -> dict[str, Any]:
    """The SDK's own loop: a Python function as a tool."""
    config = types.GenerateContentConfig(tools=[turns.get_weather])
    client = sdk(route)
    said = client.models.generate_content(model=MODEL, contents=turns.PROMPT, config=config)
    return {"turns": 1 + len(said.automatic_function_calling_history or []) // 2, "last": said.text}


def count(route: Route) -> dict[str, Any]:
    client = sdk(route)
    return {"count": client.models.count_tokens(model=MODEL, contents=turns.PROMPT).total_tokens}


@turns.only("direct", "chat", "generate")
def embed(route: Route) -> dict[str, Any]:
    client = sdk(route)
    made = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    return {"vectors": [(each.values or [])[:2] for each in made.embeddings or []]}


def errors(route: Route, *, stream: bool) -> dict[str, Any]:
    def ask(key: str, model: str) -> Any:
        client = sdk(Route(route.url, key))
        if stream:
            return list(client.models.generate_content_stream(model=model, contents="Hi"))
        return client.models.generate_content(model=model, contents="Hi")

    return turns.refused(ask, route.key)


def models(route: Route) -> dict[str, Any]:
    client = sdk(route)
    return {"models": [model.name for model in client.models.list()]}


turns.run(
    {
        "generate": lambda route: generate(route, stream=False),
        "generate-stream": lambda route: generate(route, stream=True),
        "generate-moved": lambda route: generate(route, stream=True),
        "calling": calling,
        "count": count,
        "embeddings": embed,
        "models": models,
        "errors": lambda route: errors(route, stream=False),
        "errors-stream": lambda route: errors(route, stream=True),
    }
)
