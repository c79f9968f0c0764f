"""What upstreams get: the reference's form, and what each quirk makes of it."""

import base64
import json

import msgspec
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Capabilities, Encoded, Target
from trunkline_gateway.dialects.openai_chat import CODEC
from trunkline_gateway.dialects.openai_chat.encode_request import PARAMETERS
from trunkline_gateway.dialects.openai_chat.quirks import QUIRKS
from trunkline_gateway.errors import UnsupportedFeatureError
from trunkline_gateway.exchange import (
    Audio,
    CacheControl,
    ChatRequest,
    Document,
    DocumentCitation,
    Effort,
    FileId,
    Foreign,
    HostedStep,
    HostedTool,
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
    Video,
)
from trunkline_gateway.exchange.losses import FEATURES

UPSTREAM = CODEC.upstream["chat"]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
HI = (Turn(role="user", parts=(Text(text="hi"),)),)
CALL = ToolCall(id="call_1", name="f", arguments='{"a":1}')
F = Tool(name="f", description="d", parameters=msgspec.Raw(b'{"type":"object"}'), strict=True)
G = Tool(name="g")
_PARAMS = TypeAdapter(CompletionCreateParamsNonStreaming)


def encode(
    request: ChatRequest, *quirks: str, account: str = "acc", **capabilities: bool
) -> tuple[dict, tuple[str, ...]]:
    assert QUIRKS.keys() >= set(quirks)
    target = Target(model="up", quirks=frozenset(quirks), account=account, capabilities=Capabilities(**capabilities))
    encoded = UPSTREAM.encode(request, target)
    assert isinstance(encoded, Encoded)
    assert FEATURES.keys() >= set(encoded.lost)
    return json.loads(encoded.body), encoded.lost


def chat(
    turns: tuple[Turn, ...] = HI, tools: tuple[Tool | HostedTool, ...] = (), stream: bool = False, **parameters: object
) -> ChatRequest:
    return ChatRequest(model="m", turns=turns, tools=tools, stream=stream, parameters=Parameters(**parameters))


def turn(role: str, *parts: exchange.Part, name: str | None = None) -> tuple[Turn, ...]:
    return (Turn(role=role, parts=parts, name=name),)


def messages(turns: tuple[Turn, ...], *quirks: str) -> list[dict]:
    body, lost = encode(chat(turns), *quirks)
    assert lost == ()
    return body["messages"]


def test_a_plain_request() -> None:
    assert encode(chat()) == ({"model": "up", "messages": [{"role": "user", "content": "hi"}]}, ())
    body, _ = encode(chat(stream=True))
    assert body["stream_options"] == {"include_usage": True}
    assert body["stream"] is True


def test_a_rich_request_is_one_by_the_sdk() -> None:
    request = chat(
        (
            *turn("developer", Text(text="be"), name="boss"),
            *turn("user", Text(text="a"), Text(text="b"), Image(source=Inline(PNG), detail="low")),
            *turn(
                "assistant",
                Text(text="c"),
                Refusal(text="no"),
                CALL,
                ToolCall(id="c2", name="c", arguments="x", custom=True),
            ),
            *turn("user", ToolResult(call_id="call_1", content=(Text(text="1"),)), Text(text="go on")),
        ),
        (F, Tool(name="c", custom=True)),
        max_tokens=5,
        temperature=1,
        stop=("a",),
        tool_choice=ToolChoice(mode="required", names=("f",)),
        response_format=JsonSchema(schema=msgspec.Raw(b"{}"), strict=True),
        reasoning_effort=ReasoningEffort(effort="low"),
        logit_bias={"5": 1},
        metadata={"a": "b"},
    )
    body, lost = encode(request, "max_completion_tokens")
    assert lost == ()
    _PARAMS.validate_python(body, strict=False)
    assert body["max_completion_tokens"] == 5
    assert body["temperature"] == 1
    assert body["messages"][1]["content"][:2] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert body["tools"][0] == {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
    }
    assert body["tool_choice"]["allowed_tools"]["tools"] == [{"type": "function", "function": {"name": "f"}}]


def test_results_come_first_and_their_pictures_after_them() -> None:
    found = messages(
        turn(
            "user",
            Text(text="look"),
            ToolResult(call_id="c1", content=(Text(text="1"), Image(source=Inline(PNG)))),
            ToolResult(call_id="c2", content=(Image(source=Url("https://h/x.png")),)),
        )
    )
    assert [message["role"] for message in found] == ["tool", "tool", "user"]
    assert found[0] == {"role": "tool", "tool_call_id": "c1", "content": "1"}
    assert found[1]["content"]
    assert [part["type"] for part in found[2]["content"]] == ["text", "image_url", "text", "image_url", "text"]
    assert "c1" in found[2]["content"][0]["text"]


