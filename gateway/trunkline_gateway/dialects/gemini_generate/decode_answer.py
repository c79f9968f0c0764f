"""A whole answer of Gemini's, and a count of tokens.

https://ai.google.dev/api/generate-content#generatecontentresponse
https://ai.google.dev/api/tokens#response-body
"""

from collections.abc import Mapping
from typing import NamedTuple

from trunkline_gateway import exchange, secrecy
from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.gemini_generate import errors, wire
from trunkline_gateway.dialects.gemini_generate.decode_stream import StreamDecoder
from trunkline_gateway.errors import UpstreamProtocolError


class _Body(NamedTuple):
    """A whole body as the one event of a stream."""

    data: bytes
    name: bytes = b""


def decode(body: bytes, asked: Asked) -> exchange.Answer:
    """A GenerateContentResponse, or a JSON array of them.

    Raises:
        UpstreamProtocolError: It is neither, or says that it failed.
    """
    if not body.strip():
        raise UpstreamProtocolError("The upstream's answer is empty.")
    decoder = StreamDecoder(asked)
    assembler = exchange.Assembler()
    for event in [*decoder.receive(_Body(body)), *decoder.complete()]:
        assembler.receive(event)
    if assembler.failed is not None:
        _raise(assembler.failed)
    answer = assembler.answer()
    if not answer.choices:
        raise UpstreamProtocolError("The upstream's answer has no candidates.")
    return answer


def decode_count(body: bytes, asked: Asked) -> exchange.TokenCount:
    """A CountTokensResponse.

    Raises:
        UpstreamProtocolError: It is none.
    """
    value = wire.value_of(body)
    if isinstance(value, Mapping):
        if value.get("error"):
            _raise(errors.failed(wire.raw_of(value["error"])))
        total, cached = _count(value.get("totalTokens")), _count(value.get("cachedContentTokenCount"))
        if total is not None:
            return exchange.TokenCount(prompt=total, cached=cached)
    raise UpstreamProtocolError("The upstream's answer is not a CountTokensResponse.")


def _raise(failed: exchange.Failed) -> None:
    said = secrecy.scrub(failed.message, ())
    raise UpstreamProtocolError(f"The upstream answered with an error: {said}", status=failed.status)


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
