"""The provider `echo`: chat completions, whole and streamed, judged by the official SDK's own types."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from trunkline_gateway.upstream.client import Endpoint, Request, RequestHead, Timeouts
from trunkline_gateway.upstream.echo.client import EchoClient

NOW = 1_800_000_000
ENDPOINT = Endpoint("", in_process=True)


def make_request(body, path="/chat/completions", timeouts=None):
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return Request(
        RequestHead(ENDPOINT, "POST" if raw is not None else "GET", path, []),
        raw,
        timeouts or Timeouts(connect=1, first_byte=1, stream_idle=1),
    )


async def exchange(body, path="/chat/completions"):
    """Status, headers and the chunks of the body."""
    response = await EchoClient(clock=lambda: NOW + 0.5).send(make_request(body, path))
    chunks = []
    while data := await response.read():
        chunks.append(data)
    assert await response.read() == b""
    await response.close()
    return response.status, dict(response.headers), chunks


def assert_exact(model: BaseModel):
    """Nothing beside what the SDK knows."""
    assert not model.model_extra, model.model_extra
    for name in type(model).model_fields:
        value = getattr(model, name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, BaseModel):
                assert_exact(each)


async def whole(**fields) -> ChatCompletion:
    status, headers, chunks = await exchange(chat(**fields))
    assert (status, headers) == (200, {b"content-type": b"application/json"}), chunks
    completion = ChatCompletion.model_validate_json(b"".join(chunks), strict=True)
    assert_exact(completion)
    usage = completion.usage
    assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens
    return completion


async def streamed(**fields) -> list[ChatCompletionChunk]:
    status, headers, events = await exchange(chat(**fields, stream=True))
    assert (status, headers) == (200, {b"content-type": b"text/event-stream; charset=utf-8"}), events
    assert events[-1] == b"data: [DONE]\n\n"
    parsed = []
    for event in events[:-1]:
        assert event.startswith(b"data: {")
        assert event.endswith(b"}\n\n")
        assert event.count(b"\n") == 2
        parsed.append(ChatCompletionChunk.model_validate_json(event.removeprefix(b"data: "), strict=True))
        assert_exact(parsed[-1])
    return parsed


def chat(text="Hello there, world", **fields):
    return {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}


def tool(name, **properties):
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def assemble(chunks: list[ChatCompletionChunk]):
    """What a client makes of a stream: for each choice its text, calls and finish reason."""
    choices = {}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        said = choices.setdefault(choice.index, {"text": "", "calls": [], "finish": None})
        assert said["finish"] is None, "nothing follows the finish"
        said["text"] += choice.delta.content or ""
        for delta in choice.delta.tool_calls or ():
            if delta.id:
                assert delta.index == len(said["calls"])
                said["calls"].append([delta.id, delta.function.name, ""])
            said["calls"][delta.index][2] += delta.function.arguments
        said["finish"] = choice.finish_reason
    return choices


def assembled(completion: ChatCompletion):
    return {
        choice.index: {
            "text": choice.message.content or "",
            "calls": [[c.id, c.function.name, c.function.arguments] for c in choice.message.tool_calls or ()],
            "finish": choice.finish_reason,
        }
        for choice in completion.choices
    }


async def test_it_repeats_the_last_user_message():
    completion = await whole()
    message = completion.choices[0].message
    assert (message.content, completion.choices[0].finish_reason) == ("Hello there, world", "stop")
    assert (completion.model, completion.created) == ("echo", NOW)
    assert completion.usage.completion_tokens == 3


async def test_equal_requests_get_equal_answers_and_others_another_id():
    assert await exchange(chat()) == await exchange(chat())
    ids = {(await whole(text=text)).id for text in ("a", "b")}
    assert len(ids) == 2


async def test_a_stream_has_the_role_the_words_and_the_finish():
    chunks = await streamed()
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Hello", " there,", " world", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 4 + ["stop"]
    assert {chunk.usage for chunk in chunks} == {None}
    assert len({chunk.id for chunk in chunks}) == 1


async def test_usage_is_streamed_when_it_is_asked_for():
    *others, last = await streamed(stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage == (await whole()).usage
    assert all(chunk.usage is None for chunk in others)
    _, _, events = await exchange(chat(stream=True, stream_options={"include_usage": True}))
    assert all(b'"usage":null' in event for event in events[:-2])


async def test_parts_are_joined_and_only_text_is_read():
    parts = [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "text", "text": "two"},
    ]
    assert (await whole(text=parts)).choices[0].message.content == "one\n[image_url]\ntwo"


async def test_the_text_need_not_be_english():
    for text in ("日本語のテキスト 🙂", "  spaces\n\tand lines \n", "é" * 100, "\u0000"):
        assert (await whole(text=text)).choices[0].message.content == text
        assert assemble(await streamed(text=text))[0]["text"] == text


async def test_it_always_says_something():
    for messages in ([{"role": "system", "content": "Be brief."}], [{"role": "user", "content": " "}]):
        assert (await whole(messages=messages)).choices[0].message.content == "There is nothing to repeat."


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_of_tokens_is_a_limit_of_words(field):
    completion = await whole(**{field: 2})
    assert completion.choices[0].message.content == "Hello there,"
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 2
    assert (await whole(**{field: 3})).choices[0].finish_reason == "stop"
    assert assemble(await streamed(**{field: 2})) == {0: {"text": "Hello there,", "calls": [], "finish": "length"}}


@pytest.mark.parametrize("stop", ["there", ["absent", "there"]])
async def test_a_stop_sequence_ends_the_text(stop):
    completion = await whole(stop=stop)
    assert completion.choices[0].message.content == "Hello "
    assert completion.choices[0].finish_reason == "stop"


async def test_several_choices():
    completion = await whole(n=3)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert completion.usage.completion_tokens == 9
    assert assemble(await streamed(n=3)) == assembled(completion)


WEATHER = tool("get_weather", city={"type": "string"}, unit={"enum": ["celsius", "fahrenheit"]})
TIME = tool("get_time", zone={"type": "string"})


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_time"}}])
async def test_a_tool_is_called_when_it_must_be(choice):
    completion = await whole(tools=[TIME, WEATHER], tool_choice=choice)
    (call,) = completion.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_time", {"zone": "echo"})
    assert completion.choices[0].message.content is None
    assert completion.choices[0].finish_reason == "tool_calls"


async def test_a_user_can_ask_for_calls_and_they_are_streamed_in_fragments():
    text = 'Please call get_weather {"city": "Køln", "unit": "celsius"} and call get_time, then call nothing {}.'
    completion = await whole(text=text, tools=[WEATHER, TIME])
    weather, time = completion.choices[0].message.tool_calls
    assert json.loads(weather.function.arguments) == {"city": "Køln", "unit": "celsius"}
    assert json.loads(time.function.arguments) == {"zone": "echo"}
    assert weather.id != time.id
    chunks = await streamed(text=text, tools=[WEATHER, TIME])
    assert len(chunks) > 8
    by_stream = {**assemble(chunks)[0], "calls": [[n, a] for _, n, a in assemble(chunks)[0]["calls"]]}
    assert by_stream["calls"] == [[c.function.name, c.function.arguments] for c in (weather, time)]
    assert by_stream["finish"] == "tool_calls"


async def test_calls_can_be_forbidden_or_taken_one_at_a_time():
    text = "call get_weather and call get_time"
    assert (await whole(text=text)).choices[0].message.tool_calls is None
    assert (await whole(text=text, tools=[TIME], tool_choice="none")).choices[0].message.tool_calls is None
    one = await whole(text=text, tools=[WEATHER, TIME], parallel_tool_calls=False)
    assert [call.function.name for call in one.choices[0].message.tool_calls] == ["get_weather"]


async def test_a_limit_cuts_calls_too():
    completion = await whole(text="call get_weather", tools=[WEATHER], max_tokens=2)
    assert completion.choices[0].finish_reason == "length"
    assert len(completion.choices[0].message.tool_calls[0].function.arguments) == 8


async def test_the_answer_of_a_tool_is_repeated_and_not_called_for_again():
    call = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "call get_time"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "It is noon."},
    ]
    completion = await whole(messages=messages, tools=[TIME])
    assert completion.choices[0].message.content == "It is noon."


async def test_json_is_given_when_it_is_asked_for():
    answer = (await whole(response_format={"type": "json_object"})).choices[0].message.content
    assert json.loads(answer) == {"echo": "Hello there, world"}
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert json.loads((await whole(response_format=wanted)).choices[0].message.content) == {"a": 3}
    assert json.loads(assemble(await streamed(response_format=wanted))[0]["text"]) == {"a": 3}


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PARTS = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, WORDS),
        st.just({"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}),
    ),
    max_size=3,
)
MESSAGES = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
        WORDS | PARTS | WORDS.map(lambda text: f"call get_time {text} call get_weather {{}}"),
    ),
    min_size=1,
    max_size=4,
)
REQUESTS = st.fixed_dictionaries(
    {"model": st.sampled_from(["echo", "gpt-4o", "anything"]), "messages": MESSAGES},
    optional={
        "n": st.integers(1, 3) | st.none(),
        "max_tokens": st.integers(1, 20) | st.none(),
        "stop": st.none() | WORDS | st.lists(WORDS, max_size=4),
        "tools": st.lists(
            st.sampled_from([TIME, WEATHER]), max_size=2, unique_by=lambda each: each["function"]["name"]
        ),
        "parallel_tool_calls": st.booleans(),
        "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
        "temperature": st.floats(0, 2),
        "user": WORDS,
        "logit_bias": st.none(),
    },
)


@given(REQUESTS)
@settings(max_examples=200, deadline=None)
def test_any_request_gets_the_same_whole_and_streamed(request):
    async def test():
        fields = dict(request)
        del fields["messages"]
        completion = await whole(messages=request["messages"], **fields)
        chunks = await streamed(messages=request["messages"], **fields, stream_options={"include_usage": True})
        assert chunks[-1].usage == completion.usage

        def without_ids(choices):  # the two requests differ by ``stream``
            return {index: {**said, "calls": [call[1:] for call in said["calls"]]} for index, said in choices.items()}

        assert without_ids(assemble(chunks[:-1])) == without_ids(assembled(completion))
        assert len(completion.choices) == (request.get("n") or 1)

    asyncio.run(test())
