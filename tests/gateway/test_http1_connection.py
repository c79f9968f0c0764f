"""A connection fed by hand: when an answer is there, what ends it, and what becomes of the connection."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import errors
from trunkline_gateway.outbox import Outbox
from trunkline_gateway.upstream.client import Timeouts
from trunkline_gateway.upstream.http1 import answer as answers
from trunkline_gateway.upstream.http1.pool import Bounds, Pool

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
UNTIL_EOF = b"HTTP/1.1 200 OK\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
QUICK = Timeouts(connect=1.0, first_byte=10.0, stream_idle=4.0)


class Clock:
    """Stands for the loop and for its `Timers`: time passes only when told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers_set = 0
        self._due: list[tuple[float, Alarm]] = []

    def time(self):
        return self.now

    def create_future(self):
        return asyncio.get_running_loop().create_future()

    def after(self, seconds, callback):
        self.timers_set += 1
        alarm = Alarm(callback)
        self._due.append((self.now + seconds, alarm))
        return alarm

    def advance(self, seconds):
        end = self.now + seconds
        while ready := [(due, alarm) for due, alarm in self._due if due <= end]:
            due, alarm = min(ready, key=lambda entry: entry[0])
            self._due.remove((due, alarm))
            self.now = due
            if alarm.callback is not None:
                alarm.callback()
        self.now = end


class Alarm:
    def __init__(self, callback):
        self.callback = callback

    def cancel(self):
        self.callback = None


class Wire:
    """A transport that only remembers."""

    def __init__(self):
        self.written = bytearray()
        self.writes = 0
        self.reading = True
        self.aborted = False
        self.unflushed = 0
        self.connection = None
        self.high_water = None

    def get_extra_info(self, name):
        return None

    def write(self, data):
        assert not self.aborted
        self.writes += 1
        self.written += data
        if self.high_water is not None:
            self.unflushed += len(data)
            if self.unflushed > self.high_water:
                self.connection.pause_writing()

    def flush(self):
        self.unflushed = 0
        self.connection.resume_writing()

    def get_write_buffer_size(self):
        return self.unflushed

    def pause_reading(self):
        assert self.reading
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        self.reading = True

    def abort(self):
        self.aborted = True


class Directly:
    """An outbox that does not wait for the end of the turn; or, ``held``, until it is flushed."""

    def __init__(self):
        self.flushed = 0
        self.held = None

    def write(self, transport, data):
        if self.held is not None:
            self.held.append((transport, data))
            return
        transport.write(data)
        self.flushed += 1

    def flush(self):
        self.flushed += 1
        held, self.held = self.held or [], None
        for transport, data in held:
            transport.write(data)


class Setup:
    def __init__(self, **bounds):
        self.clock = Clock()
        self.outbox = Directly()
        kept = {"idle_seconds": 60.0, "max_idle": 8, "max_age_seconds": 1000.0} | bounds
        self.pool = Pool(self.clock, self.clock, self.outbox, Bounds(**kept), None, b"")
        self.wire, self.connection = self.connect()

    def connect(self):
        wire, connection = Wire(), self.pool._new()
        wire.connection = connection
        connection.connection_made(wire)
        self.pool.open.add(connection)
        return wire, connection

    def send(self, body=b"{}"):
        return self.connection.send(HEAD, body, QUICK)


async def read_all(answer):
    body = b""
    while data := await answer.read():
        body += data
    return body


async def outcome(setup, answer):
    """What its reader sees, and whether the connection lives on."""
    try:
        await answer.head()
    except errors.UpstreamError as failure:
        return (type(failure), failure.message)
    body = b""
    try:
        while data := await answer.read():
            body += data
    except errors.UpstreamError as failure:
        return (answer.status, tuple(answer.headers), body, type(failure))
    return (answer.status, tuple(answer.headers), body, not setup.wire.aborted)


async def test_head_and_body_go_out_in_one_write():
    setup = Setup()
    setup.send(b"{}")
    assert (setup.wire.writes, bytes(setup.wire.written)) == (1, HEAD + b"content-length: 2\r\n\r\n{}")
    setup = Setup()
    setup.send(b"")
    assert bytes(setup.wire.written) == HEAD + b"content-length: 0\r\n\r\n"
    setup = Setup()
    setup.send(None)
    assert bytes(setup.wire.written) == HEAD + b"\r\n"


