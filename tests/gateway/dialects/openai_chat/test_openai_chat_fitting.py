"""What other dialects say in a form that chat completions does not take: names, ids, free text, users, stops."""

import json
import re
from collections.abc import Sequence

import msgspec
import pytest

from trunkline_gateway import exchange, sse
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.openai_chat import CODEC
from trunkline_gateway.exchange import ChatRequest, Parameters, Part, Text, Tool, ToolCall, ToolChoice, ToolResult, Turn

CHAT = CODEC.upstream["chat"]
USER = Turn(role="user", parts=(Text(text="hi"),))


def encode(request: ChatRequest, *quirks: str, provider: str = "openai") -> dict[str, object]:
    encoded = CHAT.encode(request, Target(model="m", provider=provider, quirks=frozenset(quirks)))
    body = json.loads(encoded.body)
    assert isinstance(body, dict)
    return {**body, "lost": encoded.lost}


def read(request: ChatRequest, chunks: Sequence[object], *quirks: str) -> exchange.Answer:
    assert CHAT.stream_decoder is not None
    decoder = CHAT.stream_decoder(Asked(target=Target(model="m", quirks=frozenset(quirks)), request=request))
    events: list[exchange.Event] = []
    for chunk in chunks:
        data = chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()
        events += decoder.receive(sse.ServerSentEvent(b"data: " + data + b"\n\n"))
    return exchange.assemble(events)


def delta(said: object, finish: str | None = None) -> object:
    return {"id": "1", "model": "m", "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def called(name: str, *arguments: str) -> list[object]:
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": name, "arguments": ""}}
    more = [delta({"tool_calls": [{"index": 0, "function": {"arguments": each}}]}) for each in arguments]
    return [delta({"tool_calls": [first]}), *more, delta({}, "tool_calls"), b"[DONE]"]


@pytest.mark.parametrize(
    ("name", "namespace"),
    [("fs.read:file", None), ("x" * 65, None), ("mcp__" + "y" * 90, None), ("shell", "mcp.srv"), ("é", None)],
)
def test_names_that_do_not_fit_are_made_to_and_come_back(name: str, namespace: str | None) -> None:
    call = ToolCall(id="c0", name=name, namespace=namespace, arguments="{}")
    request = ChatRequest(
        model="m",
        turns=(USER, Turn(role="assistant", parts=(call,)), Turn(role="user", parts=(ToolResult(call_id="c0"),))),
        tools=(Tool(name=name, namespace=namespace), Tool(name="other")),
        parameters=Parameters(tool_choice=ToolChoice(mode="named", names=(name,))),
    )
    body = msgspec.convert(encode(request), _Body)
    sent = body.tools[0].function.name
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", sent)
    assert body.messages[1]["tool_calls"][0]["function"]["name"] == sent  # type: ignore[index]
    assert body.tool_choice == {"type": "function", "function": {"name": sent}}
    (part,) = read(request, called(sent, "{}")).choices[0].parts
    assert part == ToolCall(id="c1", name=name, namespace=namespace, arguments="{}")


class _Function(msgspec.Struct):
    name: str


class _Tool(msgspec.Struct):
    function: _Function


class _Body(msgspec.Struct):
    tools: list[_Tool]
    messages: list[dict[str, object]]
    tool_choice: object


def test_names_that_would_be_the_same_stay_apart() -> None:
    request = ChatRequest(model="m", turns=(USER,), tools=(Tool(name="a.b"), Tool(name="a:b"), Tool(name="a_b")))
    tools = encode(request)["tools"]
    assert len({json.dumps(each) for each in tools}) == 3  # type: ignore[attr-defined]


def test_ids_of_calls_are_not_too_long_and_results_keep_theirs() -> None:
    long, other = "call_" + "x" * 60, "call_" + "x" * 59 + "y"
    calls: tuple[Part, ...] = (ToolCall(id=long, name="f"), ToolCall(id=other, name="f"), ToolCall(id="c", name="f"))
    results: tuple[Part, ...] = tuple(ToolResult(call_id=id) for id in (long, other, "c"))
    turns = (USER, Turn(role="assistant", parts=calls), Turn(role="user", parts=results))
    messages = encode(ChatRequest(model="m", turns=turns))["messages"]
    assert isinstance(messages, list)
    ids = [each["id"] for each in messages[1]["tool_calls"]]
    assert ids == [each["tool_call_id"] for each in messages[2:]]
    assert len(set(ids)) == 3
    assert max(len(each) for each in ids) <= 40
    assert ids[2] == "c"


def test_results_in_turns_of_their_own_are_not_parted_by_the_pictures_of_the_first() -> None:
    calls: tuple[Part, ...] = (ToolCall(id="a", name="f"), ToolCall(id="b", name="f"))
    picture = exchange.Image(source=exchange.Inline("iVBORw0KGgo="), media_type="image/png")
    turns = (
        USER,
        Turn(role="assistant", parts=calls),
        Turn(role="user", parts=(ToolResult(call_id="a", content=(picture,)),)),
        Turn(role="user", parts=(ToolResult(call_id="b", content=(Text(text="r"),)), Text(text="go on"))),
    )
    messages = encode(ChatRequest(model="m", turns=turns))["messages"]
    assert isinstance(messages, list)
    assert [(each["role"], each.get("tool_call_id")) for each in messages] == [
        ("user", None),
        ("assistant", None),
        ("tool", "a"),
        ("tool", "b"),
        ("user", None),
        ("user", None),
    ]


CUSTOM = ChatRequest(model="m", turns=(USER,), tools=(Tool(name="apply_patch", custom=True, description="d"),))


def test_a_custom_tool_is_a_function_where_there_are_no_others() -> None:
    body = encode(CUSTOM, "no_custom_tools")
    (tool,) = body["tools"]  # type: ignore[misc]
    assert tool["type"] == "function"
    assert tool["function"]["name"] == "apply_patch"
    assert tool["function"]["parameters"]["required"] == ["input"]
    assert body["lost"] == ("tools.custom",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (('{"input": "*** Begin', '\\n+a"}'), "*** Begin\n+a"),
        (("{}",), "{}"),
        (('{"input":"cut',), '{"input":"cut'),
        ((), ""),
    ],
)
def test_what_was_given_to_it_is_free_text_again(arguments: tuple[str, ...], said: str) -> None:
    answer = read(CUSTOM, called("apply_patch", *arguments), "no_custom_tools")
    assert answer.choices[0].parts == (ToolCall(id="c1", name="apply_patch", custom=True, arguments=said),)


