"""The provider `echo`: bad input, models that misbehave, and the contract of a response."""

import asyncio
import json
import time

import pytest

from trunkline_gateway import errors
from trunkline_gateway.upstream.client import Endpoint, Request, RequestHead, Timeouts
from trunkline_gateway.upstream.echo import behaviour
from trunkline_gateway.upstream.echo.client import EchoClient

QUICK = Timeouts(connect=1, first_byte=0.3, stream_idle=0.3)


def request(body, path="/chat/completions", timeouts=QUICK):
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return Request(
        RequestHead(Endpoint("", in_process=True), "GET" if raw is None else "POST", path, []), raw, timeouts
    )


def chat(model="echo", text="one two three four", **fields):
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


async def send(*args, **kwargs):
    return await EchoClient(clock=lambda: 0.0).send(request(*args, **kwargs))


async def refusal(*args, **kwargs):
    response = await send(*args, **kwargs)
    body = json.loads(await response.read())
    assert await response.read() == b""
    assert dict(response.headers)[b"content-type"] == b"application/json"
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return response, body["error"]


def messages(*content, role="user"):
    return {"model": "echo", "messages": [{"role": role, "content": each} for each in content]}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": "echo"}, "messages"),
        ({"model": "", "messages": []}, "model"),
        ({"model": 1, "messages": []}, "model"),
        ({"model": "echo", "messages": []}, "messages"),
        ({"model": "echo", "messages": "hi"}, "messages"),
        ({"model": "echo", "messages": [{"content": "x"}]}, "messages[0].role"),
        ({"model": "echo", "messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        (messages(7), "messages[0].content"),
        (messages("a", None), "messages[1].content"),
        (messages([{"type": "smell"}]), "messages[0].content[0].type"),
        (messages([{"type": "text"}]), "messages[0].content[0].text"),
        (chat(stream="yes"), "stream"),
        (chat(n=0), "n"),
        (chat(n=1000), "n"),
        (chat(max_tokens=0), "max_tokens"),
        (chat(max_completion_tokens=1.5), "max_completion_tokens"),
        (chat(stop=["a"] * 5), "stop"),
        (chat(temperature=3), "temperature"),
        (chat(stream_options={"include_usage": True}), "stream_options"),
        (chat(tool_choice="required"), "tool_choice"),
        (chat(tools=[{"type": "custom"}]), "tools[0].type"),
        (chat(tools=[{"type": "function", "function": {"name": "a b"}}]), "tools[0].function.name"),
        (
            chat(
                tools=[{"type": "function", "function": {"name": "a"}}],
                tool_choice={"type": "function", "function": {"name": "b"}},
            ),
            "tool_choice",
        ),
        (chat(response_format={"type": "xml"}), "response_format.type"),
        (chat(text="x" * 5_000_000), "messages"),
        (chat(text="x" * 50_000, n=100), "messages"),
    ],
)
async def test_a_wrong_field_is_named(body, param):
    response, error = await refusal(body)
    assert response.status == 400
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 300


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"text"', b"[]", b"null", b"[" * 100_000, b'{"model": "\xff"}'])
async def test_what_is_no_json_object_is_refused(body):
    response, error = await refusal(body)
    assert (response.status, error["type"]) == (400, "invalid_request_error")


async def test_unknown_fields_are_ignored():
    assert (await send(chat(reasoning_effort="low", metadata={"a": "b"}))).status == 200


@pytest.mark.parametrize("path", ["/", "/models", "/chat", "/chat/completions/", "/images/generations"])
async def test_an_unknown_path_is_not_found(path):
    response, error = await refusal(chat(), path=path)
    assert (response.status, error["code"]) == (404, "unknown_url")


async def test_a_get_is_not_allowed():
    response, _ = await refusal(None)
    assert response.status == 405


