"""What Converse gets: held against the service's own model, and against what each family of models takes."""

import base64
import itertools
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.bedrock_converse import bedrock_wire as wire
from trunkline_gateway import errors
from trunkline_gateway.dialect import NO_CAPABILITIES, Capabilities, Target
from trunkline_gateway.dialects.bedrock_converse import models, names
from trunkline_gateway.dialects.bedrock_converse.settings import UNSAYABLE
from trunkline_gateway.exchange import (
    Audio,
    CacheControl,
    ChatRequest,
    Document,
    DocumentCitation,
    EmbeddingsRequest,
    FileId,
    Foreign,
    HostedStep,
    HostedTool,
    Image,
    Inline,
    Json,
    JsonObject,
    JsonSchema,
    Parameters,
    Part,
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
    UrlCitation,
    Video,
    losses,
)

PNG = "iVBORw0KGgoAAAANSUhEUg=="
GO_ON = {"role": "user", "content": [{"text": "Please continue."}]}
F = Tool(name="f", parameters=msgspec.Raw(b'{"type":"object"}'))
OLD_CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
NEW_CLAUDE = "us.anthropic.claude-opus-4-7-v1"
LLAMA = "meta.llama3-2-1b-instruct-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"


def encode(
    *turns: Turn,
    model: str = wire.CLAUDE,
    tools: tuple[Tool | HostedTool, ...] = (),
    capabilities: Capabilities = NO_CAPABILITIES,
    **parameters: object,
) -> tuple[dict, set[str]]:
    """The body and what was lost; every body is held against the service's model."""
    request = ChatRequest(
        model="m",
        turns=turns or (user("hi"),),
        tools=tools,
        parameters=Parameters(**parameters),  # type: ignore[arg-type]  # by name
    )
    target = Target(model=model, account="acc0unt0", capabilities=capabilities)
    encoded = wire.CHAT.encode(request, target)
    body = json.loads(encoded.body)
    if wire.SPEC.is_file():
        wire.check(body)
    assert list(encoded.lost) == sorted(set(encoded.lost))
    assert set(encoded.lost) <= {*losses.FEATURES, losses.UNKNOWN}
    counted = json.loads(wire.COUNT.encode(request, target).body)
    if wire.SPEC.is_file():
        wire.check(counted, "CountTokensRequest")
    assert counted["input"]["converse"]["messages"] == body["messages"]
    return body, set(encoded.lost)


def user(*parts: Part | str) -> Turn:
    return Turn(role="user", parts=tuple(Text(text=each) if isinstance(each, str) else each for each in parts))


def model(*parts: Part | str) -> Turn:
    return Turn(role="assistant", parts=tuple(Text(text=each) if isinstance(each, str) else each for each in parts))


def system(text: str, role: str = "system", cache: CacheControl | None = None) -> Turn:
    return Turn(role=role, parts=(Text(text=text, cache=cache),))  # type: ignore[arg-type]  # by name


def content(body: dict, message: int = 0) -> list[dict]:
    return body["messages"][message]["content"]


# ---- turns -----------------------------------------------------------------------------------------------------------


def test_a_plain_chat() -> None:
    body, lost = encode(system("Be brief."), user("hi"), max_tokens=5, temperature=0.5)
    assert body == {
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"maxTokens": 5, "temperature": 0.5},
    }
    assert lost == set()


def test_instructions_within_the_turns_go_to_the_others() -> None:
    body, lost = encode(system("a"), user("hi"), system("b", "developer"), user("there"))
    assert body["system"] == [{"text": "a"}, {"text": "b"}]
    assert content(body) == [{"text": "hi"}, {"text": "there"}]
    assert lost == {"system_position"}


@pytest.mark.parametrize(
    ("turns", "roles"),
    [
        ((), "u"),
        ((system("a"),), "u"),
        ((model("a"), user("b")), "uau"),
        ((user("a"), model("  "), user("b")), "u"),
        ((user("a"), model("b"), model("c"), user("d"), user("e")), "uau"),
        ((user(""), model("b"), user("c")), "uau"),
    ],
)
def test_a_users_turn_is_first_and_they_alternate(turns: tuple[Turn, ...], roles: str) -> None:
    body, _ = encode(*turns)
    assert "".join(message["role"][0] for message in body["messages"]) == roles


def test_what_the_model_is_to_go_on_from() -> None:
    body, lost = encode(user("a"), model("Once upon \n"))
    assert content(body, -1) == [{"text": "Once upon"}]
    assert lost == set()
    for other in (NEW_CLAUDE, LLAMA):
        body, lost = encode(user("a"), model("Once upon"), model=other)
        assert body["messages"][-1] == GO_ON
        assert lost == {"assistant_prefill"}


def test_names_of_participants_are_lost() -> None:
    assert encode(Turn(role="user", parts=(Text(text="a"),), name="Ann"))[1] == {"message_name"}


