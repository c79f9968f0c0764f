"""Streams to clients: sound blocks, however the parts come."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import exchange
from trunkline_gateway.exchange import (
    Answer,
    ArgumentsDelta,
    Choice,
    CitationDelta,
    End,
    Event,
    Finish,
    PartEnd,
    PartStart,
    Progress,
    Reasoning,
    ReasoningDelta,
    Seal,
    SealDelta,
    Start,
    Text,
    TextDelta,
    ToolCall,
    UrlCitation,
    Usage,
    UsageReport,
    losses,
)


def _answer(*parts: exchange.Part, reason: exchange.FinishReason = "stop", **fields: object) -> Answer:
    choice = Choice(parts=parts, finish_reason=reason)
    return Answer(choices=(choice,), id="msg_1", model="claude", **fields)  # type: ignore[arg-type]


def _both(answer: Answer) -> tuple[dict[str, object], set[str]]:
    """What the official SDK makes of it, whole and streamed, which is the same; and what is lost."""
    whole = wire.CHAT_IN.encode(answer, wire.chat())
    streamed, lost = wire.write(exchange.events_of(answer))
    said = wire.message(whole.body)
    assert wire.accumulated(streamed) == said
    assert set(lost) == set(whole.lost) <= set(losses.FEATURES)
    assert wire.write(exchange.events_of(answer), pieces=1000)[0] == streamed
    return said, set(lost)


def test_calls_that_come_interleaved_stay_apart() -> None:
    events: list[Event] = [
        Start(id="i"),
        PartStart(0, Text(text="")),
        TextDelta(0, "let me"),
        PartStart(1, ToolCall(id="a", name="f")),
        PartStart(2, ToolCall(id="b", name="g")),
        ArgumentsDelta(1, '{"x":'),
        ArgumentsDelta(2, '{"y":'),
        ArgumentsDelta(1, "1}"),
        ArgumentsDelta(2, "2}"),
        TextDelta(0, " see"),
        PartEnd(2),
        PartEnd(1),
        PartEnd(0),
        Finish(reason="tool_calls"),
        End(),
    ]
    stream, lost = wire.write(events)
    wire.check_blocks(wire.payloads(stream))
    said = wire.accumulated(stream)
    assert wire.plain(said["content"]) == [
        {"type": "text", "text": "let me"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"y": 2}},
        {"type": "text", "text": " see"},
    ]
    assert lost == ()


def test_thoughts_that_are_interrupted_go_on_in_a_new_block() -> None:
    events: list[Event] = [
        PartStart(0, Reasoning()),
        ReasoningDelta(0, "hm"),
        PartStart(1, Text(text="")),
        TextDelta(1, "a"),
        SealDelta(0, Seal(maker="anthropic", value="EqQ")),
        PartEnd(0),
        CitationDelta(1, UrlCitation(url="https://u", title="t")),
        PartEnd(1),
        Finish(reason="stop"),
        End(),
    ]
    stream, _ = wire.write(events)
    wire.check_blocks(wire.payloads(stream))
    blocks = wire.accumulated(stream)["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text", "thinking", "text"]  # type: ignore[attr-defined]
    assert all(block["signature"] for block in blocks if block["type"] == "thinking")  # type: ignore[attr-defined]


def test_input_tokens_are_said_at_the_start_and_all_of_them_at_the_end() -> None:
    events: list[Event] = [
        Start(id="i", usage=Usage(prompt=10, cached=4)),
        UsageReport(Usage(prompt=10, cached=4, completion=5)),
        Finish(reason="stop"),
        End(),
    ]
    said = wire.payloads(wire.write(events)[0])
    assert said[0]["message"]["usage"] == {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 0}  # type: ignore[index]
    assert said[1]["usage"] == {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 5}


def test_a_sign_of_life_is_a_ping_once_the_message_has_begun() -> None:
    assert wire.write([Progress()])[0] == b""
    assert wire.write([Start(), Progress()])[0].endswith(wire.CHAT_IN.keep_alive)
    assert wire.CHAT_IN.keep_alive == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_nothing_is_said_after_the_end() -> None:
    stream, _ = wire.write([Start(), Finish(reason="stop"), End(), End()])
    assert stream.count(b"message_stop") == 2  # the name and the type of one event


_CHUNKS = st.text(min_size=1, max_size=6)
_SCRIPT = st.lists(st.tuples(st.integers(0, 3), _CHUNKS), max_size=12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["text", "reasoning", "call"]), min_size=1, max_size=4), _SCRIPT)
def test_however_parts_come_the_blocks_are_sound_and_nothing_is_lost(
    kinds: list[str], script: list[tuple[int, str]]
) -> None:
    events: list[Event] = [Start(id="i", model="m")]
    begun: list[str] = []
    wrote: dict[int, str] = {}
    for index, text in [*script, *((index, "z") for index in range(len(kinds)))]:
        if index >= len(kinds):
            continue
        while index >= len(begun):
            kind = kinds[len(begun)]
            part: exchange.Part = Text(text="") if kind == "text" else Reasoning()
            events.append(PartStart(len(begun), ToolCall(id=f"c{len(begun)}", name="f") if kind == "call" else part))
            begun.append(kind)
        wrote[index] = wrote.get(index, "") + text
        match kinds[index]:
            case "text":
                events.append(TextDelta(index, text))
            case "reasoning":
                events.append(ReasoningDelta(index, text))
            case _:
                events.append(ArgumentsDelta(index, text))
    events += [*(PartEnd(index) for index in range(len(begun))), Finish(reason="stop"), End()]
    stream, _ = wire.write(events)
    wire.check_blocks(wire.payloads(stream))
    again = exchange.assemble(wire.read(stream)).choices[0].parts
    for kind, of in (("text", Text), ("reasoning", Reasoning)):
        said = "".join(part.text for part in again if isinstance(part, of))
        assert sorted(said) == sorted("".join(text for index, text in wrote.items() if kinds[index] == kind))
