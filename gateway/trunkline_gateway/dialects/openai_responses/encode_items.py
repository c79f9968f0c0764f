"""Turns as input items for an upstream.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input

System and developer turns stay messages where they stand, which keeps their order; ``instructions`` would not. Items
bear no ids: nothing is stored, and OpenAI looks up what has one. Reasoning alone keeps the id that it was given.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway.dialect import Target, require_something
from trunkline_gateway.dialects.openai_responses import citations, hosted, names, targets
from trunkline_gateway.dialects.openai_responses.lost import Lost
from trunkline_gateway.exchange import (
    Audio,
    ChatRequest,
    Document,
    FileId,
    Foreign,
    HostedStep,
    Image,
    Inline,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
    origin,
)

Wire = Mapping[str, object]

_EXTENSIONS: Final[Mapping[str, str]] = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "application/json": "json",
}
_DETAILS: Final = frozenset({"low", "high", "auto", "original"})


def encode(request: ChatRequest, target: Target, lost: Lost) -> list[Wire | msgspec.Raw]:
    """The items of all turns."""
    writer = _Items(target, lost)
    for turn in request.turns:
        writer.turn(turn)
    if all(_instructs(item) for item in reversed(writer.items)):
        require_something(request.turns, lost.names, instructed=bool(writer.items))
    return writer.items


class _Items:
    """Items so far, and the message that more content may go into."""

    def __init__(self, target: Target, lost: Lost) -> None:
        self.items: list[Wire | msgspec.Raw] = []
        self._target = target
        self._lost = lost
        self._flat = not targets.knows_namespaces(target)
        self._custom_calls: set[str] = set()

    def turn(self, turn: Turn) -> None:
        self._lost.add_if(turn.name, "message_name")
        content: list[Wire | msgspec.Raw] = []
        for part in turn.parts:
            piece: Wire | msgspec.Raw | None
            if isinstance(part, Foreign) and hosted.is_content(part):
                piece = part.value
            else:
                piece = self._output(part) if turn.role == "assistant" else self._input(part)
            if piece is not None:
                content.append(piece)
                continue
            item = self._item(part, turn.role == "assistant")
            if item is not None:
                self._message(turn.role, content)
                content = []
                self.items.append(item)
        self._message(turn.role, content)

    def _message(self, role: str, content: Sequence[Wire | msgspec.Raw]) -> None:
        if role == "assistant" and all(_is_plain(each) for each in content):
            for each in content:
                self._one_message(role, [each])
        elif content:
            self._one_message(role, content)

    def _one_message(self, role: str, content: Sequence[Wire | msgspec.Raw]) -> None:
        only = content[0]
        if len(content) == 1 and not isinstance(only, msgspec.Raw) and _is_plain(only):
            # What every upstream reads, and the only form of an assistant's message that needs no id.
            self.items.append({"type": "message", "role": role, "content": only["text"]})
            return
        self.items.append({"type": "message", "role": role, "content": content})

    # ---- pieces of messages

    def _output(self, part: Part) -> Wire | None:
        match part:
            case Text():
                self._cached(part)
                self._lost.add_if(part.seal, "reasoning_signature")
                annotations = [citations.write(each, len(part.text)) for each in part.citations]
                self._lost.add_if(None in annotations, "citations")
                return {
                    "type": "output_text",
                    "text": part.text,
                    "annotations": [each for each in annotations if each is not None],
                }
            case Refusal():
                return {"type": "refusal", "refusal": part.text}
            case _:
                return None

    def _input(self, part: Part) -> Wire | None:
        match part:
            case Text():
                self._cached(part)
                self._lost.add_if(part.citations, "citations")
                return {"type": "input_text", "text": part.text}
            case Refusal():
                return {"type": "input_text", "text": part.text}
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case Audio():
                return self._audio(part)
            case _:
                return None

    def _cached(self, part: Text | Image | Document | ToolCall | ToolResult) -> None:
        self._lost.add_if(part.cache, "cache_control")

    def _image(self, part: Image) -> Wire:
        self._cached(part)
        detail = part.detail or "auto"
        if detail not in _DETAILS:
            detail = "auto"
            self._lost.add("image_detail")
        wire: dict[str, object] = {"type": "input_image", "detail": detail}
        wire |= _sourced(part.source, "image_url", "file_id", part.media_type or "image/png", "image_url")
        return wire

    def _document(self, part: Document) -> Wire:
        self._cached(part)
        self._lost.add_if(part.citations, "file_citations")
        if part.source is None:
            said = (part.name, part.context, part.text)
            return {"type": "input_text", "text": "\n\n".join(each for each in said if each)}
        self._lost.add_if(part.context, "file_context")
        media_type = part.media_type or "application/pdf"
        wire: dict[str, object] = {"type": "input_file"}
        wire |= _sourced(part.source, "file_url", "file_id", media_type, "file_data")
        if isinstance(part.source, Inline):
            # It is refused without a name.
            wire["filename"] = part.name or f"document.{_EXTENSIONS.get(media_type, 'pdf')}"
        else:
            self._lost.add_if(part.name, "file_name")
        return wire

    def _audio(self, part: Audio) -> Wire | None:
        """The API lists no sound among the content of a message, though its reference has a schema for it."""
        self._lost.add("audio_input")
        return {"type": "input_text", "text": part.transcript} if part.transcript else None

    # ---- items of their own

    def _item(self, part: Part, assistant: bool) -> Wire | msgspec.Raw | None:
        match part:
            case Reasoning():
                return self._reasoning(part)
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._result(part)
            case HostedStep() | Foreign():
                if part.dialect == hosted.DIALECT:
                    return part.value
                self._lost.add("hosted_step" if isinstance(part, HostedStep) else part.kind)
                return None
            case Image() if assistant:
                return self._made_image(part)
            case Audio() if assistant:
                self._lost.add("audio_input")
                return {"type": "message", "role": "assistant", "content": part.transcript} if part.transcript else None
            case Document():
                self._lost.add("file")
                return None
            case Video():
                self._lost.add("video")
                return None
            case _:
                return None

    def _made_image(self, part: Image) -> Wire | None:
        if not isinstance(part.source, Inline):
            self._lost.add("image")
            return None
        form = (part.media_type or "image/png").removeprefix("image/")
        return {
            "type": "image_generation_call",
            "id": f"ig_{len(self.items)}",
            "status": "completed",
            "result": part.source.data,
            "output_format": form,
        }

    def _reasoning(self, part: Reasoning) -> Wire | None:
        sealed = part.encrypted
        if sealed is not None and origin.fits(sealed, "openai", self._target.account):
            wire: dict[str, object] = {"type": "reasoning"}
            if part.id:
                wire["id"] = part.id
            # OpenAI refuses thoughts that are not a summary; what other dialects do not call one is one of its own.
            is_summary = part.summary or not targets.takes_reasoning_text(self._target)
            summary = [{"type": "summary_text", "text": part.text}] if is_summary and part.text else []
            wire |= {"summary": summary, "encrypted_content": sealed.value}
            if part.text and not is_summary:
                wire["content"] = [{"type": "reasoning_text", "text": part.text}]
            self._lost.add_if(part.signature, "reasoning_signature")
            return wire
        self._lost.add_if(sealed, "reasoning_encrypted")
        self._lost.add_if(part.signature, "reasoning_signature")
        if not part.text:
            return None
        if not targets.takes_reasoning_text(self._target):
            self._lost.add("reasoning")
            return None
        wire = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": part.text}]}
        return {**wire, "id": part.id} if part.id else wire

    def _call(self, part: ToolCall) -> Wire:
        self._cached(part)
        self._lost.add_if(part.seal, "reasoning_signature")
        wire: dict[str, object] = {
            "type": "custom_tool_call" if part.custom else "function_call",
            "call_id": names.call_id(part.id),
            "name": names.name(part.name, part.namespace if self._flat else None),
        }
        if part.namespace and not self._flat:
            wire["namespace"] = part.namespace
        if part.custom:
            self._custom_calls.add(part.id)
            wire["input"] = part.arguments
        else:
            wire["arguments"] = part.arguments or "{}"
        return wire

    def _result(self, part: ToolResult) -> Wire:
        self._cached(part)
        self._lost.add_if(part.is_error, "tool_result_error")
        custom = part.custom or part.call_id in self._custom_calls
        return {
            "type": "custom_tool_call_output" if custom else "function_call_output",
            "call_id": names.call_id(part.call_id),
            "output": self._result_content(part),
        }

    def _result_content(self, part: ToolResult) -> object:
        if not part.content:
            return "" if part.structured is None else bytes(part.structured).decode("utf-8", "replace")
        content: list[Wire] = []
        for each in part.content:
            if isinstance(each, Audio | Video):
                self._lost.add("audio_input" if isinstance(each, Audio) else "video")
            elif (piece := self._input(each)) is not None:
                content.append(piece)
        if len(content) == 1 and content[0]["type"] == "input_text":
            return content[0]["text"]
        return content or ""


def _instructs(item: Wire | msgspec.Raw) -> bool:
    return not isinstance(item, msgspec.Raw) and item.get("role") in ("system", "developer")


def _is_plain(piece: Wire | msgspec.Raw) -> bool:
    """Text and nothing else."""
    return (
        not isinstance(piece, msgspec.Raw)
        and piece["type"] in ("input_text", "output_text")
        and not piece.get("annotations")
    )


def _sourced(source: Source, url: str, file_id: str, media_type: str, inline: str) -> Mapping[str, object]:
    if isinstance(source, Url):
        return {url: source.url}
    if isinstance(source, FileId):
        return {file_id: source.id}
    return {inline: f"data:{media_type};base64,{source.data}"}
