"""A whole answer: is it one, what did it take, and what does the client get of it."""

from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Ingress
from trunkline_gateway.dialects.openai_chat import errors as openai_errors
from trunkline_gateway.dialects.openai_chat import response as openai_response
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.routing.plan import Candidate
from trunkline_gateway.routing.upstream_request import Prepared

OPENAI: Final = frozenset({"openai_chat", "openai_embeddings"})
"""Dialects of which an answer is passed on after a look at its outermost members."""


class Whole(msgspec.Struct, frozen=True, gc=False):
    """What came of a request.

    Attributes:
        body: For the client; the upstream's where that is passed on, and of an error.
        error_status: What it would have been, had the upstream said so in the status; None for a real answer.
        answer: In the neutral form; None where it was not needed.
        lost: What was lost of request and answer.
    """

    body: bytes
    error_status: int | None = None
    usage: exchange.Usage | None = None
    answer: exchange.Answer | exchange.EmbeddingsAnswer | exchange.TokenCount | None = None
    lost: tuple[str, ...] = ()


def read(body: bytes, prepared: Prepared, candidate: Candidate, ingress: Ingress) -> Whole:
    """Look at an answer that came with a status of success; write it for the client.

    Raises:
        UpstreamProtocolError: It is no answer.
    """
    if prepared.native and (candidate.dialect in OPENAI or prepared.asked is None):
        seen = openai_response.read(body)
        return Whole(body, seen.error_status, seen.usage, None, prepared.lost)
    if openai_errors.has_error_shape(body):
        status = openai_response.read(body).error_status if candidate.dialect in OPENAI else 0
        if status == 0:
            status = candidate.side.read_error(200, body).status
            if not 400 <= status <= 599:  # never an error that looks like success
                status = 502
        if status is not None:
            return Whole(body, status)
    if prepared.asked is None:
        raise UpstreamProtocolError("The upstream's answer cannot be read.")
    answer = candidate.side.decode(body, prepared.asked)
    if isinstance(answer, exchange.Answer) and not answer.id:
        # Clients tell answers apart by it, and send it back in the names of what it holds.
        answer = msgspec.structs.replace(answer, id=prepared.asked.new_id(0, ""))
    usage = None if isinstance(answer, exchange.TokenCount) else answer.usage
    if prepared.native or prepared.neutral is None:
        return Whole(body, None, usage, answer, prepared.lost)
    if prepared.asked.stream:
        return Whole(b"", None, usage, answer, prepared.lost)
    encoded = ingress.encode(answer, prepared.neutral)
    return Whole(encoded.body, None, usage, answer, (*prepared.lost, *encoded.lost))
