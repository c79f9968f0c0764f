"""What Gemini is sent for a neutral request, and what is said to be lost on the way."""

import json

import msgspec
import pytest
from google.genai import types

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Capabilities, Target
from trunkline_gateway.dialects.gemini_generate import CODEC, encode_request
from trunkline_gateway.errors import InvalidRequestError
from trunkline_gateway.exchange import losses

CHAT = CODEC.upstream["chat"]
ACCOUNT = "0123abcd"
FLASH = Target(model="gemini-2.5-flash", account=ACCOUNT)
PRO = Target(model="gemini-2.5-pro", account=ACCOUNT)
THIRD = Target(model="gemini-3-flash-preview", account=ACCOUNT)
OLD = Target(model="gemini-2.0-flash", account=ACCOUNT)
SKIP = "skip_thought_signature_validator"
RAW = msgspec.Raw


def turn(role: exchange.Role, *parts: exchange.Part | str, name: str | None = None) -> exchange.Turn:
    made = tuple(exchange.Text(text=part) if isinstance(part, str) else part for part in parts)
    return exchange.Turn(role=role, parts=made, name=name)


def sent(*turns: exchange.Turn, target: Target = FLASH, **more: object) -> tuple[dict, tuple[str, ...]]:
    request = exchange.ChatRequest(model="m", turns=turns or (turn("user", "hi"),), **more)
    encoded = CHAT.encode(request, target)
    assert all(losses.label(name) != losses.UNKNOWN for name in encoded.lost), encoded.lost
    body = json.loads(encoded.body)
    for content in body["contents"]:
        types.Content.model_validate(content)
    types.GenerationConfig.model_validate(body.get("generationConfig", {}))
    types.ToolConfig.model_validate(body.get("toolConfig", {}))
    for tool in body.get("tools", []):
        types.Tool.model_validate(tool)
    return body, encoded.lost


def config(target: Target = FLASH, **parameters: object) -> tuple[dict, tuple[str, ...]]:
    body, lost = sent(target=target, parameters=exchange.Parameters(**parameters))
    return body.get("generationConfig", {}), lost


def seal(value: str = "c2ln", maker: exchange.Maker = "google", account: str = ACCOUNT) -> exchange.Seal:
    return exchange.Seal(maker=maker, account=account, value=value)


# ---- turns -----------------------------------------------------------------------------------------------------------


def test_instructions_are_hoisted_and_turns_joined():
    body, lost = sent(
        turn("system", "a"),
        turn("developer", "b"),
        turn("user", "c"),
        turn("user", "d"),
        turn("assistant", "e"),
        turn("system", "f"),
    )
    assert body == {
        "contents": [
            {"role": "user", "parts": [{"text": "c"}, {"text": "d"}]},
            {"role": "model", "parts": [{"text": "e"}]},
        ],
        "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}, {"text": "f"}]},
    }
    assert lost == ("system_position",)


def test_an_instruction_alone_is_what_is_asked():
    assert sent(turn("system", "a")) == (
        {"contents": [{"role": "user", "parts": [{"text": "a"}]}]},
        ("system_position",),
    )


def test_empty_turns_are_left_out():
    body, lost = sent(turn("user", "a"), turn("assistant", ""), turn("user", "b"))
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]
    assert lost == ()


INLINE = exchange.Inline("iVBORw0KGgo=")
URL = exchange.Url("https://e.example/a.pdf?x=1")