@pytest.mark.parametrize(
    ("model", "status", "code", "retry_after"),
    [
        ("error-400", 400, None, None),
        ("error-401", 401, "invalid_api_key", None),
        ("error-404", 404, None, None),
        ("error-429", 429, "rate_limit_exceeded", b"1"),
        ("error-429-30s", 429, "rate_limit_exceeded", b"30"),
        ("error-500", 500, None, None),
        ("error-503", 503, None, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_models_that_always_fail(model, status, code, retry_after, stream):
    response, error = await refusal(chat(model, stream=stream))
    assert (response.status, error["code"]) == (status, code)
    assert dict(response.headers).get(b"retry-after") == retry_after
    embedding, _ = await refusal({"model": model, "input": "x"}, path="/embeddings")
    assert embedding.status == status


async def drained(response):
    chunks = []
    try:
        while data := await response.read():
            chunks.append(data)
    except errors.UpstreamError as failure:
        with pytest.raises(type(failure)):
            await response.read()
        return chunks, type(failure)
    return chunks, None


async def test_a_connection_that_is_lost_in_the_middle():
    response = await send(chat("cut-mid-stream", stream=True))
    chunks, failure = await drained(response)
    assert failure is errors.UpstreamProtocolError
    assert len(chunks) == 3  # the role and half of the words
    assert b"one" in chunks[1]
    chunks, failure = await drained(await send(chat("cut-mid-stream", "word", stream=True)))
    assert failure is errors.UpstreamProtocolError
    assert b"word" in chunks[-1]
    assert not any(b"stop" in chunk for chunk in chunks)
    chunks, failure = await drained(await send(chat("cut-mid-stream")))
    assert failure is errors.UpstreamProtocolError
    with pytest.raises(json.JSONDecodeError):
        json.loads(b"".join(chunks))


async def test_a_slow_model_says_its_role_at_once_and_waits_before_the_content():
    timeouts = Timeouts(first_byte=0.1, stream_idle=2)
    started = time.monotonic()
    response = await send(chat("slow-300ms", "a b", stream=True), timeouts=timeouts)
    assert b"assistant" in await response.read()
    assert time.monotonic() - started < 0.25
    assert b'"a"' in await response.read()
    assert time.monotonic() - started > 0.29
    assert b'" b"' in await response.read()
    assert time.monotonic() - started > 0.49
    await response.close()


async def test_a_slow_whole_answer_takes_as_long_as_its_stream():
    started = time.monotonic()
    await send(chat("slow-100ms", "a b"), timeouts=Timeouts(first_byte=2))
    assert 0.25 < time.monotonic() - started < 2.0


@pytest.mark.parametrize("model", ["hang", "slow-5s"])
async def test_a_head_that_does_not_come_is_a_timeout(model):
    started = time.monotonic()
    with pytest.raises(errors.UpstreamTimeoutError):
        await send(chat(model))
    assert 0.25 < time.monotonic() - started < 2.0


async def test_a_stream_that_hangs_never_begins():
    with pytest.raises(errors.UpstreamTimeoutError):
        await send(chat("hang", stream=True))


async def test_silence_in_a_stream_is_a_timeout():
    response = await send(chat("slow-5s", stream=True))
    await response.read()
    started = time.monotonic()
    with pytest.raises(errors.UpstreamTimeoutError):
        await response.read()
    assert 0.25 < time.monotonic() - started < 2.0


async def test_closing_ends_a_read_that_waits():
    response = await send(chat("slow-5s", stream=True), timeouts=Timeouts())
    await response.read()
    waiting = asyncio.create_task(response.read())
    await asyncio.sleep(0.01)
    await response.close()
    with pytest.raises(errors.UpstreamProtocolError):
        await asyncio.wait_for(waiting, 1)
    with pytest.raises(errors.UpstreamProtocolError):
        await response.read()


async def test_a_request_and_a_read_can_be_cancelled():
    for waiting in (send(chat("hang"), timeouts=Timeouts()), send(chat("slow-9s"), timeouts=Timeouts())):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.02)
    response = await send(chat("slow-9s", stream=True), timeouts=Timeouts())
    await response.read()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(response.read(), 0.02)
    await response.close()


async def test_a_long_answer_lets_others_run():
    response = await send(chat(text="word " * 20_000, stream=True))
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await drained(response)
    task.cancel()
    assert turns > 10_000


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("echo", {}),
        ("gpt-4o-2024-08-06", {}),
        ("echo-20ms", {"chunk_delay_seconds": 0.02}),
        ("echo-1.5s", {"chunk_delay_seconds": 1.5}),
        ("slow", {"first_delay_seconds": 2.0, "chunk_delay_seconds": 0.2}),
        ("slow-15s", {"first_delay_seconds": 15.0, "chunk_delay_seconds": 0.2}),
        ("slow-999999s", {"first_delay_seconds": 3600.0, "chunk_delay_seconds": 0.2}),
        ("cut-mid-stream-10ms", {"fault": "cut", "chunk_delay_seconds": 0.01}),
        ("error-600", {}),
        ("Error-500", {}),
        ("hang", {"fault": "hang"}),
    ],
)
def test_what_a_name_asks_for(model, expected):
    assert behaviour.of_model(model, chunk_delay_seconds=0.0) == behaviour.Behaviour(**expected)


async def test_the_delay_between_words_can_be_set():
    client = EchoClient(clock=lambda: 0.0, chunk_delay_seconds=0.02)
    started = time.monotonic()
    await drained(await client.send(request(chat(stream=True))))
    assert time.monotonic() - started > 0.055
    await client.close()
