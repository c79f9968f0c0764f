"""Probes of what turns and tools are made of."""

import base64
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from corpus import codecs_here
from corpus.probing import (
    MAKERS,
    MP4,
    PDF,
    PNG,
    TOOL,
    WAV,
    Find,
    RequestProbe,
    assistant,
    first,
    parts_of,
    raw,
    request_of,
    says,
    user,
)
from trunkline_gateway import exchange
from trunkline_gateway.exchange import ChatRequest, Turn

P = TypeVar("P")


def media_probes() -> list[RequestProbe]:
    """All of them."""
    inline, url, file_id = exchange.Inline, exchange.Url, exchange.FileId
    look = exchange.Text(text="look")
    picture = exchange.Image(source=inline(PNG), media_type="image/png")
    document = exchange.Document(source=inline(PDF), media_type="application/pdf", name="probe")

    def result(*content: exchange.Text | exchange.Image | exchange.Document, is_error: bool = False) -> ChatRequest:
        call = exchange.ToolCall(id="call_1", name="get_weather", arguments='{"city":"Rome"}')
        return request_of(
            user(),
            assistant(call),
            user(exchange.ToolResult(call_id="call_1", name="get_weather", content=content, is_error=is_error)),
            tools=(TOOL,),
        )

    def in_result(kind: type[P]) -> Find:
        def find(read: ChatRequest) -> object:
            for each in parts_of(read, exchange.ToolResult):
                for part in each.content:
                    if isinstance(part, kind):
                        return part.source
            return None

        return find

    def source(kind: type[P]) -> Find:
        return lambda read: getattr(first(read, kind), "source", None)

    web_png, web_pdf = "https://example.com/probe.png", "https://example.com/probe.pdf"
    return [
        says("image", request_of(user(picture)), source(exchange.Image), bedrock=PNG),
        says(
            "image_url",
            request_of(user(look, exchange.Image(source=url(web_png), media_type="image/png"))),
            source(exchange.Image),
            "image",
            bedrock=web_png,
        ),
        says(
            "image_detail",
            request_of(user(msgspec.structs.replace(picture, detail="low"))),
            lambda read: getattr(first(read, exchange.Image), "detail", None),
        ),
        says(
            "image_file",
            request_of(user(look, exchange.Image(source=file_id("file-1")))),
            source(exchange.Image),
            "file_id",
            "image",
        ),
        says(
            "audio_input",
            request_of(user(look, exchange.Audio(source=inline(WAV), media_type="audio/wav"))),
            source(exchange.Audio),
            bedrock=WAV,
        ),
        says(
            "video",
            request_of(user(look, exchange.Video(source=inline(MP4), media_type="video/mp4"))),
            source(exchange.Video),
            bedrock=MP4,
        ),
        says("file", request_of(user(document)), source(exchange.Document), bedrock=PDF),
        says(
            "file_url",
            request_of(user(look, exchange.Document(source=url(web_pdf), media_type="application/pdf", name="probe"))),
            source(exchange.Document),
            "file",
            bedrock=web_pdf,
        ),
        says(
            "file_id",
            request_of(user(look, exchange.Document(source=file_id("file-1")))),
            source(exchange.Document),
            "file",
        ),
        says(
            "file_name",
            request_of(user(document)),
            lambda read: getattr(first(read, exchange.Document), "name", None),
            bedrock='"name":"probe"',
        ),
        says(
            "file_context",
            request_of(user(msgspec.structs.replace(document, context="of 1999"))),
            lambda read: getattr(first(read, exchange.Document), "context", None),
            bedrock="of 1999",
        ),
        says(
            "file_citations",
            request_of(user(msgspec.structs.replace(document, citations=True))),
            lambda read: getattr(first(read, exchange.Document), "citations", None) or None,
            bedrock='"citations":{"enabled":true}',
        ),
        says(
            "tool_result_image",
            result(exchange.Text(text="look"), picture),
            in_result(exchange.Image),
            "image",
            bedrock=PNG,
        ),
        says(
            "tool_result_file",
            result(exchange.Text(text="look"), document),
            in_result(exchange.Document),
            "file",
            bedrock=PDF,
        ),
        says(
            "tool_result_error",
            result(exchange.Text(text="broken"), is_error=True),
            lambda read: any(each.is_error for each in parts_of(read, exchange.ToolResult)) or None,
            bedrock='"status":"error"',
        ),
    ]


