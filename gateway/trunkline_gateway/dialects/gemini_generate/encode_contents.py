"""Turns as ``systemInstruction`` and ``contents``.

https://ai.google.dev/api/caching#Content
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final, TypeAlias, assert_never

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target, require_something
from trunkline_gateway.dialects.gemini_generate import models, parts, wire
from trunkline_gateway.dialects.gemini_generate.names import Names
from trunkline_gateway.exchange import losses, origin

Wire: TypeAlias = dict[str, object]

_BY_SUFFIX: Final[Mapping[str, str]] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mov": "video/mov",
    "webm": "video/webm",
}
_BY_BEGINNING: Final = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
)
_LEVELS: Final[Mapping[str, str]] = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}
_MEDIA: Final = exchange.Image | exchange.Audio | exchange.Video | exchange.Document


class Contents:
    """The turns of one request.

    Attributes:
        system: ``systemInstruction``'s parts.
        contents: Each with its role and parts.
        lost: What could not be said.
    """

    def __init__(self, turns: Sequence[exchange.Turn], names: Names, target: Target) -> None:
        """Write them for ``target``."""
        self.lost: dict[str, None] = {}
        self.system: list[Wire] = []
        self.contents: list[Wire] = []
        self._names = names
        self._last: tuple[str, list[Wire]] | None = None
        self._target = target
        self._third = models.is_third(target)
        self._called = {
            part.id: names.to_wire(part.name, part.namespace)
            for turn in turns
            for part in turn.parts
            if isinstance(part, exchange.ToolCall)
        }
        self._write(turns)

    def _write(self, turns: Sequence[exchange.Turn]) -> None:
        spoken: list[exchange.Turn] = []
        for turn in turns:
            if turn.role in ("system", "developer"):
                if spoken:
                    self._lose("system_position")
                self._instruct(turn)
            else:
                spoken.append(turn)
            if turn.name is not None:
                self._lose("message_name")
        # In linear time, however many turns of one role stand side by side.
        for is_model, neighbours in groupby(spoken, key=lambda turn: turn.role == "assistant"):
            spoken_parts = [part for turn in neighbours for part in turn.parts]
            written = self._model(spoken_parts) if is_model else self._user(spoken_parts)
            self._add("model" if is_model else "user", written)
        if not self.contents:
            require_something(turns, self.lost, instructed=bool(self.system))
        if not self.contents and self.system:
            # Contents are required; what the model is told then is what it is asked.
            self._lose("system_position")
            self.contents.append({"role": "user", "parts": self.system})
            self.system = []

    def _add(self, role: str, written: list[Wire]) -> None:
        if self._last is not None and self._last[0] == role:  # nothing was left of the turn between
            self._last[1].extend(written)
        elif written:
            self._last = (role, written)
            self.contents.append({"role": role, "parts": written})

    def _lose(self, name: str) -> None:
        self.lost[name] = None

    def _instruct(self, turn: exchange.Turn) -> None:
        for part in turn.parts:
            if isinstance(part, exchange.Text) or (isinstance(part, exchange.Document) and part.text is not None):
                self.system += self._part(part)
            else:
                self._lose(losses.feature_of(part))

    # ---- the model's turns -------------------------------------------------------------------------------------------

    def _model(self, said: Sequence[exchange.Part]) -> list[Wire]:
        written: list[Wire] = []
        first_call: Wire | None = None
        is_signed = False
        for part in said:
            made = self._part(part)
            if isinstance(part, exchange.ToolCall):
                first_call = first_call or made[0]
                is_signed = is_signed or "thoughtSignature" in made[0]
            written += made
        if first_call is not None and not is_signed:
            # Gemini 3 refuses calls that nobody signed; of calls in parallel it signs the first itself.
            first_call["thoughtSignature"] = parts.SKIP
        return written

    def _call(self, part: exchange.ToolCall) -> Wire:
        call: Wire = {"id": part.id, "name": self._names.to_wire(part.name, part.namespace)}
        if part.custom:
            call["args"] = {"input": part.arguments}
        elif part.arguments.strip():
            raw = msgspec.Raw(part.arguments.encode("utf-8", "replace"))
            if isinstance(wire.value_of(raw), dict):
                call["args"] = raw
            else:
                self._lose("tool_arguments")
                call["args"] = {"input": part.arguments}
        else:
            call["args"] = {}
        made: Wire = {"functionCall": call}
        self._sign(made, part.seal)
        return made

    def _sign(self, made: Wire, seal: exchange.Seal | None, name: str = "reasoning_signature") -> bool:
        """Give a part back its signature, if it is Google's and of this account."""
        if seal is None:
            return False
        if origin.fits(seal, "google", self._target.account):
            made["thoughtSignature"] = seal.value
            return True
        self._lose(name)
        return False

    def _reasoning(self, part: exchange.Reasoning) -> list[Wire]:
        made: Wire = {"text": part.text}
        if part.text:
            made["thought"] = True
        signed = self._sign(made, part.signature)
        if part.encrypted is not None and not signed:
            signed = self._sign(made, part.encrypted, "reasoning_encrypted")
        return [made] if part.text or signed else []

    def _step(self, part: exchange.HostedStep | exchange.Foreign) -> list[Wire]:
        if part.dialect != parts.DIALECT:
            self._lose("hosted_step" if isinstance(part, exchange.HostedStep) else part.kind)
            return []
        try:
            members = msgspec.json.decode(part.value, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return []
        value: Wire = {name: member for name, member in members.items() if name != "thoughtSignature"}
        signature = wire.value_of(members.get("thoughtSignature", wire.NOTHING))
        if isinstance(signature, str):
            found = parts.unstamped(signature)
            self._sign(value, None if found is None else found[0])
        return [value]

    # ---- the user's --------------------------------------------------------------------------------------------------

    def _user(self, said: Sequence[exchange.Part]) -> list[Wire]:
        written: list[Wire] = []
        beside: list[Wire] = []
        for part in said:
            if isinstance(part, exchange.ToolResult):
                written.append(self._result(part, beside))
            else:
                # What could not be within the results stands right after the last of them.
                written += beside
                beside = []
                written += self._part(part)
        return [*written, *beside]

    def _result(self, part: exchange.ToolResult, beside: list[Wire]) -> Wire:
        name = self._called.get(part.call_id) or self._names.to_wire(part.name or "unknown")
        within: list[Wire] = []
        for each in part.content:
            if isinstance(each, exchange.Text):
                if each.citations:
                    self._lose("citations")
                continue
            made = self._part(each)
            if self._third:
                within += [wired for wired in made if "inlineData" in wired or "fileData" in wired]
                beside += [wired for wired in made if "inlineData" not in wired and "fileData" not in wired]
            else:
                beside += made
        if part.cache is not None:
            self._lose("cache_control")
        response: Wire = {
            "id": part.call_id,
            "name": name,
            "response": _response(part),
        }
        if within:
            response["parts"] = within
        return {"functionResponse": response}

    # ---- any part ----------------------------------------------------------------------------------------------------

    def _part(self, part: exchange.Part) -> list[Wire]:  # one branch for each kind of part
        if getattr(part, "cache", None) is not None:
            self._lose("cache_control")
        match part:
            case exchange.Text():
                return self._text(part)
            case exchange.Refusal():
                self._lose("refusal")
                return [{"text": part.text}] if part.text else []
            case exchange.Reasoning():
                return self._reasoning(part)
            case exchange.Image():
                return self._image(part)
            case exchange.Audio():
                return self._audio(part)
            case exchange.Video():
                return self._media(part.source, part.media_type, "video", "video/mp4")
            case exchange.Document():
                return self._document(part)
            case exchange.ToolCall():
                return [self._call(part)]
            case exchange.ToolResult():
                beside: list[Wire] = []
                return [self._result(part, beside), *beside]
            case exchange.HostedStep() | exchange.Foreign():
                return self._step(part)
            case _:
                assert_never(part)

    def _text(self, part: exchange.Text) -> list[Wire]:
        if part.citations:
            self._lose("citations")
        made: Wire = {"text": part.text}
        signed = self._sign(made, part.seal)
        return [made] if part.text or signed else []

    def _image(self, part: exchange.Image) -> list[Wire]:
        if isinstance(part.source, exchange.Url) and "no_image_urls" in self._target.quirks:
            self._lose("image_url")
            return []
        made = self._media(part.source, part.media_type, "image_file", "image/jpeg")
        level = _LEVELS.get(part.detail or "")
        if level is not None and made:
            if self._third:
                made[0]["mediaResolution"] = {"level": level}
            else:
                self._lose("image_detail")
        return made

    def _audio(self, part: exchange.Audio) -> list[Wire]:
        if part.source is not None:
            return self._media(part.source, part.media_type, "audio_input", "audio/wav")
        self._lose("audio_input")
        return [{"text": part.transcript}] if part.transcript else []

    def _document(self, part: exchange.Document) -> list[Wire]:
        if part.citations:
            self._lose("file_citations")
        written: list[Wire] = []
        if part.context:
            written.append({"text": part.context})
        if part.text is not None:
            if part.text:
                written.append({"text": part.text})
        elif part.source is not None:
            written += self._media(part.source, part.media_type or _of_name(part.name), "file_id", "application/pdf")
        if part.name and written:
            self._lose("file_name")  # no place for it: `displayName` is not in the Gemini API
        return written

    def _media(self, source: exchange.Source, media_type: str | None, lost: str, otherwise: str) -> list[Wire]:
        match source:
            case exchange.Inline():
                kind = media_type or _of_beginning(source.data) or otherwise
                return [{"inlineData": {"mimeType": kind, "data": source.data}}]
            case exchange.Url(url):
                file: Wire = {"fileUri": url}
                kind_of_url = media_type or _of_name(url)
                if kind_of_url is None and models.is_vertex(self._target):
                    kind_of_url = otherwise  # required there
                if kind_of_url is not None:
                    file["mimeType"] = kind_of_url
                return [{"fileData": file}]
            case exchange.FileId(id):
                if id.startswith("files/"):
                    id = f"{parts.FILES}v1beta/{id}"
                if not id.startswith((parts.FILES, "gs://", "https://")):
                    self._lose(lost)
                    return []
                named: Wire = {"fileUri": id}
                if media_type is not None:
                    named["mimeType"] = media_type
                return [{"fileData": named}]
            case _:
                assert_never(source)


def _response(part: exchange.ToolResult) -> object:
    """The result as an object: its own if it is one, else ``output`` or ``error`` around it, as Google has it."""
    text = "\n".join(each.text for each in part.content if isinstance(each, exchange.Text))
    raw, value = part.structured, None
    if raw is not None:
        value = wire.value_of(raw)
    elif text.lstrip().startswith("{"):
        raw = msgspec.Raw(text.encode("utf-8", "replace"))
        value = wire.value_of(raw)
    if isinstance(value, dict):
        return {"error": raw} if part.is_error and "error" not in value else raw
    return {"error" if part.is_error else "output": text}


def _of_name(name: str | None) -> str | None:
    """The type that a file's suffix stands for."""
    path = (name or "").partition("?")[0].partition("#")[0]
    return _BY_SUFFIX.get(path.rpartition(".")[2].lower())


def _of_beginning(data: str) -> str | None:
    return next((kind for beginning, kind in _BY_BEGINNING if data.startswith(beginning)), None)
