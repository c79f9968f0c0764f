"""A whole answer: what is read of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_gateway.dialects.openai_chat import response, usage
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import Usage

COUNT = st.sampled_from([0, 1, 7, 10**25, None, -1, True, 1.0, 2.5, "3", [], {}])
DETAILS = (
    st.none()
    | st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "x"]), COUNT)
    | st.sampled_from([[], 3, "x"])
)
COUNTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens", "cached_tokens"], COUNT
        ),
        "reasoning_tokens": COUNT,
        "prompt_tokens_details": DETAILS,
        "completion_tokens_details": DETAILS,
    },
)


def test_the_counts_are_read_verbatim() -> None:
    counts = {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4},
        "queue_time": 0.5,
    }
    read = response.read(json.dumps({"choices": [{}], "usage": counts}).encode())
    assert read == response.Whole(
        None, Usage(prompt=19, completion=10, total=30, cached=3, reasoning=4, audio_prompt=0)
    )


@given(COUNTS | st.sampled_from([None, [], 3, "x", {}]))
def test_odd_counts_are_left_out_and_the_others_are_read(counts: object) -> None:
    body = json.dumps({"usage": counts, "choices": [{}]}).encode()
    assert response.read(body).usage == usage.read(counts)


@pytest.mark.parametrize(
    ("counts", "read"),
    [
        ({"prompt_tokens": 1.0, "completion_tokens": 2}, Usage(completion=2)),
        ({"prompt_tokens": 10**25}, Usage(prompt=10**25)),
        ({"prompt_tokens": -1, "total_tokens": True}, None),
        ({"prompt_tokens": 5, "prompt_cache_hit_tokens": 2, "cached_tokens": 9}, Usage(prompt=5, cached=2)),
        ({"prompt_tokens": 5, "prompt_tokens_details": [], "cached_tokens": 9}, Usage(prompt=5, cached=9)),
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cached_tokens": 9}, Usage(cached=0)),
        ({}, None),
        ("none", None),
    ],
)
def test_counts_of_every_kind(counts: object, read: Usage | None) -> None:
    assert response.read(json.dumps({"usage": counts}).encode()).usage == read


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"error":{"code":429}}', 429),
        (b'{"error":{"code":429},"choices":[],"usage":3}', 429),
        (b'{"error":{"code":429},"choices":[{}]}', None),
        (b'{"error":{"code":429},"data":[1]}', None),
        (b'{"error":null,"choices":null}', None),
        (b'{"error":"x","choices":null,"data":[]}', 500),
    ],
)
def test_an_error_with_nothing_else_to_give_is_one(body: bytes, status: int | None) -> None:
    assert response.read(body).error_status == status


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"usage":', b'{"choices":' + b"[" * 100_000])
def test_what_is_no_object_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        response.read(body)


def test_usage_at_the_end_of_a_long_answer_is_found() -> None:
    body = (
        b'{"choices":["\\"usage\\""],"usage": {"prompt_tokens":1,"completion_tokens_details":{"reasoning_tokens":2}}}\n'
    )
    assert response.usage_at_end(body[9:]) == Usage(prompt=1, reasoning=2)
    assert response.usage_at_end(body[:30]) is None