async def test_a_large_body_is_not_piled_up_in_the_transport():
    setup = Setup()
    setup.wire.high_water = 100_000
    body = bytes(range(256)) * 10_000
    setup.send(body)
    steps = 0
    while len(setup.wire.written) < len(body):
        assert setup.wire.unflushed <= 512 * 1024
        setup.wire.flush()
        steps += 1
        assert steps < 100
    assert setup.wire.written.endswith(body)


async def test_a_small_answer_is_whole_at_once_and_its_connection_already_back():
    setup = Setup()
    answer = setup.send()
    setup.connection.data_received(OK)
    assert setup.pool.take() is setup.connection
    assert answer.begun
    assert await read_all(answer) == b"ok"
    await answer.close()
    assert not setup.wire.aborted


async def test_pieces_that_came_together_are_read_together():
    setup = Setup()
    answer = setup.send()
    for part in (CHUNKED, b"1\r\na\r\n1\r\nb\r\n", b"1\r\nc\r\n"):
        setup.connection.data_received(part)
    assert await answer.read() == b"abc"
    setup.connection.data_received(b"0\r\n\r\n")
    assert await answer.read() == b""
    assert await answer.read() == b""


@pytest.mark.parametrize("after", [b"HTTP/1.1 200 OK\r\n", b"x"])
async def test_bytes_after_the_end_never_reach_the_next_request(after):
    for together in (True, False):
        setup = Setup()
        answer = setup.send()
        for part in [OK + after] if together else [OK, after]:
            setup.connection.data_received(part)
        assert await read_all(answer) == b"ok"
        assert setup.wire.aborted
        assert setup.pool.take() is None
        assert not setup.pool.open


async def test_an_answer_that_says_close_is_not_followed_by_another_request():
    for head in (b"HTTP/1.1 200 OK\r\nconnection: close\r\n", b"HTTP/1.0 200 OK\r\n"):
        setup = Setup()
        answer = setup.send()
        setup.connection.data_received(head + b"content-length: 2\r\n\r\nok")
        assert await read_all(answer) == b"ok"
        assert setup.wire.aborted


async def test_an_answer_to_half_a_request_ends_the_connection():
    for body in (b"x" * 1_000_000, b"x" * 1000):
        setup = Setup()
        setup.wire.high_water = 10
        answer = setup.send(body)
        setup.connection.data_received(OK)
        assert await read_all(answer) == b"ok"
        assert setup.wire.aborted


async def test_wrong_framing_right_after_the_head_leaves_head_and_bytes_to_read():
    setup = Setup()
    answer = setup.send()
    setup.connection.data_received(CHUNKED + b"2\r\nok\r\nnonsense\r\n")
    await answer.head()
    assert await answer.read() == b"ok"
    for _ in range(2):
        with pytest.raises(errors.UpstreamProtocolError):
            await answer.read()
    assert setup.wire.aborted


async def test_wrong_framing_wakes_a_reader_that_waits():
    setup = Setup()
    answer = setup.send()
    setup.connection.data_received(CHUNKED)
    reading = asyncio.ensure_future(answer.read())
    await asyncio.sleep(0)
    setup.connection.data_received(b"nonsense\r\n")
    with pytest.raises(errors.UpstreamProtocolError):
        await reading


async def test_a_second_reader_is_refused_and_one_that_was_cancelled_leaves_room_for_the_next():
    setup = Setup()
    answer = setup.send()
    setup.connection.data_received(CHUNKED)
    first = asyncio.ensure_future(answer.read())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await answer.read()
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.ensure_future(answer.read())
    await asyncio.sleep(0)
    setup.connection.data_received(b"1\r\na\r\n")
    assert await second == b"a"


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("how", [None, ConnectionResetError(104, "x")])
async def test_only_a_used_connection_that_is_lost_without_a_byte_may_be_replaced(how, reused):
    for first, expected in ((b"", errors.UpstreamConnectError), (b"H", errors.UpstreamProtocolError)):
        setup = Setup()
        if reused:
            setup.send()
            setup.connection.data_received(OK)
            assert setup.pool.take() is setup.connection
        answer = setup.send()
        if first:
            setup.connection.data_received(first)
        setup.connection.connection_lost(how)
        with pytest.raises(expected) as caught:
            await answer.head()
        assert getattr(caught.value, "reused", False) == (reused and not first)


