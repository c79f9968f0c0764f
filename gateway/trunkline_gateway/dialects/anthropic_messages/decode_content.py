"""Content blocks of a request to parts.

https://docs.anthropic.com/en/api/messages#body-messages
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialects.anthropic_messages import citations, client_json, upstream_json
from trunkline_gateway.dialects.anthropic_messages.client_json import Members, wrong
from trunkline_gateway.dialects.anthropic_messages.vocabulary import DIALECT, hosted_kind
from trunkline_gateway.exchange import (
    CacheControl,
    Document,
    FileId,
    Foreign,
    HostedStep,
    Image,
    Inline,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Url,
    origin,
)

_ONLY_IN: Final[Mapping[str, str]] = {
    "tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    "tool_result": "user",
}
_QUERIES: Final = ("query", "code", "command", "url")


class Unsaid:
    """Names of what has no place in the exchange, each once, in order."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def append(self, name: str) -> None:
        """One more."""
        self._names[name] = None

    def rest(self, members: Members, prefix: str) -> None:
        """All that nobody asked an object for; ``prefix`` is where such objects stand, without numbers."""
        for name in members.unread():
            self._names[f"{prefix}.{name}" if prefix else name] = None

    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._names)


def cache(members: Members, unsaid: Unsaid) -> CacheControl | None:
    """A block's or a tool's ``cache_control``. Raises InvalidRequestError."""
    said = members.object("cache_control")
    if said is None:
        return None
    said.raw("type")
    ttl = said.text("ttl")
    unsaid.rest(said, "cache_control")
    match ttl:
        case "5m" | "1h":
            return CacheControl(ttl=ttl)
        case None:
            return CacheControl()
        case _:
            unsaid.append("cache_control.ttl")
            return CacheControl()


def hosted_step(kind: str, value: msgspec.Raw) -> HostedStep | None:
    """A call or a result of a tool that Anthropic runs; None: the block is something else."""
    said = upstream_json.members(value)
    if kind in ("server_tool_use", "mcp_tool_use"):
        name = "mcp" if kind == "mcp_tool_use" else upstream_json.text(said.get("name")) or kind
        asked = upstream_json.members(said.get("input"))
        query = next((found for each in _QUERIES if (found := upstream_json.text(asked.get(each)))), "")
        id = upstream_json.text(said.get("id")) or ""
        return HostedStep(tool=hosted_kind(name), dialect=DIALECT, value=value, id=id, query=query)
    if kind.endswith("_tool_result"):
        id = upstream_json.text(said.get("tool_use_id")) or ""
        return HostedStep(tool=hosted_kind(kind), dialect=DIALECT, value=value, id=id)
    return None


