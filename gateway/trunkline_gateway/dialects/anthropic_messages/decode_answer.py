"""A whole answer, or a count, of the API.

Most answers are texts; those take a shorter way, which a test holds to the same result.

https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/api/messages-count-tokens
"""

from typing import Final

import msgspec

from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.anthropic_messages import blocks, upstream_json, usage
from trunkline_gateway.dialects.anthropic_messages.usage import WireUsage
from trunkline_gateway.dialects.anthropic_messages.vocabulary import FINISH
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import Answer, Choice, Text, TokenCount


class WireText(msgspec.Struct, gc=False, tag_field="type", tag="text"):
    """A block of text without citations."""

    text: str
    citations: None = None


class WireMessage(msgspec.Struct, gc=False):
    """A message of nothing but such blocks. Decoding any other one fails."""

    content: list[WireText]
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: None = None
    usage: WireUsage | None = None


_message: Final = msgspec.json.Decoder(WireMessage)


def decode(body: bytes, asked: Asked) -> Answer:
    """A message. Raises UpstreamProtocolError."""
    try:
        message = _message.decode(body)
    except upstream_json.UNREADABLE:
        return decode_any(body, asked)
    choice = Choice(
        parts=tuple([Text(text=block.text) for block in message.content]),
        finish_reason=FINISH.get(message.stop_reason or "", "other"),
        stop_sequence=message.stop_sequence,
    )
    return Answer(
        choices=(choice,),
        id=message.id or "",
        model=message.model or "",
        created=asked.now,
        usage=usage.of_wire(message.usage),
        service_tier=None if message.usage is None else message.usage.service_tier or None,
    )


def decode_any(body: bytes, asked: Asked) -> Answer:
    """A message of any blocks. Raises UpstreamProtocolError."""
    message = upstream_json.members(body)
    content = message.get("content")
    if content is None or bytes(content)[:1] != b"[":
        raise UpstreamProtocolError("The upstream's answer is not a message of the Messages API.")
    counts = usage.Counts()
    counts.receive(message.get("usage"))
    reader = blocks.Blocks(asked)
    parts = tuple(part for raw in upstream_json.items(content) if (part := reader.part(raw)) is not None)
    stop_details = message.get("stop_details")
    choice = Choice(
        parts=parts,
        finish_reason=FINISH.get(upstream_json.text(message.get("stop_reason")) or "", "other"),
        stop_sequence=upstream_json.text(message.get("stop_sequence")),
        safety=upstream_json.clean(stop_details) if upstream_json.members(stop_details) and stop_details else None,
    )
    return Answer(
        choices=(choice,),
        id=upstream_json.text(message.get("id")) or "",
        model=upstream_json.text(message.get("model")) or "",
        created=asked.now,
        usage=counts.usage(),
        service_tier=counts.service_tier,
    )


def decode_count(body: bytes, asked: Asked) -> TokenCount:
    """A count. Raises UpstreamProtocolError."""
    count = upstream_json.count(upstream_json.members(body).get("input_tokens"))
    if count is None:
        raise UpstreamProtocolError("The upstream's answer is not a count of the Messages API.")
    return TokenCount(prompt=count)
