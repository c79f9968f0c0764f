"""A client's ``messages`` as turns.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.openai_chat import decode_parts, decode_reasoning
from trunkline_gateway.dialects.openai_chat.members import Members
from trunkline_gateway.exchange import Part, Role, Seal, ToolCall, Turn, origin


class WirePlain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message of one text, as most are. Decoding any other one fails."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


_plain: Final = msgspec.json.Decoder(WirePlain)


def _only_text(raw: msgspec.Raw) -> Turn | None:
    try:
        message = _plain.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Turn(role=message.role, parts=(exchange.Text(text=message.content),) if message.content else ())


class MessagesDecoder:
    """Reads messages one after the other; results of tools that follow each other become one turn."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._results: list[Part] = []
        self._custom_ids: set[str] = set()
        self._legacy_ids: dict[str, str] = {}
        self._legacy_calls = 0

    def decode(self, messages: Iterable[tuple[msgspec.Raw, str]], request: Members) -> tuple[Turn, ...]:
        """All of them, each with its path.

        Raises:
            InvalidRequestError: One is not a message.
        """
        for raw, at in messages:
            plain = _only_text(raw)
            if plain is not None:
                self._end_results()
                self._turns.append(plain)
                continue
            message = request.object_of(raw, at)
            role = message.needed_text("role")
            if role in ("tool", "function"):
                self._result(message, legacy=role == "function")
            else:
                self._end_results()
                self._turn(message, role)
            message.close()
        self._end_results()
        return tuple(self._turns)

    def _turn(self, message: Members, role: str) -> None:
        known: Role
        match role:
            case "user" | "system" | "developer":
                known = role
                parts = decode_parts.decode(message)
            case "assistant":
                known = role
                parts = self._assistant(message)
            case _:
                raise message.refusal("role", "must be system, developer, user, assistant, tool or function")
        parts = decode_parts.with_cache(parts, decode_parts.cache_of(message), message)
        self._turns.append(Turn(role=known, parts=tuple(parts), name=message.text("name")))

    def _end_results(self) -> None:
        if self._results:
            self._turns.append(Turn(role="user", parts=tuple(self._results)))
            self._results = []

    # ---- results -----------------------------------------------------------------------------------------------------

    def _result(self, message: Members, *, legacy: bool) -> None:
        name = message.text("name")
        if legacy:
            if name is None:
                raise message.refusal("name", "is missing")
            call_id = self._legacy_ids.get(name, f"call_{name}")
        else:
            call_id = message.needed_text("tool_call_id")
        content: list[exchange.Text | exchange.Image | exchange.Document | exchange.Audio | exchange.Video] = []
        for part in decode_parts.decode(message):
            match part:
                case exchange.Text() | exchange.Image() | exchange.Document() | exchange.Audio() | exchange.Video():
                    content.append(part)
                case exchange.Foreign():
                    message.notes.add(part.kind)
                case _:
                    raise message.refusal("content", "holds a part that the result of a tool cannot have")
        self._results.append(
            exchange.ToolResult(
                call_id=call_id,
                content=tuple(content),
                name=name,
                is_error=message.boolean("is_error") or False,
                custom=call_id in self._custom_ids,
                cache=decode_parts.cache_of(message),
            )
        )

    # ---- assistant ---------------------------------------------------------------------------------------------------

    def _assistant(self, message: Members) -> list[Part]:
        given = message.objects("tool_calls") or []
        calls = [self._call(each) for each in given]
        legacy = message.object("function_call")
        if legacy is not None:
            calls.append(self._legacy_call(legacy))
        thoughts, seals = decode_reasoning.decode(message, {call.id for call in calls})
        parts: list[Part] = [*thoughts, *_content(message)]
        refusal = message.text("refusal")
        if refusal:
            parts.append(exchange.Refusal(text=refusal))
        audio = message.object("audio")
        if audio is not None:
            parts.append(exchange.Audio(id=audio.needed_text("id")))
            audio.skip("data", "expires_at", "transcript")
            audio.close()
        parts.extend(_images(message))
        if message.boolean("prefix"):
            message.notes.add(message.path("prefix"))
        message.skip("index")
        return [*parts, *(_sealed(call, seals) for call in calls)]

    def _call(self, given: Members) -> ToolCall:
        call_id = given.needed_text("id")
        custom = given.object("custom")
        seal = _google_seal(given)
        given.skip("type", "index")
        if custom is not None:
            self._custom_ids.add(call_id)
            call = ToolCall(
                id=call_id,
                name=custom.needed_text("name"),
                arguments=custom.text("input") or "",
                custom=True,
                seal=seal,
                cache=decode_parts.cache_of(given),
            )
            custom.close()
        else:
            function = given.object("function")
            if function is None:
                raise given.refusal("function", "is missing")
            call = ToolCall(
                id=call_id,
                name=function.needed_text("name"),
                arguments=_arguments(function),
                seal=seal,
                cache=decode_parts.cache_of(given),
            )
            function.close()
        given.close()
        return call

    def _legacy_call(self, function: Members) -> ToolCall:
        name = function.needed_text("name")
        # The API of those days had no ids: the result names the function.
        call_id = f"call_{self._legacy_calls}_{name}"
        self._legacy_calls += 1
        self._legacy_ids[name] = call_id
        call = ToolCall(id=call_id, name=name, arguments=_arguments(function))
        function.close()
        return call