async def test_a_timeout_is_not_a_lost_connection():
    setup = Setup()
    setup.send()
    setup.connection.data_received(OK)
    setup.pool.take()
    answer = setup.send()
    setup.clock.advance(QUICK.first_byte + 0.1)
    with pytest.raises(errors.UpstreamTimeoutError):
        await answer.head()
    assert setup.wire.aborted


async def test_a_request_on_a_connection_that_was_just_lost_is_a_connect_error():
    setup = Setup()
    setup.connection.connection_lost(None)
    with pytest.raises(errors.UpstreamConnectError) as caught:
        await setup.send().head()
    assert not caught.value.reused


async def test_a_full_buffer_stops_reading_until_somebody_reads():
    setup = Setup()
    answer = setup.send()
    setup.connection.data_received(UNTIL_EOF)
    for _ in range(answers.MAX_BUFFERED_BYTES // 65536 + 1):
        assert setup.wire.reading
        setup.connection.data_received(b"x" * 65536)
    assert not setup.wire.reading
    assert len(await answer.read()) == answers.MAX_BUFFERED_BYTES + 65536
    assert setup.wire.reading


async def test_a_connection_whose_answer_is_complete_but_unread_reads_on():
    setup = Setup()
    answer = setup.send()
    setup.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 199_999)
    assert not setup.wire.reading
    setup.connection.data_received(b"x")  # what the transport still had
    assert setup.wire.reading
    assert setup.pool.take() is setup.connection
    assert len(await read_all(answer)) == 200_000


async def test_silence_is_counted_from_the_last_byte_and_not_while_nobody_reads():
    setup = Setup()
    answer = setup.send()
    setup.connection.data_received(CHUNKED)
    for _ in range(5):
        setup.clock.advance(3.0)
        setup.connection.data_received(b"1\r\na\r\n")
    big = b"20000\r\n" + b"x" * 0x20000 + b"\r\n"
    setup.connection.data_received(big)
    assert not setup.wire.reading
    setup.clock.advance(60.0)
    assert (await answer.read()).startswith(b"aaaaaxxx")
    setup.clock.advance(3.9)
    assert not setup.wire.aborted
    setup.clock.advance(0.2)
    assert setup.wire.aborted
    with pytest.raises(errors.UpstreamTimeoutError):
        await answer.read()


async def test_a_head_that_trickles_is_late_all_the_same():
    setup = Setup()
    answer = setup.send()
    setup.connection.data_received(b"HTTP/1.1 200 OK\r\n")
    for _ in range(9):
        setup.clock.advance(1.0)
        setup.connection.data_received(b"x: y\r\n")
    assert not answer.begun
    setup.clock.advance(1.1)
    with pytest.raises(errors.UpstreamTimeoutError):
        await answer.head()


async def test_a_shorter_wait_is_not_hidden_by_the_timer_of_a_longer_one():
    setup = Setup()
    setup.send()  # 10 s for the head
    setup.connection.data_received(OK)
    setup.pool.take()
    short = setup.connection.send(HEAD, b"", Timeouts(first_byte=1.0))
    setup.clock.advance(1.1)
    with pytest.raises(errors.UpstreamTimeoutError):
        await short.head()


async def test_requests_and_chunks_set_no_timers_of_their_own():
    setup = Setup()
    for _ in range(50):
        answer = setup.send()
        setup.connection.data_received(OK)
        await read_all(answer)
        setup.pool.take()
    answer = setup.send()
    setup.connection.data_received(CHUNKED)
    for _ in range(50):
        setup.connection.data_received(b"1\r\na\r\n")
    assert setup.clock.timers_set <= 4


