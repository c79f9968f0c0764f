"""A whole answer, or a count, of the API.

https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/api/messages-count-tokens
"""

from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.anthropic_messages import blocks, upstream_json, usage
from trunkline_gateway.dialects.anthropic_messages.vocabulary import FINISH
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import Answer, Choice, TokenCount


def decode(body: bytes, asked: Asked) -> Answer:
    """A message. Raises UpstreamProtocolError."""
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
        usage=counts.usage(),
        service_tier=counts.service_tier,
    )


def decode_count(body: bytes, asked: Asked) -> TokenCount:
    """A count. Raises UpstreamProtocolError."""
    count = upstream_json.count(upstream_json.members(body).get("input_tokens"))
    if count is None:
        raise UpstreamProtocolError("The upstream's answer is not a count of the Messages API.")
    return TokenCount(prompt=count)
