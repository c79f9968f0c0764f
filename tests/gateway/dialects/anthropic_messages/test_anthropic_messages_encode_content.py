"""Content for the API: what each part becomes, and how a conversation is put in order."""

import base64

import pytest

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.exchange import (
    Audio,
    CacheControl,
    Document,
    DocumentCitation,
    FileId,
    Foreign,
    HostedStep,
    Image,
    Inline,
    Reasoning,
    Refusal,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    UrlCitation,
    Video,
)

OWN = Seal(maker="anthropic", account=wire.ACCOUNT, value="EqQ")
OTHERS = Seal(maker="anthropic", account="0ther000", value="EqQ")
GPT = Seal(maker="openai", account="", value="gAAA")
PNG = "iVBORw0KGgoAAAA="


F = Tool(name="f", parameters=wire.raw({"type": "object", "properties": {}}))


def _said(*turns: Turn, to: Target | None = None) -> tuple[list[tuple[str, list[dict[str, object]]]], set[str]]:
    body, lost = wire.encode(wire.chat(*turns), to)
    return [(message["role"], message["content"]) for message in body["messages"]], lost  # type: ignore[attr-defined]


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


# ---- parts -----------------------------------------------------------------------------------------------------------

_RESULT = ToolResult(call_id="t1", content=(Text(text="ok"),))
_OWN_STEP = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
_OWN_BLOCK = {"type": "container_upload", "file_id": "file_1"}


@pytest.mark.parametrize(
    ("part", "block", "lost"),
    [
        (Text(text="a"), _text("a"), ""),
        (
            Text(text="a", cache=CacheControl(ttl="1h")),
            _text("a") | {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
            "",
        ),
        (Text(text="", cache=CacheControl()), None, "cache_control"),
        (Text(text=" \n"), None, ""),
        (Refusal(text="no"), _text("no"), "refusal"),
        (Image(source=Url("https://i")), {"type": "image", "source": {"type": "url", "url": "https://i"}}, ""),
        (Image(source=Url("gs://i")), None, "image_url"),
        (
            Image(source=Inline(PNG)),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            "",
        ),
        (
            Image(source=Inline("/9j/AAAA"), media_type="image/png", detail="high"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/AAAA"}},
            "image_detail",
        ),
        (
            Image(source=Inline("AAAA"), media_type="image/jpg"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}},
            "",
        ),
        (Image(source=Inline("AAAA"), media_type="image/tiff"), None, "image"),
        (Image(source=FileId("file_1")), {"type": "image", "source": {"type": "file", "file_id": "file_1"}}, ""),
        (Image(source=FileId("file-openai")), None, "image_file"),
        (
            Document(source=Inline("JVBERi0x"), name="n.pdf", context="c", citations=True),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"},
                "title": "n.pdf",
                "context": "c",
                "citations": {"enabled": True},
            },
            "",
        ),
        (
            Document(source=Inline(base64.b64encode("größer".encode()).decode()), media_type="text/csv"),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "größer"}},
            "",
        ),
        (Document(source=Inline("/////w=="), media_type="application/zip"), None, "file"),
        (
            Document(text="x"),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
            "",
        ),
        (Document(source=Url("https://d")), {"type": "document", "source": {"type": "url", "url": "https://d"}}, ""),
        (Document(source=Url("s3://d")), None, "file_url"),
        (Document(source=FileId("file-x")), None, "file_id"),
        (Document(text=""), None, ""),
        (Audio(source=Inline("AAAA"), media_type="audio/wav"), None, "audio_input"),
        (Video(source=Inline("AAAA")), None, "video"),
        (_RESULT, {"type": "tool_result", "tool_use_id": "t1", "content": [_text("ok")]}, ""),
        (ToolResult(call_id="a.b c"), {"type": "tool_result", "tool_use_id": "a_b_c_8640d2e2"}, ""),
        (
            ToolResult(call_id="t1", is_error=True, structured=wire.raw({"a": 1}), cache=CacheControl()),
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "content": [_text('{"a":1}')],
                "is_error": True,
                "cache_control": {"type": "ephemeral"},
            },
            "",
        ),
        (
            ToolResult(call_id="t1", content=(Image(source=Inline("AAAA"), media_type="image/bmp"), Text(text=""))),
            {"type": "tool_result", "tool_use_id": "t1"},
            "tool_result_image",
        ),
        (
            ToolResult(call_id="t1", content=(Audio(source=Inline("AAAA")),)),
            {"type": "tool_result", "tool_use_id": "t1"},
            "tool_result_file",
        ),
        (Foreign(dialect="anthropic_messages", kind="container_upload", value=wire.raw(_OWN_BLOCK)), _OWN_BLOCK, ""),
        (Foreign(dialect="gemini_generate", kind="executableCode", value=wire.raw({})), None, "executableCode"),
    ],
)
def test_each_part_of_a_user(part: exchange.Part, block: dict[str, object] | None, lost: str) -> None:
    said, names = _said(wire.user("before", part))
    expected = [_text("before")] if block is None else [_text("before"), block]
    assert sorted(map(str, said[0][1])) == sorted(map(str, expected))
    assert names == ({lost} if lost else set())