def turn_probes() -> list[RequestProbe]:
    """All of them."""
    text = exchange.Text
    said = exchange.Text(text="answer")
    step = exchange.HostedStep(
        tool="web_search",
        dialect="anthropic_messages",
        value=raw('{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"probe"}}'),
        id="srvtoolu_1",
        query="probe",
    )

    def seal(dialect: str, value: str) -> exchange.Seal:
        return exchange.Seal(maker=MAKERS[dialect], account=codecs_here.TARGET.account, value=value)

    def thought(dialect: str, **more: object) -> ChatRequest:
        part = exchange.Reasoning(text="a thought", **more)
        return request_of(user(), assistant(part, said), user())

    def signed(dialect: str) -> ChatRequest:
        value = base64.b64encode(b"signature").decode()
        if dialect == "gemini_generate":  # it signs what is said
            return request_of(user(), assistant(text(text="answer", seal=seal(dialect, value))), user())
        return thought(dialect, signature=seal(dialect, value))

    def found_signature(read: ChatRequest) -> object:
        seals = [part.signature for part in parts_of(read, exchange.Reasoning)]
        seals += [part.seal for part in parts_of(read, exchange.Text)]
        return next((each.value for each in seals if each is not None), None)

    citing = text(
        text="answer", citations=(exchange.UrlCitation(url="https://example.com/cited", title="Cited", start=0, end=6),)
    )
    cached = exchange.CacheControl()
    return [
        says(
            "system_position",
            request_of(
                user(text(text="one")),
                assistant(said),
                Turn(role="system", parts=(text(text="rule"),)),
                user(text(text="two")),
            ),
            lambda read: (
                [turn.role for turn in read.turns].index("system")
                if "system" in [turn.role for turn in read.turns]
                else None
            ),
        ),
        says(
            "developer_role",
            request_of(Turn(role="developer", parts=(text(text="rule"),)), user()),
            lambda read: read.turns[0].role if read.turns[0].role in ("system", "developer") else None,
        ),
        says(
            "message_name",
            request_of(Turn(role="user", parts=(text(text="hello"),), name="ada")),
            lambda read: read.turns[0].name,
        ),
        says(
            "assistant_prefill",
            request_of(user(), assistant(text(text="{"))),
            lambda read: read.turns[-1].role if read.turns[-1].role == "assistant" else None,
            bedrock='"role":"assistant"',
        ),
        says(
            "tool_arguments",
            request_of(
                user(),
                assistant(exchange.ToolCall(id="call_1", name="get_weather", arguments='{"city":"Ro')),
                user(exchange.ToolResult(call_id="call_1", name="get_weather", content=(text(text="what?"),))),
                tools=(TOOL,),
            ),
            lambda read: getattr(first(read, exchange.ToolCall), "arguments", None),
        ),
        says(
            "hosted_step",
            request_of(user(), assistant(step, said), user()),
            lambda read: getattr(first(read, exchange.HostedStep), "tool", None),
            "web_search",
        ),
        RequestProbe(
            feature="reasoning",
            title="reasoning",
            request=thought,
            find=lambda read: getattr(first(read, exchange.Reasoning), "text", None) or None,
            names=("reasoning_signature",),
            bedrock="a thought",
        ),
        RequestProbe(
            feature="reasoning_signature",
            title="reasoning_signature",
            request=signed,
            find=found_signature,
            names=("reasoning",),
            bedrock=base64.b64encode(b"signature").decode(),
        ),
        RequestProbe(
            feature="reasoning_encrypted",
            title="reasoning_encrypted",
            request=lambda dialect: request_of(
                user(),
                assistant(
                    exchange.Reasoning(encrypted=seal(dialect, base64.b64encode(b"hidden").decode()), id="rs_1"), said
                ),
                user(),
            ),
            find=lambda read: next(
                (part.encrypted.value for part in parts_of(read, exchange.Reasoning) if part.encrypted), None
            ),
            names=("reasoning", "reasoning_signature"),
            bedrock=base64.b64encode(base64.b64encode(b"hidden")).decode(),
        ),
        says(
            "refusal",
            request_of(user(), assistant(exchange.Refusal(text="I will not")), user()),
            lambda read: getattr(first(read, exchange.Refusal), "text", None),
        ),
        says(
            "citations",
            request_of(user(), assistant(citing), user()),
            lambda read: next((part.citations for part in parts_of(read, exchange.Text) if part.citations), None),
        ),
        says(
            "cache_control",
            request_of(user(text(text="long", cache=cached), text(text="short"))),
            lambda read: next((part.cache for part in parts_of(read, exchange.Text) if part.cache), None),
            bedrock='"cachePoint"',
        ),
        says(
            "cache_control.ttl",
            request_of(user(text(text="long", cache=exchange.CacheControl(ttl="1h")), text(text="short"))),
            lambda read: next((part.cache.ttl for part in parts_of(read, exchange.Text) if part.cache), None),
            "cache_control",
            bedrock='"ttl":"1h"',
        ),
    ]


