"""The first answer: asked for through the front door, as any client would, and printed as it streams in."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx

_QUESTION: Final = "Hello from the other end of the line!"


def write_env(path: Path, base_url: str, key: str) -> None:
    """Write the two lines that OpenAI's SDKs read, for `source` or an env file; nobody else may read them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"OPENAI_BASE_URL={base_url}\nOPENAI_API_KEY={key}\n", encoding="ascii")


async def greet(base_url: str, key: str, env: Path) -> None:
    """Print a streamed answer, then how to go on. That nothing answers is said, and is no failure of the gateway."""
    async with httpx.AsyncClient(
        base_url=f"{base_url}/", headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=20
    ) as client:
        listed = (await client.get("models")).json()
        models = [str(model["id"]) for model in listed.get("data", ())]
        answered = ""
        for model in models:
            if await _answered(client, model):
                answered = model
                break
    if not answered:
        print("No model gave an answer yet: is there a ModelGroup, and is its provider reachable?")
    print(_how_to_go_on(base_url, key, answered or (models[0] if models else "MODEL"), env), flush=True)


async def _answered(client: httpx.AsyncClient, model: str) -> bool:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": _QUESTION}]}
    try:
        async with client.stream("POST", "chat/completions", json=body) as response:
            if response.status_code != httpx.codes.OK:
                return False
            print(f"\n{model}: ", end="", flush=True)
            async for text in _texts(response.aiter_lines()):
                print(text, end="", flush=True)
            print("\n", flush=True)
            return True
    except httpx.HTTPError:
        return False


async def _texts(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: ")).get("choices", ()):
                yield choice.get("delta", {}).get("content") or ""


def _how_to_go_on(base_url: str, key: str, model: str, env: Path) -> str:
    return f"""\
OPENAI_BASE_URL={base_url}
OPENAI_API_KEY={key}

The key was made for this run; both lines are in {env}, too. Try:

  curl -sN {base_url}/chat/completions \\
    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

  from openai import OpenAI  # pip install openai
  client = OpenAI(base_url="{base_url}", api_key="{key}")
  stream = client.chat.completions.create(
      model="{model}", messages=[{{"role": "user", "content": "Hello"}}], stream=True)
  for chunk in stream:
      print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", flush=True)

Ctrl-C stops it.
"""
