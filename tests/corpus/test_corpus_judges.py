"""The judges have teeth: what is wrong is found."""

import msgspec
import pytest

from corpus import answers, asking, codecs_here, probing, requests, saying, sdks
from corpus.reading import Reading, Tokens
from trunkline_gateway import exchange

ANSWER = exchange.Answer(
    id="answer",
    model="model",
    created=1_700_000_000,
    choices=(
        exchange.Choice(
            parts=(
                exchange.Text(text="hello"),
                exchange.ToolCall(id="call_1", name="get_weather", arguments='{"city":"Rome"}'),
            ),
            finish_reason="tool_calls",
        ),
    ),
    usage=exchange.Usage(prompt=5, completion=3, total=8),
)
TRUE = Reading(
    text="hello",
    calls=(("get_weather", '{"city": "Rome"}'),),
    finish="tool_calls",
    tokens=Tokens(new=5, cached=0, cache_write=0, completion=3),
)


@pytest.mark.parametrize("ingress", codecs_here.INGRESSES)
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("text", "hallo"),
        ("calls", ()),
        ("calls", (("get_weather", '{"city": "Roma"}'),)),
        ("finish", "length"),
        ("reasoning", "athought"),
        ("refusal", "no"),
        ("tokens", Tokens(new=6, cached=0, cache_write=0, completion=3)),
        ("tokens", None),
    ],
)
def test_an_answer_that_says_something_else_is_found(ingress: str, field: str, wrong: object) -> None:
    decoded = answers.Decoded(ANSWER, exchange.events_of(ANSWER))
    assert not answers.differences(TRUE, decoded, ingress)
    want = Reading(**{**{name: getattr(TRUE, name) for name in Reading.__dataclass_fields__}, field: wrong})
    found = answers.differences(want, decoded, ingress)
    assert {(ingress, field), (f"{ingress} streamed", field)} <= set(found)


def _whole_or_none(ingress: str, body: bytes) -> Reading | None:
    try:
        return sdks.WHOLE[ingress](body)
    except sdks.Invalid:
        return None


@pytest.mark.parametrize("ingress", codecs_here.INGRESSES)
def test_bodies_that_no_client_takes_are_found(ingress: str) -> None:
    body = codecs_here.encode_whole(ingress, ANSWER).body
    for broken in (b"{}", body.replace(b'"hello"', b"7"), body[:-1]):
        assert _whole_or_none(ingress, broken) != TRUE
    raw = codecs_here.stream_encoder(ingress).encode(exchange.events_of(ANSWER))
    with pytest.raises((sdks.Invalid, AssertionError, RuntimeError)):
        assert sdks.streamed(ingress, raw[: len(raw) // 2]) == TRUE


@pytest.mark.parametrize("dialect", codecs_here.CHAT_DIALECTS)
def test_a_request_that_says_something_else_is_found(dialect: str) -> None:
    turns = (
        exchange.Turn(role="system", parts=(exchange.Text(text="rule"),)),
        exchange.Turn(role="user", parts=(exchange.Text(text="hello"),)),
    )
    parameters = exchange.Parameters(max_tokens=90, temperature=0.5, top_p=0.5, stop=("END",))
    request = exchange.ChatRequest(model="model", turns=turns, tools=(probing.TOOL,), parameters=parameters)
    true = saying.say(dialect, requests.write(request, dialect).body)
    replace = msgspec.structs.replace
    for key, other in {
        "system": replace(request, turns=turns[1:]),
        "turns": replace(request, turns=(turns[0], exchange.Turn(role="user", parts=(exchange.Text(text="hallo"),)))),
        "tools": replace(request, tools=(replace(probing.TOOL, name="other"),)),
        "max_tokens": replace(request, parameters=replace(parameters, max_tokens=100)),
        "temperature": replace(request, parameters=replace(parameters, temperature=0.25)),
        "stop": replace(request, parameters=replace(parameters, stop=("FIN",))),
    }.items():
        if dialect == "openai_responses" and key == "stop":
            continue  # it cannot say that
        assert key in asking.compare(true, saying.say(dialect, requests.write(other, dialect).body), ()), key