# ---- media -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(source=Inline(PNG), media_type="image/png"),
            {"image": {"format": "png", "source": {"bytes": PNG}}},
        ),
        (Image(source=Inline(PNG)), {"image": {"format": "png", "source": {"bytes": PNG}}}),
        (
            Image(source=Inline("/9j/4A=="), media_type="image/jpg"),
            {"image": {"format": "jpeg", "source": {"bytes": "/9j/4A=="}}},
        ),
        (
            Image(source=Url("s3://bucket/a.webp")),
            {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://bucket/a.webp"}}}},
        ),
        (
            Document(source=Inline("JVBERg=="), media_type="application/pdf", name="My report_1.pdf", citations=True),
            {
                "document": {
                    "format": "pdf",
                    "name": "My report-1",
                    "source": {"bytes": "JVBERg=="},
                    "citations": {"enabled": True},
                }
            },
        ),
        (
            Document(text="größe", context="Rules"),
            {
                "document": {
                    "format": "txt",
                    "name": "document",
                    "source": {"bytes": base64.b64encode("größe".encode()).decode()},
                    "context": "Rules",
                }
            },
        ),
        (
            Document(source=Url("s3://bucket/a.md"), name="notes"),
            {
                "document": {
                    "format": "md",
                    "name": "notes",
                    "source": {"s3Location": {"uri": "s3://bucket/a.md"}},
                }
            },
        ),
        (
            Document(source=Inline("AAAA"), media_type="text/x-python; charset=utf-8", name="a.py"),
            {"document": {"format": "txt", "name": "a", "source": {"bytes": "AAAA"}}},
        ),
    ],
)
def test_media_that_can_be_said(part: Part, block: dict) -> None:
    body, lost = encode(user("see", part))
    assert content(body)[1] == block
    assert lost == set()


def test_films_and_sound_go_to_models_that_may_know_them() -> None:
    film = Video(source=Inline("AAAA"), media_type="video/3gpp")
    sound = Audio(source=Inline("AAAA"), media_type="audio/wav")
    body, lost = encode(user("see", film, sound), model=wire.NOVA)
    assert content(body)[1:] == [
        {"video": {"format": "three_gp", "source": {"bytes": "AAAA"}}},
        {"audio": {"format": "wav", "source": {"bytes": "AAAA"}}},
    ]
    assert lost == set()
    assert encode(user("see", film, sound))[1] == {"video", "audio_input"}


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (Image(source=Url("https://a.example/a.png")), "image_url"),
        (Image(source=Url("gs://a/a.png")), "image_url"),
        (Image(source=FileId("file-1")), "image_file"),
        (Image(source=Inline("Qk0AAAAA"), media_type="image/bmp"), "image"),
        (Image(source=Inline("é")), "image"),
        (Image(source=Inline("A")), "image"),
        (Document(source=Url("https://a.example/a.pdf")), "file_url"),
        (Document(source=FileId("file-1")), "file_id"),
        (Document(source=Inline("AAAA"), media_type="application/zip", name="a.zip"), "file"),
        (Document(), "file"),
        (Video(source=Url("https://a.example/a.mp4")), "video"),
        (Audio(id="audio_1"), "audio_input"),
        (Foreign(dialect="other", kind="mcp", value=msgspec.Raw(b"{}")), "mcp"),
        (Foreign(dialect="other", kind="something", value=msgspec.Raw(b"{}")), "unknown"),
        (HostedStep(tool="web_search", dialect="other", value=msgspec.Raw(b"{}")), "hosted_step"),
        (Reasoning(text="hm"), "reasoning"),
    ],
)
def test_media_that_cannot_be_said_are_named(part: Part, name: str) -> None:
    body, lost = encode(user("see", part))
    assert content(body) == [{"text": "see"}]
    assert lost == {name}


def test_a_document_among_the_instructions_has_no_name() -> None:
    rules = Turn(role="system", parts=(Document(text="Be kind.", name="rules.txt"),))
    body, lost = encode(rules, user("hi"))
    assert body["system"] == [{"text": "Be kind."}]
    assert lost == {"file_name"}


def test_documents_are_cited_by_claude_alone() -> None:
    _, lost = encode(user("see", Document(text="a", context="c", citations=True)), model=wire.NOVA)
    assert lost == {"file_context", "file_citations"}


def test_a_model_without_eyes_gets_no_images() -> None:
    _, lost = encode(user("see", Image(source=Inline(PNG), detail="high")), capabilities=Capabilities(vision=False))
    assert lost == {"image", "image_detail"}


def test_documents_have_text_beside_them_and_names_of_their_own() -> None:
    document = Document(text="a", name="a.txt")
    body, _ = encode(user(document, document), user(document))
    assert [block["document"]["name"] for block in content(body)[:3]] == ["a", "a (2)", "a (3)"]
    assert content(body)[3] == {"text": "See the attached document."}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (None, "document"),
        ("", "document"),
        ("…", "document"),
        ("a/b\\c.pdf", "a-b-c"),
        ("  two   spaces .md", "two spaces"),
        ("[x] (1)", "[x] (1)"),
        ("v1.2 of the report", "v1-2 of the report"),
        ("x" * 500, "x" * 180),
    ],
)
def test_names_of_documents(name: str | None, written: str) -> None:
    assert names.DocumentNames().write(name) == written


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["a", "a.txt", "a (2)", "a (2)", "b", "", "a (3)"]), max_size=12))
def test_names_of_documents_are_given_once(said: list[str]) -> None:
    given_names = names.DocumentNames()
    written = [given_names.write(name) for name in said]
    assert len(set(written)) == len(written)


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_calls_and_results() -> None:
    body, lost = encode(
        user("weather?"),
        model("Looking.", ToolCall(id="c1", name="f", arguments='{"a": 1.0}'), ToolCall(id="c2", name="f")),
        user("and then", ToolResult(call_id="c1", content=(Text(text="sunny"),))),
        user(
            ToolResult(
                call_id="c2",
                content=(Text(text='{"t": 1}'), Image(source=Inline(PNG))),
                structured=msgspec.Raw(b'{"t":1}'),
                is_error=True,
            )
        ),
        tools=(F,),
    )
    assert content(body, 1) == [
        {"text": "Looking."},
        {"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": 1.0}}},
        {"toolUse": {"toolUseId": "c2", "name": "f", "input": {}}},
    ]
    assert content(body, 2) == [
        {"toolResult": {"toolUseId": "c1", "content": [{"text": "sunny"}]}},
        {
            "toolResult": {
                "toolUseId": "c2",
                "content": [{"json": {"t": 1}}, {"image": {"format": "png", "source": {"bytes": PNG}}}],
                "status": "error",
            }
        },
        {"text": "and then"},
    ]
    assert lost == set()


