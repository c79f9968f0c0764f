"""Parts of a turn to content blocks of a request.

https://docs.anthropic.com/en/api/messages#body-messages
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final, TypeAlias, assert_never

import msgspec

from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.anthropic_messages import citations, names, upstream_json
from trunkline_gateway.dialects.anthropic_messages.vocabulary import DIALECT, IMAGE_TYPES
from trunkline_gateway.exchange import (
    Audio,
    CacheControl,
    Document,
    FileId,
    Foreign,
    HostedStep,
    Image,
    Inline,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
    origin,
)

Block: TypeAlias = dict[str, object]
Lost: TypeAlias = dict[str, None]
"""Names, each once, in order."""

_encoder: Final = msgspec.json.Encoder()

# The first characters of base64 of the first bytes; a media type that does not fit is refused.
_IMAGES: Final[Mapping[str, str]] = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}
_PDF: Final = "JVBERi0"
_FILE_ID: Final = "file_"
"""How the API's own ids of files begin; OpenAI's have a hyphen there."""


def cache_control(cache: CacheControl) -> Block:
    """A mark of where a cached beginning ends."""
    return {"type": "ephemeral"} if cache.ttl is None else {"type": "ephemeral", "ttl": cache.ttl}


def marked(block: Block, cache: CacheControl | None) -> Block:
    """The block with its mark, if it has one."""
    if cache is not None:
        block["cache_control"] = cache_control(cache)
    return block


def own(value: msgspec.Raw) -> Block:
    """A block or a tool in the API's own words."""
    return dict(upstream_json.members(value))


