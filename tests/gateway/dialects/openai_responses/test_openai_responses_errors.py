"""Errors: as the SDK and Codex see them, and as upstreams write them."""

import json

import httpx
import openai
import pytest
from openai.types.responses import ResponseErrorEvent

from gateway.dialects.openai_responses.responses_support import (
    INGRESS,
    REQUEST,
    UPSTREAM,
    answer,
    check,
    receive,
    sse_of,
    written,
)
from trunkline_gateway import errors, exchange, sse
from trunkline_gateway.dialect import Failing

ERROR = errors.UpstreamStatusError("Slow down.", status=429, code="rate_limit_exceeded")


def _client(body: bytes) -> openai.OpenAI:
    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    return openai.OpenAI(
        api_key="k",
        base_url="http://gateway",
        max_retries=0,
        http_client=httpx.Client(transport=httpx.MockTransport(respond)),
    )


def _event(error: errors.GatewayError, began: bool = True) -> bytes:
    assert INGRESS.error_event is not None
    return INGRESS.error_event(error, began)


def test_a_body() -> None:
    assert json.loads(INGRESS.render_error(errors.InvalidRequestError("No.", param="input"))) == {
        "error": {"message": "No.", "type": "invalid_request_error", "param": "input", "code": None}
    }


def test_the_events_of_an_error() -> None:
    first, second = sse.EventSplitter().receive_data(_event(ERROR))
    assert (first.name, second.name) == (b"error", b"response.failed")
    said, failed = json.loads(first.data), json.loads(second.data)
    ResponseErrorEvent.model_validate(said)
    check([failed])
    assert said["error"]["message"] == said["message"] == failed["response"]["error"]["message"] == "Slow down."


def test_a_stream_that_fails_goes_on_with_its_own_numbers_and_names_its_own_response() -> None:
    assert INGRESS.stream_encoder is not None
    encoder = INGRESS.stream_encoder(REQUEST)
    assert isinstance(encoder, Failing)
    began = [
        exchange.Start(id="resp_1", model="m", created=5),
        exchange.PartStart(0, exchange.ToolCall(id="c", name="f", arguments="{}")),
        exchange.PartEnd(0),
        exchange.PartStart(1, exchange.Text(text="")),
        exchange.TextDelta(1, "Hel"),
    ]
    given = encoder.encode(began) + encoder.fail(ERROR)
    frames = [json.loads(event.data) for event in sse.EventSplitter().receive_data(given)]
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert [frame["type"] for frame in frames[-2:]] == ["error", "response.failed"]
    check(frames)
    first, last = frames[0]["response"], frames[-1]["response"]
    assert (last["id"], last["created_at"], last["model"]) == (first["id"], 5, "m")
    assert (last["status"], last["error"]["code"]) == ("failed", "rate_limit_exceeded")
    assert [item["type"] for item in last["output"]] == ["function_call"]


def test_a_stream_that_fails_before_it_began_is_one_of_a_response_all_the_same() -> None:
    assert INGRESS.stream_encoder is not None
    encoder = INGRESS.stream_encoder(REQUEST)
    assert isinstance(encoder, Failing)
    frames = [json.loads(event.data) for event in sse.EventSplitter().receive_data(encoder.fail(ERROR))]
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert frames[-1]["type"] == "response.failed"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ERROR, "rate_limit_exceeded"),
        (errors.UpstreamTimeoutError("Slow."), "server_error"),
        (errors.InvalidRequestError("Long.", code="context_length_exceeded"), "context_length_exceeded"),
        (errors.UpstreamStatusError("Poor.", status=429, code="insufficient_quota"), "insufficient_quota"),
    ],
)
def test_codes_that_codex_reacts_to(error: errors.GatewayError, code: str) -> None:
    last = sse.EventSplitter().receive_data(_event(error))[-1]
    assert json.loads(last.data)["response"]["error"]["code"] == code


def test_the_sdk_raises() -> None:
    body = sse_of(written([exchange.Start(), exchange.PartStart(0, exchange.Text(text="a"))])) + _event(ERROR)
    with pytest.raises(openai.APIError, match="Slow down"):
        for _ in _client(body).responses.create(model="m", input="a", stream=True):
            pass


def test_our_own_events_are_read_as_a_failure() -> None:
    (failed,) = receive(_event(ERROR))
    assert isinstance(failed, exchange.Failed)
    assert (failed.status, failed.code) == (429, "rate_limit_exceeded")


def test_the_sdk_reads_a_stream_to_its_end() -> None:
    found = answer(
        exchange.Reasoning(text="Hm."),
        exchange.Text(text="Hello"),
        exchange.ToolCall(id="c", name="f", arguments='{"x":1}'),
        reason="tool_calls",
        usage=exchange.Usage(prompt=1, completion=2, total=3),
    )
    frames = INGRESS.keep_alive + sse_of(written(exchange.events_of(found)))
    with _client(frames).responses.stream(model="m", input="a") as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.output_text == "Hello"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert final.usage is not None
    assert final.usage.total_tokens == 3


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error":{"message":"No.","type":"t","code":"c","param":"p"}}', "No.", "c"),
        (b'{"error":"No."}', "No.", ""),
        (b'{"detail":"No."}', "No.", ""),
        (b'{"message":"No.","code":7}', "No.", "7"),
        (b"<html>", "<html>", ""),
        (b"", "The upstream answered with status 500.", ""),
        (b'{"error":{"message":3}}', '{"error":{"message":3}}', ""),
    ],
)
def test_what_upstreams_write(body: bytes, message: str, code: str) -> None:
    error = UPSTREAM.read_error(500, body)
    assert (error.status, error.message, error.code) == (500, message, code)
