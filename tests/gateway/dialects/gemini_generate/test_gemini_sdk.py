"""google-genai itself reads what its clients get: streams, errors within them, keep-alives, embeddings, counts."""

import json

import httpx
import msgspec
import pytest
from google import genai
from google.genai import errors as sdk
from google.genai import types

from trunkline_gateway import errors, exchange
from trunkline_gateway.dialects.gemini_embed import CODEC as EMBED
from trunkline_gateway.dialects.gemini_generate import CODEC

CHAT = CODEC.ingress["chat"]


class Pieces(httpx.SyncByteStream):
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def __iter__(self):
        yield from self.pieces


class Gateway:
    """Answers as a gateway would; keeps what it was asked."""

    def __init__(self, *pieces: bytes, status: int = 200) -> None:
        self.pieces = pieces
        self.status = status
        self.asked: list[exchange.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        fields = msgspec.json.decode(request.read(), type=dict[str, msgspec.Raw])
        codec = EMBED if "mbedContent" in request.url.path else CODEC
        operation = "embeddings" if codec is EMBED else "count_tokens" if "countTokens" in request.url.path else "chat"
        stream = "stream" in request.url.path
        self.asked.append(codec.ingress[operation].decode(fields, "m", stream, request.url.query))
        kind = CHAT.stream_type if stream else b"application/json"
        return httpx.Response(self.status, headers=[(b"content-type", kind)], stream=Pieces(*self.pieces))


def client(gateway: Gateway) -> genai.Client:
    http = httpx.Client(transport=httpx.MockTransport(gateway))
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url="http://gateway.test", httpx_client=http))


SEAL = exchange.Seal(maker="anthropic", account="01234567", value="a?b>c~" * 5)
PARTS = (
    exchange.Reasoning(text="hm", signature=SEAL),
    exchange.Text(text="Grüße"),
    exchange.ToolCall(id="c1", name="f", arguments='{"a": 1}'),  # as Python's json writes it
)
ANSWER = exchange.Answer(
    choices=(exchange.Choice(parts=PARTS, finish_reason="tool_calls"),),
    model="claude",
    usage=exchange.Usage(prompt=3, completion=5, reasoning=2),
)


def pieces(answer: exchange.Answer = ANSWER) -> list[bytes]:
    encoder = CHAT.stream_encoder(exchange.ChatRequest(model="m", turns=()))
    return [CHAT.keep_alive, *(encoder.encode([event]) + CHAT.keep_alive for event in exchange.events_of(answer))]


def test_a_stream_with_keep_alives():
    gateway = Gateway(*pieces())
    got = list(client(gateway).models.generate_content_stream(model="gemini-2.5-pro", contents="hi"))
    parts = [part for chunk in got for part in chunk.candidates[0].content.parts]
    assert "".join(part.text or "" for part in parts if not part.thought) == "Grüße"
    assert [part.function_call.args for part in parts if part.function_call] == [{"a": 1}]
    assert got[-1].candidates[0].finish_reason == "STOP"
    assert (got[-1].usage_metadata.thoughts_token_count, got[-1].usage_metadata.candidates_token_count) == (2, 3)
    assert gateway.asked[0].stream
    assert not gateway.asked[0].own.is_array


def test_what_it_sends_back_is_whole_again():
    gateway = Gateway(*pieces())
    chat = client(gateway).chats.create(model="gemini-2.5-pro")
    list(chat.send_message_stream("hi"))
    gateway.pieces = (CHAT.encode(ANSWER, gateway.asked[0]).body,)
    chat.send_message([types.Part.from_function_response(name="f", response={"result": "ok"})])
    _, said, result = gateway.asked[1].turns
    assert said.parts == PARTS
    assert (result.parts[0].call_id, result.parts[0].content[0].text) == ("c1", "ok")
    chat.send_message("and?")
    assert gateway.asked[2].turns[3].parts == PARTS


@pytest.mark.parametrize("began", [False, True])
def test_an_error_in_a_stream_is_raised(began):
    error = errors.UpstreamError("the provider went away")
    gateway = Gateway(*(pieces()[:4] if began else ()), CHAT.error_event(error, began))
    with pytest.raises(sdk.ServerError, match="went away") as caught:
        list(client(gateway).models.generate_content_stream(model="gemini-2.5-pro", contents="hi"))
    assert (caught.value.code, caught.value.status) == (502, "UNAVAILABLE")


def test_an_error_answer_is_raised():
    error = errors.InvalidRequestError("bad field", param="contents")
    gateway = Gateway(CHAT.render_error(error), status=400)
    with pytest.raises(sdk.ClientError, match="bad field") as caught:
        client(gateway).models.generate_content(model="gemini-2.5-pro", contents="hi")
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_a_whole_answer_and_all_that_can_be_asked():
    gateway = Gateway(CHAT.encode(ANSWER, exchange.ChatRequest(model="m", turns=())).body)
    config = types.GenerateContentConfig(
        system_instruction="be brief",
        temperature=0.5,
        max_output_tokens=7,
        tools=[
            types.Tool(
                function_declarations=[types.FunctionDeclaration(name="f", parameters_json_schema={"type": "object"})]
            )
        ],
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY")),
        thinking_config=types.ThinkingConfig(thinking_budget=128, include_thoughts=True),
        response_mime_type="application/json",
        response_schema=types.Schema(type="OBJECT", properties={"a": types.Schema(type="STRING")}),
        safety_settings=[types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")],
    )
    image = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    got = client(gateway).models.generate_content(model="gemini-2.5-pro", contents=["hi", image], config=config)
    assert got.text == "Grüße"
    assert got.function_calls[0].id == "c1"
    assert got.candidates[0].content.parts[0].thought
    (request,) = gateway.asked
    assert request.unsaid == ()
    assert [turn.role for turn in request.turns] == ["system", "user"]
    assert isinstance(request.turns[1].parts[1], exchange.Image)
    assert request.parameters.tool_choice == exchange.ToolChoice(mode="required")
    assert json.loads(bytes(request.parameters.response_format.schema)) == {
        "type": "object",
        "properties": {"a": {"type": "string"}},
    }
    assert request.parameters.reasoning_effort == exchange.ReasoningEffort(budget_tokens=128, summary="auto")


def test_a_count():
    gateway = Gateway(
        CODEC.ingress["count_tokens"]
        .encode(exchange.TokenCount(prompt=7), exchange.ChatRequest(model="m", turns=()))
        .body
    )
    assert client(gateway).models.count_tokens(model="gemini-2.5-pro", contents="hi").total_tokens == 7


def test_embeddings():
    gateway = Gateway()
    asked = exchange.EmbeddingsRequest(model="m", inputs=("a", "b"))
    gateway.pieces = (
        EMBED.ingress["embeddings"].encode(exchange.EmbeddingsAnswer(vectors=((0.5,), (1.0,))), asked).body,
    )
    config = types.EmbedContentConfig(task_type="CLUSTERING", output_dimensionality=8)
    got = client(gateway).models.embed_content(model="gemini-embedding-001", contents=["a", "b"], config=config)
    assert [each.values for each in got.embeddings] == [[0.5], [1.0]]
    assert gateway.asked == [
        exchange.EmbeddingsRequest(model="m", inputs=("a", "b"), dimensions=8, task_type="CLUSTERING")
    ]