def test_results_of_all_kinds() -> None:
    parts = (
        Document(text="a", name="notes"),
        Video(source=Inline("AAAA"), media_type="video/mp4"),
        Audio(source=Inline("AAAA"), media_type="audio/wav"),
        Text(text=""),
    )
    turns = (user("a"), model(ToolCall(id="c", name="f", seal=sealed())), user(ToolResult(call_id="c", content=parts)))
    body, lost = encode(*turns, model=wire.NOVA)
    assert [next(iter(each)) for each in content(body, 2)[0]["toolResult"]["content"]] == ["document", "video"]
    assert lost == {"audio_input", "reasoning_signature"}


def test_a_failed_tool_where_that_cannot_be_said() -> None:
    failed = ToolResult(call_id="c", name="f", is_error=True)
    body, lost = encode(user(failed), model=LLAMA)
    assert content(body) == [{"toolResult": {"toolUseId": "c", "content": [{"text": "(empty)"}]}}]
    assert body["toolConfig"]["tools"][0]["toolSpec"]["name"] == "f"
    assert lost == {"tool_result_error"}


def test_a_call_in_a_users_turn_is_none() -> None:
    body, lost = encode(user("a", ToolCall(id="c", name="f")), tools=(F,))
    assert content(body) == [{"text": "a"}]
    assert lost == {"tools"}


def test_names_that_become_the_same_are_told_apart() -> None:
    tools = (Tool(name="a__b"), Tool(name="b", namespace="a"))
    known = names.ToolNames(ChatRequest(model="m", turns=(), tools=tools))
    written = known.write("b", "a")
    assert (known.write("a__b"), written != "a__b") == ("a__b", True)
    assert known.read(written) == names.Known("b", "a")


def test_ids_and_names_are_made_to_fit_and_stay_together() -> None:
    long = "call_" + "ä" * 80
    body, _ = encode(
        user("a"),
        model(ToolCall(id=long, name="a.b", arguments="{}")),
        user(ToolResult(call_id=long, content=())),
        tools=(Tool(name="a.b"), Tool(name="a_b"), Tool(name="x" * 100)),
    )
    use = content(body, 1)[0]["toolUse"]
    assert use["toolUseId"] == content(body, 2)[0]["toolResult"]["toolUseId"]
    written = [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]]
    assert use["name"] == written[0]
    assert written[1] == "a_b"
    assert len(set(written)) == 3


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.text(max_size=70), st.none() | st.text(min_size=1, max_size=5)), max_size=8, unique=True))
def test_names_are_found_again(said: list[tuple[str, str | None]]) -> None:
    request = ChatRequest(
        model="m", turns=(), tools=tuple(Tool(name=name, namespace=namespace) for name, namespace in said)
    )
    known = names.ToolNames(request)
    for name, namespace in said:
        written = known.write(name, namespace)
        assert 0 < len(written) <= 64
        assert known.read(written)[:2] == (name, namespace)


def test_arguments_that_are_no_object_are_kept_as_text() -> None:
    for arguments in ("[1]", '{"a":', "{" * 5000, '{"a": NaN}'):
        body, lost = encode(user("a"), model(ToolCall(id="c", name="f", arguments=arguments)), user("b"), tools=(F,))
        assert content(body, 1)[0]["toolUse"]["input"] == {"input": arguments}
        assert lost == {"tool_arguments"}


def test_schemas() -> None:
    schemas = [None, b'{"type":"object","$schema":"x"}', b'{"properties":{}}', b"true", b"{"]
    tools = tuple(
        Tool(
            name=f"f{index}", parameters=None if each is None else msgspec.Raw(each), description=" " if index else "d"
        )
        for index, each in enumerate(schemas)
    )
    body, _ = encode(tools=tools)
    specs = [tool["toolSpec"] for tool in body["toolConfig"]["tools"]]
    nothing = {"type": "object", "properties": {}}
    assert [spec["inputSchema"]["json"] for spec in specs] == [
        nothing,
        {"type": "object", "$schema": "x"},
        {"type": "object", "properties": {}},
        nothing,
        nothing,
    ]
    assert [spec.get("description") for spec in specs] == ["d", None, None, None, None]