async def test_closing_before_the_end_aborts_even_a_half_sent_request():
    setup = Setup()
    setup.wire.high_water = 10
    answer = setup.send(b"x" * 1_000_000)
    setup.connection.data_received(CHUNKED)
    await answer.close()
    await answer.close()
    assert setup.wire.aborted
    setup.connection.resume_writing()
    setup.connection.connection_lost(None)
    with pytest.raises(errors.UpstreamProtocolError):
        await answer.read()


async def test_only_an_orderly_end_completes_a_body_without_length():
    for end, complete in ((None, True), (ConnectionResetError(104, "x"), False)):
        setup = Setup()
        answer = setup.send()
        setup.connection.data_received(UNTIL_EOF + b"some")
        setup.connection.connection_lost(end)
        assert await answer.read() == b"some"
        if complete:
            assert await answer.read() == b""
        else:
            with pytest.raises(errors.UpstreamProtocolError):
                await answer.read()


async def test_the_pool_keeps_so_many_for_so_long():
    setup = Setup(max_idle=2, idle_seconds=5.0)
    wires = [setup.connect() for _ in range(3)]
    for _, connection in wires:
        connection.send(HEAD, b"", QUICK)
    for _, connection in wires:
        connection.data_received(OK)
        setup.clock.advance(1.0)
    assert [wire.aborted for wire, _ in wires] == [False, False, True]
    setup.clock.advance(2.5)  # the first has been idle for longer than its time
    assert [wire.aborted for wire, _ in wires] == [True, False, True]
    setup.clock.advance(1.0)
    assert [wire.aborted for wire, _ in wires] == [True, True, True]
    assert setup.pool.take() is None


async def test_the_pool_gives_the_one_that_was_used_last_and_none_past_its_age():
    setup = Setup(max_age_seconds=10.0)
    young = [setup.connect() for _ in range(2)]
    for _, connection in young:
        connection.send(HEAD, b"", QUICK)
        connection.data_received(OK)
    assert setup.pool.take() is young[1][1]
    setup.clock.advance(11.1)
    assert setup.pool.take() is None
    assert young[0][0].aborted


async def test_an_answer_that_ends_past_its_connections_age_or_while_draining_ends_the_connection():
    for age in (True, False):
        setup = Setup(max_age_seconds=5.0)
        setup.send()
        if age:
            setup.clock.advance(5.6)
        else:
            setup.pool.drain()
        setup.connection.data_received(OK)
        assert setup.wire.aborted
        assert not setup.pool.open


STREAMS = [
    OK,
    CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nt: x\r\n\r\n",
    UNTIL_EOF + b"to the end",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    b"HTTP/1.1 204 No\r\n\r\n",
    CHUNKED + b"2\r\nok\r\nnonsense",
    CHUNKED + b"2\r\nok",
    OK[:-1],
    OK[:20],
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok",
]


def played(parts, end):
    """The outcome of an answer that comes in these parts."""

    async def play():
        setup = Setup()
        answer = setup.send()
        reading = asyncio.ensure_future(outcome(setup, answer))
        for part in parts:
            if setup.wire.aborted or answer.complete:
                break
            setup.connection.data_received(part)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if not answer.complete:
            setup.connection.connection_lost(end)
        return await asyncio.wait_for(reading, 5)

    return asyncio.run(play())


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(STREAMS),
    st.lists(st.integers(0, 120), max_size=6),
    st.sampled_from([None, ConnectionResetError(104, "x")]),
)
def test_however_an_answer_is_cut_its_reader_sees_the_same(stream, cuts, end):
    edges = [0, *sorted(min(edge, len(stream)) for edge in cuts), len(stream)]
    parts = [stream[a:b] for a, b in itertools.pairwise(edges) if a != b]
    assert played(parts, end) == played([stream], end)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=20),
            st.sampled_from([OK, CHUNKED, UNTIL_EOF, b"1\r\na\r\n", b"0\r\n\r\n", b"\r\n", b"HTTP/1.1 102 P\r\n\r\n"]),
        ),
        max_size=12,
    ),
    st.sampled_from([None, ConnectionResetError(104, "x")]),
)
def test_whatever_comes_ends_in_an_answer_or_one_of_our_errors(parts, end):
    seen = played(parts, end)
    assert seen is not None
    if isinstance(seen[0], type):
        assert issubclass(seen[0], errors.UpstreamError)


