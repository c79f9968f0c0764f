"""What is read and written most takes a shorter way through a dialect: the same comes of it as of the long one."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import exchange, registry
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.anthropic_messages import decode_answer as messages_answer
from trunkline_gateway.dialects.openai_chat import decode_answer as chat_answer
from trunkline_gateway.dialects.openai_chat import encode_answer, wire
from trunkline_gateway.dialects.openai_chat.encode_messages import MessagesEncoder
from trunkline_gateway.dialects.openai_chat.encode_parts import Lost
from trunkline_gateway.errors import GatewayError
from trunkline_gateway.exchange import Text, Turn

ASKED = Asked(target=Target(model="m"), seed="s", now=7)
CHAT = registry.INGRESS["openai_chat", "chat"]
MESSAGES = registry.INGRESS["anthropic_messages", "chat"]
GEMINI = registry.INGRESS["gemini_generate", "chat"]

COUNTS = st.sampled_from([None, 0, 3, -1, 1 << 60, "3", 1.5])
WORDS = st.sampled_from([None, "", "stop", "end_turn", "length", "error", "refusal", "what", 3])
TEXTS = st.sampled_from([None, "", "Hi", "\ud800", 3, [], [{"type": "text", "text": "Hi"}]])


def maybe(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these members."""
    return st.fixed_dictionaries({}, optional=members)


CHAT_USAGE = maybe(
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    total_tokens=COUNTS,
    prompt_tokens_details=st.one_of(st.none(), maybe(cached_tokens=COUNTS)),
)
CHAT_MESSAGE = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.one_of(st.just("Hi"), TEXTS)},
    optional={
        "refusal": st.sampled_from([None, "", "No."]),
        "annotations": st.sampled_from([None, []]),
        "tool_calls": st.sampled_from([None, [], [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]]),
        "reasoning_content": st.sampled_from([None, "", "Hm."]),
        "audio": st.none(),
    },
)
CHAT_ANSWER = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries(
                {"message": CHAT_MESSAGE, "finish_reason": st.one_of(st.just("stop"), WORDS)},
                optional={
                    "index": st.sampled_from([None, 0, 1]),
                    "logprobs": st.sampled_from([None, {"content": [{"token": "H", "logprob": -1.0}]}]),
                    "stop_reason": st.sampled_from([None, 0, "x"]),
                    "content_filter_results": st.sampled_from([None, {}, {"hate": {"filtered": False}}]),
                },
            ),
            min_size=1,
            max_size=2,
        )
    },
    optional={
        "id": TEXTS,
        "model": st.sampled_from([None, "m-1"]),
        "created": st.sampled_from([None, 0, -1, 5]),
        "usage": st.one_of(st.none(), CHAT_USAGE),
        "service_tier": st.sampled_from([None, "", "default"]),
        "system_fingerprint": st.sampled_from([None, "", "fp"]),
        "citations": st.sampled_from([None, [], ["https://a.test"]]),
    },
)


@given(CHAT_ANSWER)
@settings(deadline=None, max_examples=300)
def test_an_answer_of_chat_completions(answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    read = wire.decode(body)
    if read is None:
        return
    try:
        expected = chat_answer.assembled(read, ASKED)
    except GatewayError:
        with pytest.raises(GatewayError):
            chat_answer.decode(body, ASKED)
        return
    assert chat_answer.decode(body, ASKED) == expected


MESSAGE = st.fixed_dictionaries(
    {
        "content": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["text", "text", "text", "thinking", "", 3]), "text": TEXTS},
                optional={"citations": st.sampled_from([None, []]), "more": st.just(1)},
            ),
            max_size=3,
        )
    },
    optional={
        "id": TEXTS,
        "model": st.sampled_from([None, "m-1"]),
        "stop_reason": WORDS,
        "stop_sequence": st.sampled_from([None, "x", 3]),
        "stop_details": st.sampled_from([None, {}, {"type": "refusal"}]),
        "usage": st.one_of(
            st.none(),
            maybe(
                input_tokens=COUNTS,
                output_tokens=COUNTS,
                cache_read_input_tokens=COUNTS,
                cache_creation_input_tokens=COUNTS,
                cache_creation=st.one_of(st.none(), maybe(ephemeral_1h_input_tokens=COUNTS)),
                output_tokens_details=st.one_of(st.none(), maybe(thinking_tokens=COUNTS)),
                service_tier=st.sampled_from([None, "", "standard"]),
            ),
        ),
    },
)


