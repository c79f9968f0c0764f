"""Writes of one turn, made together: nothing is lost, nothing overtakes, and what breaks breaks alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.rawhttp import Raw, connect
from harness.serving import served
from trunkline_gateway.http import NO_HEADERS, Body, Head, Responder
from trunkline_gateway.ingress import rest
from trunkline_gateway.ingress.asgi import Application
from trunkline_gateway.ingress.listener import Listener
from trunkline_gateway.outbox import MOST, Outbox
from trunkline_gateway.timers import Timers


class Wire:
    """A transport that remembers; ``log`` is shared by those of a test."""

    def __init__(self, name: str, log: list[tuple[str, bytes]]) -> None:
        self.name = name
        self.log = log
        self.closing = False
        self.aborted = False
        self.broken = False
        self.on_write: Callable[[], None] | None = None

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        if self.broken:
            raise RuntimeError("the end was written already")
        self.log.append((self.name, data))
        if self.on_write is not None:
            self.on_write()

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.write(b"".join(parts))

    def abort(self) -> None:
        self.aborted = self.closing = True


class Desk:
    """An outbox and its wires."""

    def __init__(self) -> None:
        self.outbox = Outbox(asyncio.get_running_loop())
        self.log: list[tuple[str, bytes]] = []
        self.wires = {name: Wire(name, self.log) for name in "abc"}

    def write(self, name: str, data: bytes | tuple[bytes, ...]) -> None:
        self.outbox.write(cast(asyncio.Transport, self.wires[name]), data)


async def turn() -> None:
    await asyncio.sleep(0)


async def test_writes_go_out_at_the_end_of_the_turn_in_their_order() -> None:
    desk = Desk()
    sent = [("a", b"1"), ("b", b"2"), ("a", b"3"), ("c", b"4"), ("a", b"5")]
    for name, data in sent:
        desk.write(name, data)
    assert desk.log == []
    await turn()
    assert desk.log == sent
    desk.write("b", b"6")
    await turn()
    assert desk.log == [*sent, ("b", b"6")]


async def test_parts_are_written_in_a_row() -> None:
    desk = Desk()
    desk.write("a", (b"1", b"2", b"3"))
    await turn()
    assert desk.log == [("a", b"123")]


async def test_no_more_than_the_bound_wait_for_each_other() -> None:
    desk = Desk()
    for number in range(MOST - 1):
        desk.write("a", b"%d" % number)
    assert desk.log == []
    desk.write("b", b"last")
    assert len(desk.log) == MOST
    desk.write("a", b"next")
    assert len(desk.log) == MOST
    await turn()
    assert desk.log[-1] == ("a", b"next")


@pytest.mark.parametrize("data", [b"x" * 40_000, (b"x" * 20_000, b"y" * 20_000)])
async def test_no_more_bytes_than_the_bound_wait_for_each_other(data: bytes | tuple[bytes, ...]) -> None:
    desk = Desk()
    desk.write("a", data)
    assert desk.log == []
    desk.write("b", data)  # a loop may read one connection many times in a turn
    assert [name for name, _ in desk.log] == ["a", "b"]
    desk.write("c", b"z")
    assert len(desk.log) == 2
    await turn()
    assert len(desk.log) == 3


async def test_what_was_closed_meanwhile_is_not_written_to() -> None:
    desk = Desk()
    for name in "abc":
        desk.write(name, b"x")
    desk.wires["b"].closing = True
    await turn()
    assert desk.log == [("a", b"x"), ("c", b"x")]


async def test_a_write_that_fails_takes_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.wires["a"].broken = True
    for name in "bacab":
        desk.write(name, b"x")
    desk.outbox.flush()
    assert desk.log == [("b", b"x"), ("c", b"x"), ("b", b"x")]
    assert [name for name, wire in desk.wires.items() if wire.aborted] == ["a"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    desk.write("c", b"later")
    await turn()
    assert desk.log[-1] == ("c", b"later")


async def test_what_is_written_and_flushed_within_a_flush_does_not_overtake() -> None:
    desk = Desk()

    def once() -> None:
        desk.wires["a"].on_write = None
        desk.write("b", b"second")
        desk.outbox.flush()

    desk.wires["a"].on_write = once
    desk.write("a", b"1")
    desk.write("b", b"first")
    await turn()
    assert desk.log == [("a", b"1"), ("b", b"first"), ("b", b"second")]


@given(st.lists(st.one_of(st.sampled_from("abc"), st.sampled_from(["flush", "turn"])), max_size=120))
def test_nothing_is_lost_or_doubled_and_the_order_stays(steps: list[str]) -> None:
    async def play() -> None:
        desk = Desk()
        sent: list[tuple[str, bytes]] = []
        for number, step in enumerate(steps):
            if step == "flush":
                desk.outbox.flush()
                assert desk.log == sent
            elif step == "turn":
                await turn()
                assert desk.log == sent
            else:
                sent.append((step, b"%d" % number))
                desk.write(*sent[-1])
        await turn()
        assert desk.log == sent

    asyncio.run(play())


# ---- in a listener ---------------------------------------------------------------------------------------------------


class Handler:
    """Answers at once with the query; ``after`` it, in the same turn, does what the test says."""

    def __init__(self) -> None:
        self.after: Callable[[], None] = lambda: None

    def serves(self, path: str) -> bool:
        return path not in rest.PATHS

    def gathers(self, head: Head) -> bool:
        return False

    def at_once(self, head: Head, responder: Any) -> bool:
        if head.path != "/now":
            return False
        responder.send(200, NO_HEADERS, (), head.query)
        self.after()
        responder.go_on(None)
        return True

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        sent = await body.read(1 << 20)
        await responder.answer(200, NO_HEADERS, (), head.query + sent)

    async def resume(self, left: Any) -> None:
        raise NotImplementedError


@contextmanager
def listening() -> Iterator[tuple[Handler, Listener, Callable[[Coroutine[Any, Any, Any]], Any]]]:
    handler = Handler()

    @asynccontextmanager
    async def life() -> AsyncIterator[Listener]:
        timers = Timers(asyncio.get_running_loop())
        app = Application(handler, rest.application())
        listener = Listener(
            app, handler=handler, host="127.0.0.1", port=0, timers=timers, grace_seconds=1, keep_alive_seconds=5
        )
        await listener.start()
        yield listener
        await listener.stop()
        timers.close()

    with served(life) as (listener, loop):
        yield handler, listener, loop.run


@pytest.fixture
def listener() -> Iterator[tuple[Handler, Listener, Any]]:
    with listening() as made:
        yield made


def heads(*paths: str, more: str = "") -> str:
    return "".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n" for path in paths)


def bodies(raw: Raw, count: int) -> list[bytes]:
    return [raw.answer().body for _ in range(count)]


def test_answers_of_one_turn_arrive_in_order(listener: tuple[Handler, Listener, Any]) -> None:
    with connect(listener[1].port) as raw:
        raw.send(heads(*(f"/now?{number}" for number in range(100))))
        assert bodies(raw, 100) == [b"%d" % number for number in range(100)]


def test_answers_made_with_and_without_a_task_and_in_asgi_keep_their_order(
    listener: tuple[Handler, Listener, Any],
) -> None:
    with connect(listener[1].port) as raw:
        raw.send(heads("/now?a", "/later?b", "/now?c", "/healthz", "/now?d", "/healthz", "/later?e", "/now?f"))
        assert [each[:1] for each in bodies(raw, 8)] == [b"a", b"b", b"c", b"{", b"d", b"{", b"e", b"f"]


@pytest.mark.parametrize(
    ("behind", "status"),
    [
        ("NONSENSE\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 426),
    ],
    ids=["nonsense", "no host", "websocket"],
)
def test_a_refusal_in_the_turn_of_an_answer_comes_after_it(
    listener: tuple[Handler, Listener, Any], behind: str, status: int
) -> None:
    with connect(listener[1].port) as raw:
        raw.send(heads("/now?a", "/now?b") + behind)
        assert bodies(raw, 2) == [b"a", b"b"]
        assert raw.answer().status == status
        assert raw.closed_within(3)


@pytest.mark.parametrize("path", ["/now", "/later"])
def test_nothing_of_an_answer_is_lost_when_its_connection_closes(
    listener: tuple[Handler, Listener, Any], path: str
) -> None:
    for _ in range(20):
        with connect(listener[1].port) as raw:
            raw.send(heads("/now?a") + heads(f"{path}?{'b' * 50_000}", more="Connection: close\r\n"))
            assert bodies(raw, 2) == [b"a", b"b" * 50_000]
            assert raw.closed_within(2)


def test_nothing_of_an_answer_is_lost_when_the_server_stops_in_its_turn(
    listener: tuple[Handler, Listener, Any],
) -> None:
    handler, made, _ = listener

    def shutdown() -> None:
        for connection in list(made._server.server_state.connections):
            connection.shutdown()

    handler.after = shutdown
    with connect(made.port) as raw:
        raw.send(heads("/now?first"))
        assert raw.answer().body == b"first"
        assert raw.closed_within(2)


def test_an_invitation_to_send_the_body_comes_after_the_answer_before(listener: tuple[Handler, Listener, Any]) -> None:
    with connect(listener[1].port) as raw:
        expecting = "POST /later?b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        raw.send(heads("/now?a") + expecting)
        assert raw.answer().body == b"a"
        assert raw.answer().status == 100
        raw.send(b"!!" + heads("/now?c").encode())
        assert bodies(raw, 2) == [b"b!!", b"c"]


def test_one_that_has_left_costs_the_others_of_its_turn_nothing(listener: tuple[Handler, Listener, Any]) -> None:
    handler, made, run = listener

    def leave() -> None:
        handler.after = lambda: None
        for connection in list(made._server.server_state.connections):
            if cast(Any, connection).client == leaving:
                connection.transport.abort()

    with connect(made.port) as first, connect(made.port) as second, connect(made.port) as third:
        leaving = second.sock.getsockname()
        for each in (first, second, third):
            assert each.send(heads("/now?x")).answer().body == b"x"
        handler.after = leave

        async def at_once() -> None:
            first.send(heads("/now?1"))
            second.send(heads("/now?2"))
            third.send(heads("/now?3"))

        run(at_once())  # the loop sees the three in one turn
        assert first.answer().body == b"1"
        assert third.answer().body == b"3"
