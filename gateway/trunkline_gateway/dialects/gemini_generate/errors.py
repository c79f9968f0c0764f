"""Errors as ``google.rpc.Status``, written and read.

https://cloud.google.com/apis/design/errors#error_model
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import UpstreamError
from trunkline_gateway.dialects.gemini_generate import wire
from trunkline_gateway.errors import GatewayError

_encoder: Final = msgspec.json.Encoder()

WORDS: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
"""Of a status, the word. https://cloud.google.com/apis/design/errors#handling_errors"""

STATUSES: Final[Mapping[str, int]] = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}
"""Of a word, the status: all of google.rpc.Code but OK."""

_KEY_REASONS: Final = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED"})
_MAX_NESTED: Final = 3


def render(error: GatewayError) -> bytes:
    """The body of an error answer."""
    status: dict[str, object] = {
        "code": error.status,
        "message": error.message,
        "status": WORDS.get(error.status, "INVALID_ARGUMENT" if error.status < 500 else "INTERNAL"),
    }
    details: list[dict[str, object]] = []
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    if error.retry_after_seconds is not None:
        delay = f"{error.retry_after_seconds:g}s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    if details:
        status["details"] = details
    return _encoder.encode({"error": status})


def event(error: GatewayError, began: bool) -> bytes:
    """The same as the last bytes of a stream of server-sent events.

    It stands there twice: as an event, which google-genai for Python and others raise; and as a last line without an
    end. Google's clients for JavaScript take an event without candidates for an empty chunk, and raise only what is
    left over when the stream ends. Others skip it: an event without an end is none.
    """
    body = render(error)
    return b"data: " + body + b"\n\n" + body


def array_event(error: GatewayError, began: bool) -> bytes:
    """The same as the last element of a stream that is a JSON array, as Google ends one that fails."""
    return (b",\r\n" if began else b"[") + render(error) + b"]"


def read(status: int, body: bytes) -> UpstreamError:
    """What an error body says, whatever it is."""
    value = wire.value_of(body)
    error = _error_in(value)
    if status < 400:
        status = _status_of(error or {})
    if error is None:
        text = _plain(value) or body.decode("utf-8", "replace").strip()
        return UpstreamError(status=status, message=text or f"The upstream answered with status {status}.")
    details = error.get("details")
    reason = _first(details, "reason")
    message = _text(error.get("message")) or f"The upstream answered with status {status}."
    return UpstreamError(
        # A key that is not one is a bad argument to Google; to us it is a key to be taken out.
        status=401 if status == 400 and reason in _KEY_REASONS else status,
        message=message,
        type=_text(error.get("status")) or "",
        code=reason or "",
        param=_field(details),
    )


def failed(error: msgspec.Raw) -> exchange.Failed:
    """An ``error`` that stands in a stream, or in an answer with status 200."""
    body = b'{"error":' + bytes(error) + b"}"
    said = read(200, body)
    return exchange.Failed(status=said.status, message=said.message, type=said.type, code=said.code, param=said.param)


def _status_of(error: Mapping[str, object]) -> int:
    """The status that an ``error`` stands for where HTTP said 200; 500 where nobody knows it."""
    status = error.get("code")
    if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
        return STATUSES.get(_text(error.get("status")) or "", 500)
    return status


def _error_in(value: object, depth: int = 0) -> Mapping[str, object] | None:
    """The innermost ``error`` object: proxies nest one in another's message, and arrays hold one."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, Mapping):
        return None
    error = value.get("error")
    if isinstance(error, str):
        start = error.find("{")
        inner = wire.value_of(error[start:].encode("utf-8", "replace")) if start >= 0 else None
        return _error_in(inner, depth + 1) if depth < _MAX_NESTED else None
    if not isinstance(error, Mapping):
        return None
    message = error.get("message")
    if isinstance(message, str) and message.lstrip().startswith("{") and depth < _MAX_NESTED:
        inner = _error_in(wire.value_of(message.encode("utf-8", "replace")), depth + 1)
        if inner is not None:
            return inner
    return error


def _plain(value: object) -> str:
    """The words of an object that is no Status."""
    if not isinstance(value, Mapping):
        return ""
    return next((text for name in ("error", "message", "detail") if (text := _text(value.get(name)))), "")


def _first(details: object, name: str) -> str | None:
    return next((text for each in _mappings(details) if (text := _text(each.get(name)))), None)


def _field(details: object) -> str | None:
    for each in _mappings(details):
        found = _first(each.get("fieldViolations"), "field")
        if found:
            return found
    return None


def _mappings(value: object) -> Sequence[Mapping[str, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
