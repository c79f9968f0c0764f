"""Errors in OpenAI's shape, and what is taken out of an upstream's."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_gateway import errors, secrecy
from trunkline_gateway.dialects.openai_chat import errors as openai_errors

SECRET = "the-accounts-own-secret"
SCRUB = secrecy.Scrubber([SECRET, "p@ss/word"], "http://llm.internal.example:9100/v1")


def test_an_error_has_openais_shape() -> None:
    error = errors.ModelNotFoundError("gpt-5")
    assert msgspec.json.decode(openai_errors.render(error)) == {
        "error": {
            "message": "The model 'gpt-5' does not exist or you do not have access to it.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_in_a_stream_it_is_one_event_in_one_line() -> None:
    error = errors.UpstreamError("two\nlines")
    event = openai_errors.event(error)
    assert event == b"data: " + openai_errors.render(error) + b"\n\n"
    assert event.count(b"\n") == 2
    assert openai_errors.event_of(b'{\r\n"a": 1\n}') == b'data: {  "a": 1 }\n\n'


@pytest.mark.parametrize(
    "text",
    [
        f"bad key {SECRET}!",
        "in a URL p%40ss%2Fword",
        "Incorrect API key provided: sk-proj-abc***xyz.",
        "sk-ant-api03-AAAAAAAA-bbbbbbb",
        "key AIzaSyA1234567890abcdefghij",
        "Authorization: Bearer abc123def456",
        "xai-abcdefghijklmnop1234",
        "gsk_abcdefghijklmnop1234",
        "hf_abcdefghijklmnop1234",
        "AKIAIOSFODNN7EXAMPLE is unknown",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "POST https://x.test/v1/m?key=abcdef&alt=sse failed",
        "api_key=0123456789abcdef0123456789abcdef",
        'subscription key "9f8e7d6c5b4a39281706f5e4d3c2b1a0"',
        "token: 9f8e7d6c5b4a39281706f5e4d3c2b1a0",
        "https://user:hunter22@proxy.test/",
        "organization org-AbCdEfGhIjKlMnOpQrStUvWx",
        "connect to llm.internal.example:9100 failed",
        "http://LLM.internal.example/v1/chat",
    ],
)
def test_what_looks_like_a_key_or_names_the_upstream_is_taken_out(text: str) -> None:
    scrubbed = SCRUB(text)
    assert "[" in scrubbed
    for part in (
        SECRET, "p%40ss", "abc***", "AAAAAAAA", "SyA1234", "abc123def456", "abcdefghijklmnop1234", "IOSFODNN",
        "eyJ", "abcdef&", "0123456789abcdef", "9f8e7d6c", "hunter22", "AbCdEf", "internal",
    ):  # fmt: skip
        assert part not in scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 250000 tokens.",
        "Unsupported parameter: 'max_tokens' is not supported with this model.",
        "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29937, Requested 385.",
        "You can find your API key at https://platform.openai.com/account/api-keys.",
        "Bearer authentication required",
        "task-management and risk-assessment-tools",
        "token count exceeded",
        "Invalid key 'response_format.json_schema.schema.properties'",
    ],
)
def test_ordinary_text_stays_the_very_same(text: str) -> None:
    assert SCRUB(text) is text


def test_a_short_host_is_only_hidden_where_it_is_an_address() -> None:
    scrub = secrecy.Scrubber([], "http://vllm:8000/v1")
    assert (
        scrub("vllm says no at http://vllm:8000/v1 (vllm:8000)") == "vllm says no at http://[upstream]/v1 ([upstream])"
    )


@given(st.text(max_size=3000), st.integers(8, 2000))
def test_text_is_cut_between_characters(text: str, bound: int) -> None:
    encoded = secrecy.cut(text, bound).encode("utf-8", "replace")
    assert len(encoded) <= bound
    encoded.decode("utf-8")


def test_scrub_cuts_after_it_has_scrubbed() -> None:
    text = "x" * 1015 + SECRET + "y" * 100
    assert secrecy.scrub(text, [SECRET]) == "x" * 1015 + "[redac" + "…"
    assert secrecy.scrub("日" * 1000, []) == "日" * 340 + "…"


def test_a_clean_body_stays_the_very_same() -> None:
    body = b'{ "error" : {"message":"no",  "n": 1.50, "failed_generation": "' + b"x" * 5000 + b'"} }'
    assert openai_errors.passed_on(body, SCRUB, status=400) is body


def test_json_stays_json() -> None:
    body = msgspec.json.encode(
        {
            "error": {"message": "a" * 5000, "metadata": {"raw": [f"said {SECRET}"]}, "api_key": "whatever"},
            SECRET: 1.5,
        }
    )
    cleaned = msgspec.json.decode(openai_errors.passed_on(body, SCRUB, status=500))
    assert len(cleaned["error"]["message"].encode()) == 1024
    assert cleaned["error"]["metadata"] == {"raw": ["said [redacted]"]}
    assert cleaned["error"]["api_key"] == "[redacted]"
    assert cleaned["[redacted]"] == 1.5


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"\xff\xfe", b"[1]", b"", b"{" * 5, b"[" * 100_000, b'{"error":"' + b"x" * 100_000 + b'"}'],
)
def test_everything_else_becomes_an_error_in_openais_shape(body: bytes) -> None:
    error = msgspec.json.decode(openai_errors.passed_on(body, SCRUB, status=502))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert 0 < len(error["message"].encode()) <= 1024


def test_a_secret_split_by_markup_is_found() -> None:
    page = f"<p>key {SECRET[:5]}<b></b>{SECRET[5:]} sk-1234567890abc</p>"
    wrapped = openai_errors.wrap(page, SCRUB, status=502)
    assert b"sk-1234" not in wrapped


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429}, 429),
        ({"code": "503"}, 503),
        ({"status": 400}, 400),
        ({"status_code": 400, "type": "server_error"}, 400),
        ({"code": "rate_limit_exceeded", "type": "tokens"}, 429),
        ({"type": "insufficient_quota"}, 429),
        ({"type": "overloaded_error"}, 503),
        ({"type": "authentication_error"}, 401),
        ({"code": "invalid_api_key", "type": "invalid_request_error"}, 401),
        ({"code": "context_length_exceeded", "type": "invalid_request_error"}, 400),
        ({"code": "content_filter"}, 400),
        ({"code": "model_not_found"}, 404),
        ({"status": "UNAVAILABLE"}, 503),
        ({"type": "server_error"}, 500),
        ({"message": "what?"}, 500),
        ({"code": True}, 500),
        ("text", 500),
        (None, 500),
    ],
)
def test_an_error_says_what_status_it_stands_for(error: object, status: int) -> None:
    assert openai_errors.status_of(error) == status


def test_scrubbing_takes_linear_time() -> None:
    for piece in ("key ", "key: a1", "sk-", "<", "Bearer ", "eyJ.", "http://", "?key="):
        SCRUB(piece * (256 * 1024 // len(piece)))