@pytest.mark.parametrize(
    ("part", "block", "lost"),
    [
        (Reasoning(text="hm", signature=OWN), {"type": "thinking", "thinking": "hm", "signature": "EqQ"}, set()),
        (Reasoning(signature=OWN), {"type": "thinking", "thinking": "", "signature": "EqQ"}, set()),
        (Reasoning(encrypted=OWN), {"type": "redacted_thinking", "data": "EqQ"}, set()),
        (Reasoning(text="hm", signature=OTHERS), None, {"reasoning", "reasoning_signature"}),
        (Reasoning(text="hm", encrypted=GPT), None, {"reasoning", "reasoning_encrypted"}),
        (Reasoning(text="hm"), None, {"reasoning"}),
        (
            ToolCall(id="t1", name="f", arguments=' {"a": 1.0}'),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.0}},
            set(),
        ),
        (ToolCall(id="t1", name="f"), {"type": "tool_use", "id": "t1", "name": "f", "input": {}}, set()),
        (
            ToolCall(id="t1", name="f", arguments='{"a": '),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"input": '{"a": '}},
            {"tool_arguments"},
        ),
        (
            ToolCall(id="t1", name="f", arguments="[1]"),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"input": "[1]"}},
            {"tool_arguments"},
        ),
        (
            ToolCall(id="t1", name="patch", arguments="*** Begin", custom=True),
            {"type": "tool_use", "id": "t1", "name": "patch", "input": {"input": "*** Begin"}},
            set(),
        ),
        (
            ToolCall(id="t1", name="open", namespace="files", arguments="{}"),
            {"type": "tool_use", "id": "t1", "name": "files__open", "input": {}},
            set(),
        ),
        (
            ToolCall(id="t1", name="f", seal=Seal(maker="google", value="x")),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
            {"reasoning_signature"},
        ),
        (HostedStep(tool="web_search", dialect="anthropic_messages", value=wire.raw(_OWN_STEP)), _OWN_STEP, set()),
        (HostedStep(tool="web_search", dialect="openai_responses", value=wire.raw({})), None, {"hosted_step"}),
        (Text(text="a", citations=(UrlCitation(url="https://u"),)), _text("a"), {"citations"}),
        (
            Text(text="a", citations=(DocumentCitation(document=0, cited_text="c", unit="character", start=0, end=1),)),
            _text("a")
            | {
                "citations": [
                    {
                        "type": "char_location",
                        "cited_text": "c",
                        "document_index": 0,
                        "document_title": None,
                        "start_char_index": 0,
                        "end_char_index": 1,
                    }
                ]
            },
            set(),
        ),
    ],
)
def test_each_part_of_an_assistant(part: exchange.Part, block: dict[str, object] | None, lost: set[str]) -> None:
    said, names = _said(wire.user("q"), wire.assistant(part, "a"), wire.user("go on"))
    assert said[1][1] == ([_text("a")] if block is None else [block, _text("a")])
    assert names == lost


