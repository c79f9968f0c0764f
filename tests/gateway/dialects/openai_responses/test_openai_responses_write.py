"""An answer for a client, written: streamed and whole, and checked with the SDK's own models."""

import json
from typing import get_args

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.dialects.openai_responses.responses_support import (
    INGRESS,
    REQUEST,
    answer,
    check,
    check_whole,
    decode,
    receive,
    sse_of,
    written,
)
from trunkline_gateway import errors, exchange
from trunkline_gateway.dialects.openai_responses import envelope
from trunkline_gateway.exchange import losses, origin

SIGNED = exchange.Seal(maker="anthropic", account="abcdefgh", value="sig==")
GOOGLES = exchange.Seal(maker="google", account="abcdefgh", value="g==")


def _whole(found: exchange.Answer, request: exchange.ChatRequest = REQUEST) -> dict[str, object]:
    """A whole answer, checked: with the SDK, and with the end of its stream."""
    encoded = INGRESS.encode(found, request)
    check_whole(encoded.body)
    frames = written(exchange.events_of(found), request)
    check(frames)
    value = json.loads(encoded.body)
    if not any(choice.logprobs for choice in found.choices):
        assert frames[-1]["response"] == value
    done = [frame["item"] for frame in frames if frame["type"] == "response.output_item.done"]
    indexes = [frame["output_index"] for frame in frames if frame["type"] == "response.output_item.done"]
    assert [item for _, item in sorted(zip(indexes, done, strict=True), key=lambda each: int(str(each[0])))] == value[
        "output"
    ] or any(choice.logprobs for choice in found.choices)
    assert isinstance(value, dict)
    return value


def _output(*parts: exchange.Part) -> list[dict[str, object]]:
    found = _whole(answer(*parts))["output"]
    assert isinstance(found, list)
    return found


def _back(output: list[dict[str, object]]) -> tuple[exchange.Part, ...]:
    """What comes in with the next turn."""
    (turn,) = decode({"input": output}).turns
    return turn.parts


def _lost(*parts: exchange.Part, **more: object) -> tuple[str, ...]:
    lost = INGRESS.encode(answer(*parts, **more), REQUEST).lost  # type: ignore[arg-type]
    assert all(name in losses.FEATURES for name in lost)
    return lost


def test_the_sequence_of_events() -> None:
    found = answer(
        exchange.Reasoning(text="Hm."),
        exchange.Text(text="a", citations=(exchange.UrlCitation(url="https://a"),)),
        exchange.Refusal(text="no"),
        exchange.ToolCall(id="c", name="f", arguments="{}"),
        exchange.ToolCall(id="d", name="g", arguments="x", custom=True),
        reason="tool_calls",
    )
    frames = written(exchange.events_of(found))
    check(frames)
    assert [str(frame["type"]).removeprefix("response.") for frame in frames] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    indexes = [frame["output_index"] for frame in frames if "output_index" in frame]
    assert indexes == sorted(indexes, key=lambda each: int(str(each)))
    items = {frame["output_index"]: frame["item"]["id"] for frame in frames if "item" in frame}  # type: ignore[index]
    assert all(frame["item_id"] == items[frame["output_index"]] for frame in frames if "item_id" in frame)


def test_items() -> None:
    reasoning, message, call, custom = _output(
        exchange.Reasoning(text="Hm.", id="rs_9"),
        exchange.Text(text="a"),
        exchange.Text(text="b"),
        exchange.ToolCall(id="c", name="f", arguments='{"x":1}', namespace="n", item_id="fc_9"),
        exchange.ToolCall(id="d", name="g", arguments="x", custom=True),
    )
    assert reasoning == {
        "id": "rs_9",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": origin.stamp(origin.UNSEALED),
    }
    content = message["content"]
    assert isinstance(content, list)
    assert [piece["text"] for piece in content] == ["a", "b"]
    assert message["status"] == "completed"
    assert call == {
        "id": "fc_9",
        "type": "function_call",
        "status": "completed",
        "call_id": "c",
        "name": "f",
        "namespace": "n",
        "arguments": '{"x":1}',
    }
    assert (custom["type"], custom["input"]) == ("custom_tool_call", "x")


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert _output(exchange.ToolCall(id="c", name="f"))[0]["arguments"] == "{}"