def test_an_assistants_turn() -> None:
    assert messages(turn("assistant", CALL)) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        }
    ]
    assert messages(turn("assistant", Audio(id="audio_1"))) == [{"role": "assistant", "audio": {"id": "audio_1"}}]
    assert messages(turn("assistant", ToolCall(id="a", name="f")))[0]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert messages(turn("assistant")) == [{"role": "assistant", "content": ""}]
    own = Foreign(dialect="openai_chat", kind="x", value=msgspec.Raw(b'{"type":"x","y":1}'))
    assert messages(turn("user", own))[0]["content"] == [{"type": "x", "y": 1}]


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        (Image(source=FileId("f")), "image_file"),
        (Image(source=Url("gs://b/x")), "image_url"),
        (Audio(source=Url("https://h/a.wav")), "audio_input"),
        (Video(source=Url("https://h/v.mp4")), "video"),
        (Document(source=Url("https://h/a.pdf")), "file_url"),
        (Document(source=Inline(PDF), context="c"), "file_context"),
        (Document(source=FileId("f"), name="a.pdf"), "file_name"),
        (Document(text="a", citations=True), "file_citations"),
        (Text(text="a", cache=CacheControl()), "cache_control"),
        (Text(text="a", citations=(DocumentCitation(),)), "citations"),
        (ToolResult(call_id="a", is_error=True), "tool_result_error"),
        (HostedStep(tool="web_search", dialect="x", value=msgspec.Raw(b"{}")), "hosted_step"),
        (Foreign(dialect="x", kind="computer", value=msgspec.Raw(b"{}")), "computer"),
    ],
)
def test_what_a_user_cannot_say_is_named(part: exchange.Part, lost: str) -> None:
    assert encode(chat(turn("user", part, Text(text="hi"))))[1] == (lost,)


SEALED = Seal(maker="anthropic", account="acc", value="c2ln")


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        (Reasoning(text="hm"), "reasoning"),
        (Reasoning(signature=SEALED), "reasoning_signature"),
        (Reasoning(encrypted=SEALED), "reasoning_encrypted"),
        (Text(text="a", seal=SEALED), "reasoning_signature"),
        (msgspec.structs.replace(CALL, seal=SEALED), "reasoning_signature"),
        (Image(source=Inline(PNG)), "image"),
        (Audio(transcript="a"), "audio_input"),
        (HostedStep(tool="web_search", dialect="x", value=msgspec.Raw(b"{}")), "hosted_step"),
    ],
)
def test_what_an_assistant_cannot_have_said_is_named(part: exchange.Part, lost: str) -> None:
    assert encode(chat((*HI, *turn("assistant", part))))[1] == (lost,)


@pytest.mark.parametrize("kind", ["web_search", "code_execution", "nobody_knows"])
def test_tools_of_other_providers_are_named(kind: str) -> None:
    tool = HostedTool(kind=kind, dialect="x", value=msgspec.Raw(b"{}"))
    assert encode(chat(tools=(tool,))) == (
        {"model": "up", "messages": [{"role": "user", "content": "hi"}]},
        (kind if kind in FEATURES else "hosted_tool",),
    )


def test_documents() -> None:
    (message,) = messages(
        turn(
            "user",
            Document(source=Inline(PDF), media_type="application/pdf", name="a.pdf"),
            Document(source=FileId("f")),
            Document(text="t", name="n", context="c"),
            Document(source=Inline(base64.b64encode(b"x").decode()), media_type="text/plain"),
        )
    )
    assert message["content"] == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "text", "text": "n\n\nc\n\nt"},
        {"type": "text", "text": "x"},
    ]


def test_tools_of_one_name_in_two_groups_stay_apart() -> None:
    tools = (Tool(name="f"), Tool(name="f", namespace="a"), Tool(name="h", namespace="a" * 80), Tool(name="a__f"))
    history = turn("assistant", ToolCall(id="c", name="f", namespace="a"))
    body, lost = encode(chat(history, tools))
    assert lost == ()
    names = [tool["function"]["name"] for tool in body["tools"]]
    assert (names[0], names[3]) == ("f", "a__f")
    assert len(set(names)) == 4
    assert all(len(name) <= 64 for name in names)
    assert body["messages"][0]["tool_calls"][0]["function"]["name"] == names[1]
    alone, _ = encode(chat(history))
    assert alone["messages"][0]["tool_calls"][0]["function"]["name"] == "a__f"


EFFORT = ReasoningEffort(effort="medium")

