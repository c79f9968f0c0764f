"""Every recording of the dialect: it decodes, and to what the provider's own SDK reads from it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.openai_chat import CODEC, read_error, vocabulary
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.sse import EventSplitter

ROOT = Path(__file__).parents[4]
CORPUS = ROOT.parent / "shared" / "corpus" / "dev"
RECORDINGS = sorted(CORPUS.glob("*.chat.*.json"))
UPSTREAM = CODEC.upstream["chat"]
INGRESS = CODEC.ingress["chat"]
ASKED = Asked(target=Target(model="m"), seed="seed", now=1700000000)
REQUEST = exchange.ChatRequest(model="m", turns=(), stream=True)

pytestmark = pytest.mark.skipif(not RECORDINGS, reason="the recordings are not here")


def response(path: Path) -> Mapping[str, object]:
    return json.loads(path.read_bytes())["response"]


def is_streamed(path: Path) -> bool:
    given = response(path)
    return bool(given.get("sse") or given.get("events"))


STREAMED = [path for path in RECORDINGS if is_streamed(path)]
ANSWERED = [path for path in RECORDINGS if path not in STREAMED and response(path).get("json") is not None]
WHOLE = [path for path in ANSWERED if response(path)["status"] == 200 and response(path)["json"].get("choices")]
REFUSED = [path for path in ANSWERED if path not in WHOLE]


def stream_bytes(path: Path) -> bytes:
    given = response(path)
    if given.get("sse"):
        return "".join(given["sse"]).encode()
    return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in given["events"]) + b"data: [DONE]\n\n"


def decoded(pieces: Sequence[bytes]) -> list[exchange.Event]:
    splitter, decoder = EventSplitter(), UPSTREAM.stream_decoder(ASKED)
    frames = [frame for piece in pieces for frame in splitter.receive_data(piece)]
    rest = splitter.receive_eof()
    events = [event for frame in [*frames, *([rest] if rest else [])] for event in decoder.receive(frame)]
    return [*events, *decoder.receive_eof()]


def chunks_of(data: bytes) -> Iterator[Mapping[str, object]]:
    for frame in EventSplitter().receive_data(data):
        if frame.data and frame.data != b"[DONE]":
            yield json.loads(frame.data)


def text_of(parts: Sequence[exchange.Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, exchange.Text))


def reasoning_of(parts: Sequence[exchange.Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, exchange.Reasoning))


def calls_of(parts: Sequence[exchange.Part]) -> list[tuple[str, str]]:
    return [(part.name, part.arguments) for part in parts if isinstance(part, exchange.ToolCall)]


def check_usage(usage: exchange.Usage | None, wire: Mapping[str, object] | None) -> None:
    if not wire:
        return
    assert usage is not None
    prompt, completion, total = (wire.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    details = wire.get("completion_tokens_details") or {}
    reasoning = details.get("reasoning_tokens", wire.get("reasoning_tokens"))
    beside = reasoning if reasoning and total == prompt + completion + reasoning else 0
    assert (usage.prompt, usage.completion, usage.total) == (prompt, completion + beside, total)
    assert usage.reasoning == reasoning


def summed_up(choice: exchange.Choice) -> object:
    """A whole answer does not tell in which order thoughts and text came."""
    thoughts = [part for part in choice.parts if isinstance(part, exchange.Reasoning)]
    others = [part for part in choice.parts if not isinstance(part, exchange.Reasoning | exchange.Text)]
    return (
        text_of(choice.parts),
        [citation for part in choice.parts if isinstance(part, exchange.Text) for citation in part.citations],
        "".join(part.text for part in thoughts),
        [(part.signature, part.encrypted) for part in thoughts if part.signature or part.encrypted],
        others,
        msgspec.structs.replace(choice, parts=()),
    )


def content_of(content: object) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_a_whole_answer_is_what_the_sdk_reads(path: Path) -> None:
    wire = response(path)["json"]
    answer = UPSTREAM.decode(json.dumps(wire).encode(), ASKED)
    assert (answer.id, answer.model) == (wire.get("id") or "", wire.get("model") or "")
    check_usage(answer.usage, wire.get("usage"))
    for choice, given in zip(answer.choices, wire["choices"], strict=True):
        message = given.get("message") or {}
        assert text_of(choice.parts) == content_of(message.get("content"))
        assert reasoning_of(choice.parts) == reasoning_in(message)
        expected = [
            (each["function"]["name"], each["function"]["arguments"])
            if "function" in each
            else (each["custom"]["name"], each["custom"]["input"])
            for each in message.get("tool_calls") or ()
        ]
        if (message.get("function_call") or {}).get("name"):
            expected.append((message["function_call"]["name"], message["function_call"]["arguments"]))
        assert calls_of(choice.parts) == expected
        assert choice.finish_reason == vocabulary.finish_of(given.get("finish_reason"), bool(expected))


def reasoning_in(message: Mapping[str, object]) -> str:
    """As text beside the content, or as Mistral's parts of it."""
    content = message.get("content")
    inside = ""
    if isinstance(content, list):
        thoughts = [part["thinking"] for part in content if part.get("thinking")]
        inside = "".join(each if isinstance(each, str) else "".join(one["text"] for one in each) for each in thoughts)
    details = message.get("reasoning_details") or []
    detailed = "".join(each.get("text") or each.get("summary") or "" for each in details)
    return detailed or message.get("reasoning_content") or message.get("reasoning") or inside