# ---- without waiting for it ------------------------------------------------------------------------------------------


class Notes:
    """Counts how often it was told; what it does then may be set."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1


@pytest.mark.parametrize(
    "ending",
    [
        lambda setup: setup.connection.data_received(OK),
        lambda setup: setup.connection.data_received(b"no HTTP at all"),
        lambda setup: setup.connection.data_received(UNTIL_EOF) or setup.connection.eof_received(),
        lambda setup: setup.connection.data_received(CHUNKED + b"2\r\nok\r\n0\r\n\r\n"),
        lambda setup: setup.connection.eof_received(),
        lambda setup: setup.connection.connection_lost(ConnectionResetError()),
        lambda setup: setup.clock.advance(11),
        lambda setup: setup.pool.close(),
        lambda setup: setup.connection.data_received(CHUNKED + b"40000\r\n" + b"x" * 0x40000),
    ],
    ids=["whole", "garbage", "until EOF", "chunked", "EOF", "reset", "silence", "closed", "more than is buffered"],
)
async def test_who_asked_to_be_told_is_told_once_when_there_is_nothing_to_wait_for(ending):
    setup, over = Setup(), Notes()
    answer = setup.send()
    answer.notify(over)
    setup.clock.advance(1)
    assert over.times == 0
    ending(setup)
    assert over.times == 1
    answer.abandon()
    setup.clock.advance(100)
    assert over.times == 1


async def test_a_head_or_a_piece_is_no_reason_to_be_told():
    setup, over = Setup(), Notes()
    answer = setup.send()
    answer.notify(over)
    for piece in (b"HTTP/1.1 103 Early\r\n\r\n", CHUNKED[:20], CHUNKED[20:], b"2\r\nok\r\n"):
        setup.connection.data_received(piece)
    assert over.times == 0
    assert (answer.status, answer.complete) == (200, False)
    setup.connection.data_received(b"0\r\n\r\n")
    assert over.times == 1
    assert (answer.peek(), answer.complete) == (b"ok", True)


@pytest.mark.parametrize("how", ["by choice", "by leaving"])
async def test_who_does_not_want_to_be_told_any_more_is_not(how):
    setup, over = Setup(), Notes()
    answer = setup.send()
    answer.notify(over)
    if how == "by choice":
        answer.notify(None)
        setup.connection.data_received(OK)
    else:
        answer.abandon()
        assert setup.wire.aborted
    assert over.times == 0


async def test_the_connection_can_be_used_again_by_who_is_told():
    setup = Setup()
    answer, again = setup.send(), []
    answer.notify(lambda: again.append(setup.pool.take()))
    setup.connection.data_received(OK)
    assert again == [setup.connection]
    second = setup.send()
    setup.connection.data_received(OK.replace(b"ok", b"OK"))
    assert (answer.peek(), second.peek()) == (b"ok", b"OK")


async def test_what_was_looked_at_can_still_be_read():
    setup = Setup()
    answer = setup.send()
    for piece in (CHUNKED, b"2\r\nok\r\n", b"3\r\nay!\r\n"):
        setup.connection.data_received(piece)
    assert answer.peek() == answer.peek() == b"okay!"
    setup.connection.data_received(b"1\r\n!\r\n0\r\n\r\n")
    assert await read_all(answer) == b"okay!!"
    assert answer.peek() == b""


async def test_what_was_told_about_can_be_waited_for_all_the_same():
    setup = Setup()
    answer = setup.send()
    answer.notify(Notes())
    answer.notify(None)
    waiting = asyncio.ensure_future(answer.head())
    await asyncio.sleep(0)
    setup.connection.data_received(CHUNKED)
    await waiting
    setup.connection.eof_received()
    with pytest.raises(errors.UpstreamProtocolError):
        await answer.read()


class Sink:
    """Takes ``most`` pieces."""

    def __init__(self, most=1000):
        self.most = most
        self.taken = []

    def __call__(self, data):
        self.taken.append(bytes(data))
        return len(self.taken) < self.most


async def pumping(setup, sink):
    answer = setup.send()
    setup.connection.data_received(CHUNKED)
    pump = asyncio.ensure_future(answer.pump(sink))
    await asyncio.sleep(0)
    return answer, pump


async def test_a_pump_hands_on_each_piece_as_it_comes_and_ends_with_the_answer():
    setup, sink = Setup(), Sink()
    answer, pump = await pumping(setup, sink)
    for number in range(3):
        setup.connection.data_received(b"1\r\n%d\r\n" % number)
        assert len(sink.taken) == number + 1
    assert not pump.done()
    setup.connection.data_received(b"1\r\n3\r\n0\r\n\r\n")
    await pump
    assert b"".join(sink.taken) == b"0123"
    assert await answer.read() == b""


async def test_a_sink_that_has_enough_gets_no_more_and_nothing_is_lost():
    setup, sink = Setup(), Sink(2)
    answer, pump = await pumping(setup, sink)
    for number in range(5):
        setup.connection.data_received(b"1\r\n%d\r\n" % number)
    await pump
    assert sink.taken == [b"0", b"1"]
    assert await answer.read() == b"234"
    setup.connection.data_received(b"1\r\n5\r\n")
    assert await answer.read() == b"5"


@pytest.mark.parametrize("pieces", [0, 2])
async def test_a_pump_leaves_it_to_the_reader_to_find_out_how_an_answer_failed(pieces):
    setup, sink = Setup(), Sink()
    answer, pump = await pumping(setup, sink)
    for _ in range(pieces):
        setup.connection.data_received(b"1\r\nx\r\n")
    setup.connection.eof_received()
    await pump
    assert sink.taken == [b"x"] * pieces
    with pytest.raises(errors.UpstreamProtocolError):
        await answer.read()


async def test_nothing_is_pumped_while_there_is_something_to_be_read_or_nothing_will_come():
    setup, sink = Setup(), Sink()
    answer = setup.send()
    setup.connection.data_received(CHUNKED + b"1\r\nx\r\n")
    await answer.pump(sink)
    assert await answer.read() == b"x"
    setup.connection.data_received(b"0\r\n\r\n")
    await answer.pump(sink)
    assert sink.taken == []


async def test_a_pump_that_is_cancelled_takes_nothing_more():
    setup, sink = Setup(), Sink()
    answer, pump = await pumping(setup, sink)
    pump.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pump
    setup.connection.data_received(b"1\r\nx\r\n")
    assert sink.taken == []
    assert await answer.read() == b"x"


async def test_the_upstreams_silence_ends_a_pump():
    setup, sink = Setup(), Sink()
    answer, pump = await pumping(setup, sink)
    setup.clock.advance(3)
    setup.connection.data_received(b"1\r\nx\r\n")
    setup.clock.advance(3)
    assert not pump.done()
    setup.clock.advance(2)
    await pump
    with pytest.raises(errors.UpstreamTimeoutError):
        await answer.read()


@pytest.mark.parametrize("length", [2, 100_000])
async def test_a_request_never_overtakes_what_waits_to_be_written(length):
    loop, clock, wire = asyncio.get_running_loop(), Clock(), Wire()
    wire.is_closing = lambda: wire.aborted
    outbox = Outbox(loop)
    pool = Pool(clock, clock, outbox, Bounds(idle_seconds=60.0, max_idle=8, max_age_seconds=1000.0), None, b"")
    connection = pool._new()
    connection.connection_made(wire)
    outbox.write(wire, b"before")
    connection.send(HEAD, b"x" * length, QUICK)
    await asyncio.sleep(0)
    assert bytes(wire.written) == b"before" + HEAD + b"content-length: %d\r\n\r\n" % length + b"x" * length


async def test_what_comes_before_the_request_is_out_is_no_answer_to_it():
    setup = Setup()
    first = setup.send()
    setup.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert await read_all(first) == b"ok"
    setup.outbox.held = []
    answer = setup.send()
    setup.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray")
    with pytest.raises(errors.UpstreamConnectError) as lost:
        await answer.head()
    assert lost.value.reused  # so that it is sent again, on another connection
    assert setup.wire.aborted
    assert setup.connection not in setup.pool._idle
