"""Requests that real clients have sent, recorded, through the gateway to strict upstreams of every dialect.

Each gets the status that the recording has, as a good one, on each route: whatever the client and the upstream speak.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from harness.providers.front import ROUTES, Front
from harness.system import REPOSITORY, Reply, request

RECORDINGS = REPOSITORY.parent / "shared" / "clients"
KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
HOP_BY_HOP = ("host", "connection", "content-length", "accept-encoding")

# Addresses that are nobody's here: other front doors, a mistake, and LiteLLM with an `api_base` that names the model.
NOWHERE = (
    "/inference-profiles",
    "/model/",
    "/openai/deployments/",
    "/v1/nope",
    "/v1beta/models/gemini-2.5-pro/models/",
)
# The recorder cut long values; whether a field may be there hangs on this one.
BETAS = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27"
# What a path says of the dialect.
NATIVE = {"messages": "/messages", "generate": "enerateContent"}


def recorded() -> Iterator[Any]:
    for path in sorted(RECORDINGS.glob("*.json")):
        for number, each in enumerate(json.loads(path.read_text(encoding="utf-8"))["requests"]):
            yield pytest.param(each, id=f"{path.stem}-{number}")


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings of clients are not beside the repository")
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("each", list(recorded()))
def test_what_a_client_has_sent_is_answered(fronts: Mapping[str, Front], each: Mapping[str, Any], route: str) -> None:
    front = fronts[route]
    if "embed" in each["path"].lower() and not front.route.embedding_model:
        pytest.skip("the upstream has no embeddings")
    front.providers.clear({})
    # The recorder did not sign what it said; what passes through unchanged is not signed by us either.
    front.providers.script.insists = NATIVE.get(route, "-") not in each["path"]
    answer = replayed(front, each)
    assert answer.status in allowed(each), (answer.body[:500], front.providers.refused)
    if answer.status == 200 and each["method"] == "POST":
        kind = "event-stream" if each["answered"]["kind"] == "sse" else "json"
        assert kind in answer.headers["content-type"]
        assert len(front.providers.upstream.requests) <= 1


ASKED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": "Weather?"}],
            "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}],
        },
    ),
    "messages": (
        "/v1/messages",
        {
            "max_tokens": 1024,
            "messages": [{"role": "user", "content": "Weather?"}],
            "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}],
        },
    ),
    "responses": (
        "/v1/responses",
        {"input": "Weather?", "tools": [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]},
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ASKED)
def test_calls_of_two_requests_have_ids_of_their_own(fronts: Mapping[str, Front], dialect: str, stream: bool) -> None:
    """Gemini gives its calls no ids, and a conversation holds the calls of many requests."""
    front = fronts["generate"]
    front.providers.clear({"get_weather": {}})
    path, asked = ASKED[dialect]
    headers = {"anthropic-version": "2023-06-01", "x-request-id": "the-session-of-a-client"}
    body = {"model": "gpt-5", "stream": stream, **asked}
    answers = [request(front.port, "POST", path, body, key=front.key, headers=headers) for _ in range(2)]
    first, second = (set(re.findall(rb'": ?"((?:call|toolu)_[^"]+)"', answer.body)) for answer in answers)
    assert first
    assert second
    assert not first & second


def allowed(each: Mapping[str, Any]) -> tuple[int, ...]:
    """Statuses that are as they should be."""
    path = each["path"]
    if path.startswith(NOWHERE):
        return (404,)
    headers = {name.lower(): value for name, value in each["headers"]}
    if "upgrade" in headers:
        return (426,)
    return (200,)


def replayed(front: Front, each: Mapping[str, Any]) -> Reply:
    """Send it with our key where its own was."""
    headers = {}
    for name, value in each["headers"]:
        if name.lower() in KEY_HEADERS:
            headers[name] = f"Bearer {front.key}" if name.lower() == "authorization" else front.key
        elif name.lower() == "anthropic-beta":
            headers[name] = BETAS if "…" in value else value
        elif (name.lower() not in HOP_BY_HOP or value == "Upgrade") and value.isascii():
            headers[name] = value
    body = json.dumps(each["body_json"]).encode() if each["body_json"] is not None else None
    return request(front.port, each["method"], each["path"], body, headers=headers)