# ---- the conversation ------------------------------------------------------------------------------------------------


def test_neighbours_are_joined_and_results_of_tools_come_first() -> None:
    calls = wire.assistant(ToolCall(id="a", name="f"), ToolCall(id="b", name="f"))
    said, lost = _said(
        wire.user("1"),
        wire.user("2"),
        calls,
        wire.user("see:", ToolResult(call_id="a")),
        wire.user(ToolResult(call_id="b"), "and?"),
    )
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert said[0][1] == [_text("1"), _text("2")]
    assert [block["type"] for block in said[2][1]] == ["tool_result", "tool_result", "text", "text"]
    assert [block.get("tool_use_id") for block in said[2][1]] == ["a", "b", None, None]
    assert not lost


def test_turns_that_say_nothing_are_left_out() -> None:
    said, _ = _said(wire.user("1"), wire.assistant(""), wire.user(" ", "2"))
    assert said == [("user", [_text("1"), _text("2")])]


@pytest.mark.parametrize(
    "turns", [[wire.assistant("hello"), wire.user("hi")], [wire.system("s")], [wire.assistant(" x")]]
)
def test_the_first_turn_is_the_users(turns: list[Turn]) -> None:
    said, lost = _said(*turns)
    assert said[0] == ("user", [_text(".")])
    assert not lost


def test_a_prefill_does_not_end_in_spaces() -> None:
    said, lost = _said(wire.user("q"), wire.assistant("The answer: \n"))
    assert said[1] == ("assistant", [_text("The answer:")])
    assert not lost


@pytest.mark.parametrize("to", [wire.target(wire.NEW), wire.target("m", "no_prefill")])
def test_a_model_that_takes_no_prefill_is_told_to_go_on(to: Target) -> None:
    said, lost = _said(wire.user("q"), wire.assistant("The answer:"), to=to)
    assert said[1:] == [("assistant", [_text("The answer:")]), ("user", [_text("Continue.")])]
    assert lost == {"assistant_prefill"}


def test_a_turn_that_was_paused_is_no_prefill() -> None:
    step = HostedStep(tool="web_search", dialect="anthropic_messages", value=wire.raw(_OWN_STEP))
    said, lost = _said(wire.user("q"), wire.assistant("a", step), to=wire.target(wire.NEW))
    assert [role for role, _ in said] == ["user", "assistant"]
    assert not lost


def test_what_the_system_says_first_and_later() -> None:
    turns = (
        Turn(role="developer", parts=(Text(text="d", cache=CacheControl()),)),
        wire.system("s"),
        wire.user("q"),
        wire.system("later"),
        wire.user("r"),
    )
    body, lost = wire.encode(wire.chat(*turns))
    assert body["system"] == [_text("d") | {"cache_control": {"type": "ephemeral"}}, _text("s"), _text("later")]
    assert lost == {"system_position"}
    body, lost = wire.encode(wire.chat(*turns), wire.target(wire.NEW))
    assert [message["role"] for message in body["messages"]] == ["user", "system", "user"]  # type: ignore[attr-defined]
    assert not lost
    _, lost = wire.encode(
        wire.chat(wire.system("s", Image(source=Url("https://i")), Document(text="x")), wire.user("q"))
    )
    assert lost == {"image", "file"}


def test_names_of_participants_are_lost() -> None:
    assert _said(Turn(role="user", parts=(Text(text="a"),), name="ann"))[1] == {"message_name"}


def test_at_most_four_marks_of_a_cache_are_kept() -> None:
    tools = [Tool(name=f"f{number}", cache=CacheControl()) for number in range(3)]
    turn = wire.user(*(Text(text=str(number), cache=CacheControl()) for number in range(4)))
    body, lost = wire.encode(wire.chat(wire.system(Text(text="s", cache=CacheControl())), turn, tools=tools))
    marks = ["cache_control" in block for block in [*body["tools"], *body["system"], *body["messages"][0]["content"]]]  # type: ignore[misc,index]
    assert marks == [True, False, False, False, False, True, True, True]
    assert lost == {"cache_control"}
