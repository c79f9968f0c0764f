"""Server-sent events, however they are cut."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.sse import EventSplitter

BODY = (
    b'\xef\xbb\xbfdata: {"a":"\xe6\x97\xa5\xf0\x9f\xa6\x8a"}\n\n'
    b": comment\r\n\r\n"
    b"event: error\rdata: one\rdata:two\r\r"
    b"\n\r\n"
    b"id: 1\nretry: 5\ndata:  spaced\n\r\n"
    b"data\n\n"
    b"data: \xff\xfe\n\n"
    b"data: [DONE]\n\n"
)
EVENTS = [
    (b"", '{"a":"日🦊"}'.encode()),
    (b"", b""),
    (b"error", b"one\ntwo"),
    (b"", b""),
    (b"", b" spaced"),
    (b"", b""),
    (b"", b"\xff\xfe"),
    (b"", b"[DONE]"),
]


def split(*pieces: bytes) -> list[tuple[bytes, bytes, bytes]]:
    splitter = EventSplitter()
    events = [event for piece in pieces for event in splitter.receive_data(piece)]
    assert splitter.receive_eof() is None
    return [(event.raw, event.name, event.data) for event in events]


def test_events_have_a_name_and_data_and_keep_their_bytes() -> None:
    events = split(BODY)
    assert [(name, data) for _, name, data in events] == EVENTS
    assert b"".join(raw for raw, _, _ in events) == BODY


@given(st.lists(st.integers(0, len(BODY)), max_size=8).map(sorted))
def test_a_body_gives_the_same_events_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *cuts, len(BODY)]
    assert split(*(BODY[start:end] for start, end in pairwise(edges))) == split(BODY)


def test_byte_by_byte_too() -> None:
    assert split(*(bytes([byte]) for byte in BODY)) == split(BODY)


@given(st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"data: x", b":"]), max_size=30), st.data())
def test_any_mixture_of_line_ends_does_too(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(pieces) + b"end\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    assert split(*(body[start:end] for start, end in pairwise([0, *cuts, len(body)]))) == split(body)


def by_lines(body: bytes) -> list[bytes]:
    """The events of a whole body, by the letter of the standard: line by line."""
    events = [b""]
    for line in re.findall(rb"[^\r\n]*(?:\r\n|\n|\r)", body):
        events[-1] += line
        if not line.strip(b"\r\n"):
            events.append(b"")
    assert events.pop() == b""
    return events


@given(
    st.lists(st.sampled_from([b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n", b"a", b"data: x"]), max_size=30), st.data()
)
def test_events_are_those_of_the_standard(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(pieces) + b"end\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    assert [
        raw for raw, _, _ in split(*(body[start:end] for start, end in pairwise([0, *cuts, len(body)])))
    ] == by_lines(body)


@given(st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"data: x"]), max_size=30), st.data())
def test_whole_events_come_in_one_piece(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(pieces) + b"end\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    taking, receiving = EventSplitter(), EventSplitter()
    for start, end in pairwise([0, *cuts, len(body)]):
        piece = body[start:end]
        assert taking.take(piece) == b"".join(event.raw for event in receiving.receive_data(piece))


def test_a_piece_that_is_whole_events_is_given_back_itself() -> None:
    for data in (b"data: a\n\n", b"data: a\n\n" * 3, b"data: a\r\n\r\n"):
        assert EventSplitter().take(data) is data


def test_an_event_is_given_as_soon_as_it_is_complete() -> None:
    splitter = EventSplitter()
    assert splitter.receive_data(b"data: a\n") == []
    assert [event.data for event in splitter.receive_data(b"\ndata: b")] == [b"a"]
    assert [event.data for event in splitter.receive_data(b"\r\n\r\n")] == [b"b"]


def test_what_is_left_at_the_end_is_given() -> None:
    splitter = EventSplitter()
    splitter.receive_data(b"data: a\n\ndata: half")
    rest = splitter.receive_eof()
    assert rest is not None
    assert rest.raw == b"data: half"
    assert splitter.receive_eof() is None


def test_an_unfinished_event_is_bounded_as_a_whole_and_not_by_its_lines() -> None:
    splitter = EventSplitter(max_event_bytes=100)
    assert len(splitter.receive_data(b"data: x\n\n" * 100)) == 100
    for _ in range(10):
        splitter.receive_data(b"data: abc\n")
    with pytest.raises(UpstreamProtocolError):
        splitter.receive_data(b"data: abc\n")
    with pytest.raises(UpstreamProtocolError):
        EventSplitter(max_event_bytes=100).receive_data(b"data: " + b"x" * 100 + b"\n\n")


def test_a_long_event_in_small_pieces_takes_linear_time() -> None:
    splitter = EventSplitter()
    for _ in range(100_000):
        splitter.receive_data(b"data: 456\n")
    assert len(splitter.receive_data(b"\n")) == 1