HOSTED: Final[Mapping[str, tuple[str, str]]] = {
    "web_search": ("anthropic_messages", '{"type":"web_search_20250305","name":"web_search"}'),
    "web_fetch": ("anthropic_messages", '{"type":"web_fetch_20250910","name":"web_fetch"}'),
    "code_execution": ("anthropic_messages", '{"type":"code_execution_20250522","name":"code_execution"}'),
    "file_search": ("openai_responses", '{"type":"file_search","vector_store_ids":["vs_1"]}'),
    "image_generation": ("openai_responses", '{"type":"image_generation"}'),
    "computer": (
        "anthropic_messages",
        '{"type":"computer_20250124","name":"computer","display_width_px":9,"display_height_px":9}',
    ),
    "bash": ("anthropic_messages", '{"type":"bash_20250124","name":"bash"}'),
    "text_editor": ("anthropic_messages", '{"type":"text_editor_20250124","name":"str_replace_editor"}'),
    "memory": ("anthropic_messages", '{"type":"memory_20250818","name":"memory"}'),
    "mcp": ("openai_responses", '{"type":"mcp","server_label":"s","server_url":"https://example.com/mcp"}'),
    "url_context": ("gemini_generate", '{"urlContext":{}}'),
    "maps": ("gemini_generate", '{"googleMaps":{}}'),
    "hosted_tool": ("openai_responses", '{"type":"apply_patch"}'),
}
"""Kind → a dialect that has it, and how it says it."""


def tool_probes() -> list[RequestProbe]:
    """All of them."""
    found = [
        says(
            "tools",
            request_of(tools=(TOOL,)),
            lambda read: [each.name for each in read.tools if isinstance(each, exchange.Tool)] or None,
            bedrock='"toolSpec":{"name":"get_weather"',
        ),
        says(
            "tools.strict",
            request_of(tools=(msgspec.structs.replace(TOOL, strict=True),)),
            lambda read: next((each.strict for each in read.tools if isinstance(each, exchange.Tool)), None),
            bedrock='"strict":true',
        ),
        says(
            "tools.custom",
            request_of(tools=(exchange.Tool(name="patch", description="Free text", custom=True),)),
            lambda read: next((each.custom for each in read.tools if isinstance(each, exchange.Tool)), None) or None,
        ),
        says(
            "tools.namespace",
            request_of(tools=(msgspec.structs.replace(TOOL, namespace="weather"),)),
            lambda read: next((each.namespace for each in read.tools if isinstance(each, exchange.Tool)), None),
        ),
    ]
    for kind, (dialect, value) in HOSTED.items():
        tool = exchange.HostedTool(
            kind=kind if kind != "hosted_tool" else "apply_patch", dialect=dialect, value=raw(value)
        )
        found.append(
            says(
                kind,
                request_of(tools=(tool,)),
                lambda read: next((each.kind for each in read.tools if isinstance(each, exchange.HostedTool)), None),
                "hosted_tool",
            )
        )
    search = exchange.HostedTool(
        kind="web_search",
        dialect="anthropic_messages",
        value=raw('{"type":"web_search_20250305","name":"web_search","max_uses":3,"allowed_domains":["example.com"]}'),
        max_uses=3,
        allowed_domains=("example.com",),
    )
    found.append(
        says(
            "web_search.options",
            request_of(tools=(search,)),
            lambda read: next(
                (
                    (each.max_uses, each.allowed_domains)
                    for each in read.tools
                    if isinstance(each, exchange.HostedTool) and (each.max_uses or each.allowed_domains)
                ),
                None,
            ),
            "web_search",
        )
    )
    return found
