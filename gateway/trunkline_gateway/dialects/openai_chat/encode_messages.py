"""Turns as ``messages`` for an upstream.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages

Results of tools come as messages of their own, right after the calls; what else the turn says follows. What a
``tool`` message cannot hold (pictures, files) is moved into the user's message after it.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, TypeAlias, assert_never

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target, require_something
from trunkline_gateway.dialects.openai_chat import encode_parts, encode_reasoning, vocabulary
from trunkline_gateway.dialects.openai_chat.encode_parts import Lost, WirePart
from trunkline_gateway.dialects.openai_chat.tool_names import Name, fitting, flat, nine, short_id, wire_names
from trunkline_gateway.exchange import losses

Message: TypeAlias = dict[str, object]

_INSTRUCTING: Final = frozenset({"system", "developer"})
_MOVED: Final = "Attachments of the result of tool call {}:"
_SEE_BELOW: Final = "(The result is attached to the next message.)"


def _only_text(turn: exchange.Turn) -> str | None:
    """What a turn says that is one plain text, as most are; None: there is more to it."""
    if len(turn.parts) != 1 or turn.name is not None or turn.role == "developer":
        return None
    part = turn.parts[0]
    if not isinstance(part, exchange.Text) or part.citations or part.seal is not None or part.cache is not None:
        return None
    return part.text or None


def _says_nothing(message: Message) -> bool:
    """It is no turn of the user's or the model's, or what was in it had to be left out."""
    role = message["role"]
    return role in _INSTRUCTING or (role != "tool" and len(message) == 2 and message.get("content") == "")


class MessagesEncoder:
    """Writes the turns of one request.

    Attributes:
        lost: Names of what could not be said.
    """

    def __init__(self, request: exchange.ChatRequest, target: Target) -> None:
        self.lost = Lost()
        self._request = request
        self._target = target
        self._quirks = target.quirks
        self._names = wire_names(request.tools)

    def encode(self) -> list[Message]:
        """All messages, in order."""
        if "no_developer_role" in self._quirks:
            roles = {turn.role for turn in self._request.turns}
            if roles >= {"system", "developer"}:
                self.lost.add("developer_role")
        messages: list[Message] = []
        for turn in self._request.turns:
            text = _only_text(turn)
            if text is None:
                messages.extend(self._turn(turn))
            else:
                messages.append({"role": turn.role, "content": text})
        if all(_says_nothing(message) for message in reversed(messages)):
            require_something(self._request.turns, self.lost.names, instructed=bool(messages))
        return _results_first(messages)

    def name_of(self, name: Name) -> str:
        """A tool's name for the upstream."""
        return self._names.get(name) or fitting(flat(name))

    def _turn(self, turn: exchange.Turn) -> Iterator[Message]:
        match turn.role:
            case "user":
                yield from self._user(turn)
            case "assistant":
                yield from self._assistant(turn)
            case "system" | "developer":
                role = "system" if "no_developer_role" in self._quirks else turn.role
                parts = self._content(turn.parts)
                if parts or not turn.parts:
                    yield self._message(role, turn, parts)
            case _:
                assert_never(turn.role)

    def _message(self, role: str, turn: exchange.Turn, parts: Sequence[WirePart]) -> Message:
        return self._named({"role": role, "content": self._folded(parts)}, turn)

    def _named(self, message: Message, turn: exchange.Turn) -> Message:
        if turn.name is not None:
            if "no_message_name" in self._quirks:
                self.lost.add("message_name")
            else:
                message["name"] = turn.name
        return message

    def _content(self, parts: Sequence[exchange.Part]) -> list[WirePart]:
        return [wire for part in parts for wire in encode_parts.encode(part, self._quirks, self.lost)]

    def _folded(self, parts: Sequence[WirePart]) -> object:
        """As a string if it is nothing but one text, or has to be one; else as it is."""
        if not parts:
            return ""
        if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
            return parts[0]["text"]
        if "content_as_string" not in self._quirks:
            return parts
        for part in parts:
            if part.get("type") != "text":
                self.lost.add(encode_parts.FEATURE_OF_TYPE.get(str(part.get("type")), "file"))
        return "\n\n".join(str(part["text"]) for part in parts if part.get("type") == "text")

    # ---- user --------------------------------------------------------------------------------------------------------

    def _user(self, turn: exchange.Turn) -> Iterator[Message]:
        moved: list[WirePart] = []
        rest: list[exchange.Part] = []
        for part in turn.parts:
            if isinstance(part, exchange.ToolResult):
                yield self._result(part, moved)
            else:
                rest.append(part)
        parts = [*moved, *self._content(rest)]
        if parts or not turn.parts:
            yield self._message("user", turn, parts)

    def _result(self, result: exchange.ToolResult, moved: list[WirePart]) -> Message:
        if result.is_error:
            self.lost.add("tool_result_error")
        parts = self._content(result.content)
        texts = [part for part in parts if part.get("type") == "text"]
        others = [part for part in parts if part.get("type") != "text"]
        call_id = self._call_id(result.call_id)
        if others and "content_as_string" in self._quirks:
            self.lost.add("tool_result_image")
        elif others:
            moved.append({"type": "text", "text": _MOVED.format(call_id)})
            moved.extend(others)
            texts = texts or [{"type": "text", "text": _SEE_BELOW}]
        message: Message = {"role": "tool", "tool_call_id": call_id, "content": self._folded(texts)}
        if result.cache is not None:
            encode_parts.cache(message, result.cache, self._quirks, self.lost)
        return message

    # ---- assistant ---------------------------------------------------------------------------------------------------

    def _assistant(self, turn: exchange.Turn) -> Iterator[Message]:
        thoughts = [part for part in turn.parts if isinstance(part, exchange.Reasoning)]
        calls = [part for part in turn.parts if isinstance(part, exchange.ToolCall)]
        refusals = [part.text for part in turn.parts if isinstance(part, exchange.Refusal)]
        said: Message = {}
        says = list(self._says(turn.parts, said))
        content = self._content(says)
        if content:
            said["content"] = self._folded(content)
        if refusals:
            said["refusal"] = "".join(refusals)
        if calls:
            # Many servers insist on the member although a call needs no content; the API itself answers with null.
            said.setdefault("content", "" if "content_as_string" in self._quirks else None)
            said["tool_calls"] = [self._call(call) for call in calls]
        encode_reasoning.add(said, thoughts, calls, says, self._target, self.lost)
        if said:
            yield self._named({"role": "assistant", **said}, turn)
        elif not turn.parts:
            yield self._named({"role": "assistant", "content": ""}, turn)

    def _says(self, parts: Sequence[exchange.Part], said: Message) -> Iterator[exchange.Part]:
        """What stands in an assistant's ``content``; sound stands beside it."""
        for part in parts:
            match part:
                case exchange.Text() | exchange.Foreign(dialect=vocabulary.DIALECT):
                    yield part
                case exchange.Audio() if part.id:
                    said["audio"] = {"id": part.id}
                case exchange.Audio() if part.transcript:
                    self.lost.add("audio_input")
                    yield exchange.Text(text=part.transcript)
                case exchange.Reasoning() | exchange.ToolCall() | exchange.Refusal():
                    pass
                case _:
                    self.lost.add(losses.feature_of(part))

    def _call(self, call: exchange.ToolCall) -> Message:
        call_id = self._call_id(call.id)
        name = self.name_of((call.name, call.namespace))
        wire: Message
        if call.custom and "no_custom_tools" not in self._quirks:
            wire = {"id": call_id, "type": "custom", "custom": {"name": name, "input": call.arguments}}
        elif call.custom:
            # The conversation has to go on, with a call that any function could have got.
            self.lost.add("tools.custom")
            arguments = encode_parts.text_of({"input": call.arguments})
            wire = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        else:
            wire = {
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": call.arguments or "{}"},
            }
        if call.cache is not None:
            encode_parts.cache(wire, call.cache, self._quirks, self.lost)
        encode_reasoning.seal_call(wire, call, self._target, self.lost)
        return wire

    def _call_id(self, call_id: str) -> str:
        return nine(call_id) if "tool_call_ids_of_nine" in self._quirks else short_id(call_id)


def _results_first(messages: list[Message]) -> list[Message]:
    """All results right after their calls, which is required, also where the user said something between them."""
    if not any(message["role"] == "tool" for message in messages):
        return messages
    ordered: list[Message] = []
    for of_user, group in groupby(messages, key=lambda message: message["role"] in ("tool", "user")):
        run = list(group)
        calls = ordered[-1].get("tool_calls") if of_user and ordered else None
        if isinstance(calls, list):
            ids = {call["id"] for call in calls}
            run = sorted(run, key=lambda message, ids=ids: message.get("tool_call_id") not in ids)  # type: ignore[misc]
        ordered += run
    return ordered
