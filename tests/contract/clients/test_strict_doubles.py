"""The doubles refuse what providers refuse: a wrong translation must not pass because nobody looked."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from harness.providers.double import Providers
from harness.system import Reply, request

USER = {"role": "user", "content": "Weather?"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT = {"model": "m", "messages": [USER]}
CHAT_TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESPONSES = {"model": "m", "input": "Weather?"}
CALL_ITEM = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
MESSAGES = {"model": "m", "max_tokens": 4096, "messages": [USER]}
TOOL_USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
TOOL_RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "9"}
GENERATE = {"contents": [{"role": "user", "parts": [{"text": "Weather?"}]}]}
CALL_PART = {"functionCall": {"name": "f", "args": {}}}

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "generate": "/v1beta/models/gemini-3-pro-preview:generateContent",
}


def said(*blocks: Any) -> list[Any]:
    return [USER, {"role": "assistant", "content": list(blocks)}, {"role": "user", "content": [TOOL_RESULT]}]


def answered(part: Any, name: str = "f") -> list[Any]:
    result = {"functionResponse": {"name": name, "response": {}}}
    return [*GENERATE["contents"], {"role": "model", "parts": [part]}, {"role": "user", "parts": [result]}]


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat-unknown": ("chat", {**CHAT, "top_k": 3}, "top_k"),
    "chat-no-result": (
        "chat",
        {**CHAT, "messages": [USER, {"role": "assistant", "tool_calls": [CHAT_CALL]}, USER]},
        "c1",
    ),
    "chat-no-call": ("chat", {**CHAT, "messages": [USER, {"role": "tool", "tool_call_id": "c", "content": ""}]}, "c"),
    "chat-choice-without-tools": ("chat", {**CHAT, "tool_choice": "auto"}, "tool_choice"),
    "chat-image": (
        "chat",
        {**CHAT, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "iVBO"}}]}]},
        "image_url",
    ),
    "chat-twice": ("chat", {**CHAT, "tools": [CHAT_TOOL, CHAT_TOOL]}, "twice"),
    "chat-temperature": ("chat", {**CHAT, "temperature": 3}, "temperature"),
    "responses-unknown": ("responses", {**RESPONSES, "max_tokens": 3}, "max_tokens"),
    "responses-no-output": ("responses", {**RESPONSES, "input": [USER, CALL_ITEM]}, "c1"),
    "responses-id": ("responses", {**RESPONSES, "input": [USER, {**USER, "type": "message", "id": "x1"}]}, "id"),
    "responses-parts": (
        "responses",
        {**RESPONSES, "input": [{"role": "assistant", "content": [{"type": "input_text", "text": ""}]}]},
        "input_text",
    ),
    "responses-seal": (
        "responses",
        {**RESPONSES, "input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}, USER]},
        "verified",
    ),
    "messages-unknown": ("messages", {**MESSAGES, "seed": 1}, "seed"),
    "messages-no-max": ("messages", {"model": "m", "messages": [USER]}, "max_tokens"),
    "messages-beta": ("messages", {**MESSAGES, "context_management": {}}, "context_management"),
    "messages-no-result": ("messages", {**MESSAGES, "messages": [*said(TOOL_USE)[:2], USER]}, "t1"),
    "messages-no-call": ("messages", {**MESSAGES, "messages": said({"type": "text", "text": "a"})}, "t1"),
    "messages-empty": ("messages", {**MESSAGES, "messages": said({"type": "text", "text": ""}, TOOL_USE)}, "empty"),
    "messages-signature": (
        "messages",
        {**MESSAGES, "messages": said({"type": "thinking", "thinking": "a", "signature": "x"}, TOOL_USE)},
        "signature",
    ),
    "messages-no-thought": (
        "messages",
        {**MESSAGES, "thinking": {"type": "enabled", "budget_tokens": 1024}, "messages": said(TOOL_USE)},
        "thinking",
    ),
    "messages-budget": (
        "messages",
        {**MESSAGES, "thinking": {"type": "enabled", "budget_tokens": 4096}},
        "greater than",
    ),
    "messages-warm": (
        "messages",
        {**MESSAGES, "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        "temperature",
    ),
    "messages-schema": ("messages", {**MESSAGES, "tools": [{"name": "f", "input_schema": {}}]}, "input_schema"),
    "generate-unknown": ("generate", {**GENERATE, "model": "m"}, "model"),
    "generate-inner": ("generate", {**GENERATE, "generationConfig": {"maxTokens": 3}}, "maxTokens"),
    "generate-null": ("generate", {**GENERATE, "generationConfig": {"topK": None}}, "null"),
    "generate-unsigned": ("generate", {"contents": answered(CALL_PART)}, "thought_signature"),
    "generate-corrupt": ("generate", {"contents": answered({**CALL_PART, "thoughtSignature": "eHl6"})}, "Corrupted"),
    "generate-name": ("generate", {"contents": answered({**CALL_PART, "thoughtSignature": "eHl6"}, "g")}, ""),
    "generate-last": ("generate", {"contents": answered(CALL_PART)[:2]}, ""),
    "generate-schema": (
        "generate",
        {**GENERATE, "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"$schema": "x"}}]}]},
        "$schema",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    with Providers() as running:
        yield running


def ask(providers: Providers, dialect: str, body: dict[str, Any]) -> Reply:
    headers = {"anthropic-version": "2023-06-01", "x-goog-api-key": "k"}
    return request(providers.upstream.port, "POST", PATHS[dialect], copy.deepcopy(body), key="k", headers=headers)


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_request_is_refused(providers: Providers, case: str) -> None:
    providers.clear()
    dialect, body, word = REFUSED[case]
    answer = ask(providers, dialect, body)
    assert answer.status == 400
    assert word in answer.json["error"]["message"]
    assert len(providers.refused) == 1


@pytest.mark.parametrize(
    ("dialect", "body"), [("chat", CHAT), ("responses", RESPONSES), ("messages", MESSAGES), ("generate", GENERATE)]
)
def test_a_right_request_is_answered(providers: Providers, dialect: str, body: dict[str, Any]) -> None:
    providers.clear()
    assert ask(providers, dialect, body).status == 200
    assert providers.refused == []
