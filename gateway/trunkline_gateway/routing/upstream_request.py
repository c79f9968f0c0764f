"""What is sent to a target: the request in its words."""

from typing import Final

from trunkline_gateway.dialects.openai_chat import request as openai_request
from trunkline_gateway.http import Headers
from trunkline_gateway.routing.call import Call
from trunkline_gateway.routing.plan import Candidate
from trunkline_gateway.routing.snapshot import UpstreamKey
from trunkline_gateway.upstream.client import Request, RequestHead, Timeouts

_NONE: Final[Headers] = ()


def adds_usage(call: Call, candidate: Candidate) -> bool:
    """Whether the usage of the stream is asked for, although the client did not."""
    request = call.request
    return (
        request.stream
        and not request.includes_usage
        and candidate.upstream.provider not in openai_request.USAGE_UNASKED
    )


def build(call: Call, candidate: Candidate, key: UpstreamKey, timeouts: Timeouts) -> Request:
    """The request for one attempt."""
    request = call.request
    head = key.heads[request.operation, request.stream]
    return Request(
        head,
        request.encode(candidate.model, add_usage=adds_usage(call, candidate)),
        timeouts,
        _allowed(call.crossing, head) if call.crossing else _NONE,
    )


def _allowed(crossing: Headers, head: RequestHead) -> Headers:
    """The client's headers, but for those that the account sets itself."""
    own = {name for name, _ in head.headers}
    return tuple(header for header in crossing if header[0] not in own)