def test_tools_that_converse_has_no_word_for() -> None:
    custom = Tool(name="shell", custom=True, format=msgspec.Raw(b"{}"))
    search = HostedTool(kind="web_search", dialect="x", value=msgspec.Raw(b"{}"), max_uses=3)
    other = HostedTool(kind="something", dialect="x", value=msgspec.Raw(b"{}"))
    space = Tool(name="run", namespace="crm", namespace_description="Customers")
    body, lost = encode(
        user("a"), model(ToolCall(id="c", name="shell", arguments="ls", custom=True)), user("b"),
        tools=(custom, search, other, space),
    )  # fmt: skip
    assert content(body, 1)[0]["toolUse"]["input"] == {"input": "ls"}
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["shell", "crm__run"]
    assert lost == {"tools.custom", "web_search", "hosted_tool", "tools.namespace"}
    body, lost = encode(tools=(search,), model=wire.NOVA)
    assert body["toolConfig"] == {"tools": [{"systemTool": {"name": "nova_grounding"}}]}
    assert lost == {"web_search.options"}


@pytest.mark.parametrize(
    ("choice", "written", "lost"),
    [
        (None, None, set()),
        (ToolChoice(mode="auto"), {"auto": {}}, set()),
        (ToolChoice(mode="required"), {"any": {}}, set()),
        (ToolChoice(mode="named", names=("f",)), {"tool": {"name": "f"}}, set()),
        (ToolChoice(mode="named"), {"any": {}}, {"tool_choice"}),
    ],
)
def test_choices(choice: ToolChoice | None, written: object, lost: set[str]) -> None:
    body, lost_here = encode(tools=(F, Tool(name="g")), tool_choice=choice)
    assert body["toolConfig"].get("toolChoice") == written
    assert lost_here == lost


def test_choices_that_a_model_does_not_know() -> None:
    for mode in ("required", "named"):
        body, lost = encode(tools=(F,), tool_choice=ToolChoice(mode=mode, names=("f",)), model=LLAMA)
        assert "toolChoice" not in body["toolConfig"]
        assert lost == {"tool_choice"}
    body, lost = encode(
        tools=(F,), tool_choice=ToolChoice(mode="named", names=("f",)), model="mistral.mistral-large-2402-v1:0"
    )
    assert body["toolConfig"]["toolChoice"] == {"any": {}}
    assert lost == {"tool_choice"}


def test_no_tools_may_be_called() -> None:
    none = ToolChoice(mode="none")
    body, lost = encode(tools=(F,), tool_choice=none)
    assert "toolConfig" not in body
    assert lost == set()
    turns = (user("a"), model(ToolCall(id="c", name="f")), user(ToolResult(call_id="c")))
    body, lost = encode(*turns, tools=(F,), tool_choice=none)
    assert body["toolConfig"]["tools"]
    assert lost == {"tool_choice"}


def test_only_some_tools_may_be_called() -> None:
    body, lost = encode(tools=(F, Tool(name="g")), tool_choice=ToolChoice(mode="required", names=("g",)))
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["g"]
    assert body["toolConfig"]["toolChoice"] == {"any": {}}
    assert lost == set()


def test_tools_that_were_called_have_to_be_there() -> None:
    body, _ = encode(user("a"), model(ToolCall(id="c", name="f.g")), user(ToolResult(call_id="c")))
    (tool,) = body["toolConfig"]["tools"]
    assert tool["toolSpec"]["name"] == content(body, 1)[0]["toolUse"]["name"]


def test_strict_tools() -> None:
    strict = Tool(name="f", strict=True)
    body, lost = encode(tools=(strict,))
    assert body["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True
    assert lost == set()
    assert encode(tools=(strict,), model=wire.NOVA)[1] == {"tools.strict"}


# ---- caching ---------------------------------------------------------------------------------------------------------


def test_cache_points() -> None:
    cache, hour = CacheControl(), CacheControl(ttl="1h")
    body, lost = encode(
        system("a", cache=hour),
        user(Text(text="a", cache=cache)),
        model(ToolCall(id="c", name="f")),
        user(ToolResult(call_id="c", content=(Text(text="x", cache=cache),)), "go"),
        tools=(Tool(name="f", cache=CacheControl(ttl="5m")),),
    )
    point = {"cachePoint": {"type": "default"}}
    assert body["system"] == [{"text": "a"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert content(body)[1] == point
    assert content(body, 2)[1] == point
    assert body["toolConfig"]["tools"][1] == point
    assert lost == set()


def test_models_that_do_not_cache() -> None:
    hour = CacheControl(ttl="1h")
    turn, tools = user(Text(text="a", cache=hour)), (Tool(name="f", cache=hour),)
    assert encode(turn, tools=tools, model=LLAMA)[1] == {"cache_control"}
    body, lost = encode(turn, tools=tools, model=wire.NOVA)
    assert content(body)[1] == {"cachePoint": {"type": "default"}}
    assert lost == {"cache_control", "cache_control.ttl"}


def test_a_cache_point_does_not_follow_a_document() -> None:
    document = Document(text="a", cache=CacheControl())
    body, lost = encode(user("see", document, "go"))
    assert [next(iter(block)) for block in content(body)] == ["text", "cachePoint", "document", "text"]
    assert lost == set()
    body, lost = encode(user(document, "go"))
    assert [next(iter(block)) for block in content(body)] == ["document", "text"]
    assert lost == {"cache_control"}


# ---- what the model said before --------------------------------------------------------------------------------------


def sealed(account: str = "acc0unt0", maker: str = "anthropic") -> Seal:
    return Seal(maker=maker, account=account, value="EuE=")  # type: ignore[arg-type]  # by name


def test_thoughts_that_the_model_can_read_go_back() -> None:
    thoughts = (Reasoning(text="hm", signature=sealed()), Reasoning(encrypted=sealed("")))
    body, lost = encode(user("a"), model(*thoughts, "b"), user("c"))
    assert content(body, 1)[:2] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "EuE="}}},
        {"reasoningContent": {"redactedContent": "RXVFPQ=="}},
    ]
    assert lost == set()


