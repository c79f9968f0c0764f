"""What a path is for."""

import pytest

from trunkline_gateway.ingress import caller, paths
from trunkline_gateway.ingress.paths import Match

CHAT = Match("call", "openai_chat")
MESSAGES = Match("call", "anthropic_messages")
GENERATE = Match("call", "gemini_generate", model="gemini-2.5-pro", stream=False)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/chat/completions", CHAT),
        ("/chat/completions/", CHAT),
        ("/v1/embeddings", Match("call", "openai_embeddings", "embeddings")),
        ("/responses", Match("call", "openai_responses")),
        ("/v1/messages", MESSAGES),
        ("/messages/count_tokens", Match("call", "anthropic_messages", "count_tokens")),
        ("/v1/models", Match("models")),
        ("/v1beta/models", Match("models", "gemini_generate")),
        ("/v1beta/models/gemini-2.5-pro:generateContent", GENERATE),
        ("/v1/models/gemini-2.5-pro:generateContent", GENERATE),
        ("/models/gemini-2.5-pro:generateContent", GENERATE),
        ("/v1beta1/publishers/google/models/gemini-2.5-pro:generateContent", GENERATE),
        ("/v1beta/models/a:streamGenerateContent", GENERATE._replace(model="a", stream=True)),
        ("/v1beta/models/echo:tiny:generateContent", GENERATE._replace(model="echo:tiny")),
        ("/v1beta/models/org%2Fa:countTokens", Match("call", "gemini_generate", "count_tokens", "org/a", False)),
        ("/v1beta/models/e:batchEmbedContents", Match("call", "gemini_embed", "embeddings", "e", False)),
        ("/v1/models/org/model", Match("model", "", model="org/model")),
        ("/v1beta/models/gemini-2.5-pro", Match("model", "gemini_generate", model="gemini-2.5-pro")),
        ("/v1/models/echo:tiny", Match("model", "", model="echo:tiny")),
        ("/v1/responses/resp_1", Match("stored", "openai_responses")),
        ("/v1/responses/resp_1/cancel", Match("stored", "openai_responses")),
        ("/v1/responses/resp_1/input_items", Match("stored", "openai_responses")),
        ("/responses/v1/messages", MESSAGES._replace(prefix="responses")),
        ("/anthropic/v1/messages", MESSAGES._replace(prefix="anthropic")),
        ("/my-account/v1/messages", MESSAGES._replace(prefix="my-account")),
        ("/openai/v1/chat/completions", CHAT._replace(prefix="openai")),
        ("/gemini/v1beta/models/gemini-2.5-pro:generateContent", GENERATE._replace(prefix="gemini")),
    ],
)
def test_a_path_says_what_it_is_for(path: str, found: Match) -> None:
    assert paths.match(path) == found


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/models",
        "/v1/v1/models",
        "/v1/nothing",
        "//v1/messages",
        "/a/b/v1/messages",
        "/v1/models/",
        "",
        "/v1/responses/compact",
        "/v1/responses/input_tokens",
    ],
)
def test_other_paths_are_for_nothing(path: str) -> None:
    found = paths.match(path)
    assert found is None or found == Match("models")


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/models", {}, "openai_chat"),
        ("/v1/models", {b"anthropic-version": b"2023-06-01"}, "anthropic_messages"),
        ("/v1/models", {b"x-goog-api-key": b"k"}, "gemini_generate"),
        ("/v1beta/models", {b"anthropic-version": b"2023-06-01"}, "gemini_generate"),
        ("/anthropic/v1/models", {}, "anthropic_messages"),
        ("/nothing", {b"anthropic-version": b"2023-06-01"}, "anthropic_messages"),
    ],
)
def test_who_asks_decides_the_shape(path: str, headers: dict[bytes, bytes], dialect: str) -> None:
    from trunkline_gateway.http import Head

    head = Head("GET", path, b"", tuple(headers.items()), "127.0.0.1")
    assert caller.dialect_of(head, paths.match(path)) == dialect
