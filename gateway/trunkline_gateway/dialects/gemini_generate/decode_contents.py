"""``systemInstruction`` and ``contents`` as turns.

https://ai.google.dev/api/caching#Content
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.gemini_generate import parts, wire
from trunkline_gateway.dialects.gemini_generate.reader import Message
from trunkline_gateway.errors import InvalidRequestError

_ROLES: Final = {"": "user", "user": "user", "model": "assistant", "function": "user", "tool": "user"}
_NOTHING: Final = exchange.Text(text="")
_PLAIN: Final = ("output", "result")
_DETAILS: Final = {"MEDIA_RESOLUTION_LOW": "low", "MEDIA_RESOLUTION_HIGH": "high"}
_STEPS: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")


class WireText(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A part that is text and nothing else."""

    text: str


class WireContent(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A Content of nothing but text, as most are. Decoding any other one fails."""

    parts: list[WireText]
    role: Literal["user", "model"] = "user"


_plain: Final = msgspec.json.Decoder(WireContent)


def _only_text(element: msgspec.Raw) -> tuple[str, tuple[exchange.Part, ...]] | None:
    """Whose it is, and its parts; None: there is more to it."""
    try:
        content = _plain.decode(element)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return _ROLES[content.role], tuple([exchange.Text(text=part.text) for part in content.parts if part.text])


class Turns:
    """Reads the turns of one request.

    Attributes:
        unsaid: Names of fields that the exchange has no word for.
    """

    def __init__(self, unsaid: dict[str, None]) -> None:
        self.unsaid = unsaid
        self._calls = 0
        self._open: defaultdict[str, deque[str]] = defaultdict(deque)
        self._answered: set[str] = set()

    def system(self, body: Message) -> Sequence[exchange.Turn]:
        """``systemInstruction``: a string, parts or a Content."""
        name = "systemInstruction"
        raw = body.raw(name)
        if raw is None:
            return ()
        text = bytes(raw)
        if text.startswith(b'"'):
            said = body.text(name)
            return [exchange.Turn(role="system", parts=(exchange.Text(text=said),))] if said else ()
        made: tuple[exchange.Part, ...]
        if text.startswith(b"["):
            made = self._parts(body.messages(name))
        elif (plain := _only_text(raw)) is not None:
            made = plain[1]
        else:
            content = Message.of(raw, name)
            content.raw("role")
            if "parts" in content:
                made = self._parts(content.messages("parts"))
                self._note(content, name)
            else:  # a lone part
                made = self._parts([content])
        return [exchange.Turn(role="system", parts=made)] if made else ()

    def contents(self, body: Message) -> Sequence[exchange.Turn]:
        """``contents``: a list of Contents, or one; a string or a part in their place is the user's."""
        raw = body.raw("contents")
        if raw is None or bytes(raw) == b"[]":
            raise InvalidRequestError("'contents' is required.", param="contents")
        if bytes(raw).startswith(b'"'):
            return [_user(body.text("contents") or "")]
        made: list[exchange.Turn] = []
        speech: _Speech | None = None
        for element, path in body.elements("contents"):
            if bytes(element).startswith(b'"'):
                role, found = "user", _text(element, path)
            else:
                role, found = self._content(element, path)
            if role == "assistant":
                # Chats of Google's SDKs keep each piece of a stream as a Content; they are one turn, and what was
                # cut in the middle is whole again.
                speech = speech or _Speech()
                speech.add(found)
                continue
            if speech is not None:
                made.append(exchange.Turn(role="assistant", parts=speech.parts()))
                speech = None
            made.append(exchange.Turn(role="user", parts=found))
        if speech is not None:
            made.append(exchange.Turn(role="assistant", parts=speech.parts()))
        return made

    def _content(self, element: msgspec.Raw, path: str) -> tuple[str, tuple[exchange.Part, ...]]:
        plain = _only_text(element)
        if plain is not None:
            return plain
        content = Message.of(element, path)
        role = _ROLES.get((content.text("role") or "").lower())
        if role is None:
            raise InvalidRequestError(f"'{path}.role' must be 'user' or 'model'.", param=f"{path}.role")
        if "parts" in content:
            found = self._parts(content.messages("parts"))
            self._note(content, "contents")
        else:
            found = self._parts([content] if content.unread else ())
        return role, found

    def _note(self, message: Message, path: str) -> None:
        for name in message.unread:
            self.unsaid[f"{path}.{name}"] = None

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _parts(self, messages: Sequence[Message]) -> tuple[exchange.Part, ...]:
        made: list[exchange.Part] = []
        for message in messages:
            signature = message.text("thoughtSignature")
            sealed = parts.unstamped(signature) if signature else None
            thought = message.boolean("thought") or False
            found = self._part(message, thought, sealed)
            self._note(message, "contents.parts")
            if found is not None and found != _NOTHING:
                made.append(found)
        return tuple(made)

    def _part(
        self, message: Message, thought: bool, sealed: tuple[exchange.Seal, parts.SealKind, str] | None
    ) -> exchange.Part | None:
        seal = None if sealed is None else sealed[0]
        if "text" in message:
            text = message.text("text") or ""
            if not thought:
                return exchange.Text(text=text, seal=seal)
            return _reasoning(text, sealed)
        if (call := message.message("functionCall")) is not None:
            return self._call(call, seal)
        if (response := message.message("functionResponse")) is not None:
            return self._response(response)
        media = self._media(message)
        if media is not None:
            return media
        for name in _STEPS:
            if name in message:
                return self._own(message, name)
        if thought or sealed is not None:
            return _reasoning("", sealed)
        return None

    def _own(self, message: Message, name: str) -> exchange.Part | None:
        """Code that was run, and tools of Google's own: back to Google as they came."""
        members = {each: message.raw(each) for each in message.names}
        raw = wire.raw_of({each: member for each, member in members.items() if member is not None})
        found = parts.step(raw)
        if found is None:
            raise InvalidRequestError(f"'{message.at(name)}' must be an object.", param=message.at(name))
        return found

    def _media(self, message: Message) -> exchange.Image | exchange.Audio | exchange.Video | exchange.Document | None:
        source: exchange.Source
        if (blob := message.message("inlineData")) is not None:
            data = parts.standard_base64(blob.text("data") or "")
            if data is None:
                raise InvalidRequestError(f"'{blob.at('data')}' must be base64.", param=blob.at("data"))
            media_type, source, described = blob.text("mimeType"), exchange.Inline(data), blob
        elif (file := message.message("fileData")) is not None:
            uri = file.text("fileUri")
            if not uri:
                raise InvalidRequestError(f"'{file.at('fileUri')}' is required.", param=file.at("fileUri"))
            media_type, source, described = file.text("mimeType"), parts.source_of(uri), file
        else:
            return None
        made = parts.media(media_type, source, name=described.text("displayName"))
        self._note(described, "contents.parts")
        resolution = message.message("mediaResolution")
        level = None if resolution is None else _DETAILS.get(resolution.enum("level", ()) or "")
        if level is not None and isinstance(made, exchange.Image):
            return msgspec.structs.replace(made, detail=level)
        if resolution is not None:
            self.unsaid["contents.parts.mediaResolution"] = None
        return made

    # ---- functions ---------------------------------------------------------------------------------------------------

    def _call(self, call: Message, seal: exchange.Seal | None) -> exchange.ToolCall:
        name = call.text("name")
        if not name:
            raise InvalidRequestError(f"'{call.at('name')}' is required.", param=call.at("name"))
        args = call.raw("args")
        if args is not None and not bytes(args).startswith(b"{"):
            raise InvalidRequestError(f"'{call.at('args')}' must be an object.", param=call.at("args"))
        id = call.text("id") or self._new_id()
        self._open[name].append(id)
        self._note(call, "contents.parts.functionCall")
        return exchange.ToolCall(
            id=id, name=name, arguments="{}" if args is None else bytes(args).decode("utf-8", "replace"), seal=seal
        )

    def _response(self, response: Message) -> exchange.ToolResult:
        name = response.text("name")
        id = response.text("id")
        if not name and not id:
            raise InvalidRequestError(f"'{response.at('name')}' is required.", param=response.at("name"))
        id = id or self._call_of(name or "")
        self._answered.add(id)
        structured = response.raw("response")
        content: list[exchange.Text | exchange.Image | exchange.Document | exchange.Audio | exchange.Video] = []
        is_error = False
        if structured is not None:
            text, is_error = _said(structured, response.at("response"))
            content.append(exchange.Text(text=text))
        for part in response.messages("parts"):
            media = self._media(part)
            if media is not None:
                content.append(media)
            self._note(part, "contents.parts.functionResponse.parts")
        self._note(response, "contents.parts.functionResponse")
        return exchange.ToolResult(
            call_id=id, content=tuple(content), name=name, is_error=is_error, structured=structured
        )

    def _call_of(self, name: str) -> str:
        """The first call of that name that has no result yet: without ids, order and name are all there is."""
        waiting = self._open[name]
        while waiting:
            id = waiting.popleft()
            if id not in self._answered:
                return id
        return self._new_id()

    def _new_id(self) -> str:
        self._calls += 1
        return f"call_{self._calls}"


def _reasoning(text: str, sealed: tuple[exchange.Seal, parts.SealKind, str] | None) -> exchange.Reasoning:
    if sealed is None:
        return exchange.Reasoning(text=text, summary=True)
    seal, kind, item_id = sealed
    if kind == "encrypted":
        return exchange.Reasoning(text=text, summary=True, encrypted=seal, id=item_id)
    # What another maker signed is what its model thought; Google signs summaries.
    return exchange.Reasoning(text=text, summary=seal.maker == "google", signature=seal)


class _Speech:
    """What a model said, its pieces put together: text and thoughts go on until something else comes, or a seal."""

    def __init__(self) -> None:
        self._made: list[exchange.Part] = []
        self._run: exchange.Text | exchange.Reasoning | None = None
        self._texts: list[str] = []

    def add(self, found: Sequence[exchange.Part]) -> None:
        """Take what one Content holds."""
        for part in found:
            match part:
                case exchange.Reasoning(text="", signature=None, encrypted=None):
                    continue
                case exchange.Text(text="", seal=exchange.Seal() as seal) if not isinstance(self._run, exchange.Text):
                    # It ends what was said before it; where that was no text it stands alone.
                    self._end()
                    self._made.append(exchange.Reasoning(summary=True, signature=seal))
                case exchange.Text() | exchange.Reasoning():
                    self._go_on(part)
                case _:
                    self._end()
                    self._made.append(part)

    def parts(self) -> tuple[exchange.Part, ...]:
        """All of it."""
        self._end()
        return tuple(self._made)

    def _go_on(self, part: exchange.Text | exchange.Reasoning) -> None:
        if type(self._run) is not type(part):
            self._end()
        self._run = part  # its seal is of all that came before it
        self._texts.append(part.text)
        if _is_sealed(part):
            self._end()

    def _end(self) -> None:
        if self._run is not None:
            self._made.append(msgspec.structs.replace(self._run, text="".join(self._texts)))
        self._run, self._texts = None, []


def _is_sealed(part: exchange.Text | exchange.Reasoning) -> bool:
    if isinstance(part, exchange.Text):
        return part.seal is not None
    return part.signature is not None or part.encrypted is not None


def _said(structured: msgspec.Raw, path: str) -> tuple[str, bool]:
    """The text of a result, and whether it is an error."""
    value = wire.value_of(structured)
    if not isinstance(value, dict):
        raise InvalidRequestError(f"'{path}' must be an object.", param=path)
    if len(value) == 1:
        ((name, member),) = value.items()
        if isinstance(member, str) and name in (*_PLAIN, "error"):
            return member, name == "error"
    return bytes(structured).decode("utf-8", "replace"), "error" in value and len(value) == 1


def _user(text: str) -> exchange.Turn:
    return exchange.Turn(role="user", parts=(exchange.Text(text=text),) if text else ())


def _text(raw: msgspec.Raw, path: str) -> tuple[exchange.Part, ...]:
    value = wire.value_of(raw)
    if not isinstance(value, str):
        raise InvalidRequestError(f"'{path}' must be a string.", param=path)
    return (exchange.Text(text=value),) if value else ()
