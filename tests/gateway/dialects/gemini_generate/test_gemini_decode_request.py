"""What a client of Gemini's asks for, in neutral terms; and what it is told where it asks for nonsense."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.gemini_generate import CODEC, decode_request, parts
from trunkline_gateway.errors import InvalidRequestError
from trunkline_gateway.exchange import origin

CHAT = CODEC.ingress["chat"]
HI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def decode(body: object, query: bytes = b"alt=sse", stream: bool = False) -> exchange.ChatRequest:
    return CHAT.decode(msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw]), "m", stream, query)


def contents(*made: object) -> tuple[exchange.Turn, ...]:
    return decode({"contents": list(made)}).turns


def user(*wired: object) -> tuple[exchange.Part, ...]:
    return contents({"role": "user", "parts": list(wired)})[0].parts


def model(*wired: object) -> tuple[exchange.Part, ...]:
    return contents({"role": "model", "parts": list(wired)})[0].parts


def plain(value: object) -> object:
    """With JSON that stays bytes as values."""
    return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value


# ---- contents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        [{"role": "user", "parts": [{"text": "hi"}]}],
        [{"parts": [{"text": "hi"}]}],
        {"parts": {"text": "hi"}},
        [{"role": "USER", "parts": [{"text": "hi", "thought": None}]}],
        "hi",
        ["hi"],
        [{"text": "hi"}],
    ],
)
def test_contents_in_all_their_forms(said):
    assert decode({"contents": said}).turns == (exchange.Turn(role="user", parts=(exchange.Text(text="hi"),)),)


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
@pytest.mark.parametrize(
    "said",
    ["be brief", {"parts": [{"text": "be brief"}], "role": "user"}, [{"text": "be brief"}], {"text": "be brief"}],
)
def test_instructions_in_all_their_forms(name, said):
    first = decode(HI | {name: said}).turns[0]
    assert first == exchange.Turn(role="system", parts=(exchange.Text(text="be brief"),))


@pytest.mark.parametrize(
    ("wired", "wanted"),
    [
        (
            {"inlineData": {"mimeType": "image/png", "data": "-_8"}},
            exchange.Image(source=exchange.Inline("+/8="), media_type="image/png"),
        ),
        (
            {"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}},
            exchange.Audio(source=exchange.Inline("AAAA"), media_type="audio/wav"),
        ),
        (
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://e/a"}},
            exchange.Document(source=exchange.Url("https://e/a"), media_type="application/pdf"),
        ),
        (
            {"file_data": {"file_uri": "gs://b/v", "mime_type": "video/mp4"}},
            exchange.Video(source=exchange.Url("gs://b/v"), media_type="video/mp4"),
        ),
        (
            {"fileData": {"fileUri": f"{parts.FILES}v1beta/files/x"}},
            exchange.Document(source=exchange.FileId(f"{parts.FILES}v1beta/files/x")),
        ),
        (
            {
                "inlineData": {"mimeType": "image/png", "data": "AAAA"},
                "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"},
            },
            exchange.Image(source=exchange.Inline("AAAA"), media_type="image/png", detail="high"),
        ),
    ],
)
def test_media(wired, wanted):
    assert user(wired) == (wanted,)


def test_results_find_their_calls_by_order_and_name():
    turns = contents(
        {"role": "model", "parts": [{"functionCall": {"name": n, "args": {"i": i}}} for i, n in enumerate("fgf")]},
        {"role": "function", "parts": [{"functionResponse": {"name": n, "response": {"result": n}}} for n in "gff"]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "id": "mine"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "id": "mine", "response": {"error": "x"}}}]},
    )
    calls = [part.id for part in turns[0].parts]
    assert calls == ["call_1", "call_2", "call_3"]
    assert [part.call_id for part in turns[1].parts] == ["call_2", "call_1", "call_3"]
    assert turns[2].parts[0] == exchange.ToolCall(id="mine", name="f", arguments="{}")
    (result,) = turns[3].parts
    assert (result.call_id, result.is_error, result.content) == ("mine", True, (exchange.Text(text="x"),))


def test_results():
    one, two, three = user(
        {"functionResponse": {"name": "f", "id": "1", "response": {"output": "plain"}}},
        {"functionResponse": {"name": "f", "id": "2", "response": {"a": 1.50}}},
        {
            "functionResponse": {
                "name": "f",
                "id": "3",
                "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
            }
        },
    )
    assert one.content == (exchange.Text(text="plain"),)
    assert (two.content[0].text, plain(two.structured)) == ('{"a": 1.5}', {"a": 1.5})
    assert three.content == (exchange.Image(source=exchange.Inline("AAAA"), media_type="image/png"),)


def test_the_pieces_of_a_streamed_turn_are_one_again():
    stamped = origin.stamp(exchange.Seal(maker="anthropic", account="a" * 8, value="sig"))
    pieces = [{"text": "th", "thought": True}, {"text": "ink", "thought": True}]
    pieces += [
        {"text": "", "thought": True, "thoughtSignature": stamped},
        {"text": "an"},
        {"text": "swer"},
        {"text": ""},
    ]
    wanted = (
        exchange.Reasoning(text="think", signature=exchange.Seal(maker="anthropic", account="a" * 8, value="sig")),
        exchange.Text(text="answer"),
    )
    assert model(*pieces) == wanted
    turns = contents(*({"role": "model", "parts": [piece]} for piece in pieces))
    assert turns == (exchange.Turn(role="assistant", parts=wanted),), "chats keep each piece as a Content"


@pytest.mark.parametrize("kind", ["signature", "encrypted"])
def test_seals_come_back_through_googles_sdk(kind):
    """It decodes base64 and encodes it again in the other alphabet."""
    import base64

    seal = exchange.Seal(maker="openai", account="01234567", value="ÿ?>~" * 9)
    stamped = parts.stamped(seal, kind, "rs_1" if kind == "encrypted" else "")
    again = base64.urlsafe_b64encode(base64.b64decode(stamped)).decode()
    assert again != stamped
    for text in (stamped, again, again.rstrip("=")):
        assert parts.unstamped(text) == (seal, kind, "rs_1" if kind == "encrypted" else "")


def test_a_signature_of_googles_own_and_none_at_all():
    call = {"functionCall": {"name": "f", "id": "c"}}
    assert model(call | {"thoughtSignature": "YWI="})[0].seal == exchange.Seal(maker="google", value="YWI=")
    for dummy in ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go"):
        assert model(call | {"thoughtSignature": dummy})[0].seal is None


def test_code_and_googles_tools():
    ran, call = model(
        {"executable_code": {"code": "1", "language": "PYTHON"}},
        {"toolCall": {"toolType": "URL_CONTEXT", "id": "t"}, "thoughtSignature": "YWI="},
    )
    assert (ran.tool, plain(ran.value)) == ("code_execution", {"executableCode": {"code": "1", "language": "PYTHON"}})
    assert (call.tool, plain(call.value)["thoughtSignature"]) == ("url_context", "YWI=")


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_functions():
    own = {
        "type": "OBJECT",
        "properties": {"a": {"type": "STRING", "nullable": True}, "b": {"type": 3}},
        "required": ["a"],
    }
    schema = {"type": "object", "properties": {}}
    declared = [
        {"name": "f", "description": "d", "parameters": own, "response": {"type": "STRING"}},
        {"name": "g", "parameters_json_schema": schema, "behavior": "BLOCKING"},
        {"name": "h"},
    ]
    request = decode(HI | {"tools": [{"function_declarations": declared}, {"googleSearch": {}}, {"computerUse": {}}]})
    f, g, h, search, computer = request.tools
    assert (f.name, f.description, plain(f.parameters)) == (
        "f",
        "d",
        {
            "type": "object",
            "properties": {"a": {"type": ["string", "null"]}, "b": {"type": "integer"}},
            "required": ["a"],
        },
    )
    assert (plain(g.parameters), h.parameters) == (schema, None)
    assert (search.kind, search.dialect, plain(search.value)) == ("web_search", "gemini_generate", {"googleSearch": {}})
    assert computer.kind == "computer"
    assert request.unsaid == ("tools.functionDeclarations.response", "tools.functionDeclarations.behavior")


@pytest.mark.parametrize(
    ("calling", "wanted"),
    [
        ({"mode": "AUTO"}, exchange.ToolChoice(mode="auto")),
        ({"mode": 1}, exchange.ToolChoice(mode="auto")),
        ({"mode": "any"}, exchange.ToolChoice(mode="required")),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, exchange.ToolChoice(mode="named", names=("f",))),
        ({"mode": 2, "allowed_function_names": ["f", "g"]}, exchange.ToolChoice(mode="required", names=("f", "g"))),
        ({"mode": "NONE"}, exchange.ToolChoice(mode="none")),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, exchange.ToolChoice(mode="auto", names=("f",))),
        ({}, exchange.ToolChoice(mode="auto")),
    ],
)
def test_tool_choice(calling, wanted):
    assert decode(HI | {"tool_config": {"function_calling_config": calling}}).parameters.tool_choice == wanted


# ---- generationConfig ------------------------------------------------------------------------------------------------


def test_parameters():
    said = {
        "maxOutputTokens": "5",
        "temperature": 1,
        "top_p": 0.5,
        "topK": 40.0,
        "stop_sequences": ["a"],
        "seed": 7,
        "presencePenalty": 0.5,
        "frequency_penalty": -0.5,
        "responseLogprobs": True,
        "logprobs": 3,
        "candidateCount": 2,
        "responseModalities": ["TEXT", 3],
    }
    request = decode(
        HI | {"generation_config": said, "safetySettings": [{"category": 7}], "serviceTier": "flex", "store": False}
    )
    made = request.parameters
    assert (made.max_tokens, made.temperature, made.top_p, made.top_k, made.stop, made.seed) == (
        5,
        1,
        0.5,
        40,
        ("a",),
        7,
    )
    assert isinstance(made.temperature, int)
    assert (made.presence_penalty, made.frequency_penalty, made.n) == (0.5, -0.5, 2)
    assert (made.logprobs, made.top_logprobs, made.modalities) == (True, 3, ("text", "audio"))
    assert (plain(made.safety_settings), made.service_tier, made.store) == ([{"category": 7}], "flex", False)
    assert request.unsaid == ()


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, None),
        ({"responseMimeType": "text/plain"}, None),
        ({"responseMimeType": "application/json"}, "object"),
        ({"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}, {"type": "object"}),
        ({"response_json_schema": {"type": "object", "x": 1}}, {"type": "object", "x": 1}),
    ],
)
def test_formats(said, wanted):
    made = decode(HI | {"generationConfig": said}).parameters.response_format
    if isinstance(wanted, dict):
        assert plain(made.schema) == wanted
    else:
        assert made == (None if wanted is None else exchange.JsonObject())


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, None),
        ({"includeThoughts": True}, exchange.ReasoningEffort(summary="auto")),
        ({"thinking_budget": 128}, exchange.ReasoningEffort(budget_tokens=128, summary="none")),
        ({"thinkingBudget": -1, "includeThoughts": True}, exchange.ReasoningEffort(budget_tokens=-1, summary="auto")),
        ({"thinkingLevel": "high"}, exchange.ReasoningEffort(effort="high", summary="none")),
        ({"thinkingLevel": 1}, exchange.ReasoningEffort(effort="low", summary="none")),
    ],
)
def test_thinking(said, wanted):
    assert decode(HI | {"generationConfig": {"thinkingConfig": said}}).parameters.reasoning_effort == wanted


def test_what_only_google_knows_is_named_and_kept_for_google():
    request = decode(
        HI
        | {
            "cachedContent": "cachedContents/1",
            "labels": {"a": "b"},
            "foo_bar": 1,
            "generationConfig": {"speechConfig": {}, "mediaResolution": "MEDIA_RESOLUTION_LOW"},
            "toolConfig": {"retrievalConfig": {"languageCode": "de"}},
        }
    )
    assert set(request.unsaid) == {
        "cachedContent",
        "labels",
        "fooBar",
        "generationConfig.speechConfig",
        "generationConfig.mediaResolution",
        "toolConfig.retrievalConfig",
    }
    sent = json.loads(CODEC.upstream["chat"].encode(request, Target(model="m")).body)
    assert (sent["cachedContent"], sent["labels"]) == ("cachedContents/1", {"a": "b"})
    assert sent["generationConfig"] == {"speechConfig": {}, "mediaResolution": "MEDIA_RESOLUTION_LOW"}
    assert sent["toolConfig"] == {"retrievalConfig": {"languageCode": "de"}}
    assert "fooBar" not in sent


def test_unknown_fields_of_parts_are_named():
    request = decode(
        {"contents": [{"parts": [{"text": "a", "videoMetadata": {"fps": 1}, "partMetadata": {}}], "x": 1}]}
    )
    assert set(request.unsaid) == {"contents.parts.videoMetadata", "contents.parts.partMetadata", "contents.x"}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (b"alt=sse", False),
        (b"key=x&alt=sse", False),
        (b"", True),
        (b"%24alt=json%3Benum-encoding%3Dint", True),
        (b"\xff", True),
    ],
)
def test_the_query_says_how_a_stream_is_framed(query, wanted):
    assert decode(HI, query, stream=True).own.is_array is wanted
    assert decode_request.is_array(query) is wanted


@pytest.mark.parametrize(
    "body", [HI, {"generateContentRequest": HI | {"model": "models/m"}}, {"generate_content_request": HI}]
)
def test_a_count_is_of_contents_or_of_a_whole_request(body):
    fields = msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw])
    request = CODEC.ingress["count_tokens"].decode(fields, "m", False, b"")
    assert request.turns == (exchange.Turn(role="user", parts=(exchange.Text(text="hi"),)),)


def test_the_path_says_which_model():
    assert CHAT.read_envelope({}) == ("", False, True)


# ---- nonsense --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": 3}, "contents"),
        ({"contents": [3]}, "contents[0]"),
        ({"contents": [{"role": "system", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"role": 3}]}, "contents[0].role"),
        ({"contents": [{"parts": [{"text": 3}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": ["x", 3]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"inlineData": {"data": "!"}}]}]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": [{"parts": [{"fileData": {}}]}]}, "contents[0].parts[0].fileData.fileUri"),
        ({"contents": [{"parts": [{"functionCall": {}}]}]}, "contents[0].parts[0].functionCall.name"),
        (
            {"contents": [{"parts": [{"functionCall": {"name": "f", "args": 3}}]}]},
            "contents[0].parts[0].functionCall.args",
        ),
        ({"contents": [{"parts": [{"functionResponse": {}}]}]}, "contents[0].parts[0].functionResponse.name"),
        (
            {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": "x"}}]}]},
            "contents[0].parts[0].functionResponse.response",
        ),
        (HI | {"systemInstruction": 3}, "systemInstruction"),
        (HI | {"tools": 3}, "tools"),
        (HI | {"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        (
            HI | {"tools": [{"functionDeclarations": [{"name": "f", "parameters": 3}]}]},
            "tools[0].functionDeclarations[0].parameters",
        ),
        (HI | {"toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}, "toolConfig.functionCallingConfig.mode"),
        (HI | {"generationConfig": []}, "generationConfig"),
        (HI | {"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        (HI | {"generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        (HI | {"generationConfig": {"seed": 1 << 70}}, "generationConfig.seed"),
        (HI | {"generationConfig": {"temperature": True}}, "generationConfig.temperature"),
        (HI | {"generationConfig": {"stopSequences": [3]}}, "generationConfig.stopSequences[0]"),
        (
            HI | {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HUGE"}}},
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
    ],
)
def test_nonsense_is_refused_by_name(body, param):
    with pytest.raises(InvalidRequestError) as caught:
        decode(body)
    assert caught.value.param == param


# fmt: off
NAMES = [
    "role", "parts", "text", "thought", "thoughtSignature", "inlineData", "mimeType", "data", "fileData", "fileUri",
    "functionCall", "name", "id", "args", "functionResponse", "response", "executableCode", "functionDeclarations",
    "parameters", "parametersJsonSchema", "type", "properties", "items", "anyOf", "$ref", "nullable", "temperature",
    "topK", "stopSequences", "responseSchema", "thinkingConfig", "thinkingBudget", "googleSearch", "mediaResolution",
]
TOP = [
    "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent",
    "generateContentRequest", "serviceTier", "store",
]
# fmt: on

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.just("user"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=100)
@given(
    body=st.dictionaries(st.sampled_from(TOP), JSON, max_size=5)
    | st.builds(lambda inner: {"contents": [{"parts": inner}]}, JSON)
    | st.builds(lambda inner: HI | {"generationConfig": inner, "tools": inner}, JSON)
)
def test_any_json_is_a_request_or_a_mapped_error(body):
    for operation in ("chat", "count_tokens"):
        fields = msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw])
        try:
            request = CODEC.ingress[operation].decode(fields, "m", False, b"")
        except InvalidRequestError:
            continue
        for target in (Target(model="gemini-2.5-flash"), Target(model="m", quirks=frozenset({"old_schema"}))):
            json.loads(CODEC.upstream[operation].encode(request, target).body)


@settings(deadline=None, max_examples=100)
@given(raw=st.binary(max_size=30), name=st.sampled_from(TOP))
def test_any_bytes_are_a_request_or_a_mapped_error(raw, name):
    for body in ({name: msgspec.Raw(raw)}, {"contents": msgspec.Raw(b'"hi"'), name: msgspec.Raw(raw)}):
        try:
            CHAT.decode(body, "m", False, raw)
        except InvalidRequestError:
            continue