@pytest.mark.parametrize(
    ("part", "model_name", "name"),
    [
        (Reasoning(text="hm"), wire.CLAUDE, "reasoning"),
        (Reasoning(text="hm", signature=sealed("other")), wire.CLAUDE, "reasoning_signature"),
        (Reasoning(text="hm", signature=sealed(maker="openai")), wire.CLAUDE, "reasoning_signature"),
        (Reasoning(encrypted=sealed("other")), wire.CLAUDE, "reasoning_encrypted"),
        (Reasoning(text="hm", signature=sealed()), wire.NOVA, "reasoning_signature"),
    ],
)
def test_thoughts_that_it_cannot_read_stay_here(part: Part, model_name: str, name: str) -> None:
    body, lost = encode(user("a"), model(part, "b"), user("c"), model=model_name)
    assert content(body, 1) == [{"text": "b"}]
    assert lost == {name}


def test_hidden_thoughts_of_other_models_go_back_as_they_came() -> None:
    parts = wire.whole([{"reasoningContent": {"redactedContent": "//8="}}], wire.asked(wire.NOVA)).choices[0].parts
    body, lost = encode(user("a"), Turn(role="assistant", parts=parts), user("b"), model=wire.NOVA)
    assert content(body, 1) == [{"reasoningContent": {"redactedContent": "//8="}}]
    assert lost == set()


def test_an_answer_goes_back_as_it_came() -> None:
    content_said = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "RXVF"}},
        {"text": "See "},
        {
            "citationsContent": {
                "content": [{"text": "it"}],
                "citations": [
                    {
                        "title": "d",
                        "sourceContent": [{"text": "It."}],
                        "location": {"documentChar": {"documentIndex": 0, "start": 0, "end": 3}},
                    }
                ],
            }
        },
        {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1.5}}},
    ]
    parts = wire.whole(content_said).choices[0].parts
    body, lost = encode(user("a"), Turn(role="assistant", parts=parts), user(ToolResult(call_id="t")), tools=(F,))
    assert content(body, 1) == content_said
    assert lost == set()


def test_steps_of_bedrocks_own_tools_go_back_as_they_came() -> None:
    step = {"toolUse": {"toolUseId": "t", "name": "nova_grounding", "type": "server_tool_use", "input": {}}}
    parts = wire.whole([step, {"text": "a"}], wire.asked(wire.NOVA)).choices[0].parts
    body, lost = encode(user("a"), Turn(role="assistant", parts=parts), user("b"), model=wire.NOVA)
    assert content(body, 1)[0] == step
    assert lost == set()


def test_what_else_the_model_said() -> None:
    cited = Text(text="a", citations=(UrlCitation(url="https://a.example/"),))
    vague = Text(text="b", citations=(DocumentCitation(document=0, unit="page", start=1),))
    heard = Audio(transcript="c", id="audio_1")
    signed = Text(text="d", seal=sealed())
    picture = Image(source=Inline(PNG))
    body, lost = encode(user("a"), model(cited, vague, heard, signed, picture, Refusal(text="no")), user("b"))
    assert [block["text"] for block in content(body, 1)] == ["a", "b", "c", "d", "no"]
    assert lost == {"citations", "audio_input", "reasoning_signature", "image", "refusal"}


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_that_cannot_be_said_are_named() -> None:
    values: dict[str, object] = {
        "min_p": 0.1, "seed": 1, "presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.1,
        "logit_bias": {"1": 2.0}, "logprobs": True, "top_logprobs": 2, "n": 2, "verbosity": "low",
        "parallel_tool_calls": False, "user": "u", "safety_identifier": "s", "safety_settings": msgspec.Raw(b"[]"),
        "prompt_cache_key": "k", "prompt_cache_retention": "24h", "store": True, "modalities": ("audio",),
        "audio": msgspec.Raw(b"{}"), "prediction": msgspec.Raw(b"{}"),
    }  # fmt: skip
    assert set(values) == set(UNSAYABLE)
    body, lost = encode(**values)
    assert set(body) == {"messages"}
    assert lost == set(UNSAYABLE)


def test_every_parameter_is_said_or_named() -> None:
    said = {
        "max_tokens", "temperature", "top_p", "top_k", "stop", "response_format", "reasoning_effort", "tool_choice",
        "service_tier", "metadata",
    }  # fmt: skip
    assert said | set(UNSAYABLE) == set(Parameters.__struct_fields__)


def test_parameters_that_ask_for_nothing_are_not_lost() -> None:
    _, lost = encode(
        n=1, store=False, logprobs=False, parallel_tool_calls=True, presence_penalty=0.0, logit_bias={},
        modalities=("text",), repetition_penalty=1.0, service_tier="auto",
    )  # fmt: skip
    assert lost == set()


