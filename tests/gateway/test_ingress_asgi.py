"""The ASGI driver on its own, as another server might call it."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from trunkline_gateway import errors
from trunkline_gateway.http import NO_HEADERS, Block, Body, ClientGoneError, Head, Responder
from trunkline_gateway.ingress import asgi

SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/models/a b",
    "query_string": b"key=x",
    "headers": [(b"content-length", b"3")],
    "client": ("192.0.2.1", 5),
}


class Handler:
    """Does what it is given, and remembers what it saw."""

    def __init__(self, does: Callable[[Body, Responder], Any]) -> None:
        self.does = does
        self.head: Head | None = None
        self.raised: BaseException | None = None

    def gathers(self, head: Head) -> bool:
        return False

    def at_once(self, head: Head, responder: object) -> bool:
        return False

    def serves(self, path: str) -> bool:
        return path != "/health"

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        self.head = head
        try:
            await self.does(body, responder)
        except (errors.GatewayError, ClientGoneError) as error:
            self.raised = error


async def drive(handler: Handler, events: Iterable[dict[str, Any]], scope: dict[str, Any] = SCOPE) -> list[Any]:
    left, sent = list(events), []

    async def receive() -> Any:
        if left:
            return left.pop(0)
        return await asyncio.Event().wait()

    async def send(event: Any) -> None:
        sent.append(event)

    async def rest(_scope: Any, _receive: Any, reply: Any) -> None:
        await reply({"type": "http.response.start", "status": 200, "headers": []})

    await asgi.Application(handler, rest)(scope, receive, send)  # type: ignore[arg-type]
    return sent


def part(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


GONE = {"type": "http.disconnect"}


async def test_the_head_is_as_it_was_sent() -> None:
    async def nothing(_body: Body, _responder: Responder) -> None: ...

    handler = Handler(nothing)
    await drive(handler, [], {**SCOPE, "raw_path": b"/v1/models/a%20b"})
    assert handler.head is not None
    assert (handler.head.method, handler.head.path, handler.head.query) == ("POST", "/v1/models/a%20b", b"key=x")
    assert (list(handler.head.headers), handler.head.client) == ([(b"content-length", b"3")], "192.0.2.1")
    await drive(handler, [], {**SCOPE, "client": None})
    assert (handler.head.path, handler.head.client) == ("/v1/models/a%20b", "")


async def test_a_body_comes_in_parts_and_is_read_once() -> None:
    read: list[bytes] = []

    async def reading(body: Body, _responder: Responder) -> None:
        read.append(await body.read(3))

    await drive(Handler(reading), [part(b"a", more=True), part(b"bc")])
    assert read == [b"abc"]


@pytest.mark.parametrize("events", [[part(b"a", more=True), part(b"bcd", more=True)], [part(b"abcd")]])
async def test_a_body_that_is_too_long_is_refused_as_soon_as_it_is(events: list[dict[str, Any]]) -> None:
    handler = Handler(lambda body, _: body.read(3))
    await drive(handler, events, {**SCOPE, "headers": []})
    assert isinstance(handler.raised, errors.BodyTooLargeError)


async def test_a_client_that_leaves_within_its_body_is_gone() -> None:
    handler = Handler(lambda body, _: body.read(3))
    await drive(handler, [part(b"a", more=True), GONE])
    assert isinstance(handler.raised, ClientGoneError)


async def test_a_body_that_stalls_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODY_IDLE_SECONDS", 0.01)
    handler = Handler(lambda body, _: body.read(3))
    await drive(handler, [part(b"a", more=True)])
    assert isinstance(handler.raised, errors.InvalidRequestError)
    assert handler.raised.status == 408


async def test_a_client_that_leaves_while_waiting_is_noticed_and_no_longer_written_to() -> None:
    told_at_once: list[bool] = []

    async def writing(body: Body, responder: Responder) -> None:
        await body.read(3)
        await responder.start(200, NO_HEADERS, [])
        gone = asyncio.Event()
        responder.watch(gone.set)
        await gone.wait()
        responder.watch(lambda: told_at_once.append(True))
        await responder.write(b"more")

    handler = Handler(writing)
    sent = await drive(handler, [part(b"abc"), GONE])
    assert isinstance(handler.raised, ClientGoneError)
    assert told_at_once == [True]
    assert [event["type"] for event in sent] == ["http.response.start"]


async def test_a_client_that_leaves_after_the_answer_is_nobodys_business() -> None:
    told: list[bool] = []

    async def answering(body: Body, responder: Responder) -> None:
        await body.read(3)
        responder.watch(lambda: told.append(True))
        await responder.answer(200, Block([(b"a", b"1")]), [(b"b", b"2")], b"abc")
        await asyncio.sleep(0)
        responder.watch(lambda: told.append(True))

    sent = await drive(Handler(answering), [part(b"abc"), GONE])
    assert sent[0]["headers"] == [(b"a", b"1"), (b"b", b"2"), (b"content-length", b"3")]
    assert sent[1]["body"] == b"abc"
    assert told == []


async def test_an_aborted_answer_makes_the_server_break_the_connection() -> None:
    async def aborting(_body: Body, responder: Responder) -> None:
        await responder.start(200, NO_HEADERS, [])
        await responder.abort()

    with pytest.raises(asgi.AnswerAbortedError):
        await drive(Handler(aborting), [])


async def test_what_the_handler_does_not_serve_goes_on_with_a_request_id() -> None:
    async def never(_body: Body, _responder: Responder) -> None:
        raise AssertionError

    sent = await drive(Handler(never), [], {**SCOPE, "path": "/health", "headers": [(b"x-request-id", b"mine")]})
    assert sent[0]["headers"] == [(b"x-request-id", b"mine")]


async def test_nothing_but_http_is_served() -> None:
    with pytest.raises(RuntimeError, match="websocket"):
        await drive(Handler(lambda *_: None), [], {"type": "websocket"})