class Blocks:
    """Writes blocks for one target, and collects the names of what is lost."""

    __slots__ = ("_account", "_fetches", "_lost", "_names", "_unsigned")

    def __init__(self, tool_names: names.ToolNames, target: Target, lost: Lost) -> None:
        self._names = tool_names
        self._account = target.account
        self._unsigned = "reasoning_in_history" in target.quirks
        self._fetches = "no_image_urls" not in target.quirks
        self._lost = lost

    def of_system(self, turn: Turn) -> list[Block]:
        """Of a system or developer turn, in which there is only text."""
        blocks: list[Block] = []
        for part in turn.parts:
            block = self.block(part, turn.role)
            if block is not None and block.get("type") == "text":
                blocks.append(block)
            elif block is not None:
                self._lost["image" if isinstance(part, Image) else "file"] = None
        return blocks

    def of_turn(self, turn: Turn) -> list[Block]:
        """Of any other turn: the results of tools first, as the API wants them."""
        blocks: list[Block] = []
        results: list[Block] = []
        for part in turn.parts:
            if isinstance(part, Reasoning):
                blocks += self._reasoning(part)
            elif (block := self.block(part, turn.role)) is not None:
                (results if isinstance(part, ToolResult) else blocks).append(block)
        return results + blocks

    def block(self, part: Part, role: Role) -> Block | None:  # noqa: C901  # one branch for each kind of part
        """One part; None where nothing of it can be said."""
        match part:
            case Text():
                return self._text(part, role)
            case Refusal():
                self._lost["refusal"] = None
                return _text(part.text)
            case Image():
                return self._image(part, "image")
            case Document():
                return self._document(part, "file")
            case ToolCall():
                return self._tool_use(part)
            case ToolResult():
                return self._tool_result(part)
            case HostedStep(dialect=dialect) if dialect == DIALECT:
                return own(part.value)
            case HostedStep():
                self._lost["hosted_step"] = None
                return None
            case Foreign(dialect=dialect) if dialect == DIALECT:
                return own(part.value)
            case Foreign():
                self._lost[part.kind] = None
                return None
            case Audio():
                self._lost["audio_input"] = None
                return _text(part.transcript)
            case Video():
                self._lost["video"] = None
                return None
            case Reasoning():
                self._lost["reasoning"] = None  # of a system turn: nobody thinks there
                return None
            case _:
                assert_never(part)

    def _text(self, part: Text, role: Role) -> Block | None:
        block = _text(part.text)
        if block is None:
            if part.cache is not None:
                self._lost["cache_control"] = None
            return None
        if part.citations and role == "assistant":
            kept = [each for each in part.citations if citations.may_go_back(each)]
            said = [wire for each in kept if (wire := citations.wire(each)) is not None]
            if said:
                block["citations"] = said
            if len(said) < len(part.citations):
                self._lost["citations"] = None
        return marked(block, part.cache)

    def _reasoning(self, part: Reasoning) -> list[Block]:
        blocks: list[Block] = []
        said = False
        if part.signature is not None and origin.fits(part.signature, "anthropic", self._account):
            blocks.append({"type": "thinking", "thinking": part.text, "signature": part.signature.value})
            said = True
        elif part.signature is not None:
            self._lost["reasoning_signature"] = None
        if part.encrypted is not None and origin.fits(part.encrypted, "anthropic", self._account):
            blocks.append({"type": "redacted_thinking", "data": part.encrypted.value})
        elif part.encrypted is not None:
            self._lost["reasoning_encrypted"] = None
        if part.text and not said:
            if self._unsigned:
                blocks.insert(0, {"type": "thinking", "thinking": part.text, "signature": ""})
            else:
                self._lost["reasoning"] = None
        return blocks

    def _image(self, part: Image, name: str) -> Block | None:
        if part.detail not in (None, "auto"):
            self._lost["image_detail"] = None
        source: Block
        match part.source:
            case Url(url=url):
                if not self._may_fetch(url):
                    self._lost["image_url"] = None
                    return None
                source = {"type": "url", "url": url}
            case FileId(id=id):
                if not id.startswith(_FILE_ID):
                    self._lost["image_file"] = None
                    return None
                source = {"type": "file", "file_id": id}
            case Inline(data=data):
                media_type = _image_type(data, part.media_type)
                if media_type is None:
                    self._lost[name] = None
                    return None
                source = {"type": "base64", "media_type": media_type, "data": data}
            case _:
                assert_never(part.source)
        return marked({"type": "image", "source": source}, part.cache)

    def _document(self, part: Document, name: str) -> Block | None:
        source = self._document_source(part, name)
        if source is None:
            return None
        block: Block = {"type": "document", "source": source}
        if part.name:
            block["title"] = part.name
        if part.context:
            block["context"] = part.context
        if part.citations:
            block["citations"] = {"enabled": True}
        return marked(block, part.cache)

    def _document_source(self, part: Document, name: str) -> Block | None:
        match part.source:
            case None:
                return _plain(part.text) if part.text else None
            case Url(url=url):
                if not self._may_fetch(url):
                    self._lost["file_url"] = None
                    return None
                return {"type": "url", "url": url}
            case FileId(id=id):
                if not id.startswith(_FILE_ID):
                    self._lost["file_id"] = None
                    return None
                return {"type": "file", "file_id": id}
            case Inline(data=data):
                if data.startswith(_PDF) or part.media_type == "application/pdf":
                    return {"type": "base64", "media_type": "application/pdf", "data": data}
                text = _decoded(data)
                if text is None:
                    self._lost[name] = None
                    return None
                return _plain(text)
            case _:
                assert_never(part.source)

    def _may_fetch(self, url: str) -> bool:
        return self._fetches and url.startswith(("https://", "http://"))

    def _tool_use(self, part: ToolCall) -> Block:
        if part.seal is not None:
            self._lost["reasoning_signature"] = None
        input: object
        if part.custom:
            input = {"input": part.arguments}
        else:
            arguments = part.arguments.strip().encode("utf-8", "replace")
            if not arguments:
                input = {}
            elif upstream_json.is_object(arguments):
                input = msgspec.Raw(arguments)
            else:  # a call that was cut short, or never was an object: its text, for the model to see
                self._lost["tool_arguments"] = None
                input = {"input": part.arguments}
        block: Block = {
            "type": "tool_use",
            "id": names.call_id(part.id),
            "name": self._names.wire(part.name, part.namespace),
            "input": input,
        }
        return marked(block, part.cache)

    def _tool_result(self, part: ToolResult) -> Block:
        content: list[Block] = []
        for each in part.content:
            block: Block | None
            match each:
                case Text():
                    block = self._text(each, "user")
                case Image():
                    block = self._image(each, "tool_result_image")
                case Document():
                    block = self._document(each, "tool_result_file")
                case Audio() | Video():
                    self._lost["tool_result_file"] = None
                    block = None
                case _:
                    assert_never(each)
            if block is not None:
                content.append(block)
        if not content and part.structured is not None and not part.content:
            content.append({"type": "text", "text": bytes(part.structured).decode("utf-8", "replace")})
        said: Block = {"type": "tool_result", "tool_use_id": names.call_id(part.call_id)}
        if content:
            said["content"] = content
        if part.is_error:
            said["is_error"] = True
        return marked(said, part.cache)


def _text(text: str) -> Block | None:
    """A text block; the API refuses one of spaces only."""
    return {"type": "text", "text": text} if text and not text.isspace() else None


def _plain(text: str | None) -> Block:
    return {"type": "text", "media_type": "text/plain", "data": text or ""}


def _image_type(data: str, said: str | None) -> str | None:
    for prefix, media_type in _IMAGES.items():
        if data.startswith(prefix):
            return media_type
    said = "image/jpeg" if said == "image/jpg" else said
    return said if said in IMAGE_TYPES else None


def _decoded(data: str) -> str | None:
    """The text that base64 stands for, if it is text."""
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return text if text and "\0" not in text else None