# Each quirk, what is asked, what the body has of it (None: nothing), and what is lost.
QUIRKY: list[tuple[str, ChatRequest, dict[str, object], tuple[str, ...]]] = [
    ("max_completion_tokens", chat(max_tokens=5), {"max_completion_tokens": 5, "max_tokens": None}, ()),
    ("no_openai_only", chat(store=True), {"store": None}, ("store",)),
    ("sampling_extensions", chat(top_k=5, min_p=0.1), {"top_k": 5, "min_p": 0.1}, ()),
    ("random_seed", chat(seed=5), {"random_seed": 5, "seed": None}, ()),
    ("no_seed", chat(seed=5), {"seed": None}, ("seed",)),
    ("no_penalties", chat(presence_penalty=1), {"presence_penalty": None}, ("presence_penalty",)),
    ("no_logit_bias", chat(logit_bias={"1": 1}), {"logit_bias": None}, ("logit_bias",)),
    ("no_logprobs", chat(logprobs=True), {"logprobs": None}, ("logprobs",)),
    ("no_n", chat(n=2), {"n": None}, ("n",)),
    ("no_user", chat(user="u"), {"user": None}, ("user",)),
    ("no_stop", chat(stop=("a",)), {"stop": None}, ("stop",)),
    ("no_stream_options", chat(stream=True), {"stream": True, "stream_options": None}, ()),
    ("no_reasoning_effort", chat(reasoning_effort=EFFORT), {"reasoning_effort": None}, ("reasoning_effort",)),
    ("efforts_low_to_high", chat(reasoning_effort=EFFORT), {"reasoning_effort": "medium"}, ()),
    (
        "efforts_low_to_high",
        chat(reasoning_effort=ReasoningEffort(effort="xhigh")),
        {"reasoning_effort": "high"},
        ("reasoning_effort",),
    ),
    ("reasoning_effort_as_object", chat(reasoning_effort=EFFORT), {"reasoning": {"effort": "medium"}}, ()),
    (
        "reasoning_effort_as_object",
        chat(reasoning_effort=ReasoningEffort(budget_tokens=9, summary="none")),
        {"reasoning": {"max_tokens": 9, "exclude": True}, "reasoning_effort": None},
        (),
    ),
    (
        "reasoning_effort_as_object",
        chat(reasoning_effort=ReasoningEffort(adaptive=True)),
        {"reasoning": {"enabled": True}},
        (),
    ),
    (
        "thinking_switch",
        chat(reasoning_effort=EFFORT),
        {"thinking": {"type": "enabled"}, "reasoning_effort": None},
        ("reasoning_effort",),
    ),
    (
        "thinking_switch",
        chat(reasoning_effort=ReasoningEffort(effort="none")),
        {"thinking": {"type": "disabled"}},
        (),
    ),
    (
        "enable_thinking",
        chat(reasoning_effort=ReasoningEffort(budget_tokens=9)),
        {"enable_thinking": True, "thinking_budget": 9},
        (),
    ),
    (
        "enable_thinking",
        chat(reasoning_effort=ReasoningEffort(effort="none")),
        {"enable_thinking": False, "thinking_budget": None},
        (),
    ),
    (
        "reasoning_in_history",
        chat(turn("assistant", Reasoning(text="hm"), CALL)),
        {"messages[0].reasoning_content": "hm"},
        (),
    ),
    (
        "reasoning_in_history",
        chat(turn("assistant", Reasoning(text="hm"), Text(text="a"))),
        {"messages[0].reasoning_content": None},
        ("reasoning",),
    ),
    (
        "reasoning_details",
        chat((*HI, *turn("assistant", Reasoning(text="hm", signature=SEALED)))),
        {
            "messages[1].reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "hm",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                    "signature": "c2ln",
                }
            ]
        },
        (),
    ),
    (
        "reasoning_details",
        chat((*HI, *turn("assistant", Reasoning(encrypted=Seal(maker="openai", account="other", value="x"))))),
        {"messages": [{"role": "user", "content": "hi"}]},
        ("reasoning_encrypted",),
    ),
    (
        "google_extra_content",
        chat(turn("assistant", msgspec.structs.replace(CALL, seal=Seal(maker="google", value="x")))),
        {"messages[0].tool_calls[0].extra_content": {"google": {"thought_signature": "x"}}},
        (),
    ),
    ("no_developer_role", chat(turn("developer", Text(text="a"))), {"messages[0].role": "system"}, ()),
    (
        "no_developer_role",
        chat((*turn("developer", Text(text="a")), *turn("system", Text(text="b")))),
        {"messages[0].role": "system"},
        ("developer_role",),
    ),
    ("no_message_name", chat(turn("user", Text(text="a"), name="n")), {"messages[0].name": None}, ("message_name",)),
    (
        "content_as_string",
        chat(turn("user", Text(text="a"), Text(text="b"))),
        {"messages[0].content": "a\n\nb"},
        (),
    ),
    (
        "content_as_string",
        chat(turn("user", Text(text="a"), Image(source=Inline(PNG)))),
        {"messages[0].content": "a"},
        ("image",),
    ),
    (
        "no_image_urls",
        chat(turn("user", Text(text="a"), Image(source=Url("https://h/x")))),
        {"messages[0].content": "a"},
        ("image_url",),
    ),
    (
        "no_files",
        chat(turn("user", Text(text="a"), Document(source=Inline(PDF)))),
        {"messages[0].content": "a"},
        ("file",),
    ),
    (
        "file_urls",
        chat(turn("user", Document(source=Url("https://h/a.pdf"), name="a"))),
        {"messages[0].content[0].file": {"filename": "a", "file_data": "https://h/a.pdf"}},
        (),
    ),
    (
        "document_url",
        chat(turn("user", Document(source=Url("https://h/a.pdf")))),
        {"messages[0].content[0]": {"type": "document_url", "document_url": "https://h/a.pdf"}},
        (),
    ),
    (
        "video_url",
        chat(turn("user", Video(source=Url("https://h/v")))),
        {"messages[0].content[0]": {"type": "video_url", "video_url": {"url": "https://h/v"}}},
        (),
    ),
    (
        "cache_control",
        chat(turn("user", Text(text="a", cache=CacheControl(ttl="1h")))),
        {"messages[0].content[0].cache_control": {"type": "ephemeral", "ttl": "1h"}},
        (),
    ),
    (
        "no_custom_tools",
        chat(tools=(Tool(name="c", custom=True),)),
        {"tools[0].type": "function", "tools[0].function.name": "c"},
        ("tools.custom",),
    ),
    ("no_strict_tools", chat(tools=(F,)), {"tools[0].function.strict": None}, ("tools.strict",)),
    (
        "no_tool_choice_required",
        chat(tools=(G,), tool_choice=ToolChoice(mode="required")),
        {"tool_choice": "auto"},
        ("tool_choice",),
    ),
    (
        "no_allowed_tools",
        chat(tools=(F, G), tool_choice=ToolChoice(mode="required", names=("g",))),
        {"tools": [{"type": "function", "function": {"name": "g"}}], "tool_choice": "required"},
        (),
    ),
    (
        "no_parallel_tool_calls",
        chat(tools=(G,), parallel_tool_calls=False),
        {"parallel_tool_calls": None},
        ("parallel_tool_calls",),
    ),
    (
        "no_json_schema",
        chat(response_format=JsonSchema(schema=None)),
        {"response_format": {"type": "json_object"}},
        ("response_format",),
    ),
    ("no_response_format", chat(response_format=JsonObject()), {"response_format": None}, ("response_format",)),
    (
        "web_search_options",
        chat(
            tools=(
                HostedTool(
                    kind="web_search",
                    dialect="x",
                    value=msgspec.Raw(b"{}"),
                    location=msgspec.Raw(b'{"type":"approximate","city":"Oslo"}'),
                    max_uses=3,
                ),
            )
        ),
        {"web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "Oslo"}}}},
        ("web_search.options",),
    ),
]