class Content:
    """Reads the content of messages, and collects what has no place in the exchange."""

    __slots__ = ("_unsaid",)

    def __init__(self, unsaid: Unsaid) -> None:
        self._unsaid = unsaid

    def parts(self, raw: msgspec.Raw, path: str, role: str) -> tuple[Part, ...]:
        """All of a message's content, a string or blocks. Raises InvalidRequestError."""
        if client_json.is_text(raw):
            return (Text(text=client_json.text(raw, path)),)
        if not client_json.is_array(raw):
            raise wrong(path, "Input should be a valid string or list")
        parts: list[Part] = []
        for number, item in enumerate(client_json.array(raw, path)):
            part = self._part(item, f"{path}[{number}]", role)
            if isinstance(part, Reasoning) and part.encrypted is not None and not part.text and parts:
                before = parts[-1]
                if part.encrypted.maker == "google" and isinstance(before, ToolCall):
                    # Where `encode_answer` puts the seal of a call, for which a block has no place.
                    parts[-1] = msgspec.structs.replace(before, seal=part.encrypted)
                    continue
            parts.append(part)
        return tuple(parts)

    def texts(self, raw: msgspec.Raw, path: str) -> tuple[Text, ...]:
        """The same where there may be only text. Raises InvalidRequestError."""
        parts: list[Text] = []
        for number, part in enumerate(self.parts(raw, path, "system")):
            if not isinstance(part, Text):
                raise wrong(f"{path}[{number}].type", "Input should be 'text'")
            parts.append(part)
        return tuple(parts)

    def _part(self, raw: msgspec.Raw, path: str, role: str) -> Part:
        block = Members.of(raw, path)
        kind = block.need_text("type")
        if role != (wanted := _ONLY_IN.get(kind, role)):
            raise wrong(f"{path}.type", f"`{kind}` blocks can only be in `{wanted}` messages")
        part: Part
        match kind:
            case "thinking":
                part = self._thinking(block)
            case "redacted_thinking":
                data = block.need_text("data")
                part = Reasoning(encrypted=origin.read(data, "anthropic"))
            case "tool_use":
                part = self._tool_use(block)
            case "tool_result":
                part = self._tool_result(block)
            case _:
                content = self._content(block, kind)
                return self._other(kind, raw) if content is None else content
        self._unsaid.rest(block, "messages.content")
        return part

    def _other(self, kind: str, raw: msgspec.Raw) -> Part:
        return hosted_step(kind, raw) or Foreign(dialect=DIALECT, kind=kind, value=raw)

    def _content(self, block: Members, kind: str) -> Text | Image | Document | None:
        """What may stand in a message as well as in the result of a tool."""
        part: Text | Image | Document
        match kind:
            case "text":
                part = Text(
                    text=block.need_text("text"),
                    citations=citations.read_all(block.raw("citations")),
                    cache=cache(block, self._unsaid),
                )
            case "image":
                part = self._image(block)
            case "document":
                part = self._document(block)
            case "search_result":
                part = self._search_result(block)
            case _:
                return None
        self._unsaid.rest(block, "messages.content")
        return part

    def _thinking(self, block: Members) -> Reasoning:
        text = block.need_text("thinking")
        signature = block.text("signature")
        seal = origin.read(signature, "anthropic") if signature else None
        if seal is None:  # written by a gateway for a model that signs nothing
            return Reasoning(text=text)
        # OpenAI's thoughts are never signed, only encrypted; a block with text has one place for both.
        return Reasoning(text=text, encrypted=seal) if seal.maker == "openai" else Reasoning(text=text, signature=seal)

    def _tool_use(self, block: Members) -> ToolCall:
        id, name = block.need_text("id"), block.need_text("name")
        input = block.need("input")
        if not client_json.is_object(input):
            raise wrong(block.at("input"), "Input should be a valid dictionary")
        caller = block.object("caller")
        if caller is not None and caller.text("type") != "direct":
            self._unsaid.append("messages.content.caller")
        arguments = bytes(input).decode("utf-8", "replace")
        return ToolCall(id=id, name=name, arguments=arguments, cache=cache(block, self._unsaid))

    def _tool_result(self, block: Members) -> ToolResult:
        raw = block.raw("content")
        return ToolResult(
            call_id=block.need_text("tool_use_id"),
            content=() if raw is None else self._result_content(raw, block.at("content")),
            is_error=bool(block.boolean("is_error")),
            cache=cache(block, self._unsaid),
        )

    def _result_content(self, raw: msgspec.Raw, path: str) -> tuple[Text | Image | Document, ...]:
        if client_json.is_text(raw):
            text = client_json.text(raw, path)
            return (Text(text=text),) if text else ()
        parts: list[Text | Image | Document] = []
        for number, item in enumerate(client_json.array(raw, path)):
            block = Members.of(item, f"{path}[{number}]")
            kind = block.need_text("type")
            part = self._content(block, kind)
            if part is None:
                self._unsaid.append(f"messages.content.content.{kind}")
            else:
                parts.append(part)
        return tuple(parts)

    def _image(self, block: Members) -> Image:
        source = _source(block)
        kind = source.need_text("type")
        media_type = source.text("media_type")
        marked = cache(block, self._unsaid)
        match kind:
            case "base64":
                return Image(source=Inline(source.need_text("data")), media_type=media_type, cache=marked)
            case "url":
                return Image(source=Url(source.need_text("url")), media_type=media_type, cache=marked)
            case "file":
                return Image(source=FileId(source.need_text("file_id")), media_type=media_type, cache=marked)
            case _:
                raise wrong(source.at("type"), "Input should be 'base64', 'url' or 'file'")

    def _document(self, block: Members) -> Document:
        source = _source(block)
        kind = source.need_text("type")
        media_type = source.text("media_type")
        citing = block.object("citations")
        plain = Document(
            name=block.text("title"),
            context=block.text("context"),
            citations=citing is not None and bool(citing.boolean("enabled")),
            cache=cache(block, self._unsaid),
        )
        replace = msgspec.structs.replace
        match kind:
            case "base64":
                media_type = media_type or "application/pdf"
                return replace(plain, source=Inline(source.need_text("data")), media_type=media_type)
            case "text":
                return replace(plain, text=source.need_text("data"), media_type=media_type or "text/plain")
            case "url":
                url = Url(source.need_text("url"))
                return replace(plain, source=url, media_type=media_type or "application/pdf")
            case "file":
                return replace(plain, source=FileId(source.need_text("file_id")), media_type=media_type)
            case "content":
                return replace(plain, text=self._blocks(source), media_type="text/plain")
            case _:
                raise wrong(source.at("type"), "Input should be 'base64', 'text', 'content', 'url' or 'file'")

    def _blocks(self, source: Members) -> str:
        """A document of blocks as one text: that citations count blocks, and pictures in it, have no place."""
        raw = source.need("content")
        if client_json.is_text(raw):
            return client_json.text(raw, source.at("content"))
        self._unsaid.append("messages.content.source.content")
        parts = self.parts(raw, source.at("content"), "user")
        return "\n\n".join(part.text for part in parts if isinstance(part, Text))

    def _search_result(self, block: Members) -> Document:
        """A page that the client found, as a document: its address is said, but cannot be cited."""
        self._unsaid.append("messages.content.search_result")
        citing = block.object("citations")
        return Document(
            text=self._blocks(block),
            media_type="text/plain",
            name=block.text("title"),
            context=block.text("source"),
            citations=citing is not None and bool(citing.boolean("enabled")),
            cache=cache(block, self._unsaid),
        )


def _source(block: Members) -> Members:
    return Members.of(block.need("source"), block.at("source"))
