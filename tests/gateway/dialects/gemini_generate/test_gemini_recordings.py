"""Recorded answers of Gemini and Vertex: all of them are read, to what Google's own SDK reads, and written again."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from google.genai import types

from trunkline_gateway import exchange, sse
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.gemini_generate import CODEC
from trunkline_gateway.exchange import origin

RECORDINGS = Path(__file__).resolve().parents[4].parent / "shared" / "corpus" / "dev"
NAMES = ("gemini.generate", "gemini.stream_generate", "vertex.generate", "vertex.stream_generate")
FILES = sorted(path for name in NAMES for path in RECORDINGS.glob(f"{name}.*.json"))
CHAT = CODEC.upstream["chat"]
CLIENT = CODEC.ingress["chat"]
ASKED = Asked(target=Target(model="gemini-2.5-flash", account="0123abcd"), seed="s", now=1)

pytestmark = pytest.mark.skipif(not FILES, reason="the recordings are not here")


def recording(path: Path) -> dict:
    return json.loads(path.read_text())


def chunks_of(response: dict) -> list[dict]:
    if "json" in response:
        return response["json"] if isinstance(response["json"], list) else [response["json"]]
    if "events" in response:
        return response["events"]
    lines = [line for block in response["sse"] for line in block.replace("\r", "").split("\n")]
    return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


def framed(response: dict) -> bytes:
    if "sse" in response:
        return "".join(response["sse"]).encode()
    return b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in chunks_of(response))


def streamed(body: bytes, size: int = 0) -> list[exchange.Event]:
    decoder, splitter = CHAT.stream_decoder(ASKED), sse.EventSplitter()
    events: list[exchange.Event] = []
    for piece in [body[at : at + size] for at in range(0, len(body), size)] if size else [body]:
        for frame in splitter.receive_data(piece):
            events += decoder.receive(frame)
    return [*events, *decoder.receive_eof()]


def sdk_text(chunks: Sequence[dict], *, thought: bool) -> str:
    parts = [part for part in sdk_parts(chunks) if bool(part.thought) is thought]
    return "".join(part.text or "" for part in parts)


def sdk_parts(chunks: Sequence[dict]) -> list[types.Part]:
    contents = [candidate.get("content") for chunk in chunks for candidate in chunk.get("candidates", [])]
    found = [part for content in contents if content for part in content.get("parts") or []]
    return [types.Part.model_validate(part) for part in found]


def requests() -> list[Path]:
    """All but one that Google refuses for its role, as the codec does."""
    asked = [path for path in FILES if (recording(path)["request"] or {}).get("json")]
    return [path for path in asked if "invalid_role" not in path.read_text()]


def good() -> list[Path]:
    return [path for path in FILES if recording(path)["response"]["status"] < 400]


@pytest.mark.parametrize("path", good(), ids=lambda path: path.stem)
def test_a_recorded_answer_is_read_as_the_sdk_reads_it(path):
    response = recording(path)["response"]
    chunks = chunks_of(response)
    events = streamed(framed(response))
    if any(isinstance(event, exchange.End) for event in events):
        answer = exchange.assemble(events)
        if "json" in response:
            assert CHAT.decode(json.dumps(response["json"]).encode(), ASKED) == answer, "whole is streamed"
    else:
        # It never says why it ended: whole it is an answer, streamed it would have been cut.
        assert not any(each.get("finishReason") for chunk in chunks for each in chunk.get("candidates", []))
        answer = CHAT.decode(json.dumps(response["json"]).encode(), ASKED)
    (choice,) = answer.choices
    text = "".join(part.text for part in choice.parts if isinstance(part, exchange.Text))
    thoughts = "".join(part.text for part in choice.parts if isinstance(part, exchange.Reasoning))
    assert text == sdk_text(chunks, thought=False)
    assert thoughts == sdk_text(chunks, thought=True)
    calls = [part for part in choice.parts if isinstance(part, exchange.ToolCall)]
    wanted = [part.function_call for part in sdk_parts(chunks) if part.function_call and part.function_call.name]
    assert [call.name for call in calls] == [each.name for each in wanted]
    for call, each in zip(calls, wanted, strict=True):
        if each.will_continue is None:
            assert json.loads(call.arguments) == (each.args or {})
        assert call.id == (each.id or call.id)
    signatures = [part for part in sdk_parts(chunks) if part.thought_signature]
    sealed = [part for part in choice.parts if getattr(part, "seal", None) or getattr(part, "signature", None)]
    hosted = [part for part in choice.parts if isinstance(part, exchange.HostedStep) and b"VEwx" in bytes(part.value)]
    assert len(signatures) == len(sealed) + len(hosted)
    counts = [chunk["usageMetadata"] for chunk in chunks if "totalTokenCount" in chunk.get("usageMetadata", {})]
    if counts and answer.usage.total is not None:
        last = counts[-1]
        assert answer.usage.total == last["totalTokenCount"]
        assert answer.usage.cached == last.get("cachedContentTokenCount")
        assert answer.usage.reasoning == last.get("thoughtsTokenCount")
        assert (answer.usage.completion or 0) == (last.get("candidatesTokenCount") or 0) + (
            last.get("thoughtsTokenCount") or 0
        )
        assert answer.usage.prompt == (last.get("promptTokenCount") or 0) + (last.get("toolUsePromptTokenCount") or 0)
    assert answer.model == chunks[0]["modelVersion"] if "modelVersion" in chunks[0] else True


@pytest.mark.parametrize("path", good(), ids=lambda path: path.stem)
def test_a_recorded_answer_is_the_same_however_it_is_cut(path):
    body = framed(recording(path)["response"])
    assert streamed(body, 7) == streamed(body) if len(body) < 20_000 else streamed(body, 997) == streamed(body)


@pytest.mark.parametrize("path", good(), ids=lambda path: path.stem)
def test_what_a_client_gets_of_it_is_valid_for_the_sdk(path):
    response = recording(path)["response"]
    events = streamed(framed(response))
    if "json" in response:
        answer = CHAT.decode(json.dumps(response["json"]).encode(), ASKED)
        events = exchange.events_of(answer)
    answer = exchange.assemble(events)
    request = exchange.ChatRequest(model="m", turns=())
    encoded = CLIENT.encode(answer, request)
    assert encoded.lost == ()
    assert_valid(json.loads(encoded.body))
    encoder = CLIENT.stream_encoder(request)
    body = b"".join(encoder.encode([event]) for event in events)
    assert encoder.lost == ()
    chunks = [json.loads(frame.data) for frame in sse.EventSplitter().receive_data(body)]
    for chunk in chunks:
        assert_valid(chunk)
    assert chunks[-1]["candidates"][0]["finishReason"]
    # And it is the same answer when it is read once more; its seals are stamped by then.
    again = exchange.assemble(streamed(body))
    assert all_of(again) == all_of(answer)
    assert again.choices[0].finish_reason == answer.choices[0].finish_reason
    if answer.usage is not None and answer.usage.prompt is not None and answer.usage.total is not None:
        assert (again.usage.prompt, again.usage.completion, again.usage.total) == (
            answer.usage.prompt,
            answer.usage.completion or 0 if again.usage.completion == 0 else answer.usage.completion,
            answer.usage.total,
        )


def all_of(answer: exchange.Answer) -> list[object]:
    """Its parts; what stands beside the content last and in some order. Without metadata it is made of citations."""
    made = [comparable(part) for part in answer.choices[0].parts if not isinstance(part, exchange.Foreign)]
    beside = {
        part.kind: json.loads(bytes(part.value))
        for part in answer.choices[0].parts
        if isinstance(part, exchange.Foreign)
    }
    return [*made, {name: value for name, value in beside.items() if name != "groundingMetadata"}]


UNSEALED = origin.stamp(origin.UNSEALED)


def comparable(part: exchange.Part) -> object:
    match part:
        case exchange.Text():
            return part.text, len(part.citations)
        case exchange.Reasoning():
            return part.text, part.signature is not None
        case exchange.ToolCall():
            return part.id, part.name, json.loads(part.arguments), part.seal is not None and part.seal.value != UNSEALED
        case exchange.HostedStep():
            return part.tool, part.query, part.id
        case _:
            return part


def assert_valid(body: dict) -> None:
    types.GenerateContentResponse.model_validate(body)


@pytest.mark.parametrize(
    "path", [path for path in FILES if recording(path)["response"]["status"] >= 400], ids=lambda path: path.stem
)
def test_a_recorded_error_is_read(path):
    response = recording(path)["response"]
    body = json.dumps(response["json"]) if "json" in response else response["text"]
    said = CHAT.read_error(response["status"], body.encode())
    assert said.message
    assert not said.message.startswith("{")
    assert said.status in (response["status"], 401)
    assert said.type in ("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED")
    if "API key not valid" in said.message:
        assert (said.status, said.code) == (401, "API_KEY_INVALID")


@pytest.mark.parametrize("path", requests(), ids=lambda path: path.stem)
def test_a_recorded_request_is_read_and_written_again(path):
    record = recording(path)
    fields = msgspec.json.decode(json.dumps(record["request"]["json"]).encode(), type=dict[str, msgspec.Raw])
    model = (record["path"] or "/models/gemini-3-pro:").split("/models/")[-1].split(":")[0]
    request = CLIENT.decode(fields, model, False, b"")
    target = Target(model=model, account="0123abcd")
    encoded = CHAT.encode(request, target)
    assert encoded.lost == ()
    body = json.loads(encoded.body)
    for content in body["contents"]:
        types.Content.model_validate(content)
    for tool in body.get("tools", []):
        types.Tool.model_validate(tool)
    types.ToolConfig.model_validate(body.get("toolConfig", {}))
    types.GenerationConfig.model_validate(body.get("generationConfig", {}))
    again = CLIENT.decode(msgspec.json.decode(encoded.body, type=dict[str, msgspec.Raw]), model, False, b"")
    assert json.loads(CHAT.encode(again, target).body) == body, "what it writes it reads"


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("[gv]e*.count_tokens.*.json")), ids=lambda path: path.stem)
def test_a_recorded_count_is_read(path):
    record = recording(path)
    fields = msgspec.json.decode(json.dumps(record["request"]["json"]).encode(), type=dict[str, msgspec.Raw])
    request = CODEC.ingress["count_tokens"].decode(fields, "m", False, b"")
    assert isinstance(request, exchange.ChatRequest)
    if record["response"]["status"] == 200:
        count = CODEC.upstream["count_tokens"].decode(json.dumps(record["response"]["json"]).encode(), ASKED)
        assert count.prompt == record["response"]["json"]["totalTokens"]
