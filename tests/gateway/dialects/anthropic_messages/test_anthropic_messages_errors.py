"""Errors, and the tables of words."""

import json
from typing import get_args

import pytest
from anthropic.types import StopReason
from anthropic.types.shared import ErrorObject
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway.dialects.anthropic_messages import vocabulary
from trunkline_gateway.errors import (
    AuthenticationError,
    BodyTooLargeError,
    GatewayError,
    InvalidRequestError,
    ModelNotFoundError,
    NotReadyError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from trunkline_gateway.exchange import FinishReason


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequestError("no", param="messages"), "invalid_request_error"),
        (BodyTooLargeError("no"), "request_too_large"),
        (AuthenticationError("no"), "authentication_error"),
        (GatewayError("no", status=402), "billing_error"),
        (GatewayError("no", status=403), "permission_error"),
        (ModelNotFoundError("x"), "not_found_error"),
        (GatewayError("no", status=408), "timeout_error"),
        (GatewayError("no", status=422), "invalid_request_error"),
        (UpstreamStatusError("no", status=429), "rate_limit_error"),
        (GatewayError("no"), "api_error"),
        (UpstreamProtocolError("no"), "api_error"),
        (NotReadyError("no"), "overloaded_error"),
        (UpstreamTimeoutError("no"), "timeout_error"),
        (UpstreamStatusError("no", status=529), "overloaded_error"),
    ],
)
def test_errors_are_written_as_the_api_does(error: GatewayError, kind: str) -> None:
    body = wire.CHAT_IN.render_error(error)
    said = json.loads(body)
    assert said == {"type": "error", "error": {"type": kind, "message": error.message}}
    if kind != "request_too_large":  # which the reference has, and the SDK's models have not
        TypeAdapter(ErrorObject).validate_python(said["error"])
    assert wire.COUNT_IN.render_error(error) == body
    assert wire.CHAT_IN.error_event is not None
    for began in (False, True):
        assert wire.CHAT_IN.error_event(error, began) == b"event: error\ndata: " + body + b"\n\n"


@pytest.mark.parametrize(
    ("thread", "details"),
    [
        ({"type": "create"}, {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}),
        ({"type": "continue", "previous_message_id": "msg_1"}, {"error_code": "thread_not_found"}),
        ({"type": "fork"}, {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}),
    ],
)
def test_a_thread_is_refused_so_that_the_sdk_goes_on_without(
    thread: dict[str, object], details: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        wire.decode({"thread": thread})
    said = json.loads(wire.CHAT_IN.render_error(raised.value))
    assert said["error"] == {"type": "invalid_request_error", "message": raised.value.message, "details": details}
    assert raised.value.param == "thread"


def test_no_thread_is_none() -> None:
    assert wire.decode({"thread": None}).unsaid == ()


def test_an_error_within_a_stream_is_read_back() -> None:
    assert wire.CHAT_IN.error_event is not None
    found = wire.read(wire.CHAT_IN.error_event(UpstreamStatusError("Overloaded", status=529), True))
    assert [(event.status, event.message) for event in found] == [(529, "Overloaded")]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("status", "body", "message", "kind"),
    [
        (
            529,
            '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
            "Overloaded",
            "overloaded_error",
        ),
        (400, '{"message":"Malformed input request"}', "Malformed input request", ""),
        (403, '{"Message":"User is not authorized"}', "User is not authorized", ""),
        (429, '{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED"}}', "Quota", "RESOURCE_EXHAUSTED"),
        (404, '{"detail":"Not Found"}', "Not Found", ""),
        (
            422,
            '{"detail":[{"loc":["body","model"],"msg":"field required","type":"missing"},{"msg":"bad"}]}',
            "field required; bad",
            "",
        ),
        (422, '{"error":{"type":"x","detail":"No such thing"}}', "No such thing", "x"),
        (429, '[{"error":{"message":"Quota","status":"RESOURCE_EXHAUSTED"}}]', "Quota", "RESOURCE_EXHAUSTED"),
        (500, '"out of\\nmemory"', "out of\nmemory", ""),
        (503, "no healthy  upstream\n", "no healthy upstream", ""),
        (500, '{"error":"broken"}', "broken", ""),
        (502, "<html><style>p{}</style><h1>Bad  Gateway</h1></html>", "Bad Gateway", ""),
        (503, "", "The upstream answered with status 503.", ""),
        (400, '{"error":{"message":"half \\ud83d"}}', "half \ufffd", ""),
    ],
)
def test_errors_of_upstreams_are_read(status: int, body: str, message: str, kind: str) -> None:
    error = wire.CHAT_UP.read_error(status, body.encode())
    assert (error.status, error.message, error.type) == (status, message, kind)


@settings(max_examples=100, deadline=None)
@given(st.integers(400, 599), st.binary(max_size=80))
def test_any_bytes_are_an_error(status: int, body: bytes) -> None:
    error = wire.CHAT_UP.read_error(status, body)
    assert error.status == status
    assert error.message


def test_words_are_total() -> None:
    assert set(vocabulary.STOP_REASON) == set(get_args(FinishReason))
    assert set(get_args(StopReason)) <= set(vocabulary.FINISH)
    assert set(vocabulary.FINISH.values()) <= set(get_args(FinishReason))
    assert set(vocabulary.STOP_REASON.values()) <= set(get_args(StopReason))
    for status, word in vocabulary.ERROR_TYPE.items():
        assert word in vocabulary.ERROR_STATUS, status


@pytest.mark.parametrize("reason", [reason for reason in get_args(StopReason) if reason != "refusal"])
def test_reasons_survive_there_and_back(reason: str) -> None:
    assert vocabulary.STOP_REASON[vocabulary.FINISH[reason]] == reason


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("web_search_20260318", "web_search"),
        ("web_search_tool_result", "web_search"),
        ("text_editor_code_execution_tool_result", "code_execution"),
        ("str_replace_based_edit_tool", "text_editor"),
        ("computer_20251124", "computer"),
        ("memory_20250818", "memory"),
        ("mcp_toolset", "mcp"),
        ("advisor_tool_result", "advisor"),
        ("brand_new", "brand_new"),
    ],
)
def test_kinds_of_hosted_tools(word: str, kind: str) -> None:
    assert vocabulary.hosted_kind(word) == kind