def _content(message: Members) -> list[Part]:
    parts = decode_parts.decode(message)
    for part in parts:
        if isinstance(part, exchange.ToolResult | exchange.HostedStep):
            raise message.refusal("content", "holds a part that an assistant cannot say")
    citations = [citation for each in message.objects("annotations") or () for citation in _citation(each)]
    extra = _google_seal(message)
    place = next((place for place in range(len(parts) - 1, -1, -1) if isinstance(parts[place], exchange.Text)), -1)
    if not citations and extra is None:
        return parts
    if place < 0:
        parts.append(exchange.Reasoning(encrypted=extra) if extra is not None else exchange.Text(text=""))
        return parts
    text = parts[place]
    if isinstance(text, exchange.Text):
        parts[place] = msgspec.structs.replace(text, citations=tuple(citations), seal=extra)
    return parts


def _citation(annotation: Members) -> list[exchange.Citation]:
    cited = annotation.object("url_citation")
    annotation.skip("type")
    annotation.close()
    if cited is None:
        annotation.notes.add(annotation.at)
        return []
    citation = exchange.UrlCitation(
        url=cited.needed_text("url"),
        title=cited.text("title"),
        cited_text=cited.text("content"),
        start=cited.integer("start_index"),
        end=cited.integer("end_index"),
    )
    cited.close()
    return [citation]


def _images(message: Members) -> list[Part]:
    """Pictures that the model made, as OpenRouter has them."""
    return [part for part in decode_parts.decode(message, "images") if isinstance(part, exchange.Image)]


def _arguments(function: Members) -> str:
    """A string; some clients send the object itself."""
    if function.kind("arguments") == "object":
        raw = function.raw("arguments")
        return "" if raw is None else bytes(raw).decode()
    return function.text("arguments") or ""


def _google_seal(owner: Members) -> Seal | None:
    """Gemini's signature, as its API of this dialect has it (ai.google.dev/gemini-api/docs/thought-signatures)."""
    extra = owner.object("extra_content")
    google = None if extra is None else extra.object("google")
    if extra is None or google is None:
        return None
    value = google.text("thought_signature")
    google.skip("thought")
    google.close()
    extra.close()
    return origin.read(value or "", "google")


def _sealed(call: ToolCall, seals: Mapping[str, Seal]) -> ToolCall:
    seal = seals.get(call.id)
    return call if seal is None or call.seal is not None else msgspec.structs.replace(call, seal=seal)
