"""What is sent to a target: the request in its words, and the few headers that cross."""

from importlib import metadata
from typing import Final

from trunkline_gateway.dialects.openai_chat import request as openai_request
from trunkline_gateway.http import Headers
from trunkline_gateway.routing.call import Call
from trunkline_gateway.routing.plan import Candidate
from trunkline_gateway.routing.snapshot import UpstreamKey
from trunkline_gateway.upstream.client import Request, Timeouts

CROSSING: Final = frozenset({b"openai-beta"})
"""Headers of the client that an upstream gets. No others: they tell who and where the client is."""

_CONTENT_TYPE: Final = (b"content-type", b"application/json")
_IDENTITY: Final = (b"accept-encoding", b"identity")
_USER_AGENT: Final = (b"user-agent", f"trunkline/{metadata.version('trunkline')}".encode("ascii"))
_ACCEPT_STREAM: Final = (b"accept", b"text/event-stream")
_ACCEPT_JSON: Final = (b"accept", b"application/json")


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
    model = call.resolved.model_of(candidate.target)
    return Request(
        endpoint=candidate.upstream.endpoint,
        path=openai_request.PATHS[call.request.operation],
        headers=_headers(call, candidate, key),
        body=call.request.encode(model, add_usage=adds_usage(call, candidate)),
        timeouts=timeouts,
    )


def _headers(call: Call, candidate: Candidate, key: UpstreamKey) -> Headers:
    """Ours, then the credential's own, which may replace them, then the key, which nothing replaces."""
    headers = [_CONTENT_TYPE, _ACCEPT_STREAM if call.request.stream else _ACCEPT_JSON, _IDENTITY, _USER_AGENT]
    headers += [header for header in call.headers if header[0] in CROSSING]
    own = candidate.upstream.headers
    if own:
        replaced = {name for name, _ in own}
        headers = [header for header in headers if header[0] not in replaced] + list(own)
    if key.auth_header is not None:
        headers.append(key.auth_header)
    return headers