@pytest.mark.parametrize("path", STREAMED, ids=lambda path: path.stem)
def test_a_stream_is_what_the_sdk_reads(path: Path) -> None:
    data = stream_bytes(path)
    events = decoded([data])
    if isinstance(events[-1], exchange.Failed):
        assert "error" in path.read_text()
        return
    answer = exchange.assemble(events)
    texts: dict[int, str] = {}
    thoughts: dict[int, str] = {}
    finished: dict[int, str] = {}
    usage = None
    for chunk in chunks_of(data):
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or usage
        for choice in chunk.get("choices") or ():
            number = choice.get("index") or 0
            delta = choice.get("delta") or choice.get("message") or {}
            if number not in finished:
                texts[number] = texts.get(number, "") + content_of(delta.get("content"))
                thoughts[number] = thoughts.get(number, "") + reasoning_in(delta)
            if choice.get("finish_reason"):
                finished.setdefault(number, choice["finish_reason"])
    check_usage(answer.usage, usage)
    assert {choice.index: text_of(choice.parts) for choice in answer.choices} == texts
    assert {choice.index: reasoning_of(choice.parts) for choice in answer.choices} == thoughts
    for choice in answer.choices:
        calls = calls_of(choice.parts)
        assert choice.finish_reason == vocabulary.finish_of(finished.get(choice.index), bool(calls))
        for _, arguments in calls:
            json.loads(arguments or "{}")


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_an_error_is_read(path: Path) -> None:
    given = response(path)
    body = json.dumps(given["json"]).encode()
    error = read_error.read(given["status"], body)
    assert 400 <= error.status <= 599
    assert error.message
    assert not error.message.startswith("The upstream answered")
    if given["status"] == 200:
        with pytest.raises(UpstreamProtocolError):
            UPSTREAM.decode(body, ASKED)


@pytest.mark.parametrize("path", STREAMED[::5], ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_stream_is_the_same_however_it_is_cut(path: Path, size: int) -> None:
    data = stream_bytes(path)[: 40_000 if size == 1 else None]
    pieces = [data[place : place + size] for place in range(0, len(data), size)]
    assert decoded(pieces) == decoded([data])


@pytest.mark.parametrize("path", [*WHOLE, *STREAMED], ids=lambda path: path.stem)
def test_what_is_written_of_it_is_valid_and_says_the_same(path: Path) -> None:
    if path in WHOLE:
        answer = UPSTREAM.decode(json.dumps(response(path)["json"]).encode(), ASKED)
    else:
        events = decoded([stream_bytes(path)])
        if isinstance(events[-1], exchange.Failed):
            return
        answer = exchange.assemble(events)
    body = INGRESS.encode(answer, REQUEST).body
    ChatCompletion.model_validate_json(body, strict=True)
    again = UPSTREAM.decode(body, ASKED)
    encoder = INGRESS.stream_encoder(REQUEST)
    streamed = encoder.encode(exchange.events_of(answer))
    for chunk in chunks_of(streamed):
        if b'"custom"' not in streamed:  # the SDK's model of a chunk does not know them
            ChatCompletionChunk.model_validate(chunk, strict=True)
    assert streamed.endswith(b"data: [DONE]\n\n")
    from_stream = exchange.assemble(decoded([streamed]))
    for one, other, first in zip(again.choices, from_stream.choices, answer.choices, strict=True):
        assert summed_up(one) == summed_up(other)
        assert text_of(one.parts) == text_of(first.parts)
        assert reasoning_of(one.parts) == reasoning_of(first.parts)
        assert [name for name, _ in calls_of(one.parts)] == [name for name, _ in calls_of(first.parts)]
    assert again.usage == from_stream.usage
