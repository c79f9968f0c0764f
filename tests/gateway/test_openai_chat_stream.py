"""A streamed answer: what is passed on of it and when, however it is cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_gateway import sse
from trunkline_gateway.dialects.openai_chat.stream import AnswerStream
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import Usage


def event(delta: object, finish: object = None, line_end: bytes = b"\n", **members: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **members}).encode() + 2 * line_end


HELLO = event({"content": "Hello"})
STOP = event({}, "stop")
COUNTS = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
BROKEN = b'data: {"choices":[{"delta":{"content":"x"}]}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"code":429,"message":"slow down, sk-abcdefgh"}}\n\n'

# Each with what becomes of it after content has come: it is passed on, or not.
PASSED = [
    HELLO,
    event({"content": "Hello"}, line_end=b"\r\n"),
    event({"content": "Hello"}, line_end=b"\r"),
    event({"content": '"usage":{"error":[DONE]'}, usage=None),
    event({"tool_calls": [{"function": {"arguments": '{"error": 1, "finish_reason":"x"}'}}]}),
    event({"x": {"error": 1, "usage": {"prompt_tokens": 9}}}),
    event({"content": "x"}, usage={"prompt_tokens": 1}),
    STOP,
    event({"content": "x"}, ""),
    b": keep-alive\n\n",
    b"\n",
    b'id: 7\ndata: {"choices":[]}\n\n',
    b'data:{"choices":\ndata: null}\n\n',
    b"data: 1\n\n",
    b"data:\n\n",
    b'data: {"choices":[1],"x_groq":{"id":"r"}}\n\n',
    DONE,
]
DROPPED = [
    BROKEN,
    COUNTS,
    b'data: {"choices":\r[]\n\n',
    b'data: {"choices":\n\ndata: []}\n\n',
    b"data: {" + b'"x":[' * 100_000 + b"\n\n",
    b'data: {"choices":[],"x_groq":{"usage":{"total_tokens":4}},"usage":{"total_tokens":4}}\n\n',
]


def answer(max_held_bytes: int = 1000) -> AnswerStream:
    return AnswerStream(
        takes_out_usage=True, scrub=lambda text: text.replace("sk-", "[key]"), max_held_bytes=max_held_bytes
    )


def outcome(pieces: list[bytes]) -> tuple[object, ...]:
    """All that can be seen of an answer in the end."""
    stream = answer()
    passed = b""
    failed = None
    try:
        for piece in pieces:
            passed += stream.receive_data(piece)
        passed += stream.receive_eof()
    except UpstreamProtocolError as error:
        failed = error.message
    if failed is not None and not stream.committed:
        passed = b""
    return passed, failed, stream.committed, stream.done, stream.ended_well, stream.usage, stream.error


def begun() -> AnswerStream:
    stream = answer()
    assert stream.receive_data(HELLO) == HELLO
    assert stream.committed
    return stream


@pytest.mark.parametrize("data", PASSED, ids=range(len(PASSED)))
def test_after_the_first_content_an_event_is_passed_on_as_it_is(data: bytes) -> None:
    # A line end that may be half of one waits for what comes next.
    assert begun().receive_data(data + HELLO) == data + HELLO
    assert begun().receive_data(HELLO + data + HELLO) == HELLO + data + HELLO


@pytest.mark.parametrize("data", DROPPED, ids=range(len(DROPPED)))
def test_what_no_parser_can_read_and_what_only_we_asked_for_is_not(data: bytes) -> None:
    assert begun().receive_data(data) == b""
    assert begun().receive_data(HELLO + data + HELLO) == 2 * HELLO


def test_what_is_only_content_is_passed_on_without_a_copy() -> None:
    stream = begun()
    for data in (HELLO, HELLO * 5, event({"content": "x"}, line_end=b"\r\n")):
        assert stream.receive_data(data) is data


def test_what_matters_is_found_among_what_does_not() -> None:
    stream = begun()
    assert stream.receive_data(HELLO * 3 + STOP + COUNTS + HELLO + DONE) == HELLO * 3 + STOP + HELLO + DONE
    assert stream.finished
    assert stream.done
    assert stream.usage == Usage(prompt=3, completion=2, total=5)


def test_an_error_after_content_is_cleaned_wherever_it_stands() -> None:
    for before, after in ((b"", b""), (HELLO, HELLO)):
        stream = begun()
        passed = stream.receive_data(before + ERROR + after)
        assert passed == before + ERROR.replace(b"sk-", b"[key]") + after
        assert stream.error is not None
        assert stream.error.status == 429


@given(
    st.lists(st.sampled_from([*PASSED, *DROPPED[:4], ERROR, b"event: error\ndata: x\n\n"]), max_size=8),
    st.booleans(),
    st.data(),
)
def test_an_answer_means_the_same_however_it_is_cut(events: list[bytes], starts: bool, data: st.DataObject) -> None:
    body = (HELLO if starts else event({"role": "assistant", "content": ""})) + b"".join(events)
    body = body[: data.draw(st.integers(len(body) // 2, len(body)))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    whole = outcome([bytes([byte]) for byte in body])
    if whole[1] is None:  # else it depends on how much came with what is wrong
        assert outcome([body[start:end] for start, end in pairwise([0, *cuts, len(body)])]) == whole
        assert outcome([body]) == whole


@given(st.lists(st.sampled_from([*PASSED, *DROPPED[:4]]), max_size=8))
def test_content_first_then_exactly_what_may_be_passed_on_is(events: list[bytes]) -> None:
    stream = begun()
    passed = b"".join(stream.receive_data(data) for data in [*events, HELLO])
    assert passed == b"".join(data for data in [*events, HELLO] if data not in DROPPED)


def test_held_bytes_are_bounded() -> None:
    empty = event({"role": "assistant", "content": ""})
    stream = answer(max_held_bytes=3 * len(empty))
    assert stream.receive_data(3 * empty) == b""
    assert not stream.committed
    assert stream.receive_data(empty) == 4 * empty
    assert stream.committed


def test_an_event_without_end_is_bounded_after_content_too() -> None:
    stream = begun()
    half = b'data: "' + b"x" * (sse.MAX_EVENT_BYTES // 2)
    assert stream.receive_data(half) == b""
    with pytest.raises(UpstreamProtocolError):
        stream.receive_data(half)
    with pytest.raises(UpstreamProtocolError):
        begun().receive_data(b'data: "' + b"x" * sse.MAX_EVENT_BYTES + b'"\n\n')
