"""A client's input items as turns.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input

What the model said in one go is one turn, whatever items it came in: reasoning, messages, calls. Results that stand
next to each other are one turn of the user's. Every message of somebody else is a turn of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway.dialects.openai_responses import citations, hosted, reading, seals, strict
from trunkline_gateway.errors import InvalidRequestError
from trunkline_gateway.exchange import (
    Audio,
    CacheControl,
    Document,
    FileId,
    Foreign,
    Image,
    Inline,
    Part,
    Reasoning,
    Refusal,
    Role,
    Seal,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Url,
)

STATELESS: Final = "Nothing is stored here: send the whole conversation in 'input', with store: false."

_ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
}
_TEXTS: Final = frozenset({"input_text", "output_text", "text"})
_MEDIA_TYPES: Final[Mapping[str, str]] = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "csv": "text/csv",
    "md": "text/markdown",
    "html": "text/html",
    "json": "application/json",
}


def decode(raw: msgspec.Raw | None) -> tuple[tuple[Turn, ...], tuple[str, ...]]:
    """The turns of ``input``, and the names of what could not be kept.

    Raises:
        InvalidRequestError: Naming the field.
    """
    if raw is None or bytes(raw).strip() == b"null":
        return (), ()
    if bytes(raw).lstrip()[:1] == b'"':
        said = strict.needed_text(strict.value(raw, "input"), "input")
        return (Turn(role="user", parts=(Text(text=said),)),), ()
    reader = _Reader()
    for number, each in enumerate(strict.raw_list(raw, "input")):
        reader.item(each, f"input[{number}]")
    return reader.turns(), tuple(reader.unsaid)


class _Reader:
    """Turns so far. ``unsaid``: in the order in which it was met."""

    def __init__(self) -> None:
        self.unsaid: dict[str, None] = {}
        self._turns: list[tuple[Role, list[Part]]] = []
        self._results = False  # the last turn is one of results
        self._seals: dict[str, Seal] = {}
        self._last_text: tuple[list[Part], int] = [], 0  # of the model's: whose parts, and its place among them

    def turns(self) -> tuple[Turn, ...]:
        """All turns, with the seals of calls where they belong."""
        return tuple(
            Turn(role=role, parts=tuple(self._sealed(part) for part in parts) if self._seals else tuple(parts))
            for role, parts in self._turns
        )

    def item(self, raw: msgspec.Raw, path: str) -> None:
        value = strict.value(raw, path)
        if not isinstance(value, dict):
            raise strict.wrong(path, "an object")
        kind = strict.text(value.get("type"), f"{path}.type")
        match kind:
            case "message" | None:
                self._message(value, path)
            case "function_call" | "custom_tool_call":
                self._said(_call(value, kind == "custom_tool_call", path))
            case "function_call_output" | "custom_tool_call_output":
                self._result(self._output(value, kind == "custom_tool_call_output", path))
            case "reasoning":
                self._reasoning(value, path)
            case "item_reference":
                raise InvalidRequestError(f"'{path}' refers to a stored item. {STATELESS}", param=path)
            case "image_generation_call" if isinstance(value.get("result"), str) and value["result"]:
                self._said(_made_image(value))
            case _ if kind in hosted.CLIENTS:
                self._result(hosted.step(value, raw))
            case _:
                self._said(hosted.step(value, raw))

    # ---- turns

    def _said(self, *parts: Part) -> None:
        """What the model said."""
        if not self._turns or self._turns[-1][0] != "assistant":
            self._turns.append(("assistant", []))
        said = self._turns[-1][1]
        for part in parts:
            if isinstance(part, Text):
                self._last_text = said, len(said)
            said.append(part)
        self._results = False

    def _result(self, part: Part) -> None:
        if not self._results:
            self._turns.append(("user", []))
        self._turns[-1][1].append(part)
        self._results = True

    def _sealed(self, part: Part) -> Part:
        if isinstance(part, ToolCall) and (seal := self._seals.get(part.id)) is not None:
            return msgspec.structs.replace(part, seal=seal)
        return part

    # ---- messages

    def _message(self, value: reading.Object, path: str) -> None:
        given = strict.needed_text(value.get("role"), f"{path}.role")
        role = _ROLES.get(given)
        if role is None:
            raise strict.wrong(f"{path}.role", "'user', 'assistant', 'system' or 'developer'")
        if value.get("phase") is not None:
            self.unsaid["input.phase"] = None
        parts = self.content(value.get("content"), f"{path}.content")
        if role == "assistant":
            self._said(*parts)
        else:
            self._turns.append((role, list(parts)))
            self._results = False

    def content(self, value: object, path: str) -> Sequence[Part]:
        """The content of a message or of a result: a string, or pieces."""
        if isinstance(value, str):
            return (Text(text=value),)
        if not isinstance(value, list):
            raise strict.wrong(path, "a string or a list of content")
        return [self._piece(each, f"{path}[{number}]") for number, each in enumerate(value)]

    def _piece(self, value: object, path: str) -> Part:
        if not isinstance(value, dict):
            raise strict.wrong(path, "an object")
        kind = strict.needed_text(value.get("type"), f"{path}.type")
        match kind:
            case _ if kind in _TEXTS:
                return Text(
                    text=strict.needed_text(value.get("text"), f"{path}.text"),
                    citations=tuple(citations.read(value.get("annotations"))),
                    cache=_cache(value),
                )
            case "refusal":
                return Refusal(text=strict.needed_text(value.get("refusal"), f"{path}.refusal"))
            case "input_image":
                return _image(value, path)
            case "input_file":
                return _file(value, path)
            case "input_audio":
                return _audio(value, path)
            case _:
                return Foreign(dialect=hosted.DIALECT, kind=kind, value=reading.raw(value))

    # ---- results and reasoning

    def _output(self, value: reading.Object, custom: bool, path: str) -> ToolResult:
        content: list[Text | Image | Document | Audio] = []
        for part in self.content(value.get("output"), f"{path}.output"):
            if isinstance(part, Text | Image | Document | Audio):
                content.append(part)
            elif isinstance(part, Foreign):
                self.unsaid[part.kind] = None
            elif isinstance(part, Refusal):
                content.append(Text(text=part.text))
        return ToolResult(
            call_id=strict.needed_text(value.get("call_id"), f"{path}.call_id"), content=tuple(content), custom=custom
        )

    def _reasoning(self, value: reading.Object, path: str) -> None:
        for name in ("summary", "content"):
            strict.items(value.get(name), f"{path}.{name}")
        shown = [
            (name == "summary", text)
            for name in ("summary", "content")
            if (text := "\n\n".join(found for each in reading.mappings(value.get(name)) if (found := _said_in(each))))
        ]
        summary, text = shown[0] if shown else (False, "")
        sealed = strict.text(value.get("encrypted_content"), f"{path}.encrypted_content")
        part = Reasoning(text=text, summary=summary, id=strict.text(value.get("id"), f"{path}.id") or "")
        sent = seals.read(sealed) if sealed else None
        if sent is None:
            if text:
                self._said(part)
            return
        match sent.kind:
            case "call":
                self._seals[sent.call_id] = sent.seal
            case "text":
                self._seal_text(sent.seal)
            case "signature":
                # It was written as a summary whatever it is; of Google's it is one.
                summary = sent.seal.maker == "google"
                self._said(msgspec.structs.replace(part, signature=sent.seal, summary=summary))
            case "encrypted":
                self._said(msgspec.structs.replace(part, encrypted=sent.seal))

    def _seal_text(self, seal: Seal) -> None:
        parts, place = self._last_text
        part = parts[place] if self._turns and self._turns[-1][1] is parts else None
        if isinstance(part, Text):
            parts[place] = msgspec.structs.replace(part, seal=seal)
        else:
            self.unsaid["reasoning_signature"] = None


def _said_in(piece: reading.Object) -> str:
    return reading.text(piece.get("text"))


def _call(value: reading.Object, custom: bool, path: str) -> ToolCall:
    member = "input" if custom else "arguments"
    return ToolCall(
        id=strict.needed_text(value.get("call_id"), f"{path}.call_id"),
        name=strict.needed_text(value.get("name"), f"{path}.name"),
        arguments=strict.needed_text(value.get(member), f"{path}.{member}"),
        custom=custom,
        namespace=strict.text(value.get("namespace"), f"{path}.namespace") or None,
        item_id=strict.text(value.get("id"), f"{path}.id") or "",
    )


def _made_image(value: reading.Object) -> Image:
    form = reading.text(value.get("output_format")) or "png"
    return Image(source=Inline(reading.text(value.get("result"))), media_type=f"image/{form}")


def _image(value: reading.Object, path: str) -> Image:
    detail = strict.text(value.get("detail"), f"{path}.detail")
    url = strict.text(value.get("image_url"), f"{path}.image_url")
    cache = _cache(value)
    if url:
        source, media_type = _source(url, f"{path}.image_url")
        return Image(source=source, media_type=media_type, detail=detail, cache=cache)
    file_id = strict.text(value.get("file_id"), f"{path}.file_id")
    if not file_id:
        raise InvalidRequestError(f"'{path}' needs an 'image_url' or a 'file_id'.", param=path)
    return Image(source=FileId(file_id), detail=detail, cache=cache)


def _file(value: reading.Object, path: str) -> Document:
    name = strict.text(value.get("filename"), f"{path}.filename")
    data = strict.text(value.get("file_data"), f"{path}.file_data")
    url = strict.text(value.get("file_url"), f"{path}.file_url")
    file_id = strict.text(value.get("file_id"), f"{path}.file_id")
    media_type: str | None = None
    source: Source
    if data:
        named = reading.data_url(data)
        extension = (name or "").rpartition(".")[2].lower()
        media_type, content = named or (_MEDIA_TYPES.get(extension, "application/pdf"), data)
        source = Inline(content)
    elif url:
        source, media_type = _source(url, f"{path}.file_url")
    elif file_id:
        source = FileId(file_id)
    else:
        raise InvalidRequestError(f"'{path}' needs a 'file_data', a 'file_url' or a 'file_id'.", param=path)
    return Document(source=source, media_type=media_type or None, name=name, cache=_cache(value))


def _audio(value: reading.Object, path: str) -> Audio:
    audio = strict.mapping(value.get("input_audio"), f"{path}.input_audio")
    data = strict.needed_text(audio.get("data"), f"{path}.input_audio.data")
    form = strict.needed_text(audio.get("format"), f"{path}.input_audio.format")
    return Audio(source=Inline(data), media_type=f"audio/{form}")


def _source(url: str, path: str) -> tuple[Source, str | None]:
    if url[:5].lower() != "data:":
        return Url(url), None
    named = reading.data_url(url)
    if named is None:
        raise strict.wrong(path, "a URL, or a data URL in base64")
    return Inline(named[1]), named[0] or None


def _cache(value: reading.Object) -> CacheControl | None:
    """A breakpoint of the prompt cache; its times are none of the neutral ones."""
    return CacheControl() if isinstance(value.get("prompt_cache_breakpoint"), dict) else None
