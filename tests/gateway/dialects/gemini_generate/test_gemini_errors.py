"""Errors as google.rpc.Status, both ways."""

import json

import pytest

from trunkline_gateway import errors as gateway
from trunkline_gateway import sse
from trunkline_gateway.dialects.gemini_generate import CODEC, error_event_of, errors, keep_alive_of, stream_type_of

CHAT = CODEC.ingress["chat"]
STATUS = {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}


def every(kind: type[gateway.GatewayError]) -> list[type[gateway.GatewayError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in every(below))]


@pytest.mark.parametrize("kind", every(gateway.GatewayError), ids=lambda kind: kind.__name__)
def test_every_error_has_a_word(kind):
    assert kind.default_status in errors.WORDS
    assert errors.STATUSES[errors.WORDS[kind.default_status]] // 100 == kind.default_status // 100


def test_words_and_statuses_agree():
    assert set(errors.WORDS.values()) <= set(errors.STATUSES)


def test_an_error_names_its_field():
    error = gateway.InvalidRequestError("bad", param="contents[0]")
    assert json.loads(CHAT.render_error(error)) == {
        "error": {
            "code": 400,
            "message": "bad",
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": "contents[0]", "description": "bad"}],
                }
            ],
        }
    }


def test_when_to_try_again():
    error = gateway.GatewayError("later", status=429, retry_after_seconds=1.5)
    (detail,) = json.loads(CHAT.render_error(error))["error"]["details"]
    assert detail == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}


@pytest.mark.parametrize("status", [400, 402, 418, 451, 500, 507, 599])
def test_any_status_has_a_word(status):
    made = json.loads(CHAT.render_error(gateway.GatewayError("x", status=status)))["error"]
    assert made["code"] == status
    assert made["status"] in errors.STATUSES


def test_an_error_event_is_one_and_leaves_something_over():
    made = CHAT.error_event(gateway.UpstreamError("gone"), True)
    splitter = sse.EventSplitter()
    (event,) = splitter.receive_data(made)
    assert json.loads(event.data)["error"]["status"] == "UNAVAILABLE"
    assert json.loads(splitter.receive_eof().raw) == json.loads(event.data)


@pytest.mark.parametrize(("began", "before"), [(False, b""), (True, b'[{"a":1}')])
def test_an_array_ends_with_the_error(began, before):
    made = json.loads(before + error_event_of(b"")(gateway.UpstreamError("gone"), began))
    assert made[-1]["error"]["code"] == 502


def test_the_form_of_a_stream_is_that_of_its_query():
    assert stream_type_of(b"alt=sse") == CHAT.stream_type
    assert stream_type_of(b"").startswith(b"application/json")
    assert (keep_alive_of(b"alt=sse"), keep_alive_of(b"")) == (CHAT.keep_alive, b"")
    assert error_event_of(b"alt=sse") is CHAT.error_event


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (429, STATUS, (429, "slow", "RESOURCE_EXHAUSTED", "", None)),
        (429, [STATUS], (429, "slow", "RESOURCE_EXHAUSTED", "", None)),
        (503, {"error": {"code": 503, "message": json.dumps(STATUS)}}, (503, "slow", "RESOURCE_EXHAUSTED", "", None)),
        (400, {"error": f"Error: {json.dumps(STATUS)}"}, (400, "slow", "RESOURCE_EXHAUSTED", "", None)),
        (500, {"error": "boom"}, (500, "boom", "", "", None)),
        (500, {"detail": "boom"}, (500, "boom", "", "", None)),
        (500, {"error": {}}, (500, "The upstream answered with status 500.", "", "", None)),
        (
            400,
            {"error": {"message": "m", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}},
            (401, "m", "INVALID_ARGUMENT", "API_KEY_INVALID", None),
        ),
        (
            400,
            {"error": {"message": "m", "details": [{"fieldViolations": [{"field": "contents"}]}]}},
            (400, "m", "", "", "contents"),
        ),
    ],
)
def test_what_an_upstream_says(status, body, wanted):
    said = CODEC.upstream["chat"].read_error(status, json.dumps(body).encode())
    assert (said.status, said.message, said.type, said.code, said.param) == wanted


def test_what_is_no_json_is_said_as_it_is():
    assert CODEC.upstream["chat"].read_error(502, b"<html>\xff").message == "<html>�"
    assert CODEC.upstream["chat"].read_error(502, b"").message