@pytest.mark.parametrize(
    ("part", "target", "wanted", "lost"),
    [
        (exchange.Image(source=INLINE), FLASH, {"inlineData": {"mimeType": "image/png", "data": INLINE.data}}, ()),
        (
            exchange.Image(source=exchange.Inline("AAAA")),
            FLASH,
            {"inlineData": {"mimeType": "image/jpeg", "data": "AAAA"}},
            (),
        ),
        (
            exchange.Image(source=exchange.Url("https://e/a.webp")),
            FLASH,
            {"fileData": {"fileUri": "https://e/a.webp", "mimeType": "image/webp"}},
            (),
        ),
        (exchange.Image(source=exchange.Url("https://e/a")), FLASH, {"fileData": {"fileUri": "https://e/a"}}, ()),
        (
            exchange.Image(source=exchange.Url("https://e/a")),
            Target(model="m", provider="vertex"),
            {"fileData": {"fileUri": "https://e/a", "mimeType": "image/jpeg"}},
            (),
        ),
        (
            exchange.Image(source=exchange.Url("https://e/a")),
            Target(model="m", quirks=frozenset({"no_image_urls"})),
            None,
            ("image_url",),
        ),
        (exchange.Image(source=exchange.FileId("file-1")), FLASH, None, ("image_file",)),
        (
            exchange.Image(source=exchange.FileId("files/1"), media_type="image/png"),
            FLASH,
            {
                "fileData": {
                    "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/1",
                    "mimeType": "image/png",
                }
            },
            (),
        ),
        (
            exchange.Image(source=INLINE, detail="high"),
            FLASH,
            {"inlineData": {"mimeType": "image/png", "data": INLINE.data}},
            ("image_detail",),
        ),
        (
            exchange.Image(source=INLINE, detail="high"),
            THIRD,
            {
                "inlineData": {"mimeType": "image/png", "data": INLINE.data},
                "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"},
            },
            (),
        ),
        (exchange.Document(source=URL), FLASH, {"fileData": {"fileUri": URL.url, "mimeType": "application/pdf"}}, ()),
        (
            exchange.Document(source=exchange.Inline("AAAA"), name="a.csv"),
            FLASH,
            {"inlineData": {"mimeType": "text/csv", "data": "AAAA"}},
            ("file_name",),
        ),
        (exchange.Document(text="words", name="Terms"), FLASH, {"text": "words"}, ("file_name",)),
        (exchange.Document(source=exchange.FileId("file-1"), name="a.pdf"), FLASH, None, ("file_id",)),
        (exchange.Document(text="words", citations=True), FLASH, {"text": "words"}, ("file_citations",)),
        (exchange.Document(source=exchange.FileId("file-1")), FLASH, None, ("file_id",)),
        (
            exchange.Audio(source=exchange.Inline("AAAA"), media_type="audio/mp3"),
            FLASH,
            {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
            (),
        ),
        (exchange.Audio(id="audio_1", transcript="hi"), FLASH, {"text": "hi"}, ("audio_input",)),
        (
            exchange.Video(source=exchange.Url("gs://b/v.mov")),
            FLASH,
            {"fileData": {"fileUri": "gs://b/v.mov", "mimeType": "video/mov"}},
            (),
        ),
        (exchange.Text(text="a", cache=exchange.CacheControl()), FLASH, {"text": "a"}, ("cache_control",)),
        (exchange.Text(text="a", citations=(exchange.UrlCitation(url="u"),)), FLASH, {"text": "a"}, ("citations",)),
        (exchange.Refusal(text="no"), FLASH, {"text": "no"}, ("refusal",)),
        (
            exchange.HostedStep(tool="web_search", dialect="openai_responses", value=RAW(b"{}")),
            FLASH,
            None,
            ("hosted_step",),
        ),
    ],
)
def test_parts(part, target, wanted, lost):
    body, said = sent(turn("user", "q", part), target=target)
    assert body["contents"][0]["parts"][1:] == ([] if wanted is None else [wanted])
    assert said == lost


def test_a_foreign_part_is_lost_by_its_kind():
    part = exchange.Foreign(dialect="anthropic_messages", kind="container_upload", value=RAW(b"{}"))
    request = exchange.ChatRequest(model="m", turns=(turn("user", "a", part),))
    assert CHAT.encode(request, FLASH).lost == ("container_upload",)