@given(MESSAGE)
@settings(deadline=None, max_examples=300)
def test_an_answer_of_messages(answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    assert messages_answer.decode(body, ASKED) == messages_answer.decode_any(body, ASKED)


# ---- requests --------------------------------------------------------------------------------------------------------

ROLES = st.sampled_from(["user", "assistant", "system", "developer", "nobody", 3])
MESSAGE_TEXTS = st.sampled_from(["Hi", "Hi", "", " ", "\u00e9", None, 3])


def decoded(side: Any, body: dict[str, Any]) -> object:
    """The request, or what it is refused with."""
    fields = msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw])
    try:
        return side.decode(fields, "m", False, b"")
    except GatewayError as error:
        return error.message, error.param


@pytest.mark.parametrize("side", [CHAT, MESSAGES], ids=["chat", "messages"])
@given(st.lists(st.fixed_dictionaries({"role": ROLES, "content": MESSAGE_TEXTS}), max_size=4))
@settings(deadline=None, max_examples=200)
def test_messages_of_a_request(side: Any, messages: list[dict[str, Any]]) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": messages}
    # A member that is null says nothing, but makes the message another one than most.
    longer = {**body, "messages": [{**message, "name": None} for message in messages]}
    assert decoded(side, body) == decoded(side, longer)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"parts": st.lists(st.fixed_dictionaries({"text": MESSAGE_TEXTS}), max_size=2)},
            optional={"role": st.sampled_from(["user", "model", "", "function", "nobody", 3])},
        ),
        max_size=4,
    ),
    st.lists(st.fixed_dictionaries({"text": MESSAGE_TEXTS}), max_size=2),
)
@settings(deadline=None, max_examples=200)
def test_contents_of_a_request(contents: list[dict[str, Any]], instruction: list[dict[str, Any]]) -> None:
    body = {"systemInstruction": {"parts": instruction}, "contents": contents}
    nothing = {"nothing": None}
    longer = {
        "systemInstruction": {"parts": instruction, **nothing},
        "contents": [{**content, **nothing} for content in contents],
    }
    assert decoded(GEMINI, body) == decoded(GEMINI, longer)


@given(
    st.sampled_from(["user", "assistant", "system", "developer"]),
    st.sampled_from(["Hi", "", " "]),
    st.sampled_from([None, "Ann"]),
    st.sampled_from([None, exchange.CacheControl()]),
    st.sampled_from([None, exchange.Seal(maker="google", value="s")]),
    st.sets(st.sampled_from(["no_developer_role", "content_as_string", "reasoning_in_history", "reasoning_details"])),
)
@settings(deadline=None, max_examples=200)
def test_turns_for_chat_completions(
    role: Any, text: str, name: str | None, cache: Any, seal: Any, quirks: set[str]
) -> None:
    turn = Turn(role=role, parts=(Text(text=text, cache=cache, seal=seal),), name=name)
    last = Turn(role="user", parts=(Text(text="Go on."),))
    request = exchange.ChatRequest(model="m", turns=(turn, last))
    target = Target(model="m", quirks=frozenset(quirks))
    short, long = MessagesEncoder(request, target), MessagesEncoder(request, target)
    assert short.encode() == [*long._turn(turn), *long._turn(last)]
    assert short.lost.names == long.lost.names


@pytest.mark.parametrize(
    "parts",
    [
        (Text(text="Hi"),),
        (Text(text=""),),
        (Text(text="Hi", seal=exchange.Seal(maker="google", value="s")),),
        (Text(text="Hi", citations=(exchange.UrlCitation(url="https://a.test"),)),),
        (Text(text="a"), Text(text="b")),
        (exchange.Refusal(text="No."),),
        (),
    ],
)
@pytest.mark.parametrize("legacy", [True, False])
def test_an_answer_for_clients_of_chat_completions(parts: tuple[exchange.Part, ...], legacy: bool) -> None:
    choice = exchange.Choice(parts=parts, finish_reason="stop")
    written = encode_answer._choice(choice, Lost(), legacy=legacy)
    assert written["message"] == encode_answer._Message(Lost(), legacy=legacy).write(choice)
