"""Requests that are served without a task: the same answers and the same books as with one, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import fakes
from harness import hotpath
from harness.answers import Answer, Cut, Hang
from harness.hotpath import BEARER, CHAT, PATH, World, until, world
from harness.rawhttp import Raw, connect
from harness.upstream import Upstream
from trunkline_gateway.ingress.limits import Limits
from trunkline_gateway.upstream.client import Timeouts

WHOLE = Answer.openai_chat("Hi", model="m-first")
QUICK = Timeouts(connect=1, first_byte=0.3, stream_idle=0.3)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(lambda request: Answer.openai_chat("Hello", model=request.model or "")) as double:
        yield double


@pytest.fixture
def made(upstream: Upstream) -> Iterator[World]:
    """A gateway with a warm connection."""
    upstream.clear()
    with world(*hotpath.targets(upstream)) as made:
        made.warm(upstream)
        yield made


def post(raw: Raw, *headers: str, body: object = CHAT) -> Raw:
    return raw.request("POST", PATH, body, BEARER, *headers)


def waiting(made: World, upstream: Upstream, count: int = 1) -> None:
    """Until the upstream has so many requests, and a shortcut waits for it."""
    upstream.wait_for_requests(count)
    until(lambda: len(made.handler.patience._waiting) > 0, "a shortcut that waits")


# ---- when it is taken ------------------------------------------------------------------------------------------------


def test_a_plain_request_on_a_warm_connection_takes_it_and_makes_no_task(made: World, upstream: Upstream) -> None:
    tasks: list[object] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        tasks.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **more)

    async def watch(factory: Any) -> None:
        asyncio.get_running_loop().set_task_factory(factory)

    with connect(made.port) as raw:
        made.loop.run(watch(factory))
        for _ in range(3):
            answer = post(raw).answer()
            assert answer.status == 200
            assert answer.headers["x-trunkline-target"] == "first"
        noted = len(tasks)
        made.loop.run(watch(None))
    assert made.handler.ways == ["shortcut"] * 3
    assert noted == 0
    assert {each.connection for each in upstream.requests} == {upstream.requests[0].connection}
    assert [each.status for each in made.accounted(3)] == [200] * 3


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({**CHAT, "stream": True}, ()),
        (CHAT, ("Connection: close",)),
        (CHAT, ("Content-Encoding: identity",)),
        (json.dumps(CHAT | {"pad": "x" * (1 << 20)}).encode(), ()),
    ],
    ids=["a stream", "close", "a coding", "over 512 KiB"],
)
def test_it_is_not_taken_for_what_needs_a_task(made: World, body: object, headers: tuple[str, ...]) -> None:
    with connect(made.port) as raw:
        assert post(raw, *headers, body=body).answer().status in (200, 400, 404)
    made.accounted()
    assert made.handler.ways == ["task"]


@pytest.mark.parametrize(
    ("body", "status"), [({**CHAT, "model": "nobody"}, 404), (b"{", 400)], ids=["an unknown model", "no JSON"]
)
def test_what_is_wrong_with_a_request_is_found_out_once(made: World, body: object, status: int) -> None:
    with connect(made.port) as raw:
        answer = post(raw, body=body).answer()
    assert (answer.status, "x-request-id" in answer.headers) == (status, True)
    assert [each.status for each in made.accounted()] == [status]
    assert made.handler.ways == ["shortcut"]
    until(lambda: made.in_flight == 0, "the request to be over")


def test_a_body_that_is_laborious_to_read_is_read_in_a_thread(made: World) -> None:
    odd = json.dumps(CHAT | {"nested": [[]] * 20_000}, indent=1).encode()
    with connect(made.port) as raw:
        assert post(raw, body=odd).answer().status == 200
    made.accounted()
    assert made.handler.ways == ["task"]


def test_a_failure_elsewhere_does_not_take_the_shortcut_away(made: World, upstream: Upstream) -> None:
    upstream.script(Answer.openai_error(500), model="m-first")
    with connect(made.port) as raw:
        assert post(raw).answer().headers["x-trunkline-target"] == "second"
        assert post(raw).answer().headers["x-trunkline-target"] == "second"
    made.accounted(2)
    # The second target is well, and is the first of the next plan: what has failed elsewhere does not slow it down.
    assert made.handler.ways == ["shortcut", "resumed", "shortcut"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("close", [True, False])
def test_an_answer_ends_the_connection_where_it_should(made: World, version: str, close: bool) -> None:
    sent = json.dumps(CHAT)
    more = "Connection: close\r\n" if close else ""
    with connect(made.port) as raw:
        raw.send(
            f"POST {PATH} HTTP/{version}\r\nHost: x\r\n{BEARER}\r\n{more}Content-Length: {len(sent)}\r\n\r\n{sent}"
        )
        assert raw.answer().status == 200
        ends = close or version == "1.0"
        assert raw.closed_within(1 if ends else 0.1) == ends


def pieces(body: bytes, *headers: str, bearer: str = BEARER) -> tuple[str, bytes, bytes]:
    """A request's head, and its body in two halves."""
    lines = "\r\n".join((f"POST {PATH} HTTP/1.1", "Host: x", bearer, f"Content-Length: {len(body)}", *headers))
    return f"{lines}\r\n\r\n", body[: len(body) // 2], body[len(body) // 2 :]


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_body_that_comes_in_pieces_is_waited_for_a_moment(made: World, upstream: Upstream, size: int) -> None:
    body = json.dumps(CHAT | {"pad": "x" * size}).encode()
    head, first, second = pieces(body)
    with connect(made.port) as raw:
        raw.send(head)
        raw.send(first)
        time.sleep(0.1)  # whether it has been read or not: the answer is the same
        raw.send(second)
        assert raw.answer().status == 200
        # What was begun early reads on as ever.
        raw.send(head)
        raw.send(first)
        until(lambda: made.in_flight == 1, "the request to be begun all the same")
        raw.send(second)
        assert raw.answer().status == 200
    made.accounted(2)
    assert made.handler.ways == ["shortcut", "task"]
    assert [len(request.body) for request in upstream.requests[-2:]] == [len(upstream.requests[-1].body)] * 2


@pytest.mark.parametrize(
    ("headers", "bearer", "status"),
    [((), "Authorization: Bearer sk-tl-wrong", 401), (("Expect: 100-continue",), BEARER, 100)],
)
def test_a_body_is_not_waited_for_where_its_head_decides(
    made: World, headers: tuple[str, ...], bearer: str, status: int
) -> None:
    head, first, _ = pieces(json.dumps(CHAT).encode(), *headers, bearer=bearer)
    with connect(made.port) as raw:
        raw.send(head)
        if status == 401:
            raw.send(first)
        begun = time.monotonic()
        assert raw.answer(head_only=status == 100).status == status
        assert time.monotonic() - begun < 0.8


def test_a_head_request_is_not_served_by_it(made: World) -> None:
    with connect(made.port) as raw:
        assert raw.request("HEAD", PATH, None, BEARER).answer(head_only=True).status == 405
        assert raw.request("HEAD", "/v1/models", None, BEARER).answer(head_only=True).status == 200
        assert post(raw).answer().status == 200
    assert made.handler.ways == ["task", "task", "shortcut"]


def test_a_shortcut_that_fails_to_begin_is_done_in_a_task(
    made: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(made.handler, "at_once", failing)
    with connect(made.port) as raw:
        assert [post(raw).answer().status for _ in range(2)] == [200, 200]
    made.accounted(2)
    assert made.handler.ways == ["task", "task"]
    assert caplog.text.count("ZeroDivisionError") >= 2


# ---- the same as with a task -----------------------------------------------------------------------------------------

BIG = Answer.openai_chat("x" * 600_000)
HUGE = Answer.openai_chat("x" * (9 << 20))
ERROR = {"error": {"message": "no", "type": "server_error", "param": None, "code": 503}}

CASES: dict[str, tuple[Answer, ...]] = {
    "JSON": (WHOLE,),
    "chunked": (replace(WHOLE, framing="chunked"),),
    "until the end": (replace(WHOLE, framing="close"),),
    "in pieces": (replace(WHOLE, chunks=[bytes([each]) for each in WHOLE.chunks[0]]),),  # type: ignore[union-attr]
    "no content type": (replace(WHOLE, headers=()),),
    "another content type": (replace(WHOLE, headers=[("content-type", "text/plain; x=1")]),),
    "no usage": (Answer.json({"choices": [{"message": {"content": "x"}}]}),),
    "201": (replace(WHOLE, status=201),),
    "an error in a 200": (Answer.json(ERROR),),
    "a client's error in a 200": (Answer.json({"error": {"message": "no", "code": 400}}),),
    "HTML": (Answer(200, [("content-type", "text/html")], [b"<html>"]),),
    "nothing": (Answer(200, [("content-type", "application/json")]),),
    "204": (Answer(204),),
    "302": (Answer(302, [("location", "http://elsewhere.example/")]),),
    "400": (Answer.openai_error(400, "bad"),),
    "404": (Answer.openai_error(404, "none", code="model_not_found"),),
    "401": (Answer.openai_error(401),),
    "429": (Answer.openai_error(429, headers={"retry-after": "7"}),),
    "429 everywhere": (Answer.openai_error(429, headers={"retry-after": "7"}),) * 2,
    "500": (Answer.openai_error(500),),
    "500 everywhere": (Answer.openai_error(500), Answer.openai_error(503)),
    "cut": (WHOLE.cut_after(40),),
    "cut by a reset": (replace(WHOLE, chunks=[b"{", 0.02, Cut(reset=True), b"}"]),),
    "cut chunks": (replace(WHOLE, framing="chunked").cut_after(40),),
    "dropped": (Answer.dropped(),),
    "dropped twice": (Answer.dropped(), Answer.dropped()),
    "garbage": (Answer(before=[b"\x16\x03\x01 no HTTP\r\n\r\n", Cut()]),),
    "cut in the head": (Answer(before=[b"HTTP/1.1 200 OK\r\ncontent-le", Cut()]),),
    "1xx": (replace(WHOLE, before=[b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"]),),
    "1xx and a pause": (replace(WHOLE, before=[b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.02]),),
    "over 128 KiB": (BIG,),
    "over 8 MiB": (HUGE,),
    "over 8 MiB and cut": (HUGE.cut_after(9_000_000),),
    "slow": (WHOLE.after(0.25),),
    "slow in the middle": (replace(WHOLE, chunks=[b'{"choices":', 0.25, b"[]}"]),),
    "never begins": (Answer.silent(),),
    "never ends": (WHOLE.cut_after(40, Hang()),),
}


@pytest.fixture(scope="module")
def pair(upstream: Upstream) -> Iterator[tuple[World, World]]:
    """A gateway that takes shortcuts, and one that does not."""
    on = hotpath.targets(upstream)
    patient: dict[str, Any] = {"patience_seconds": 0.1, "timeouts": replace(QUICK, first_byte=0.5, stream_idle=0.5)}
    with world(*on, **patient) as short, world(*on, shortcuts=False, **patient) as long:
        yield short, long


def both(
    pair: tuple[World, World], upstream: Upstream, *answers: Answer, body: object = CHAT, headers: tuple[str, ...] = ()
) -> list[hotpath.Seen]:
    seen = []
    for made in pair:
        made.anew()
        upstream.clear()
        made.warm(upstream)
        upstream.script(*answers)
        seen.append(hotpath.ask(made, upstream, body, *headers))
        assert upstream.unused_answers == 0
    upstream.clear()
    return seen


@pytest.mark.parametrize("case", CASES)
def test_whatever_an_upstream_answers_is_treated_as_with_a_task(
    pair: tuple[World, World], upstream: Upstream, case: str
) -> None:
    short, long = both(pair, upstream, *CASES[case])
    assert pair[0].handler.ways[0] == "shortcut"
    assert pair[1].handler.ways == ["task"]
    assert short == long


def test_a_request_that_a_stale_connection_swallowed_is_sent_once_more(
    pair: tuple[World, World], upstream: Upstream
) -> None:
    short, _ = both(pair, upstream, Answer.dropped(reset=True))
    assert short.status == 200
    assert [renewed for *_, renewed in short.upstream] == [False, True]
    assert short.books["attempts"] == 1
    assert not short.targets


LARGE = CHAT | {"user": "x" * 70_000}


@pytest.mark.parametrize("case", ["JSON", "500", "over 128 KiB", "dropped", "cut by a reset"])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (LARGE, ()),
        (CHAT | {"stream": False, "n": 1}, ("OpenAI-Beta: assistants=v2", "X-Other: stays")),
        (json.dumps(CHAT, indent=4).encode(), ("X-Request-Id: abc",)),
    ],
    ids=["large", "headers", "spaced"],
)
def test_requests_of_other_kinds_reach_the_upstream_as_with_a_task(
    pair: tuple[World, World], upstream: Upstream, case: str, body: object, headers: tuple[str, ...]
) -> None:
    short, long = both(pair, upstream, *CASES[case], body=body, headers=headers)
    assert short == long
    if body is not LARGE:  # it may come in pieces, and needs a task then
        assert pair[0].handler.ways[0] == "shortcut"


def test_embeddings_take_it_too(made: World, upstream: Upstream) -> None:
    upstream.script(Answer.openai_embeddings(2))
    with connect(made.port) as raw:
        answer = raw.request("POST", "/v1/embeddings", {"model": "gpt-4o", "input": ["a", "b"]}, BEARER).answer()
    assert answer.body == Answer.openai_embeddings(2).chunks[0]
    assert made.accounted()[0].prompt_tokens == 8
    assert made.handler.ways == ["shortcut"]


BODIES = st.one_of(
    st.sampled_from([b"", b"{}", b"null", b"[]", b"{", b'{"error":{"message":"x"}}', b'{"error":null,"choices":[]}']),
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.dictionaries(st.sampled_from(["error", "code", "usage", "choices", "prompt_tokens"]), inner),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(
    status=st.sampled_from([200, 200, 200, 206, 302, 400, 403, 408, 418, 429, 500, 503, 529]),
    body=BODIES,
    framing=st.sampled_from(["content-length", "chunked", "close"]),
    content_type=st.sampled_from([None, "application/json", "text/event-stream", "text/html"]),
    cut=st.none() | st.integers(0, 200),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_answers_of_all_kinds_are_treated_as_with_a_task(
    pair: tuple[World, World],
    upstream: Upstream,
    status: int,
    body: bytes,
    framing: Any,
    content_type: str | None,
    cut: int | None,
) -> None:
    headers = [] if content_type is None else [("content-type", content_type)]
    answer = Answer(status, headers, [body], framing)
    short, long = both(pair, upstream, answer if cut is None else answer.cut_after(min(cut, len(body))))
    assert short == long


# ---- clients that leave ----------------------------------------------------------------------------------------------


def leave(raw: Raw) -> None:
    raw.sock.close()


def half_close(raw: Raw) -> None:
    raw.sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leaves", [leave, half_close])
@pytest.mark.parametrize("handed_over", [False, True])
def test_a_client_that_leaves_takes_the_upstream_with_it_and_is_accounted_for_once(
    made: World, upstream: Upstream, leaves: Callable[[Raw], None], handed_over: bool
) -> None:
    answer = WHOLE.cut_after(40, Hang()) if handed_over else Answer.silent()
    if handed_over:
        answer = replace(BIG, chunks=[*BIG.chunks, Hang()], headers=[*BIG.headers, ("content-length", "900000")])
    upstream.script(answer)
    with connect(made.port) as raw:
        post(raw)
        upstream.wait_for_requests(1)
        until(lambda: made.handler.ways == ["shortcut", "resumed"][: 1 + handed_over], "the way it goes")
        leaves(raw)
        left = time.monotonic()
        assert upstream.requests[0].closed_by_client.wait(1)
        assert upstream.requests[0].closed_at is not None
        assert upstream.requests[0].closed_at - left < 1
    exchange = made.accounted()[0]
    assert (exchange.status, exchange.client_gone, exchange.group, exchange.target) == (499, True, "gpt-4o", "")
    assert list(exchange.attempt_results) == [("first", "cancelled")]
    assert made.metric("client_disconnects_total", group="gpt-4o") == 1
    assert not made.handler.patience._waiting
    with connect(made.port) as raw:
        assert post(raw).answer().status == 200


# ---- one after the other ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 7, 64])
def test_pipelined_requests_are_answered_in_order(made: World, upstream: Upstream, count: int) -> None:
    one = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{BEARER}\r\n"
    sent = json.dumps(CHAT)
    with connect(made.port) as raw:
        raw.send("".join(f"{one}X-Request-Id: {n}\r\nContent-Length: {len(sent)}\r\n\r\n{sent}" for n in range(count)))
        for number in range(count):
            answer = raw.answer()
            assert (answer.status, answer.headers["x-request-id"]) == (200, str(number))
    assert made.handler.ways == ["shortcut"] * count
    made.accounted(count)


def test_pipelined_requests_of_all_kinds_are_answered_in_order(made: World, upstream: Upstream) -> None:
    upstream.script(WHOLE.after(0.05), Answer.openai_error(400), BIG)
    with connect(made.port) as raw:
        post(raw, "X-Request-Id: a")
        raw.get("/healthz", "X-Request-Id: b")
        post(raw, "X-Request-Id: c")
        raw.get("/v1/models", "X-Request-Id: d")
        post(raw, "X-Request-Id: e")
        post(raw, "X-Request-Id: f", body=b"{")
        post(raw, "X-Request-Id: g")
        raw.send("NONSENSE\r\n\r\n")
        answers = [raw.answer() for _ in range(8)]
        assert raw.closed_within(3)
    assert [each.status for each in answers] == [200, 200, 400, 401, 200, 400, 200, 400]
    assert [each.headers["x-request-id"] for each in answers[:7]] == list("abcdefg")
    made.accounted(6)


# ---- the end of the server, and its bounds ---------------------------------------------------------------------------


def stop(made: World) -> float:
    begun = time.monotonic()
    made.loop.run(made.listener.stop())
    return time.monotonic() - begun


async def begin_to_stop(made: World) -> None:
    made.listener._server.should_exit = True


def test_a_shortcut_that_waits_when_the_server_stops_is_answered(made: World, upstream: Upstream) -> None:
    upstream.script(WHOLE.after(0.4))
    with connect(made.port) as raw:
        post(raw)
        waiting(made, upstream)
        assert stop(made) < 1.5
        answer = raw.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert raw.closed_within(1)
    assert made.accounted()[0].status == 200
    assert made.handler.ways == ["shortcut", "resumed"]


def test_a_shortcut_that_outlasts_the_grace_gets_503(made: World, upstream: Upstream) -> None:
    upstream.script(Answer.silent())
    with connect(made.port) as raw:
        post(raw)
        waiting(made, upstream)
        stop(made)
        assert raw.answer().status == 503
    assert upstream.requests[0].closed_by_client.wait(1)
    assert [(each.status, each.error) for each in made.accounted()] == [(503, "shutting_down")]


def test_pipelined_requests_that_begin_while_the_server_stops_do_not_outlast_the_grace(
    made: World, upstream: Upstream
) -> None:
    upstream.script(WHOLE.after(0.6), Answer.silent())
    with connect(made.port) as raw:
        post(raw)
        post(raw)
        post(raw)
        waiting(made, upstream)
        stop(made)
        assert raw.answer().status == 200
        assert raw.answer().status == 503
        assert raw.closed_within(1)
    made.accounted(2)
    assert made.handler.ways == ["shortcut", "resumed", "task"]


@pytest.mark.parametrize("shortcuts", [True, False])
def test_over_the_limit_of_requests_in_flight_others_get_503_and_then_it_works_again(
    upstream: Upstream, shortcuts: bool
) -> None:
    upstream.clear()
    with world(*hotpath.targets(upstream), shortcuts=shortcuts, limits=Limits(in_flight=1)) as made:
        made.warm(upstream)
        upstream.script(WHOLE.after(0.2))
        with connect(made.port) as raw, connect(made.port) as other:
            post(raw)
            upstream.wait_for_requests(1)
            assert post(other).answer().status == 503
            assert raw.answer().status == 200
            assert post(other).answer().status == 200
            for _ in range(5):
                post(raw)
            assert [raw.answer().status for _ in range(5)] == [200] * 5  # one after the other is one at a time
        made.accounted(7)


# ---- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patience_seconds", [0.1, 5.0])
def test_the_whole_takes_no_longer_than_it_may(upstream: Upstream, patience_seconds: float) -> None:
    upstream.clear()
    with world(*hotpath.targets(upstream), patience_seconds=patience_seconds, total_seconds=0.4) as made:
        made.warm(upstream)
        upstream.script(Answer.silent())
        with connect(made.port) as raw:
            begun = time.monotonic()
            assert post(raw).answer().status == 504
            assert 0.4 <= time.monotonic() - begun < 1.0
            assert upstream.requests[0].closed_by_client.wait(1)
        exchange = made.accounted()[0]
        assert list(exchange.attempt_results) == [("first", "cancelled")]
        assert 0.4 <= exchange.duration_seconds < 1.0


@pytest.mark.parametrize("patience_seconds", [0.1, 5.0])
def test_an_upstream_that_never_begins_is_a_504_in_time(upstream: Upstream, patience_seconds: float) -> None:
    upstream.clear()
    on = hotpath.targets(upstream)[:1]
    with world(*on, patience_seconds=patience_seconds, timeouts=QUICK) as made:
        made.warm(upstream)
        upstream.script(Answer.silent())
        with connect(made.port) as raw:
            begun = time.monotonic()
            assert post(raw).answer().status == 504
            assert 0.3 <= time.monotonic() - begun < 0.8
        assert made.handler.ways == ["shortcut", "resumed"]
        assert list(made.accounted()[0].attempt_results) == [("first", "timeout")]


# ---- what changes meanwhile ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [WHOLE.after(0.2), BIG.after(0.2)], ids=["small", "handed over"])
def test_it_is_answered_from_the_table_that_it_began_with(made: World, upstream: Upstream, answer: Answer) -> None:
    async def swap() -> None:
        made.snapshot = replace(hotpath.table(), keys={}, version="2")
        made.metrics.swapped(made.snapshot)
        made.health.prune(made.snapshot)
        await made.client.prune(())

    upstream.script(answer)
    with connect(made.port) as raw:
        post(raw)
        waiting(made, upstream)
        connections = upstream.open_connections
        made.loop.run(swap())
        got = raw.answer()
        assert (got.status, got.headers["x-trunkline-target"]) == (200, "first")
        assert got.body == b"".join(each for each in answer.chunks if isinstance(each, bytes))
        assert post(raw).answer().status == 401
    assert made.accounted(2)[0].target == "first"
    upstream.wait_for_open_connections(connections - 1)


@pytest.mark.parametrize("status", [401, 429, 500])
def test_what_others_find_out_meanwhile_does_not_spoil_an_answer_that_is_under_way(
    upstream: Upstream, status: int
) -> None:
    upstream.clear()
    with world(*hotpath.targets(upstream)[:1]) as made:
        made.warm(upstream)
        upstream.script(BIG.after(0.3), Answer.openai_error(status))
        with connect(made.port) as raw, connect(made.port) as other:
            post(raw)
            waiting(made, upstream)
            assert post(other).answer().status in (429, 500, 502)
            assert raw.answer().status == 200
        assert len(upstream.requests) == 2
        assert made.handler.ways.count("shortcut") == 1
        # It was asked before they failed: that they are well again is not proven by it.
        assert made.health._keys or made.health._targets


def test_nobody_else_is_asked_while_an_answer_is_under_way(made: World, upstream: Upstream) -> None:
    upstream.script(BIG.after(0.3), Answer.openai_error(500), model="m-first")
    with connect(made.port) as raw, connect(made.port) as other:
        post(raw)
        waiting(made, upstream)
        assert post(other).answer().headers["x-trunkline-target"] == "second"
        assert raw.answer().headers["x-trunkline-target"] == "first"
    assert len(upstream.requests) == 3
    made.accounted(2)


def test_it_goes_on_with_other_keys_and_targets_after_a_failure(upstream: Upstream) -> None:
    upstream.clear()
    first = hotpath.account("first", f"{upstream.url}/first", "one", "two")
    second = hotpath.account("second", f"{upstream.url}/second")
    on = fakes.target("first", first, model="m-first"), fakes.target("second", second, model="m-second", priority=1)
    with world(*on) as made:
        made.warm(upstream)
        upstream.script(Answer.openai_error(429), Answer.openai_error(500), model="m-first")
        with connect(made.port) as raw:
            assert post(raw).answer().headers["x-trunkline-target"] == "second"
        assert [each.path for each in upstream.requests] == [
            f"/{each}/chat/completions" for each in ("first",) * 2 + ("second",)
        ]
        assert len({each.key for each in upstream.requests}) == 3
        results = [("first", "rate_limited"), ("first", "server_error"), ("second", "ok")]
        assert list(made.accounted()[0].attempt_results) == results


def test_a_client_that_does_not_read_holds_up_nobody_and_gets_everything(made: World, upstream: Upstream) -> None:
    answers = [Answer.openai_chat(str(number) * 100_000) for number in range(60)]
    upstream.script(*answers)
    with connect(made.port) as raw, connect(made.port) as other:
        for _ in answers:
            post(raw)
        until(lambda: "resumed" in made.handler.ways, "a client with no room")
        held = len(upstream.requests)
        assert held < 60
        assert post(other).answer().status == 200
        sent = [raw.answer().body for _ in answers[:-1]]
    assert sent[: held - 1] == [each.chunks[0] for each in answers[: held - 1]]


def test_nothing_is_left_of_a_request_for_the_garbage_collector(made: World, upstream: Upstream) -> None:
    def left() -> int:
        return sum(type(each).__name__ in ("Shortcut", "HotRequest", "Call", "Underway") for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = left()
        with connect(made.port) as raw:
            for _ in range(20):
                assert post(raw).answer().status == 200
            upstream.script(BIG)
            assert post(raw).answer().status == 200
            assert post(raw, "Connection: close").answer().status == 200
        made.accounted(22)
        assert made.handler.ways == ["shortcut"] * 21 + ["resumed", "task"]
        until(lambda: left() <= before, "them to be gone", 2)
    finally:
        gc.enable()
