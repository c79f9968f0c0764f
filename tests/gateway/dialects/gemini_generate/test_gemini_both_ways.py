"""What Gemini can say is the same after it was written for it and read again."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.gemini_generate import CODEC

TARGET = Target(model="gemini-3-flash-preview", account="01234567")
SEAL = exchange.Seal(maker="google", value="c2ln")
WORDS = st.text(min_size=1, max_size=5)
SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"a":{"type":"string"}}}')
IMAGE = exchange.Image(source=exchange.Inline("AAAA"), media_type="image/png", detail="high")

ASKED = st.lists(
    st.builds(lambda text: exchange.Text(text=text), WORDS)
    | st.just(IMAGE)
    | st.just(exchange.Audio(source=exchange.Inline("AAAA"), media_type="audio/wav"))
    | st.just(exchange.Video(source=exchange.Url("gs://b/v"), media_type="video/mp4"))
    | st.just(exchange.Document(source=exchange.Url("https://e/a"), media_type="application/pdf")),
    min_size=1,
    max_size=3,
)
SAID = st.tuples(
    st.just(exchange.Reasoning(text="t", summary=True, signature=SEAL))
    | st.just(exchange.Reasoning(text="t", summary=True)),
    st.builds(lambda text: exchange.Text(text=text, seal=SEAL), WORDS)
    | st.builds(lambda text: exchange.Text(text=text), WORDS),
    st.builds(
        lambda name: exchange.ToolCall(id="c1", name=name, arguments='{"a":1.50}', seal=SEAL), st.sampled_from("fg")
    ),
)
RESULT = st.builds(
    lambda text: exchange.ToolResult(call_id="c1", content=(exchange.Text(text=text), IMAGE)), WORDS
) | st.builds(lambda text: exchange.ToolResult(call_id="c1", content=(exchange.Text(text=text),), is_error=True), WORDS)
TURNS = st.builds(
    lambda system, asked, said, result: (
        exchange.Turn(role="system", parts=(exchange.Text(text=system),)),
        exchange.Turn(role="user", parts=tuple(asked)),
        exchange.Turn(role="assistant", parts=said),
        exchange.Turn(role="user", parts=(result,)),
    ),
    WORDS,
    ASKED,
    SAID,
    RESULT,
)
PARAMETERS = st.builds(
    exchange.Parameters,
    max_tokens=st.none() | st.integers(1, 9),
    temperature=st.none() | st.sampled_from([0, 1, 0.5]),
    top_p=st.none() | st.just(0.5),
    top_k=st.none() | st.just(3),
    stop=st.none() | st.just(("a", "b")),
    seed=st.none() | st.integers(-5, 5),
    presence_penalty=st.none() | st.just(0.5),
    frequency_penalty=st.none() | st.just(-0.5),
    n=st.none() | st.just(2),
    response_format=st.none() | st.just(exchange.JsonObject()) | st.just(exchange.JsonSchema(schema=SCHEMA)),
    reasoning_effort=st.none()
    | st.builds(
        exchange.ReasoningEffort,
        effort=st.sampled_from(["low", "medium", "high"]),
        summary=st.sampled_from(["none", "auto"]),
    )
    | st.builds(exchange.ReasoningEffort, budget_tokens=st.integers(1, 24576), summary=st.just("auto")),
    tool_choice=st.none()
    | st.builds(exchange.ToolChoice, mode=st.sampled_from(["auto", "none", "required"]))
    | st.builds(exchange.ToolChoice, mode=st.sampled_from(["auto", "named"]), names=st.just(("f",))),
    modalities=st.none() | st.just(("text", "image")),
    service_tier=st.none() | st.sampled_from(["standard", "flex"]),
    store=st.none() | st.booleans(),
    safety_settings=st.none() | st.just(msgspec.Raw(b'[{"category":7}]')),
)
TOOLS = (exchange.Tool(name="f", description="d", parameters=SCHEMA), exchange.Tool(name="g"))


@settings(deadline=None, max_examples=100)
@given(turns=TURNS, parameters=PARAMETERS)
def test_a_request(turns, parameters):
    request = exchange.ChatRequest(model="m", turns=turns, tools=TOOLS, parameters=parameters)
    encoded = CODEC.upstream["chat"].encode(request, TARGET)
    assert encoded.lost == ()
    fields = msgspec.json.decode(encoded.body, type=dict[str, msgspec.Raw])
    again = CODEC.ingress["chat"].decode(fields, "m", False, b"")
    assert again.unsaid == ()
    assert [plain(turn) for turn in again.turns] == [plain(turn) for turn in request.turns]
    assert values(again.tools) == values(request.tools)
    assert values(again.parameters) == values(request.parameters)


def plain(turn: exchange.Turn) -> object:
    """Without what only a result's own form says: the name of its tool, and the object that Gemini has it in."""
    parts = [
        msgspec.structs.replace(part, name=None, structured=None) if isinstance(part, exchange.ToolResult) else part
        for part in turn.parts
    ]
    return turn.role, parts


def values(made: object) -> object:
    return json.loads(msgspec.json.encode(made))