@pytest.mark.parametrize(
    ("model_name", "asked", "written", "lost"),
    [
        (OLD_CLAUDE, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "topP": 0.9}, set()),
        (wire.CLAUDE, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, {"top_p"}),
        (wire.CLAUDE, {"top_p": 0.9}, {"topP": 0.9}, set()),
        (wire.CLAUDE, {"temperature": 1.7}, {"temperature": 1}, {"temperature"}),
        (NEW_CLAUDE, {"temperature": 0.5, "top_p": 0.9, "top_k": 4}, None, {"temperature", "top_p", "top_k"}),
        (NEW_CLAUDE, {"temperature": 1.0}, None, set()),
        (wire.CLAUDE, {"stop": ("END", "\n", "")}, {"stopSequences": ["END"]}, {"stop"}),
        (wire.NOVA, {"stop": ("\n",)}, {"stopSequences": ["\n"]}, set()),
        (wire.CLAUDE, {"stop": ()}, None, set()),
    ],
)
def test_sampling(model_name: str, asked: dict, written: object, lost: set[str]) -> None:
    body, lost_here = encode(model=model_name, **asked)
    assert body.get("inferenceConfig") == written
    assert lost_here == lost


def test_claude_is_asked_which_stop_sequence_it_came_to() -> None:
    assert encode(stop=("END",))[0]["additionalModelResponseFieldPaths"] == ["/stop_sequence"]
    assert "additionalModelResponseFieldPaths" not in encode(stop=("END",), model=wire.NOVA)[0]


@pytest.mark.parametrize(
    ("model_name", "fields", "lost"),
    [
        (wire.CLAUDE, {"top_k": 4}, set()),
        (wire.NOVA, {"inferenceConfig": {"topK": 4}}, set()),
        ("cohere.command-r-v1:0", {"k": 4}, set()),
        (LLAMA, None, {"top_k"}),
    ],
)
def test_top_k(model_name: str, fields: object, lost: set[str]) -> None:
    body, lost_here = encode(model=model_name, top_k=4)
    assert body.get("additionalModelRequestFields") == fields
    assert lost_here == lost


SCHEMA = Json(b'{"type": "object", "properties": {"a": {"type": "number"}}}')


def test_a_schema_for_the_answer() -> None:
    wanted = JsonSchema(schema=SCHEMA, name="my answer", description="d", strict=True)
    body, lost = encode(response_format=wanted)
    said = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert said["schema"].encode() == bytes(SCHEMA)
    assert said["description"] == "d"
    assert lost == set()
    for model_name in (wire.NOVA, OLD_CLAUDE, LLAMA):
        body, lost = encode(response_format=wanted, model=model_name)
        assert "outputConfig" not in body
        assert lost == {"response_format"}
    assert encode(response_format=wanted, model=LLAMA, capabilities=Capabilities(json_schema=True))[1] == set()


def test_a_form_that_a_model_cannot_be_held_to_is_asked_for_in_words() -> None:
    for wanted in (JsonObject(), JsonSchema(schema=None)):
        body, lost = encode(Turn(role="system", parts=(Text(text="Be."),)), user("hi"), response_format=wanted)
        be, form = body["system"]
        assert be == {"text": "Be."}
        assert "one JSON object" in form["text"]
        assert lost == {"response_format"}
    body, lost = encode(response_format=JsonSchema(schema=SCHEMA), model=LLAMA)
    (form,) = body["system"]
    assert bytes(SCHEMA).decode() in form["text"]
    assert lost == {"response_format"}


@pytest.mark.parametrize(
    ("tier", "written", "lost"),
    [
        ("auto", None, set()),
        ("default", {"type": "default"}, set()),
        ("standard_only", {"type": "default"}, set()),
        ("flex", {"type": "flex"}, set()),
        ("priority", {"type": "priority"}, set()),
        ("scale", None, {"service_tier"}),
    ],
)
def test_tiers(tier: str, written: object, lost: set[str]) -> None:
    body, lost_here = encode(service_tier=tier)
    assert body.get("serviceTier") == written
    assert lost_here == lost


def test_metadata() -> None:
    body, lost = encode(metadata={"team": "a b", "umlaut": "ä", "": "x"})
    assert body["requestMetadata"] == {"team": "a b"}
    assert lost == {"metadata"}
    body, lost = encode(metadata={f"k{index}": "" for index in range(20)})
    assert len(body["requestMetadata"]) == 16
    assert lost == {"metadata"}
    assert "requestMetadata" not in encode(metadata={})[0]


# ---- thinking --------------------------------------------------------------------------------------------------------

HIGH = ReasoningEffort(effort="high")
CLAUDE_4_6 = "us.anthropic.claude-sonnet-4-6"