def test_a_user_is_one_opaque_name_that_fits() -> None:
    user = json.dumps({"device_id": "0" * 64, "account_uuid": "1" * 36, "session_id": "2" * 36})
    sent = encode(ChatRequest(model="m", turns=(USER,), parameters=Parameters(user=user)))["user"]
    again = encode(ChatRequest(model="m", turns=(USER,), parameters=Parameters(user=user)))["user"]
    other = encode(ChatRequest(model="m", turns=(USER,), parameters=Parameters(user=user + "x")))["user"]
    assert isinstance(sent, str)
    assert (len(sent), sent == again, sent == other) == (64, True, False)
    assert encode(ChatRequest(model="m", turns=(USER,), parameters=Parameters(user="u" * 64)))["user"] == "u" * 64


def test_more_stops_than_it_takes_are_lost_where_they_would_be_refused() -> None:
    request = ChatRequest(model="m", turns=(USER,), parameters=Parameters(stop=("a", "b", "c", "d", "e")))
    body = encode(request)
    assert (body["stop"], body["lost"]) == (["a", "b", "c", "d"], ("stop",))
    assert encode(request, provider="vllm")["stop"] == ["a", "b", "c", "d", "e"]


def test_half_a_character_does_not_take_the_text_around_it_with_it() -> None:
    chunks: list[object] = [
        delta({"content": "a"}),
        b'{"id":"1","choices":[{"index":0,"delta":{"content":"b\\ud83d"}}]}',
        b'{"id":"1","choices":[{"index":0,"delta":{"content":"\xff"}}]}',
        b'{"id":"1","choices":[{"index":0,"delta":{"content":"\\ude00c"},"finish_reason":"stop"}]}',
        b"[DONE]",
    ]
    choice = read(ChatRequest(model="m", turns=(USER,)), chunks).choices[0]
    assert choice.parts == (Text(text="ab\ufffd\ufffd\ufffdc"),)
    assert choice.finish_reason == "stop"


def test_a_logprob_without_its_token_is_none() -> None:
    broken = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"logprob": -1.0}, 3]}}
    chunks = [{"id": "1", "choices": [broken]}, delta({}, "stop"), b"[DONE]"]
    assert read(ChatRequest(model="m", turns=(USER,)), chunks).choices[0].parts == (Text(text="a"),)


def test_a_seal_that_comes_before_the_name_of_its_call_is_kept() -> None:
    sealed = {"index": 0, "id": "c1", "extra_content": {"google": {"thought_signature": "eA=="}}}
    named = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    chunks = [delta({"tool_calls": [sealed]}), delta({"tool_calls": [named]}), delta({}, "tool_calls"), b"[DONE]"]
    (part,) = read(ChatRequest(model="m", turns=(USER,)), chunks).choices[0].parts
    assert isinstance(part, ToolCall)
    assert part.seal is not None
    assert part.seal.value == "eA=="