def test_calls_and_results():
    call = exchange.ToolCall(id="c1", name="get weather", arguments='{"a": 1.50}')
    results = (
        exchange.ToolResult(call_id="c1", content=(exchange.Text(text="sunny"),)),
        exchange.ToolResult(call_id="c1", content=(exchange.Text(text='{"t": 1}'),)),
        exchange.ToolResult(call_id="c1", content=(exchange.Text(text="broke"),), is_error=True),
        exchange.ToolResult(call_id="c1", content=(exchange.Text(text="x"),), structured=RAW(b'{"result":"x"}')),
        exchange.ToolResult(call_id="c9", name="other"),
    )
    tool = exchange.Tool(name="get weather")
    body, lost = sent(turn("user", "q"), turn("assistant", call), turn("user", *results, "and?"), tools=(tool,))
    name = body["tools"][0]["functionDeclarations"][0]["name"]
    assert name.startswith("get_weather_")
    assert body["contents"][1]["parts"] == [
        {"functionCall": {"id": "c1", "name": name, "args": {"a": 1.5}}, "thoughtSignature": SKIP}
    ]
    assert [part["functionResponse"] for part in body["contents"][2]["parts"][:-1]] == [
        {"id": "c1", "name": name, "response": {"output": "sunny"}},
        {"id": "c1", "name": name, "response": {"t": 1}},
        {"id": "c1", "name": name, "response": {"error": "broke"}},
        {"id": "c1", "name": name, "response": {"result": "x"}},
        {"id": "c9", "name": "other", "response": {"output": ""}},
    ]
    assert lost == ()


def test_pictures_in_results():
    picture = exchange.Image(source=INLINE)
    result = exchange.ToolResult(call_id="c", content=(exchange.Text(text="see"), picture))
    turns = (turn("assistant", exchange.ToolCall(id="c", name="f")), turn("user", result, result, "so?"))
    blob = {"inlineData": {"mimeType": "image/png", "data": INLINE.data}}
    old = sent(*turns)[0]["contents"][1]["parts"]
    assert [next(iter(part)) for part in old] == [
        "functionResponse",
        "functionResponse",
        "inlineData",
        "inlineData",
        "text",
    ]
    new = sent(*turns, target=THIRD)[0]["contents"][1]["parts"]
    assert [part.get("functionResponse", {}).get("parts") for part in new] == [[blob], [blob], None]


@pytest.mark.parametrize(
    ("arguments", "wanted", "lost"),
    [
        ("", {}, ()),
        ("{}", {}, ()),
        ("not json", {"input": "not json"}, ("tool_arguments",)),
        ("[1]", {"input": "[1]"}, ("tool_arguments",)),
    ],
)
def test_arguments(arguments, wanted, lost):
    body, said = sent(turn("assistant", exchange.ToolCall(id="c", name="f", arguments=arguments)))
    assert (body["contents"][0]["parts"][0]["functionCall"]["args"], said) == (wanted, lost)


# ---- signatures ------------------------------------------------------------------------------------------------------


def call(value: exchange.Seal | None = None) -> exchange.ToolCall:
    return exchange.ToolCall(id="c", name="f", seal=value)


@pytest.mark.parametrize(
    ("parts", "signatures", "lost"),
    [
        ([call(seal())], ["c2ln"], ()),
        ([call(seal()), call()], ["c2ln", None], ()),
        ([call(), call()], [SKIP, None], ()),
        ([call(seal(account="ffffffff"))], [SKIP], ("reasoning_signature",)),
        ([call(seal(maker="anthropic"))], [SKIP], ("reasoning_signature",)),
        ([call(seal(account=""))], ["c2ln"], ()),
        ([exchange.Text(text="a", seal=seal())], ["c2ln"], ()),
        ([exchange.Reasoning(text="t", signature=seal())], ["c2ln"], ()),
        ([exchange.Reasoning(text="t", signature=seal(maker="anthropic"))], [None], ("reasoning_signature",)),
        ([exchange.Reasoning(encrypted=seal(maker="openai"))], [], ("reasoning_encrypted",)),
        ([exchange.Reasoning(signature=seal())], ["c2ln"], ()),
    ],
)
def test_signatures_go_back_to_who_made_them(parts, signatures, lost):
    body, said = sent(turn("user", "q"), turn("assistant", *parts))
    contents = body["contents"][1:]
    assert [part.get("thoughtSignature") for content in contents for part in content["parts"]] == signatures
    assert said == lost


# ---- tools -----------------------------------------------------------------------------------------------------------

SCHEMA = RAW(
    b'{"type":"object","properties":{"a":{"type":["string","null"],"minLength":1}},"additionalProperties":false}'
)
TOOL = exchange.Tool(name="f", description="d", parameters=SCHEMA)


