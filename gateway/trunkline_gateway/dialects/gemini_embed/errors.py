"""Errors as ``google.rpc.Status``, written and read.

https://cloud.google.com/apis/design/errors#error_model
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway.dialect import UpstreamError
from trunkline_gateway.errors import GatewayError

WORDS: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
"""Of a status, the word; of others by their hundreds."""

_KEY_REASONS: Final = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED"})
_encoder: Final = msgspec.json.Encoder()


def render(error: GatewayError) -> bytes:
    """The body of an error answer."""
    word = WORDS.get(error.status, "INVALID_ARGUMENT" if error.status < 500 else "INTERNAL")
    status: dict[str, object] = {"code": error.status, "message": error.message, "status": word}
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        status["details"] = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    return _encoder.encode({"error": status})


def read(status: int, body: bytes) -> UpstreamError:
    """What an error body says, whatever it is."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = None
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, Mapping) else None
    if status < 400:
        meant = error.get("code") if isinstance(error, Mapping) else None
        status = meant if isinstance(meant, int) and 400 <= meant <= 599 else 500
    if not isinstance(error, Mapping):
        said = error if isinstance(error, str) else body.decode("utf-8", "replace").strip()
        return UpstreamError(status=status, message=said or f"The upstream answered with status {status}.")
    details = _mappings(error.get("details"))
    reason = next((text for each in details if (text := _text(each.get("reason")))), "")
    violations = [each for detail in details for each in _mappings(detail.get("fieldViolations"))]
    return UpstreamError(
        # A key that is not one is a bad argument to Google; to us it is a key to be taken out.
        status=401 if status == 400 and reason in _KEY_REASONS else status,
        message=_text(error.get("message")) or f"The upstream answered with status {status}.",
        type=_text(error.get("status")),
        code=reason,
        param=next((text for each in violations if (text := _text(each.get("field")))), None),
    )


def _mappings(value: object) -> Sequence[Mapping[object, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else ()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
