"""A whole answer of Converse, and a count.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.bedrock_converse import blocks, models, names, reading, usage
from trunkline_gateway.dialects.bedrock_converse.parts import DIALECT
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import Answer, Choice, Foreign, Part, Reasoning, Text, TokenCount, ToolCall


def decode(body: bytes, asked: Asked) -> Answer:
    """Read an answer.

    Raises:
        UpstreamProtocolError: It is none.
    """
    members = reading.members(body)
    message = reading.object_of(reading.members(members.get("output")).get("message") or b"")
    if message is None:
        raise UpstreamProtocolError("The upstream's answer is not one of Converse.")
    tier = reading.text(reading.members(members.get("serviceTier")).get("type"))
    choice = Choice(
        parts=tuple(_Content(asked).read(message.get("content"))),
        finish_reason=blocks.finish_reason(members.get("stopReason")),
        stop_sequence=blocks.stop_sequence(members.get("additionalModelResponseFields")),
    )
    return Answer(choices=(choice,), created=asked.now, usage=usage.read(members.get("usage")), service_tier=tier)


def decode_count(body: bytes, asked: Asked) -> TokenCount:
    """Read a count.

    Raises:
        UpstreamProtocolError: It is none.
    """
    prompt = reading.count(reading.members(body).get("inputTokens"))
    if prompt is None:
        raise UpstreamProtocolError("The upstream's answer is not a count of tokens.")
    return TokenCount(prompt=prompt)


class _Content:
    """The content of one answer."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._maker = models.of(asked.target.model).maker
        self._account = asked.target.account
        self._names = names.ToolNames(asked.request)
        self._parts: list[Part] = []
        self._calls = 0

    def read(self, content: msgspec.Raw | None) -> list[Part]:
        for item in reading.items(content):
            block = reading.members(item)
            kind = next((name for name in block if name in _READERS), None)
            if kind is not None:
                _READERS[kind](self, block[kind])
            elif block:
                kind = next(iter(block))
                self._parts.append(Foreign(dialect=DIALECT, kind=kind, value=item))
        return self._parts

    def _text(self, value: msgspec.Raw) -> None:
        if text := reading.text(value):
            self._parts.append(Text(text=text))

    def _cited(self, value: msgspec.Raw) -> None:
        members = reading.members(value)
        pieces = (reading.text(reading.members(each).get("text")) for each in reading.items(members.get("content")))
        text = "".join(piece for piece in pieces if piece)
        citations = blocks.citations(members.get("citations"))
        last = self._parts[-1] if self._parts else None
        if not text and isinstance(last, Text):  # Nova's stand behind the text that they are for
            self._parts[-1] = msgspec.structs.replace(last, citations=(*last.citations, *citations))
        elif text or citations:
            self._parts.append(Text(text=text, citations=citations))

    def _reasoning(self, value: msgspec.Raw) -> None:
        members = reading.members(value)
        shown = reading.members(members.get("reasoningText"))
        text, signature = reading.text(shown.get("text")) or "", reading.text(shown.get("signature"))
        hidden = reading.blob(reading.text(members.get("redactedContent")) or "")
        part = Reasoning(
            text=text,
            signature=blocks.signature(signature, self._maker, self._account) if signature else None,
            encrypted=blocks.redacted(hidden, self._maker, self._account) if hidden else None,
        )
        if part != Reasoning():
            self._parts.append(part)

    def _call(self, value: msgspec.Raw) -> None:
        use = reading.members(value)
        given = use.get("input")
        arguments = "{}" if given is None else reading.written(given)
        if reading.text(use.get("type")) == blocks.SERVER_TOOL:
            self._parts.append(blocks.hosted_call(use, arguments))
            return
        known = self._names.read(reading.text(use.get("name")) or "")
        id = reading.text(use.get("toolUseId")) or self._asked.new_id(self._calls)
        self._calls += 1
        self._parts.append(
            ToolCall(
                id=id,
                name=known.name,
                arguments=blocks.unwrapped(arguments) if known.custom else arguments,
                custom=known.custom,
                namespace=known.namespace,
            )
        )

    def _result(self, value: msgspec.Raw) -> None:
        result = reading.members(value)
        self._parts.append(blocks.hosted_result(result, reading.items(result.get("content"))))

    def _image(self, value: msgspec.Raw) -> None:
        members = reading.members(value)
        image = blocks.image(members.get("format"), members.get("source"))
        if image is not None:
            self._parts.append(image)


_READERS: Final[Mapping[str, Callable[[_Content, msgspec.Raw], None]]] = {
    "text": _Content._text,
    "citationsContent": _Content._cited,
    "reasoningContent": _Content._reasoning,
    "toolUse": _Content._call,
    "toolResult": _Content._result,
    "image": _Content._image,
}
