"""A whole answer for a client.

https://platform.openai.com/docs/api-reference/chat/object
"""

from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Encoded
from trunkline_gateway.dialects.openai_chat import usage, write_parts
from trunkline_gateway.dialects.openai_chat.encode_parts import Lost
from trunkline_gateway.dialects.openai_chat.write_parts import Object

_encoder: Final = msgspec.json.Encoder()


def encode(
    answer: exchange.Answer | exchange.EmbeddingsAnswer | exchange.TokenCount, request: exchange.Request
) -> Encoded:
    """Write it."""
    if not isinstance(answer, exchange.Answer) or not isinstance(request, exchange.ChatRequest):
        raise TypeError("a chat answer is wanted")
    lost = Lost()
    legacy = write_parts.is_legacy(request)
    body = write_parts.head(answer, request, "chat.completion")
    body["choices"] = [_choice(choice, lost, legacy=legacy) for choice in answer.choices]
    if answer.usage is not None:
        body["usage"] = usage.write(answer.usage)
        if usage.unsaid(answer.usage):
            lost.add("answer.usage_details")
    return Encoded(_encoder.encode(body), lost.names)


def _choice(choice: exchange.Choice, lost: Lost, *, legacy: bool) -> Object:
    text = _only_text(choice)
    message = _Message(lost, legacy=legacy).write(choice) if text is None else _message(text)
    wire: Object = {
        "index": choice.index,
        "message": message,
        "logprobs": None if choice.logprobs is None else write_parts.logprobs(choice.logprobs),
        "finish_reason": write_parts.finish(choice.finish_reason, legacy=legacy),
    }
    if choice.stop_sequence is not None:
        lost.add("answer.stop_sequence")
    filtered = write_parts.filter_results(choice.safety)
    if filtered is not None:
        wire["content_filter_results"] = filtered
    elif choice.safety is not None:
        lost.add("answer.safety")
    return wire


def _only_text(choice: exchange.Choice) -> str | None:
    """What a choice says that is one plain text, as most are; None: there is more to it."""
    if len(choice.parts) != 1:
        return None
    part = choice.parts[0]
    if not isinstance(part, exchange.Text) or part.citations or part.seal is not None:
        return None
    return part.text


def _message(text: str) -> Object:
    return {"role": "assistant", "content": text, "refusal": None}


class _Message:
    """The message of a choice while its parts are gathered."""

    def __init__(self, lost: Lost, *, legacy: bool) -> None:
        self._lost = lost
        self._legacy = legacy
        self._texts: list[str] = []
        self._length = 0
        self._thoughts: list[str] = []
        self._refusals: list[str] = []
        self._details = write_parts.Details()
        self._lists: dict[str, list[Object]] = {
            "reasoning_details": [],
            "tool_calls": [],
            "annotations": [],
            "images": [],
        }
        self._others: Object = {}

    def write(self, choice: exchange.Choice) -> Object:
        for part in choice.parts:
            self._add(part)
        message: Object = {
            "role": "assistant",
            "content": "".join(self._texts) if self._texts else None,
            "refusal": "".join(self._refusals) if self._refusals else None,
        }
        if self._thoughts:
            message["reasoning_content"] = "".join(self._thoughts)
        message.update((name, values) for name, values in self._lists.items() if values)
        message.update(self._others)
        return message

    def _add(self, part: exchange.Part) -> None:
        match part:
            case exchange.Text():
                self._text(part)
            case exchange.Refusal():
                self._refusals.append(part.text)
            case exchange.Reasoning():
                if part.text:
                    self._thoughts.append(part.text)
                self._lists["reasoning_details"] += self._details.add(part)
            case exchange.ToolCall():
                self._call(part)
            case exchange.Audio():
                self._others["audio"] = {
                    "id": part.id,
                    "data": part.source.data if isinstance(part.source, exchange.Inline) else "",
                    "expires_at": part.expires_at or 0,
                    "transcript": part.transcript,
                }
            case exchange.Image():
                wire = write_parts.image(part, len(self._lists["images"]))
                if wire is None:
                    self._lost.add("answer.image")
                else:
                    self._lists["images"].append(wire)
            case exchange.HostedStep():
                self._lost.add("answer.hosted_step")
            case _:
                self._lost.add("answer.foreign")

    def _text(self, part: exchange.Text) -> None:
        start, self._length = self._length, self._length + len(part.text)
        self._texts.append(part.text)
        made, all_said = write_parts.annotations(part.citations, start, self._length)
        self._lists["annotations"] += made
        if not all_said:
            self._lost.add("answer.citations")
        if part.seal is not None:
            self._others["extra_content"] = write_parts.google(part.seal)

    def _call(self, part: exchange.ToolCall) -> None:
        if part.namespace is not None:
            self._lost.add("answer.tool_namespace")
        arguments = write_parts.complete(part)
        if not self._legacy:
            self._lists["tool_calls"].append(write_parts.call(part, arguments=arguments))
        elif "function_call" not in self._others:
            self._others["function_call"] = {"name": part.name, "arguments": arguments}
        else:
            self._lost.add("answer.foreign")