@pytest.mark.parametrize(
    ("model_name", "asked", "fields", "effort", "lost"),
    [
        (OLD_CLAUDE, HIGH, None, None, {"reasoning_effort"}),
        (wire.CLAUDE, HIGH, {"thinking": {"type": "enabled", "budget_tokens": 16384}}, None, set()),
        (
            wire.CLAUDE,
            ReasoningEffort(budget_tokens=2000, summary="none"),
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            None,
            {"reasoning_summary"},
        ),
        (
            wire.CLAUDE,
            ReasoningEffort(budget_tokens=10),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            None,
            {"reasoning_budget"},
        ),
        (
            wire.CLAUDE,
            ReasoningEffort(adaptive=True),
            {"thinking": {"type": "enabled", "budget_tokens": 8192}},
            None,
            set(),
        ),
        (wire.CLAUDE, ReasoningEffort(effort="none"), None, None, set()),
        (CLAUDE_4_6, HIGH, {"thinking": {"type": "adaptive"}}, "high", set()),
        (CLAUDE_4_6, ReasoningEffort(effort="minimal"), {"thinking": {"type": "adaptive"}}, "low", set()),
        (
            CLAUDE_4_6,
            ReasoningEffort(budget_tokens=3000),
            {"thinking": {"type": "enabled", "budget_tokens": 3000}},
            None,
            set(),
        ),
        (CLAUDE_4_6, ReasoningEffort(effort="xhigh"), {"thinking": {"type": "adaptive"}}, "high", {"reasoning_effort"}),
        (CLAUDE_4_6, ReasoningEffort(effort="max"), {"thinking": {"type": "adaptive"}}, "max", set()),
        (NEW_CLAUDE, ReasoningEffort(effort="xhigh"), {"thinking": {"type": "adaptive"}}, "xhigh", set()),
        (GPT_OSS, ReasoningEffort(effort="max"), {"reasoning_effort": "high"}, None, {"reasoning_effort"}),
        (CLAUDE_4_6, ReasoningEffort(effort="none"), {"thinking": {"type": "disabled"}}, None, set()),
        (
            NEW_CLAUDE,
            ReasoningEffort(budget_tokens=3000, summary="auto"),
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            "low",
            {"reasoning_budget"},
        ),
        (NEW_CLAUDE, ReasoningEffort(budget_tokens=-1), {"thinking": {"type": "adaptive"}}, None, set()),
        (
            "us.anthropic.claude-sonnet-5",
            ReasoningEffort(adaptive=True, effort="max", summary="none"),
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            "max",
            set(),
        ),
        (
            wire.NOVA,
            ReasoningEffort(effort="xhigh"),
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}},
            None,
            {"reasoning_effort"},
        ),
        (wire.NOVA, ReasoningEffort(effort="none"), {"reasoningConfig": {"type": "disabled"}}, None, set()),
        ("amazon.nova-lite-v1:0", HIGH, None, None, {"reasoning_effort"}),
        (GPT_OSS, HIGH, {"reasoning_effort": "high"}, None, set()),
        (GPT_OSS, ReasoningEffort(effort="none"), {"reasoning_effort": "low"}, None, {"reasoning_effort"}),
        (GPT_OSS, ReasoningEffort(budget_tokens=0), {"reasoning_effort": "low"}, None, {"reasoning_effort"}),
        ("qwen.qwen3-32b-v1:0", HIGH, {"reasoning_config": "high"}, None, set()),
        ("qwen.qwen3-32b-v1:0", ReasoningEffort(effort="none"), None, None, set()),
        (
            "qwen.qwen3-32b-v1:0",
            ReasoningEffort(adaptive=True, summary="detailed"),
            {"reasoning_config": "medium"},
            None,
            {"reasoning_summary"},
        ),
        (
            GPT_OSS,
            ReasoningEffort(budget_tokens=9000),
            {"reasoning_effort": "high"},
            None,
            {"reasoning_budget"},
        ),
        (LLAMA, HIGH, None, None, {"reasoning_effort"}),
        (LLAMA, ReasoningEffort(effort="none"), None, None, set()),
    ],
)
def test_thinking(model_name: str, asked: ReasoningEffort, fields: object, effort: str | None, lost: set[str]) -> None:
    body, lost_here = encode(model=model_name, reasoning_effort=asked)
    assert body.get("additionalModelRequestFields") == fields
    assert body.get("outputConfig", {}).get("effort") == effort
    assert lost_here == lost


def test_a_budget_stays_below_the_answers_bound() -> None:
    body, lost = encode(reasoning_effort=HIGH, max_tokens=2000)
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 1600
    assert lost == set()
    body, lost = encode(reasoning_effort=ReasoningEffort(budget_tokens=5000), max_tokens=2000)
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 1999
    assert lost == {"reasoning_budget"}
    body, lost = encode(reasoning_effort=HIGH, max_tokens=1000)
    assert "additionalModelRequestFields" not in body
    assert lost == {"reasoning_effort"}


def test_while_claude_thinks_nothing_else_steers_it() -> None:
    body, lost = encode(
        reasoning_effort=HIGH, temperature=0.2, top_p=0.9, top_k=4, tools=(F,), tool_choice=ToolChoice(mode="required")
    )
    assert "inferenceConfig" not in body
    assert "toolChoice" not in body["toolConfig"]
    assert lost == {"temperature", "top_p", "top_k", "tool_choice"}


