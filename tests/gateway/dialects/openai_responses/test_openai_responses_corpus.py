"""Recorded traffic: what providers have really answered, and what clients have really sent."""

import json
from pathlib import Path

import msgspec
import pytest
from openai.types.responses import Response
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from gateway.dialects.openai_responses.responses_support import (
    ASKED,
    INGRESS,
    RECORDINGS,
    REQUEST,
    SHARED,
    TARGET,
    UPSTREAM,
    body_of,
    check,
    check_whole,
    decode,
    receive,
    sse_of,
    written,
)
from trunkline_gateway import errors, exchange

pytestmark = pytest.mark.skipif(not RECORDINGS, reason="the recordings are not here")

ALPHA = "openai.responses.s.571f15cb9dab8e63.json"
"""A format of its own, from before the API was published: no event of it has a type."""

CUT = frozenset({"azure.responses.s.e36d542501927579.json", "openai.responses.s.75b82d3e46457628.json"})
"""Recordings whose deltas and end were edited apart, or of two answers in one."""

NOT_THE_SDKS = frozenset(
    {
        "openai.responses.n.cac5b1158f6cc148.json",  # an item of a kind that was made up
        "openai.responses.s.80e7a46ab1141ee5.json",  # a source of a search that is no URL
        "xai.responses.n.a36d4edf20c7dc33.json",  # a search without an action
        "xai.responses.s.0f20b13aed9df0ac.json",
    }
)
"""Hosted steps, passed on as they came, that the SDK's own models do not take."""

_params = TypeAdapter(ResponseCreateParamsNonStreaming)


def _is_well(recording: Path) -> bool:
    return json.loads(recording.read_text())["response"]["status"] == 200


WELL = [each for each in RECORDINGS if _is_well(each)]
WHOLE = [each for each in WELL if ".n." in each.name and not body_of(each)[1]]
STREAMED = [each for each in WELL if body_of(each)[1] and each.name != ALPHA]


def _shown(response: Response) -> tuple[str, list[tuple[str, str, str]], str]:
    calls = [
        (item.call_id, item.name, item.arguments if item.type == "function_call" else item.input)
        for item in response.output
        if item.type in ("function_call", "custom_tool_call")
    ]
    thoughts = [
        text
        for item in response.output
        if item.type == "reasoning"
        for text in ["\n\n".join(part.text for part in item.summary or item.content or [])]
        if text
    ]
    return response.output_text, calls, "|".join(thoughts)


def _read(answer: exchange.Answer) -> tuple[str, list[tuple[str, str, str]], str]:
    parts = answer.choices[0].parts
    return (
        "".join(part.text for part in parts if isinstance(part, exchange.Text)),
        [(part.id, part.name, part.arguments) for part in parts if isinstance(part, exchange.ToolCall)],
        "|".join(part.text for part in parts if isinstance(part, exchange.Reasoning) and part.text),
    )


def _check_usage(answer: exchange.Answer, response: Response) -> None:
    if response.usage is None:
        assert answer.usage is None
        return
    assert answer.usage is not None
    assert answer.usage.prompt == response.usage.input_tokens
    assert answer.usage.completion == response.usage.output_tokens
    assert answer.usage.total == response.usage.total_tokens


@pytest.mark.parametrize("recording", WHOLE, ids=lambda each: each.stem)
def test_a_whole_answer_is_read_as_the_sdk_reads_it(recording: Path) -> None:
    body, _ = body_of(recording)
    answer = UPSTREAM.decode(body, ASKED)
    assert isinstance(answer, exchange.Answer)
    theirs = Response.construct(**json.loads(body))
    assert _read(answer) == _shown(theirs)
    _check_usage(answer, theirs)
    assert exchange.assemble(exchange.events_of(answer)) == answer


@pytest.mark.parametrize("recording", STREAMED, ids=lambda each: each.stem)
def test_a_stream_is_read_as_the_sdk_reads_its_last_event(recording: Path) -> None:
    body, _ = body_of(recording)
    events = receive(body)
    if isinstance(events[-1], exchange.Failed):
        assert events[-1].status == 429
        return
    answer = exchange.assemble(events)
    last = json.loads([line for line in body.splitlines() if line.startswith(b"data: {")][-1][6:])
    theirs = Response.construct(**last["response"])
    if recording.name not in CUT:
        _check_usage(answer, theirs)
        assert _read(answer) == _shown(theirs)
        whole = UPSTREAM.decode(json.dumps(last["response"]).encode(), ASKED)
        assert isinstance(whole, exchange.Answer)
        assert answer.choices[0].finish_reason == whole.choices[0].finish_reason
        assert [type(part) for part in answer.choices[0].parts] == [type(part) for part in whole.choices[0].parts]