def test_annotations() -> None:
    (message,) = _output(
        exchange.Text(
            text="abc",
            citations=(
                exchange.UrlCitation(url="https://a", title="A", start=0, end=1),
                exchange.UrlCitation(url="https://b"),
                exchange.DocumentCitation(file_id="file-1", title="a.txt"),
            ),
        )
    )
    content = message["content"]
    assert isinstance(content, list)
    assert content[0]["annotations"] == [
        {"type": "url_citation", "start_index": 0, "end_index": 1, "url": "https://a", "title": "A"},
        {"type": "file_citation", "file_id": "file-1", "filename": "a.txt", "index": 0},
        {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://b", "title": ""},
    ]


def test_a_citation_that_comes_before_its_text_is_of_all_of_it() -> None:
    frames = written(
        [
            exchange.Start(),
            exchange.PartStart(0, exchange.Text(text="")),
            exchange.CitationDelta(0, exchange.UrlCitation(url="https://a")),
            exchange.TextDelta(0, "abc"),
            exchange.PartEnd(0),
            exchange.Finish(reason="stop"),
            exchange.End(),
        ]
    )
    check(frames)
    (added,) = [frame["annotation"] for frame in frames if frame["type"] == "response.output_text.annotation.added"]
    assert (added["start_index"], added["end_index"]) == (0, 3)  # type: ignore[index]


def test_calls_may_be_interleaved() -> None:
    frames = written(
        [
            exchange.Start(),
            exchange.PartStart(0, exchange.Text(text="")),
            exchange.PartStart(1, exchange.ToolCall(id="a", name="f")),
            exchange.PartStart(2, exchange.ToolCall(id="b", name="g")),
            exchange.ArgumentsDelta(2, "{}"),
            exchange.TextDelta(0, "t"),
            exchange.ArgumentsDelta(1, "{}"),
            exchange.PartEnd(2),
            exchange.PartEnd(1),
            exchange.PartEnd(0),
            exchange.Finish(reason="tool_calls"),
            exchange.End(),
        ]
    )
    check(frames)
    output = frames[-1]["response"]["output"]  # type: ignore[index]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
    assert [item.get("call_id") for item in output] == [None, "a", "b"]


def test_logprobs_stand_with_their_text() -> None:
    likely = exchange.TokenLogprob(
        token="a",
        logprob=-0.5,
        top=(exchange.TokenLogprob(token="b", logprob=-1.0),),
    )
    choice = exchange.Choice(
        parts=(exchange.Text(text="a"), exchange.ToolCall(id="c", name="f")), finish_reason="stop", logprobs=(likely,)
    )
    output = _whole(exchange.Answer(choices=(choice,)))["output"]
    assert output[0]["content"][0]["logprobs"] == [  # type: ignore[index]
        {
            "token": "a",
            "bytes": [97],
            "logprob": -0.5,
            "top_logprobs": [{"token": "b", "bytes": [98], "logprob": -1.0}],
        }
    ]


# ---- seals


@pytest.mark.parametrize(
    "part",
    [
        exchange.Reasoning(text="Hm.", signature=SIGNED, id="rs_1"),
        exchange.Reasoning(signature=SIGNED, id="rs_1"),
        exchange.Reasoning(encrypted=SIGNED, id="rs_1"),
        exchange.Reasoning(text="Hm.", summary=True, signature=GOOGLES, id="rs_1"),
        exchange.Reasoning(
            text="Hm.",
            summary=True,
            encrypted=exchange.Seal(maker="openai", account="abcdefgh", value="gAAA"),
            id="rs_1",
        ),
        exchange.Reasoning(encrypted=exchange.Seal(maker="other", value="x"), id="rs_1"),
        exchange.Text(text="a", seal=GOOGLES),
        exchange.ToolCall(id="call_1.x", name="f", arguments="{}", seal=GOOGLES, item_id="fc_1"),
        exchange.ToolCall(id="c", name="f", arguments="", custom=True, seal=GOOGLES, item_id="ctc_1"),
    ],
)
def test_seals_come_back_with_the_next_turn(part: exchange.Part) -> None:
    assert _back(_output(part)) == (part,)
    body = sse_of(written(exchange.events_of(answer(part))))
    last = json.loads(body.rstrip().rsplit(b"data: ", 1)[1])
    assert _back(last["response"]["output"]) == (part,)


def test_a_turn_with_all_kinds_of_seals_comes_back_as_it_was() -> None:
    parts = (
        exchange.Reasoning(text="Hm.", signature=SIGNED, id="rs_1"),
        exchange.Text(text="a", seal=GOOGLES),
        exchange.Text(text="b", seal=SIGNED),
        exchange.ToolCall(id="c", name="f", arguments="{}", seal=GOOGLES, item_id="fc_1"),
        exchange.ToolCall(id="d", name="f", arguments="{}", item_id="fc_2"),
        exchange.ToolCall(id="e", name="f", arguments="{}", seal=SIGNED, item_id="fc_3"),
    )
    assert _back(_output(*parts)) == parts


def test_seals_are_stamped() -> None:
    (item,) = _output(exchange.Reasoning(text="Hm.", signature=SIGNED))
    assert item["encrypted_content"] == origin.stamp(SIGNED)


# ---- what others say


def test_hosted_steps_of_its_own_are_written_as_they_are() -> None:
    raw = msgspec.Raw(
        b'{"type":"web_search_call","id":"ws_1",\r\n "status":"completed","action":{"type":"search","query":"a\\n"}}'
    )
    step = exchange.HostedStep(tool="web_search", dialect="openai_responses", value=raw)
    assert _output(step) == [json.loads(bytes(raw))]
    assert _lost(step) == ()


def test_a_search_of_somebody_elses_is_shown() -> None:
    step = exchange.HostedStep(tool="web_search", dialect="other", value=msgspec.Raw(b"{}"), query="cats")
    (item,) = _output(step)
    assert item["action"] == {"type": "search", "query": "cats"}
    assert _lost(step) == ("answer.hosted_step",)


def test_images() -> None:
    part = exchange.Image(source=exchange.Inline("AAAA"), media_type="image/webp")
    (item,) = _output(part)
    assert (item["result"], item["output_format"], item["status"]) == ("AAAA", "webp", "completed")
    assert _back([item]) == (part,)


@pytest.mark.parametrize(
    ("parts", "lost"),
    [
        ((exchange.Audio(source=exchange.Inline("AAAA"), transcript="Hi"),), ("answer.audio",)),
        ((exchange.Image(source=exchange.Url("https://a")),), ("answer.image",)),
        ((exchange.Video(source=exchange.Url("https://a")),), ("answer.foreign",)),
        ((exchange.Text(text="a", citations=(exchange.DocumentCitation(document=1),)),), ("answer.citations",)),
        (
            (exchange.Reasoning(signature=SIGNED, encrypted=SIGNED),),
            ("answer.reasoning_encrypted",),
        ),
    ],
)
def test_what_cannot_be_said_is_named(parts: tuple[exchange.Part, ...], lost: tuple[str, ...]) -> None:
    assert _lost(*parts) == lost
    _whole(answer(*parts))


def test_the_words_of_audio_are_text() -> None:
    (item,) = _output(exchange.Audio(source=exchange.Inline("AAAA"), transcript="Hi"))
    assert item["content"][0]["text"] == "Hi"  # type: ignore[index]


def test_more_than_one_answer_is_one() -> None:
    choices = tuple(
        exchange.Choice(parts=(exchange.Text(text=text),), finish_reason="stop", index=index)
        for index, text in enumerate("ab")
    )
    encoded = INGRESS.encode(exchange.Answer(choices=choices), REQUEST)
    assert [each["content"][0]["text"] for each in json.loads(encoded.body)["output"]] == ["a"]
    assert encoded.lost == ("answer.choices",)


def test_stop_sequences_safety_and_details_are_named() -> None:
    choice = exchange.Choice(parts=(), finish_reason="stop_sequence", stop_sequence="END", safety=msgspec.Raw(b"[]"))
    usage = exchange.Usage(prompt=1, audio_prompt=1)
    lost = INGRESS.encode(exchange.Answer(choices=(choice,), usage=usage), REQUEST).lost
    assert set(lost) == {"answer.stop_sequence", "answer.safety", "answer.usage_details"}


# ---- the response around it


def test_the_table_of_ends_is_total() -> None:
    assert set(envelope.FINISH) == set(get_args(exchange.FinishReason))


@pytest.mark.parametrize("reason", get_args(exchange.FinishReason))
def test_ends(reason: exchange.FinishReason) -> None:
    found = answer(exchange.Text(text="a"), reason=reason)
    value = _whole(found)
    frames = written(exchange.events_of(found))
    assert frames[-1]["type"] == f"response.{value['status']}"
    status, _ = envelope.FINISH[reason] if reason != "refusal" else ("incomplete", "")
    assert value["status"] == status
    assert (value["error"] is not None) is (status == "failed")
    assert (value["incomplete_details"] is not None) is (status == "incomplete")


def test_a_refusal_in_words_is_complete() -> None:
    assert _whole(answer(exchange.Refusal(text="no"), reason="refusal"))["status"] == "completed"


def test_the_request_is_repeated() -> None:
    body = {
        "input": "a",
        "instructions": "Be kind.",
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
        "tool_choice": {"type": "function", "name": "f"},
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "max_output_tokens": 50,
        "truncation": "auto",
        "reasoning": {"effort": "low"},
        "store": True,
    }
    value = _whole(answer(exchange.Text(text="a")), decode(body))
    assert {name: value[name] for name in body if name not in ("input", "store")} == {
        name: each for name, each in body.items() if name not in ("input", "store")
    }
    assert value["store"] is False
    assert (value["top_p"], value["parallel_tool_calls"], value["text"]) == (1.0, True, {"format": {"type": "text"}})


def test_line_ends_of_the_request_do_not_end_an_event() -> None:
    raw = msgspec.Raw(b'[\n {"type":"function",\r\n "name":"f"}\n]')
    request = INGRESS.decode({"input": msgspec.Raw(b'"a"'), "tools": raw}, "m", True, b"")
    assert isinstance(request, exchange.ChatRequest)
    check(written(exchange.events_of(answer(exchange.Text(text="a"))), request))


def test_ids_are_made_of_the_upstreams() -> None:
    for given_id, wanted in (
        ("chatcmpl-1", "resp_chatcmpl-1"),
        ("resp_1", "resp_1"),
        ("a/ü", "resp_a__"),
        ("", "resp_0"),
    ):
        found = exchange.Answer(
            choices=(exchange.Choice(parts=(exchange.Text(text="a"),), finish_reason="stop"),), id=given_id
        )
        value = json.loads(INGRESS.encode(found, REQUEST).body)
        assert value["id"] == wanted
        assert value["output"][0]["id"] == wanted.replace("resp_", "msg_") + "_0"


def test_usage_has_all_that_sdks_want() -> None:
    value = _whole(answer(usage=exchange.Usage(prompt=10, completion=5, cached=4)))
    assert value["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }
    assert _whole(answer())["usage"] is None


def test_only_a_chat_has_a_response() -> None:
    with pytest.raises(errors.GatewayError):
        INGRESS.encode(exchange.TokenCount(prompt=1), REQUEST)


def test_half_characters_are_written_as_something() -> None:
    check(written(exchange.events_of(answer(exchange.Text(text="a\ud800b"), exchange.ToolCall(id="\udfff", name="f")))))


# ---- there and back

_words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_id = st.text("abc123_", min_size=1, max_size=8)
_seal = st.none() | st.sampled_from([SIGNED, GOOGLES])
_part = st.one_of(
    st.builds(lambda text: exchange.Text(text=text), _words),
    st.builds(lambda text: exchange.Refusal(text=text), _words),
    st.builds(lambda text, item: exchange.Reasoning(text=text, summary=True, id=item), _words.filter(bool), _id),
    st.builds(
        lambda call, name, text, item: exchange.ToolCall(id=call, name=name, arguments=text or "{}", item_id=item),
        _id,
        _id,
        _words,
        _id,
    ),
)


def _unsealed(part: exchange.Part) -> exchange.Part:
    """To whom it is an upstream's, what stands for no seal is one."""
    return msgspec.structs.replace(part, encrypted=None) if isinstance(part, exchange.Reasoning) else part


@settings(deadline=None, max_examples=100)
@given(st.lists(_part, max_size=5))
def test_what_is_written_is_read_again(parts: list[exchange.Part]) -> None:
    ids = [part.id for part in parts if isinstance(part, exchange.Reasoning) and part.id]
    ids += [part.item_id for part in parts if isinstance(part, exchange.ToolCall)]
    assume(len(ids) == len(set(ids)))  # items of one answer have ids of their own
    whole = answer(
        *parts, reason="tool_calls" if any(isinstance(part, exchange.ToolCall) for part in parts) else "stop"
    )
    frames = written(exchange.events_of(whole))
    found = exchange.assemble(receive(sse_of(frames)))
    assert [_unsealed(part) for part in found.choices[0].parts] == parts
    output = json.loads(INGRESS.encode(whole, REQUEST).body)["output"]
    assert [part for turn in decode({"input": output}).turns for part in turn.parts] == parts
