"""The response object around the output, as a client gets it at the start and at the end.

https://platform.openai.com/docs/api-reference/responses/object

It repeats the request's fields in the client's own bytes, or in OpenAI's defaults, as SDKs want most of them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway.dialects.openai_responses import reading, usage
from trunkline_gateway.dialects.openai_responses.decode_request import ECHOED
from trunkline_gateway.exchange import ChatRequest, FinishReason, Start, Usage

COMPLETED: Final = "completed"
INCOMPLETE: Final = "incomplete"
FAILED: Final = "failed"

FINISH: Final[Mapping[FinishReason, tuple[str, str]]] = {
    "stop": (COMPLETED, ""),
    "stop_sequence": (COMPLETED, ""),
    "tool_calls": (COMPLETED, ""),
    "refusal": (COMPLETED, ""),
    "other": (COMPLETED, ""),
    "length": (INCOMPLETE, "max_output_tokens"),
    "context_window": (INCOMPLETE, "max_output_tokens"),
    "pause": (INCOMPLETE, "max_output_tokens"),  # there is more to come, if it is asked for
    "content_filter": (INCOMPLETE, "content_filter"),
    # Both reasons of an incomplete response are untrue of it: a client would raise its limit, or tell of a filter. As
    # completed it would pass for an answer. A client may try a failed one again, which is what helps here.
    "malformed_tool_call": (FAILED, "The model tried to call a tool, and failed to."),
}
"""Status, and the reason of an incomplete one or the message of a failed one. A refusal without words is incomplete."""

_DEFAULTS: Final[Mapping[str, bytes]] = {
    "instructions": b"null",
    "tools": b"[]",
    "tool_choice": b'"auto"',
    "temperature": b"1.0",
    "top_p": b"1.0",
    "text": b'{"format":{"type":"text"}}',
    "reasoning": b'{"effort":null,"summary":null}',
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "max_output_tokens": b"null",
    "max_tool_calls": b"null",
    "top_logprobs": b"0",
    "truncation": b'"disabled"',
    "user": b"null",
    "safety_identifier": b"null",
    "prompt_cache_key": b"null",
    "prompt_cache_retention": b"null",
}
_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_BAD: Final = re.compile(r"[^A-Za-z0-9_-]")


def _member(name: str, value: bytes) -> bytes:
    return b',"%b":%b' % (name.encode(), value)


_SAID: Final[Mapping[str, bytes]] = {name: _member(name, value) for name, value in _DEFAULTS.items()}


class Envelope:
    """One response. ``tail``: what the ids of its items are made of."""

    __slots__ = ("_echo", "_head", "tail")

    def __init__(self, request: ChatRequest, start: Start) -> None:
        """Begin a response."""
        given = _BAD.sub("_", start.id)
        response_id = given if given.startswith("resp_") else f"resp_{given or '0'}"
        self.tail = response_id.removeprefix("resp_")
        self._head = b'{"id":%b,"object":"response","created_at":%d,"model":%b,"service_tier":%b,"status":"' % (
            reading.encode(response_id),
            start.created,
            reading.encode(start.model or request.model),
            reading.encode(start.service_tier if start.service_tier in _TIERS else None),
        )
        own = request.own if isinstance(request.own, dict) else {}
        self._echo = b"".join([_echoed(own[name], name) if name in own else _SAID[name] for name in ECHOED])

    def write(
        self,
        status: str,
        output: Sequence[bytes] = (),
        counts: Usage | None = None,
        finish: tuple[str, str] = ("", ""),
        failure: Mapping[str, str] | None = None,
    ) -> bytes:
        """The object. ``finish``: of a response that ended, a row of `FINISH`; ``failure``: why it broke off."""
        how, why = finish
        error = {"code": "server_error", "message": why} if how == FAILED else failure
        details = {"reason": why} if how == INCOMPLETE else None
        return (
            b'%b%b","background":false,"error":%b,"incomplete_details":%b,"output":[%b],"usage":%b,"store":false,"previous_response_id":null%b}'
            % (
                self._head,
                status.encode(),
                reading.encode(error),
                reading.encode(details),
                b",".join(output),
                b"null" if counts is None else reading.encode(usage.write(counts)),
                self._echo,
            )
        )


def _echoed(value: object, name: str) -> bytes:
    if isinstance(value, msgspec.Raw):
        found = reading.one_line(value).strip()
        if found != b"null":
            return _member(name, found)
    return _SAID[name]