@pytest.mark.parametrize("recording", STREAMED, ids=lambda each: each.stem)
def test_without_its_deltas_a_stream_says_the_same(recording: Path) -> None:
    body, _ = body_of(recording)
    frames = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
    rest = [frame for frame in frames if not frame["type"].endswith(".delta")]
    with_deltas, without = receive(body), receive(sse_of(rest))
    if isinstance(with_deltas[-1], exchange.Failed):
        return
    assert _read(exchange.assemble(without)) == _read(exchange.assemble(with_deltas)) or recording.name in CUT


@pytest.mark.parametrize("recording", WELL, ids=lambda each: each.stem)
def test_what_was_answered_can_be_written_for_a_client(recording: Path) -> None:
    body, streamed = body_of(recording)
    if recording.name == ALPHA:
        with pytest.raises(errors.UpstreamProtocolError):
            receive(body)
        return
    events = receive(body) if streamed else exchange.events_of(UPSTREAM.decode(body, ASKED))  # type: ignore[arg-type]
    if isinstance(events[-1], exchange.Failed):
        return
    answer = exchange.assemble(events)
    frames = written(events)
    whole = INGRESS.encode(answer, REQUEST)
    assert not whole.lost
    if recording.name not in NOT_THE_SDKS:
        check(frames)
        check_whole(whole.body)
    last = frames[-1]["response"]
    assert isinstance(last, dict)
    assert {**last, "service_tier": None} == {**json.loads(whole.body), "service_tier": None}
    again = receive(sse_of(frames))
    assert _read(exchange.assemble(again)) == _read(answer)
    assert exchange.assemble(again).choices[0].finish_reason == answer.choices[0].finish_reason


def test_errors_are_read() -> None:
    for recording in RECORDINGS:
        response = json.loads(recording.read_text())["response"]
        if response["status"] == 200:
            continue
        error = UPSTREAM.read_error(response["status"], json.dumps(response["json"]).encode())
        said = response["json"]["error"]
        assert error.message == (said if isinstance(said, str) else said["message"])
        assert error.status == response["status"]


def _requests() -> list[dict[str, object]]:
    bodies = [(json.loads(each.read_text())["request"] or {}).get("json") for each in RECORDINGS]
    for client in sorted((SHARED / "clients").glob("codex*.json")):
        bodies += [each.get("body_json") for each in json.loads(client.read_text())["requests"]]
    return [each for each in bodies if each]


def test_requests_are_read_and_written_again() -> None:
    served = 0
    for body in _requests():
        stored = [name for name in ("previous_response_id", "conversation", "prompt") if body.get(name)]
        if stored or "input" not in body:
            with pytest.raises(errors.InvalidRequestError):
                decode(body)
            continue
        request = decode(body)
        served += 1
        found = UPSTREAM.encode(request, TARGET)
        wire = json.loads(found.body)
        if "tool_search" not in json.dumps(body) and "sources" not in json.dumps(wire):
            items = [_with_id(each) for each in wire["input"]]
            _params.validate_python({**wire, "input": items, "stream": False})
        again = INGRESS.decode(msgspec.json.decode(found.body, type=dict[str, msgspec.Raw]), "m", False, b"")
        assert [turn.role for turn in again.turns] == [turn.role for turn in request.turns]
        assert len(again.tools) == len(request.tools)
    assert served > 100


def _with_id(item: dict[str, object]) -> dict[str, object]:
    """The SDK wants ids of what has none where nothing is stored; the API does not."""
    if item.get("type") == "reasoning":
        return {"id": "rs_1", **item}
    if item.get("type") == "message" and item["role"] == "assistant":
        return {"id": "msg_1", "status": "completed", **item}
    return item


@pytest.mark.skipif(not (SHARED / "clients" / "codex.tool.json").exists(), reason="the recorded clients are not here")
def test_codex_is_understood() -> None:
    recorded = json.loads((SHARED / "clients" / "codex.tool.json").read_text())["requests"][1]["body_json"]
    request = decode(recorded)
    assert [turn.role for turn in request.turns] == ["developer", "developer", "user", "user", "assistant", "user"]
    grouped = [tool for tool in request.tools if isinstance(tool, exchange.Tool) and tool.namespace]
    assert {tool.namespace for tool in grouped} == {"multi_agent_v1"}
    assert request.unsaid == ("client_metadata",)
    assert request.parameters.reasoning_effort == exchange.ReasoningEffort(summary="auto")
    assert isinstance(request.tools[-1], exchange.HostedTool)
    assert request.tools[-1].kind == "web_search"
    # What was sent is repeated to the client as it was.
    wire = json.loads(INGRESS.encode(exchange.Answer(choices=()), request).body)
    assert wire["tools"] == recorded["tools"]
    assert wire["store"] is False