def test_functions():
    body, lost = sent(tools=(TOOL, exchange.Tool(name="g", strict=True), TOOL))
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "d", "parametersJsonSchema": json.loads(bytes(SCHEMA))},
                {"name": "g"},
            ]
        }
    ]
    assert lost == ("tools.strict",)


def test_functions_of_old_models():
    body, _ = sent(tools=(TOOL,), target=Target(model="m", quirks=frozenset({"old_schema"})))
    (declared,) = body["tools"][0]["functionDeclarations"]
    properties = {"a": {"type": "STRING", "nullable": True, "minLength": 1}}
    assert declared["parameters"] == {"type": "OBJECT", "properties": properties}


SEARCH = exchange.HostedTool(kind="web_search", dialect="openai_responses", value=RAW(b"{}"))


@pytest.mark.parametrize(
    ("tools", "target", "wanted", "lost"),
    [
        ((SEARCH,), FLASH, [{"googleSearch": {}}], ()),
        ((msgspec.structs.replace(SEARCH, max_uses=3),), FLASH, [{"googleSearch": {}}], ("web_search.options",)),
        (
            (exchange.HostedTool(kind="web_fetch", dialect="anthropic_messages", value=RAW(b"{}")),),
            FLASH,
            [{"urlContext": {}}],
            (),
        ),
        (
            (exchange.HostedTool(kind="code_execution", dialect="x", value=RAW(b"{}")),),
            FLASH,
            [{"codeExecution": {}}],
            (),
        ),
        ((exchange.HostedTool(kind="mcp", dialect="x", value=RAW(b"{}")),), FLASH, None, ("mcp",)),
        ((exchange.HostedTool(kind="what", dialect="x", value=RAW(b"{}")),), FLASH, None, ("hosted_tool",)),
        (
            (exchange.HostedTool(kind="file_search", dialect="gemini_generate", value=RAW(b'{"fileSearch":{}}')),),
            FLASH,
            [{"fileSearch": {}}],
            (),
        ),
        ((SEARCH, exchange.Tool(name="f")), FLASH, [{"functionDeclarations": [{"name": "f"}]}], ("web_search",)),
        (
            (SEARCH, exchange.Tool(name="f")),
            THIRD,
            [{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}],
            (),
        ),
    ],
)
def test_hosted_tools(tools, target, wanted, lost):
    body, said = sent(tools=tools, target=target)
    assert (body.get("tools"), said) == (wanted, lost)
    assert body.get("toolConfig") == ({"includeServerSideToolInvocations": True} if len(wanted or ()) == 2 else None)


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (exchange.ToolChoice(mode="auto"), {"mode": "AUTO"}),
        (exchange.ToolChoice(mode="none"), {"mode": "NONE"}),
        (exchange.ToolChoice(mode="required"), {"mode": "ANY"}),
        (exchange.ToolChoice(mode="named", names=("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (exchange.ToolChoice(mode="required", names=("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (exchange.ToolChoice(mode="auto", names=("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tool_choice(choice, wanted):
    body, lost = sent(tools=(TOOL,), parameters=exchange.Parameters(tool_choice=choice))
    assert (body["toolConfig"]["functionCallingConfig"], lost) == (wanted, ())


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_what_was_not_said_is_not_sent():
    assert sent()[0] == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_plain_parameters_keep_their_kind():
    made, lost = config(
        max_tokens=5,
        temperature=1,
        top_p=0.5,
        top_k=3,
        seed=7,
        presence_penalty=0.0,
        frequency_penalty=-1,
        n=2,
        stop=("a",),
    )
    assert json.dumps(made, sort_keys=True) == json.dumps(
        {
            "maxOutputTokens": 5,
            "temperature": 1,
            "topP": 0.5,
            "topK": 3,
            "seed": 7,
            "presencePenalty": 0.0,
            "frequencyPenalty": -1,
            "candidateCount": 2,
            "stopSequences": ["a"],
        },
        sort_keys=True,
    )
    assert lost == ()


@pytest.mark.parametrize(
    ("parameters", "wanted", "lost"),
    [
        ({"stop": tuple("abcdefg")}, {"stopSequences": list("abcde")}, ("stop",)),
        ({"logprobs": True, "top_logprobs": 3}, {"responseLogprobs": True, "logprobs": 3}, ()),
        ({"logprobs": False}, {}, ()),
        ({"logit_bias": {"1": 2.0}}, {}, ("logit_bias",)),
        ({"user": "u"}, {}, ("user",)),
        ({"parallel_tool_calls": False}, {}, ("parallel_tool_calls",)),
        ({"parallel_tool_calls": True}, {}, ()),
        ({"modalities": ("text",)}, {}, ()),
        ({"modalities": ("text", "image")}, {"responseModalities": ["TEXT", "IMAGE"]}, ()),
        ({"response_format": exchange.JsonObject()}, {"responseMimeType": "application/json"}, ()),
        (
            {"response_format": exchange.JsonSchema(schema=RAW(b'{"type":"object"}'))},
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
            (),
        ),
    ],
)
def test_parameters(parameters, wanted, lost):
    assert config(**parameters) == (wanted, lost)


def test_an_answer_in_a_schema_of_old_models():
    asked = exchange.JsonSchema(schema=RAW(b'{"type":"object","properties":{"a":{"const":"x"}}}'))
    made, _ = config(Target(model="m", quirks=frozenset({"old_schema"})), response_format=asked)
    assert made["responseSchema"] == {"type": "OBJECT", "properties": {"a": {"enum": ["x"], "type": "STRING"}}}


@pytest.mark.parametrize(
    ("tier", "target", "wanted", "lost"),
    [
        ("auto", FLASH, None, ()),
        ("default", FLASH, "standard", ()),
        ("flex", FLASH, "flex", ()),
        ("scale", FLASH, None, ("service_tier",)),
        ("flex", Target(model="m", provider="vertex"), None, ("service_tier",)),
        ("default", Target(model="m", provider="vertex"), None, ()),
    ],
)
def test_service_tiers(tier, target, wanted, lost):
    body, said = sent(target=target, parameters=exchange.Parameters(service_tier=tier))
    assert (body.get("serviceTier"), said) == (wanted, lost)


def think(**asked: object) -> exchange.ReasoningEffort:
    return exchange.ReasoningEffort(**asked)


NO_THOUGHT = Target(model="gemini-2.5-flash", capabilities=Capabilities(reasoning=False))
LEVELS = Target(model="gemini-2.5-flash", quirks=frozenset({"thinking_level"}))
THIRD_PRO = Target(model="gemini-3.1-pro-preview")


@pytest.mark.parametrize(
    ("asked", "target", "wanted", "lost"),
    [
        (think(effort="none"), FLASH, {"thinkingBudget": 0}, ()),
        (think(effort="none"), PRO, {"thinkingBudget": 128}, ("reasoning_effort",)),
        (think(effort="none"), OLD, None, ()),
        (think(effort="high"), OLD, None, ("reasoning_effort",)),
        (think(effort="high"), NO_THOUGHT, None, ("reasoning_effort",)),
        (think(effort="low"), FLASH, {"thinkingBudget": 4096, "includeThoughts": True}, ()),
        (think(effort="max"), FLASH, {"thinkingBudget": 24576, "includeThoughts": True}, ()),
        (think(effort="high", summary="none"), FLASH, {"thinkingBudget": 16384, "includeThoughts": False}, ()),
        (think(budget_tokens=31999), FLASH, {"thinkingBudget": 24576, "includeThoughts": True}, ("reasoning_budget",)),
        (think(budget_tokens=31999), PRO, {"thinkingBudget": 31999, "includeThoughts": True}, ()),
        (think(budget_tokens=-1), FLASH, {"thinkingBudget": -1, "includeThoughts": True}, ()),
        (think(adaptive=True), FLASH, {"thinkingBudget": -1, "includeThoughts": True}, ()),
        (think(summary="auto"), FLASH, {"includeThoughts": True}, ()),
        (think(summary="auto"), OLD, None, ()),
        (think(effort="low"), THIRD, {"thinkingLevel": "LOW", "includeThoughts": True}, ()),
        (think(effort="none"), THIRD, {"thinkingLevel": "MINIMAL"}, ("reasoning_effort",)),
        (think(effort="minimal"), THIRD, {"thinkingLevel": "MINIMAL", "includeThoughts": True}, ()),
        (think(effort="minimal"), THIRD_PRO, {"thinkingLevel": "LOW", "includeThoughts": True}, ("reasoning_effort",)),
        (think(effort="max"), THIRD, {"thinkingLevel": "HIGH", "includeThoughts": True}, ("reasoning_effort",)),
        (think(budget_tokens=4000), THIRD, {"thinkingBudget": 4000, "includeThoughts": True}, ()),
        (think(budget_tokens=4000), LEVELS, {"thinkingLevel": "LOW", "includeThoughts": True}, ("reasoning_budget",)),
        (think(adaptive=True), THIRD, {"includeThoughts": True}, ()),
    ],
)
def test_thinking(asked, target, wanted, lost):
    made, said = config(target, reasoning_effort=asked)
    assert (made.get("thinkingConfig"), said) == (wanted, lost)


def test_a_count_is_of_the_whole_request():
    request = exchange.ChatRequest(model="m", turns=(turn("system", "s"), turn("user", "u")), tools=(TOOL,))
    count = CODEC.upstream["count_tokens"]
    body = json.loads(count.encode(request, FLASH).body)
    assert list(body) == ["generateContentRequest"]
    assert body["generateContentRequest"]["model"] == "models/gemini-2.5-flash"
    assert set(body["generateContentRequest"]) == {"model", "contents", "systemInstruction", "tools"}
    vertex = json.loads(count.encode(request, Target(model="m", provider="vertex")).body)
    assert set(vertex) == {"contents", "systemInstruction", "tools"}


def test_embeddings_are_not_asked_for_here():
    with pytest.raises(InvalidRequestError):
        CHAT.encode(exchange.EmbeddingsRequest(model="m", inputs=("a",)), FLASH)


def test_many_turns_take_linear_time():
    import time

    turns = tuple(turn(role, "x" * 50) for role in ("user", "assistant") for _ in range(30_000))
    body = json.dumps(
        {
            "contents": [
                {"role": role, "parts": [{"text": "x" * 50}]} for role in ("user", "model") for _ in range(30_000)
            ]
        }
    ).encode()
    began = time.monotonic()
    sent_body = CHAT.encode(exchange.ChatRequest(model="m", turns=turns), FLASH).body
    assert len(json.loads(sent_body)["contents"]) == 2
    request = CODEC.ingress["chat"].decode(msgspec.json.decode(body, type=dict[str, RAW]), "m", False, b"")
    assert len(request.turns[-1].parts[0].text) == 1_500_000
    assert time.monotonic() - began < 5


def test_pointers_are_those_that_are_written():
    made, _ = config(
        max_tokens=5,
        temperature=1.0,
        top_p=0.5,
        top_k=3,
        seed=7,
        presence_penalty=0.0,
        frequency_penalty=1.0,
        n=2,
        logprobs=True,
        top_logprobs=2,
    )
    pointers = {pointer.rsplit("/", 1)[1] for pointer in encode_request.PARAMETERS.values()}
    assert pointers - {"safetySettings"} == set(made)
    assert encode_request.PARAMETERS is CHAT.parameters


def test_tools_of_free_text_and_of_a_namespace_come_home_and_are_not_lost():
    free = exchange.Tool(name="say", custom=True, format=msgspec.Raw(b'{"type":"text"}'))
    grouped = exchange.Tool(name="g", description="Does.", namespace="ns", namespace_description="A group.")
    body, lost = sent(tools=(free, exchange.Tool(name="patch", custom=True), grouped))
    declared = body["tools"][0]["functionDeclarations"]
    assert [each["name"] for each in declared] == ["say", "patch", "g"]
    assert declared[0]["parametersJsonSchema"]["required"] == ["input"]
    assert declared[2]["description"] == "A group.\n\nDoes."
    assert lost == ()


def test_the_grammar_of_free_text_is_lost():
    grammar = msgspec.Raw(b'{"type":"grammar","syntax":"lark","definition":"start: A"}')
    assert sent(tools=(exchange.Tool(name="patch", custom=True, format=grammar),))[1] == ("tools.custom",)
