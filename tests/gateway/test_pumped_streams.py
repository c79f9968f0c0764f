"""Streams that are passed on in the call that brings them: the same bytes, the same ends, and no more memory."""

from __future__ import annotations

import gc
import json
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import hotpath
from harness.answers import Answer, Cut, Hang, Step
from harness.hotpath import BEARER, CHAT, PATH, World, until, world
from harness.rawhttp import IncompleteError, Raw, connect
from harness.upstream import Upstream
from trunkline_gateway.upstream.http1.answer import Answer as Incoming

ASKED = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
DONE = b"data: [DONE]\n\n"


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return (
        b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


WHOLE = [event("Hello"), event(" there"), b": a comment\n\n", event(" you"), event("", "stop"), DONE]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(lambda request: Answer.openai_chat("Hello", model=request.model or "")) as double:
        yield double


@pytest.fixture(scope="module")
def pair(upstream: Upstream) -> Iterator[tuple[World, World]]:
    """A gateway that pumps, and one that does not."""
    on = hotpath.targets(upstream)
    with world(*on) as pumping, world(*on, pumps=False) as reading:
        for made in (pumping, reading):
            made.warm(upstream)
        yield pumping, reading


def get(made: World) -> tuple[bytes, bool, dict[str, Any]]:
    """The body, whether it was ended, and the books."""
    made.forget()
    with connect(made.port) as raw:
        raw.request("POST", PATH, ASKED, BEARER)
        ended = True
        try:
            body = raw.answer().body
        except IncompleteError as cut:
            body, ended = cut.received, False
    exchange = made.accounted()[0]
    names = ("status", "target", "attempts", "streamed", "truncated", "error", "prompt_tokens", "completion_tokens")
    return body, ended, {name: getattr(exchange, name) for name in names}


def sse(steps: list[Step], framing: Any = "chunked") -> Answer:
    return Answer(200, [("content-type", "text/event-stream")], steps, framing)


def both(pair: tuple[World, World], upstream: Upstream, answer: Answer) -> tuple[bytes, bool, dict[str, Any]]:
    seen = []
    for made in pair:
        made.anew()
        upstream.clear()
        upstream.script(answer, model="m-first")
        seen.append(get(made))
    upstream.clear()
    assert seen[0] == seen[1]
    return seen[0]


def test_a_stream_is_pumped_once_it_has_content(
    pair: tuple[World, World], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[int] = []
    push = Incoming.push

    def noting(self: Incoming, pieces: list[bytes]) -> None:
        pushed.append(self._sink is not None)
        push(self, pieces)

    monkeypatch.setattr(Incoming, "push", noting)
    upstream.script(sse([step for each in WHOLE for step in (each, 0.01)]), model="m-first")
    assert get(pair[0])[0] == b"".join(WHOLE)
    assert sum(pushed) >= 4


@given(
    cuts=st.lists(st.integers(0, len(b"".join(WHOLE))), max_size=12),
    pauses=st.sampled_from([0.0, 0.001]),
    framing=st.sampled_from(["chunked", "close", "content-length"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_cut_into_any_pieces_is_the_same(
    pair: tuple[World, World], upstream: Upstream, cuts: list[int], pauses: float, framing: Any
) -> None:
    body = b"".join(WHOLE)
    edges = sorted({0, len(body), *cuts})
    steps: list[Step] = []
    for start, end in pairwise(edges):
        steps += [body[start:end], pauses]
    got, ended, books = both(pair, upstream, sse(steps, framing))
    assert (got, ended) == (body, True)
    assert (books["status"], books["error"], books["truncated"]) == (200, "", False)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ([b'data: {"error":{"message":"it broke","type":"server_error"}}\n\n'], "upstream_refused"),
        ([b'data: {"error":{"message":"it broke","type":"server_error"}}\n\n', 0.01, DONE], "upstream_refused"),
        ([b"data: {not JSON\n\n"], None),
        ([b"data: half an"], "stream_truncated"),
        ([], "stream_truncated"),
        ([Cut()], "stream_truncated"),
        ([Cut(reset=True)], "stream_truncated"),
        ([event("", "stop"), 0.01, Cut()], None),
        ([event("", "stop"), DONE, 0.01, Cut()], ""),
        ([DONE + event("after the end")], ""),
        ([DONE, 0.01, event("after the end")], ""),
        ([b": only a comment\n\n", 0.01, b": another\n\n", 0.01, DONE], ""),
        ([event("x" * 200_000), 0.01, event("", "stop"), DONE], ""),
    ],
)
def test_an_end_of_any_kind_is_the_same(
    pair: tuple[World, World], upstream: Upstream, end: list[Step], error: str | None
) -> None:
    answer = sse([event("Hello"), 0.01, event(" there"), 0.01, *end])
    got, _, books = both(pair, upstream, answer)
    assert got.startswith(event("Hello") + event(" there"))
    assert error is None or books["error"] == error
    if error == "stream_truncated":
        assert b"stream_truncated" in got
        assert DONE not in got


def test_a_client_that_leaves_a_pumped_stream_takes_the_upstream_with_it(
    pair: tuple[World, World], upstream: Upstream
) -> None:
    made = pair[0]
    for steps in ([event("a"), 0.01, event("b"), Hang()], [event("a"), *[event("b"), 0.01] * 1000]):
        made.forget()
        upstream.clear()
        upstream.script(sse(steps))
        with connect(made.port) as raw:
            raw.request("POST", PATH, ASKED, BEARER)
            chunks = iter_chunks(raw)
            next(chunks)
            next(chunks)
        left = time.monotonic()
        assert upstream.requests[0].closed_by_client.wait(1)
        assert time.monotonic() - left < 1
        exchange = made.accounted()[0]
        assert (exchange.client_gone, exchange.streamed, exchange.truncated) == (True, True, False)
        assert list(exchange.attempt_results) == [("first", "cancelled")]
        assert not made.health._keys
        assert not made.health._targets


def iter_chunks(raw: Raw) -> Iterator[bytes]:
    while b"\r\n\r\n" not in raw._buffer:
        raw._more(b"")
    raw._buffer = raw._buffer.partition(b"\r\n\r\n")[2]
    return raw.chunks()


def test_silence_in_a_pumped_stream_is_filled_between_events(upstream: Upstream) -> None:
    upstream.clear()
    halves = event("Hello")[:9], event("Hello")[9:]
    with world(*hotpath.targets(upstream), open_seconds=0.1, keep_alive_seconds=0.1) as made:
        made.warm(upstream)
        end = event("", "stop") + DONE
        upstream.script(sse([event("a"), 0.05, event("b"), 0.35, halves[0], 0.35, halves[1], 0.05, end]))
        got, ended, _ = get(made)
    assert ended
    assert got.replace(b": keep-alive\n\n", b"") == event("a") + event("b") + event("Hello") + end
    assert got.count(b": keep-alive\n\n") >= 4
    assert halves[0] + halves[1] in got  # none within an event


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_client_that_stops_reading_stops_the_upstream_and_memory_stays_flat(upstream: Upstream) -> None:
    upstream.clear()
    piece, count = event("x" * 65_000), 1000
    answer = sse([*[piece] * count, event("", "stop"), DONE])
    with world(*hotpath.targets(upstream)) as made:
        made.warm(upstream)
        upstream.script(answer)
        with connect(made.port) as raw:
            gc.collect()
            before = resident_bytes()
            raw.request("POST", PATH, ASKED, BEARER)
            (pool,) = made.client._pools.values()
            until(lambda: any(connection._paused for connection in pool.open), "a full buffer")
            highest = resident_bytes()
            size, tail = 0, b""
            while not tail.endswith(b"\r\n0\r\n\r\n"):
                data = raw.sock.recv(1 << 16)
                assert data
                size, tail = size + len(data), (tail + data)[-16:]
                highest = max(highest, resident_bytes())
        whole = len(piece) * count + len(event("", "stop") + DONE)
        assert whole < size < whole * 1.01
        assert highest - before < 24 << 20
        assert made.accounted()[0].error == ""


def test_many_streams_at_once_do_not_mix(upstream: Upstream) -> None:
    upstream.clear()
    upstream.handler, kept = _named, upstream.handler
    try:
        with world(*hotpath.targets(upstream)) as made:
            raws = []
            for number in range(40):
                raw = Raw(socket.create_connection(("127.0.0.1", made.port), timeout=10))
                raws.append(raw.request("POST", PATH, {**ASKED, "user": f"u{number}"}, BEARER))
            for number, raw in enumerate(raws):
                expected = [event(f"u{number} {each}") for each in range(20)]
                assert raw.answer().body == b"".join(expected) + event("", "stop") + DONE
                raw.sock.close()
    finally:
        upstream.handler = kept


def _named(request: Any) -> Answer:
    user = request.json()["user"]
    steps: list[Step] = [step for each in range(20) for step in (event(f"{user} {each}"), 0.002)]
    return sse([*steps, event("", "stop"), DONE])
