"""Translating takes time in proportion to what is translated, between any two dialects: four times as much, four times.

What is compared is CPU time, which other programs hardly change, and the bound lies between linear (4) and quadratic
(16). A measurement that is over it is repeated: a slow moment passes, a quadratic one does not.
"""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from trunkline_gateway import aws, envelope, exchange, registry
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.exchange import Inline, Text, Tool, ToolCall, ToolResult, Turn
from trunkline_gateway.translation import Translated

CLIENTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
UPSTREAMS = (*CLIENTS, "bedrock_converse")
PAIRS = [(client, upstream) for client in CLIENTS for upstream in UPSTREAMS]
# Every decoder and every encoder, each with another one, for what takes a while.
SOME = [
    ("openai_chat", "openai_responses"),
    ("openai_responses", "anthropic_messages"),
    ("anthropic_messages", "openai_chat"),
    ("gemini_generate", "bedrock_converse"),
    ("anthropic_messages", "gemini_generate"),
]
INGRESS = {name: registry.INGRESS[name, "chat"] for name in CLIENTS}
UPSTREAM = {name: registry.UPSTREAM[name, "chat"] for name in UPSTREAMS}
TARGET = Target(model="m")

BOUND = 8
TRIES = 4


def assert_linear(work: Callable[[int], Callable[[], object]], n: int) -> None:
    """The work on four times ``n`` takes about four times as long as that on ``n``; making the work does not count."""
    small, large = work(n), work(4 * n)
    small()  # what is made once is made now
    ratio = 0.0
    for _ in range(TRIES):
        ratio = spent(large) / min(spent(small), spent(small))
        if ratio < BOUND:
            return
    pytest.fail(f"four times as much takes {ratio:.1f} times as long")


def spent(work: Callable[[], object]) -> float:
    begun = time.process_time_ns()
    work()
    return max(time.process_time_ns() - begun, 1)


# ---- requests --------------------------------------------------------------------------------------------------------


def chat(*turns: Turn, tools: tuple[Tool | exchange.HostedTool, ...] = ()) -> exchange.ChatRequest:
    return exchange.ChatRequest(model="m", turns=turns, tools=tools, parameters=exchange.Parameters(max_tokens=100))


def user(*parts: exchange.Part) -> Turn:
    return Turn(role="user", parts=parts)


def assistant(*parts: exchange.Part) -> Turn:
    return Turn(role="assistant", parts=parts)


def with_tools(count: int) -> exchange.ChatRequest:
    schema = b'{"type":"object","properties":{"place":{"type":"string","description":"Where"}},"required":["place"]}'
    return chat(
        user(Text(text="Hi")),
        tools=tuple(
            Tool(name=f"tool_{n}", description="Does what it says.", parameters=exchange.Json(schema))
            for n in range(count)
        ),
    )


def with_image(megabytes: int) -> exchange.ChatRequest:
    data = "iVBORw0KGgoA" + "QUJD" * (megabytes << 18)
    return chat(user(Text(text="What is it?"), exchange.Image(source=Inline(data), media_type="image/png")))