def at(body: object, path: str) -> object:
    for step in path.replace("]", "").replace("[", ".").split("."):
        body = body[int(step)] if isinstance(body, list) else body.get(step)
    return body


@pytest.mark.parametrize(("quirk", "request_", "members", "lost"), QUIRKY, ids=[each[0] for each in QUIRKY])
def test_quirks(quirk: str, request_: ChatRequest, members: dict[str, object], lost: tuple[str, ...]) -> None:
    body, named = encode(request_, quirk)
    assert {path: at(body, path) for path in members} == members
    assert named == lost


def test_ids_of_nine_are_the_same_for_a_call_and_its_result() -> None:
    turns = (
        *turn("assistant", CALL, ToolCall(id="abcDEF123", name="f")),
        *turn("user", ToolResult(call_id="call_1"), ToolResult(call_id="abcDEF123")),
    )
    assistant, first, second = messages(turns, "tool_call_ids_of_nine")
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert ids == [first["tool_call_id"], second["tool_call_id"]]
    assert ids[1] == "abcDEF123"
    assert len(ids[0]) == 9
    assert ids[0].isalnum()


def _or_refused(request: ChatRequest, *quirks: str) -> object:
    try:
        return encode(request, *quirks)
    except UnsupportedFeatureError as error:
        return error.param


