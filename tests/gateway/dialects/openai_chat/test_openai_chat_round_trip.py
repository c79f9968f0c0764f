"""What is written for an upstream and read again as a client's request is the same request."""

import base64
import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.openai_chat import CODEC
from trunkline_gateway.dialects.openai_chat.decode_request import Own
from trunkline_gateway.exchange import (
    CacheControl,
    ChatRequest,
    Document,
    FileId,
    Image,
    Inline,
    JsonObject,
    JsonSchema,
    Parameters,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Url,
)

# All that the dialect can say, in its widest form.
TARGET = Target(
    model="m",
    quirks=frozenset(
        {"max_completion_tokens", "sampling_extensions", "reasoning_details", "cache_control", "video_url"}
    ),
)
INGRESS, UPSTREAM = CODEC.ingress["chat"], CODEC.upstream["chat"]

WORDS = st.text(min_size=1, max_size=6)
NAMES = st.sampled_from(["f", "g", "h"])
DATA = st.binary(min_size=1, max_size=6).map(lambda data: base64.b64encode(data).decode())
CACHES = st.none() | st.builds(CacheControl, ttl=st.sampled_from([None, "5m", "1h"]))
TEXTS = st.builds(Text, text=WORDS, cache=CACHES)
IMAGES = st.builds(
    Image, source=st.builds(Inline, data=DATA), media_type=st.just("image/png"), detail=st.sampled_from([None, "low"])
) | st.builds(Image, source=st.builds(Url, url=WORDS.map("https://h/".__add__)))
DOCUMENTS = st.builds(
    Document, source=st.builds(Inline, data=DATA), media_type=st.just("application/pdf"), name=WORDS
) | st.builds(Document, source=st.builds(FileId, id=WORDS))
SEALS = st.builds(Seal, maker=st.sampled_from(["openai", "anthropic", "google", "other"]), value=WORDS)
REASONINGS = st.builds(Reasoning, text=WORDS, summary=st.booleans(), signature=st.none() | SEALS)
CALLS = st.builds(
    ToolCall,
    id=st.uuids().map(str),
    name=NAMES,
    arguments=st.sampled_from(["{}", '{"a": 1.0}']),
    seal=st.none() | SEALS,
)
RESULTS = st.builds(ToolResult, call_id=WORDS, content=TEXTS.map(lambda text: (text,)))
ROLES = st.sampled_from(["system", "developer", "user"])
TURNS = st.one_of(
    st.builds(Turn, role=ROLES, parts=st.lists(TEXTS, min_size=1, max_size=2).map(tuple), name=st.none() | NAMES),
    st.builds(
        Turn, role=st.just("user"), parts=st.lists(TEXTS | IMAGES | DOCUMENTS, min_size=1, max_size=3).map(tuple)
    ),
    st.builds(
        Turn,
        role=st.just("assistant"),
        parts=st.tuples(
            st.lists(REASONINGS, max_size=1),
            st.lists(TEXTS, min_size=1, max_size=2),
            st.lists(st.builds(Refusal, text=WORDS), max_size=1),
            st.lists(CALLS, max_size=2),
        ).map(lambda lists: tuple(part for parts in lists for part in parts)),
    ),
)
RAW = st.sampled_from([b"{}", b'{"type":"object","x":1.50}']).map(msgspec.Raw)
TOOLS = st.lists(
    st.builds(
        Tool, name=NAMES, description=st.none() | WORDS, parameters=st.none() | RAW, strict=st.none() | st.booleans()
    ),
    max_size=3,
    unique_by=lambda tool: tool.name,
)
NUMBERS = st.none() | st.integers(0, 2) | st.floats(0, 2)
PARAMETERS = st.builds(
    Parameters,
    max_tokens=st.none() | st.integers(1, 9),
    temperature=NUMBERS,
    top_p=NUMBERS,
    top_k=st.none() | st.integers(1, 9),
    min_p=NUMBERS,
    stop=st.none() | st.lists(WORDS, min_size=1, max_size=3).map(tuple),
    seed=st.none() | st.integers(),
    presence_penalty=NUMBERS,
    frequency_penalty=NUMBERS,
    repetition_penalty=NUMBERS,
    logit_bias=st.none() | st.dictionaries(st.integers(0, 9).map(str), st.integers(-100, 100)),
    logprobs=st.none() | st.booleans(),
    top_logprobs=st.none() | st.integers(0, 5),
    n=st.none() | st.integers(1, 3),
    response_format=st.none()
    | st.just(JsonObject())
    | st.builds(JsonSchema, schema=RAW, name=NAMES, strict=st.none() | st.booleans()),
    reasoning_effort=st.none()
    | st.builds(ReasoningEffort, effort=st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"])),
    verbosity=st.sampled_from([None, "low", "medium", "high"]),
    service_tier=st.none() | WORDS,
    user=st.none() | WORDS,
    metadata=st.none() | st.dictionaries(WORDS, WORDS, max_size=2),
    safety_identifier=st.none() | WORDS,
    prompt_cache_key=st.none() | WORDS,
    prompt_cache_retention=st.none() | WORDS,
    store=st.none() | st.booleans(),
    modalities=st.none() | st.just(("text", "audio")),
    audio=st.none() | RAW,
    prediction=st.none() | RAW,
)
CHOICES = st.sampled_from(
    [
        None,
        ToolChoice(mode="auto"),
        ToolChoice(mode="none"),
        ToolChoice(mode="required"),
        ToolChoice(mode="named", names=("f",)),
        ToolChoice(mode="required", names=("f", "g")),
    ]
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(TURNS, min_size=1, max_size=4), st.lists(RESULTS, max_size=2), TOOLS, PARAMETERS, CHOICES, st.booleans()
)
def test_a_request_there_and_back(
    turns: list[Turn],
    results: list[ToolResult],
    tools: list[Tool],
    parameters: Parameters,
    choice: ToolChoice | None,
    stream: bool,
) -> None:
    if results:
        turns = [*turns, Turn(role="user", parts=tuple(results))]
    if tools:
        parameters = msgspec.structs.replace(parameters, tool_choice=choice, parallel_tool_calls=False)
    request = ChatRequest(
        model="m",
        turns=tuple(turns),
        tools=tuple(tools),
        parameters=parameters,
        stream=stream,
        include_usage=stream,
        own=Own(),
    )
    body, lost, _ = UPSTREAM.encode(request, TARGET)
    assert lost == ()
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    again = INGRESS.decode(fields, "m", stream, b"")
    assert plain(again) == plain(request)
    # And once more: the same bytes.
    assert UPSTREAM.encode(again, TARGET).body == body


def plain(request: exchange.ChatRequest) -> object:
    """The same with raw JSON read, numbers of either kind told apart."""
    return json.loads(msgspec.json.encode(request), parse_float=str)


def test_a_search_there_and_back() -> None:
    fields = {"messages": [{"role": "user", "content": "a"}], "web_search_options": {"search_context_size": "low"}}
    raw = msgspec.json.decode(json.dumps(fields), type=dict[str, msgspec.Raw])
    body = json.loads(UPSTREAM.encode(INGRESS.decode(raw, "m", False, b""), TARGET).body)
    assert body == {"model": "m", **fields}