def with_turns(count: int) -> exchange.ChatRequest:
    """A conversation with calls of tools, whose results have to be told which one they belong to."""
    turns: list[Turn] = []
    for n in range(count // 4):
        call = ToolCall(id=f"call_{n}", name=f"tool_{n % 7}", arguments='{"place":"Rome"}')
        turns += [
            user(Text(text="And there?")),
            assistant(call),
            user(ToolResult(call_id=call.id, content=(Text(text="Sunny."),))),
            assistant(Text(text="It is sunny.")),
        ]
    return chat(*turns, user(Text(text="Thanks.")), tools=with_tools(7).tools)


def translating(client: str, upstream: str, request: exchange.ChatRequest) -> Callable[[], None]:
    """From the client's bytes to the upstream's. What a provider of the dialect would get is what a client sends."""
    sent = UPSTREAM[client].encode(request, TARGET).body
    side, is_in_path = INGRESS[client], client == "gemini_generate"

    def run() -> None:
        read = envelope.parse(
            sent,
            "chat",
            client,
            side.read_envelope,
            model="m" if is_in_path else "",
            stream=False if is_in_path else None,
        )
        neutral = side.decode(read.fields, read.model, read.stream, read.query)
        assert isinstance(neutral, exchange.ChatRequest)
        assert len(neutral.tools) == len(request.tools)
        written = UPSTREAM[upstream].encode(neutral, TARGET).body
        assert len(written) > len(sent) / 4

    return run


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_request_with_a_thousand_tools(client: str, upstream: str) -> None:
    assert_linear(lambda count: translating(client, upstream, with_tools(count)), 250)


@pytest.mark.parametrize(("client", "upstream"), SOME)
def test_a_request_with_twenty_megabytes_of_images(client: str, upstream: str) -> None:
    assert_linear(lambda megabytes: translating(client, upstream, with_image(megabytes)), 5)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_request_with_four_thousand_turns(client: str, upstream: str) -> None:
    assert_linear(lambda count: translating(client, upstream, with_turns(count)), 1000)


# ---- answers ---------------------------------------------------------------------------------------------------------


def arguments(length: int) -> str:
    return json.dumps({"text": "x" * (length - 12)})


def call_events(length: int) -> Iterator[exchange.Event]:
    """A call whose arguments come character by character."""
    yield exchange.Start(id="a", model="m", created=1)
    yield exchange.PartStart(0, ToolCall(id="call_1", name="write"))
    for character in arguments(length):
        yield exchange.ArgumentsDelta(0, character)
    yield exchange.PartEnd(0)
    yield exchange.UsageReport(exchange.Usage(prompt=1, completion=length))
    yield exchange.Finish(reason="tool_calls")
    yield exchange.End()


def text_events(length: int) -> Iterator[exchange.Event]:
    yield exchange.Start(id="a", model="m", created=1)
    yield exchange.PartStart(0, exchange.Reasoning())
    for _ in range(length // 2):
        yield exchange.ReasoningDelta(0, "x")
    yield exchange.PartEnd(0)
    yield exchange.PartStart(1, Text(text=""))
    for _ in range(length // 2):
        yield exchange.TextDelta(1, "x")
    yield exchange.PartEnd(1)
    yield exchange.UsageReport(exchange.Usage(prompt=1, completion=length))
    yield exchange.Finish(reason="stop")
    yield exchange.End()


def asking(client: str) -> exchange.ChatRequest:
    sent = UPSTREAM[client].encode(chat(user(Text(text="Hi"))), TARGET).body
    side = INGRESS[client]
    read = envelope.parse(sent, "chat", client, side.read_envelope, model="m", stream=True)
    neutral = side.decode(read.fields, "m", True, b"alt=sse")
    assert isinstance(neutral, exchange.ChatRequest)
    return neutral


def sent_by(upstream: str, events: Iterator[exchange.Event]) -> list[bytes]:
    """A stream of the upstream, in the pieces in which it comes."""
    if upstream == "bedrock_converse":
        return [message for event in events for message in bedrock(event)]
    make = INGRESS[upstream].stream_encoder
    assert make is not None
    encoder = make(asking(upstream))
    return [written for event in events if (written := encoder.encode([event]))]


def bedrock(event: exchange.Event) -> Iterator[bytes]:
    match event:
        case exchange.Start():
            yield message("messageStart", {"role": "assistant"})
        case exchange.PartStart(part=ToolCall() as call):
            start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
            yield message("contentBlockStart", {"contentBlockIndex": event.index, "start": start})
        case exchange.ArgumentsDelta():
            delta: object = {"toolUse": {"input": event.text}}
            yield message("contentBlockDelta", {"contentBlockIndex": event.index, "delta": delta})
        case exchange.TextDelta():
            yield message("contentBlockDelta", {"contentBlockIndex": event.index, "delta": {"text": event.text}})
        case exchange.ReasoningDelta():
            delta = {"reasoningContent": {"text": event.text}}
            yield message("contentBlockDelta", {"contentBlockIndex": event.index, "delta": delta})
        case exchange.PartEnd():
            yield message("contentBlockStop", {"contentBlockIndex": event.index})
        case exchange.Finish():
            yield message("messageStop", {"stopReason": "tool_use" if event.reason == "tool_calls" else "end_turn"})
        case exchange.UsageReport():
            usage = {"inputTokens": 1, "outputTokens": event.usage.completion, "totalTokens": 2}
            yield message("metadata", {"usage": usage})


def message(kind: str, payload: object) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return aws.encode(headers, json.dumps(payload).encode())


def streaming(client: str, upstream: str, events: Iterator[exchange.Event]) -> Callable[[], None]:
    pieces, neutral = sent_by(upstream, events), asking(client)
    decoder, encoder = UPSTREAM[upstream].stream_decoder, INGRESS[client].stream_encoder
    assert decoder is not None
    assert encoder is not None

    def run() -> None:
        asked = Asked(target=TARGET, request=neutral, stream=True, seed="s")
        answer = Translated(
            UPSTREAM[upstream], decoder(asked), INGRESS[client], encoder(neutral), scrub=lambda text: text
        )
        written = sum(len(answer.receive_data(piece)) for piece in pieces) + len(answer.receive_eof())
        assert answer.done
        assert written > 1000

    return run


@pytest.mark.parametrize(("client", "upstream"), SOME)
def test_a_stream_with_64_kb_of_arguments_character_by_character(client: str, upstream: str) -> None:
    assert_linear(lambda length: streaming(client, upstream, call_events(length)), 16 << 10)


@pytest.mark.parametrize(("client", "upstream"), SOME)
def test_a_stream_of_many_small_deltas(client: str, upstream: str) -> None:
    assert_linear(lambda length: streaming(client, upstream, text_events(length)), 4 << 10)


@pytest.mark.parametrize(("client", "upstream"), [(client, client) for client in CLIENTS])
def test_a_whole_answer_with_megabytes_of_arguments(client: str, upstream: str) -> None:
    neutral = asking(client)

    def work(length: int) -> Callable[[], None]:
        call = ToolCall(id="call_1", name="write", arguments=arguments(length))
        answer = exchange.Answer(choices=(exchange.Choice(parts=(call,), finish_reason="tool_calls"),), id="a")
        body = INGRESS[upstream].encode(answer, neutral).body

        def run() -> None:
            read = UPSTREAM[upstream].decode(body, Asked(target=TARGET, request=neutral, seed="s"))
            assert len(INGRESS[client].encode(read, neutral).body) > length

        return run

    assert_linear(work, 1 << 20)