def test_nova_thinks_less_rather_than_without_a_bound() -> None:
    body, lost = encode(reasoning_effort=HIGH, max_tokens=100, model=wire.NOVA)
    assert body["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "medium"
    assert lost == {"reasoning_effort"}


def test_claude_does_not_think_with_a_budget_where_its_thoughts_are_gone() -> None:
    call, result = ToolCall(id="c", name="f"), user(ToolResult(call_id="c"))
    body, lost = encode(user("a"), model(call), result, tools=(F,), reasoning_effort=HIGH)
    assert "additionalModelRequestFields" not in body
    assert lost == {"reasoning_effort"}
    body, lost = encode(user("a"), model("Once upon"), reasoning_effort=HIGH)
    assert "additionalModelRequestFields" not in body
    assert lost == {"reasoning_effort"}
    thought = Reasoning(text="hm", signature=sealed())
    body, lost = encode(user("a"), model(thought, call), result, tools=(F,), reasoning_effort=HIGH)
    assert body["additionalModelRequestFields"]
    body, lost = encode(user("a"), model(call), result, tools=(F,), reasoning_effort=HIGH, model=NEW_CLAUDE)
    assert body["additionalModelRequestFields"]


# ---- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "thinks", "samples", "prefills"),
    [
        ("anthropic.claude-v2:1", "", True, True),
        ("anthropic.claude-instant-v1", "", True, True),
        ("anthropic.claude-3-sonnet-20240229-v1:0", "", True, True),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "budget", True, True),
        ("global.anthropic.claude-sonnet-4-20250514-v1:0", "budget", True, True),
        ("anthropic.claude-opus-4-5-20251101-v1:0", "budget", True, True),
        ("us.anthropic.claude-opus-4-6-v1", "budget_or_adaptive", True, False),
        ("us.anthropic.claude-opus-4-7", "adaptive", False, False),
        ("us.anthropic.claude-sonnet-5", "adaptive", False, False),
        ("anthropic.claude-opus-10-20300101-v1:0", "adaptive", False, False),
        ("anthropic.claude-something-new", "adaptive", False, False),
    ],
)
def test_claude_by_its_version(name: str, thinks: str, samples: bool, prefills: bool) -> None:
    known = models.of(name)
    assert (known.maker, known.thinks, known.samples, known.prefills) == ("anthropic", thinks, samples, prefills)


def test_a_request_of_another_kind_is_refused() -> None:
    with pytest.raises(errors.InvalidRequestError):
        wire.CHAT.encode(EmbeddingsRequest(model="m", inputs=("a",)), wire.asked().target)


def test_text_that_is_not_unicode_is_refused() -> None:
    for turn in (user("\ud800"), model(ToolCall(id="c", name="f", arguments="\ud800")), user(Document(text="\ud800"))):
        with pytest.raises(errors.InvalidRequestError):
            encode(turn)


def test_a_choice_without_tools_is_lost() -> None:
    body, lost = encode(tool_choice=ToolChoice(mode="required"))
    assert "toolConfig" not in body
    assert lost == {"tool_choice"}


TEXTS = st.sampled_from(["", " ", "a", "größe", "{}", "[1]", '{"a":1}', PNG, "s3://bucket/x.png", "https://a.example/"])
CACHES = st.none() | st.just(CacheControl()) | st.just(CacheControl(ttl="1h"))
SEALS = st.none() | st.sampled_from([sealed(), sealed("other"), sealed(maker="google")])
SOURCES = st.builds(Inline, st.sampled_from([PNG, "AAAA", ""])) | st.builds(Url, TEXTS) | st.builds(FileId, TEXTS)
KINDS = st.none() | st.sampled_from(["image/png", "application/pdf", "video/mp4", "audio/wav", "x/y", ""])
PARTS = st.one_of(
    st.builds(Text, text=TEXTS, seal=SEALS, cache=CACHES),
    st.builds(Refusal, text=TEXTS),
    st.builds(Reasoning, text=TEXTS, signature=SEALS, encrypted=SEALS),
    st.builds(Image, source=SOURCES, media_type=KINDS, cache=CACHES),
    st.builds(Document, source=st.none() | SOURCES, text=st.none() | TEXTS, media_type=KINDS, name=TEXTS, cache=CACHES),
    st.builds(Video, source=SOURCES, media_type=KINDS),
    st.builds(Audio, source=st.none() | SOURCES, media_type=KINDS, transcript=TEXTS),
    st.builds(ToolCall, id=TEXTS, name=TEXTS, arguments=TEXTS, custom=st.booleans(), cache=CACHES),
    st.builds(
        ToolResult,
        call_id=TEXTS,
        content=st.lists(st.builds(Text, text=TEXTS), max_size=2).map(tuple),
        is_error=st.booleans(),
        structured=st.none() | st.sampled_from([msgspec.Raw(b"{}"), msgspec.Raw(b"[")]),
        cache=CACHES,
    ),
    st.builds(Foreign, dialect=st.just("x"), kind=TEXTS, value=st.just(msgspec.Raw(b"{}"))),
)
TURNS = st.builds(
    Turn,
    role=st.sampled_from(["system", "developer", "user", "assistant"]),
    parts=st.lists(PARTS, max_size=3).map(tuple),
)
MODELS = st.sampled_from([wire.CLAUDE, OLD_CLAUDE, NEW_CLAUDE, wire.NOVA, LLAMA, GPT_OSS, "arn:aws:x"])


@settings(deadline=None, max_examples=100)
@given(st.lists(TURNS, max_size=5), MODELS, st.booleans(), st.sampled_from([None, HIGH]))
def test_any_request_fits_the_services_model(
    turns: list[Turn], model_name: str, with_tools: bool, effort: ReasoningEffort | None
) -> None:
    try:
        body, _ = encode(*turns, model=model_name, tools=(F,) if with_tools else (), reasoning_effort=effort)
    except errors.UnsupportedFeatureError:
        return  # nothing was left of it
    roles = [message["role"] for message in body["messages"]]
    assert roles[0] == "user"
    assert all(one != other for one, other in itertools.pairwise(roles))
    blank = [
        block for message in body["messages"] for block in message["content"] if not block.get("text", "x").strip()
    ]
    assert not blank


def test_an_empty_document_is_left_out() -> None:
    body, lost = encode(user("hi", Document(text="", name="a")))
    assert body["messages"] == [{"role": "user", "content": [{"text": "hi"}]}]
    assert lost == {"file"}
