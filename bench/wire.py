"""The requests that the load generator sends, and the names and keys in them."""

import json
import random
import struct
from dataclasses import dataclass
from pathlib import Path

UPSTREAM_KEY = "sk-upstream-bench-0123456789"


def client_key(number: int) -> str:
    """The secret of virtual key ``number``."""
    return f"sk-tl-bench-{number:06d}-0123456789abcdef"


def request(
    key: str,
    model: str,
    *,
    body_bytes: int = 1024,
    stream: bool = False,
    path: str = "",
    dialect: str = "openai_chat",
    extra: dict[str, str] | None = None,
) -> bytes:
    """One question as clients of ``dialect`` send it, about ``body_bytes`` long; ``path`` replaces the dialect's."""
    words = "The quick brown fox jumps over the lazy dog. It said \\" + '"no"' + "\\ twice.\n"
    empty = len(json.dumps(_question(dialect, model, "", stream=stream)))
    text = (words * (body_bytes // len(words) + 1))[: max(1, int((body_bytes - empty) * 0.92))]
    asked = _question(dialect, model, text, stream=stream)
    body = json.dumps(asked).replace('"stream": true', '"stream":true').encode()
    head = [
        f"POST {path or _path(dialect, model, stream=stream)} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        "Accept: application/json",
        "User-Agent: bench/1",
        *(f"{name}: {value}" for name, value in (extra or {}).items()),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def _path(dialect: str, model: str, *, stream: bool) -> str:
    match dialect:
        case "anthropic_messages":
            return "/v1/messages"
        case "gemini_generate":
            return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
        case _:
            return "/v1/chat/completions"


def _question(dialect: str, model: str, text: str, *, stream: bool) -> dict[str, object]:
    system = "You are a terse assistant."
    if dialect == "gemini_generate":
        return {
            "systemInstruction": {"parts": [{"text": system}]},
            "generationConfig": {"temperature": 0.7, "maxOutputTokens": 512},
            "contents": [{"role": "user", "parts": [{"text": text}]}],
        }
    asked: dict[str, object] = {"model": model, "temperature": 0.7, "max_tokens": 512}
    if stream:
        asked["stream"] = True
    messages = [{"role": "user", "content": text}]
    if dialect == "anthropic_messages":
        return {**asked, "system": system, "messages": messages}
    return {**asked, "messages": [{"role": "system", "content": system}, *messages]}


def write(path: Path, requests: list[bytes]) -> Path:
    """Write a file of requests as native/load.c reads it."""
    path.write_bytes(b"".join(struct.pack("<I", len(each)) + each for each in requests))
    return path


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request.

    Attributes:
        upstream: Which of the upstreams serves it (see `sides.Upstreams`); also the prefix of the model's name.
        body_bytes: Length of the body, roughly.
    """

    name: str
    upstream: str
    body_bytes: int
    stream: bool = False


MANY = frozenset({"bench", "messages"})
"""Upstreams that have as many groups as there are; others have one."""

WHOLE = Kind("whole", "bench", 1024)
LARGE = Kind("large", "bench", 115_000)
STREAM = Kind("stream", "stream", 512, stream=True)
PACED = Kind("paced", "paced", 512, stream=True)
IDLE = Kind("idle", "idle", 512, stream=True)
TLS = Kind("tls", "tls", 1024)


def mixed(kind: Kind, *, groups: int, keys: int, path: str = "", dialect: str = "openai_chat") -> list[bytes]:
    """Requests of one kind over random groups and keys, the same ones each time."""
    chance = random.Random(4)
    if kind.upstream not in MANY:
        groups = 1
    return [
        request(
            client_key(chance.randrange(keys)),
            f"{kind.upstream}-{chance.randrange(groups)}",
            body_bytes=kind.body_bytes,
            stream=kind.stream,
            path=path,
            dialect=dialect,
        )
        for _ in range(32 if kind.body_bytes > 10_000 else 512)
    ]


ANSWER = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "double-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 700}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 211, "completion_tokens": 175, "total_tokens": 386},
}
"""What the TLS upstream answers; native/double.c answers the like."""