def test_each_quirk_has_a_test_in_which_it_matters() -> None:
    matter = {quirk for quirk, request, _, _ in QUIRKY if _or_refused(request) != _or_refused(request, quirk)}
    assert matter | {"tool_call_ids_of_nine"} == set(QUIRKS)


def test_a_schema_is_not_sent_to_a_model_that_is_known_to_take_none() -> None:
    body, lost = encode(chat(response_format=JsonSchema(schema=None)), json_schema=False)
    assert (body["response_format"], lost) == ({"type": "json_object"}, ("response_format",))


@pytest.mark.parametrize(
    ("asked", "effort", "lost"),
    [
        (ReasoningEffort(effort="xhigh"), "xhigh", ()),
        (ReasoningEffort(effort="max"), "high", ("reasoning_effort",)),
        (ReasoningEffort(budget_tokens=2000), "low", ("reasoning_budget",)),
        (ReasoningEffort(budget_tokens=0), "none", ()),
        (ReasoningEffort(adaptive=True), None, ("reasoning_effort",)),
        (ReasoningEffort(budget_tokens=-1), None, ("reasoning_effort",)),
        (ReasoningEffort(effort="low", summary="auto"), "low", ("reasoning_summary",)),
    ],
)
def test_how_much_to_think(asked: ReasoningEffort, effort: str | None, lost: tuple[str, ...]) -> None:
    body, named = encode(chat(reasoning_effort=asked))
    assert (body.get("reasoning_effort"), named) == (effort, lost)


def test_a_search_that_was_asked_for_in_this_dialect_is_sent_as_it_is() -> None:
    options = HostedTool(kind="web_search", dialect="openai_chat", value=msgspec.Raw(b'{"search_context_size":"low"}'))
    tool = HostedTool(kind="x", dialect="openai_chat", value=msgspec.Raw(b'{"type":"x"}'))
    body, lost = encode(chat(tools=(options, tool)))
    assert (body["web_search_options"], body["tools"], lost) == ({"search_context_size": "low"}, [{"type": "x"}], ())


def test_parameters_have_their_place() -> None:
    names = {name for name in Parameters.__struct_fields__ if name not in {"safety_settings"}}
    assert set(PARAMETERS) == names


@pytest.mark.parametrize("provider", ["openai", "azure-openai"])
def test_models_that_think_are_not_told_how_to_sample(provider: str) -> None:
    sampling: dict[str, object] = {
        "temperature": 0.2,
        "top_p": 0.9,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "logit_bias": {"1": 2.0},
        "logprobs": True,
        "top_logprobs": 2,
    }
    kept: dict[str, object] = {"max_tokens": 9, "seed": 1, "verbosity": "low"}
    encoded = UPSTREAM.encode(chat(**sampling, **kept), Target(model="gpt-5-mini", provider=provider))
    assert json.loads(encoded.body).keys() == {"model", "messages", *kept}
    assert set(encoded.lost) == set(sampling)
    encoded = UPSTREAM.encode(chat(**sampling, **kept), Target(model="gpt-5-mini", provider="openrouter"))
    assert json.loads(encoded.body).keys() == {"model", "messages", *kept, *sampling}
    assert encoded.lost == ()


@pytest.mark.parametrize(
    ("model", "provider", "asked", "said"),
    [
        ("gpt-5-mini", "openai", "max", "high"),
        ("gpt-5-mini", "azure-openai", "xhigh", "high"),
        ("gpt-5.1-codex-max", "openai", "max", "xhigh"),
        ("gpt-5.2", "openai", "max", "xhigh"),
        ("gpt-5.2", "openai", "xhigh", "xhigh"),
        ("gpt-5.6", "openai", "max", "max"),
        ("m", "vllm", "max", "high"),
        ("m", "vllm", "xhigh", "xhigh"),
    ],
)
def test_a_model_is_told_no_effort_that_it_does_not_know(model: str, provider: str, asked: Effort, said: str) -> None:
    request = chat(reasoning_effort=ReasoningEffort(effort=asked))
    encoded = UPSTREAM.encode(request, Target(model=model, provider=provider))
    assert json.loads(encoded.body)["reasoning_effort"] == said
    assert encoded.lost == (() if said == asked else ("reasoning_effort",))


def test_sampling_that_asks_for_nothing_is_left_out_without_a_word() -> None:
    nothing = {"temperature": 1.0, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}}
    encoded = UPSTREAM.encode(chat(**nothing, logprobs=False, top_logprobs=0), Target(model="o3", provider="openai"))
    assert json.loads(encoded.body).keys() == {"model", "messages"}
    assert encoded.lost == ()
