"""Errors: as bodies, as events of a stream, and what an upstream's mean.

https://platform.openai.com/docs/guides/error-codes

Within a stream OpenAI sends two events, ``error`` and then ``response.failed``, and so do we: its SDKs raise for the
first, and only where it has a member ``error``; Codex heeds the second alone.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialect import UpstreamError
from trunkline_gateway.dialects.openai_responses import reading
from trunkline_gateway.errors import GatewayError

MAX_TEXT_CHARACTERS: Final = 4096
"""Of an upstream's error text that is not JSON."""

# Codes that clients know in a failed response: those of the SDK's model, and what Codex gives up for.
_FAILED_CODES: Final = frozenset(
    {
        "server_error",
        "rate_limit_exceeded",
        "invalid_prompt",
        "context_length_exceeded",
        "insufficient_quota",
        "usage_not_included",
    }
)

# What stands for a status where HTTP said 200; read from the left of the first word that fits, a code before a type.
_STATUS_OF_WORD: Final[tuple[tuple[re.Pattern[str], int], ...]] = (
    (re.compile(r"rate.?limit|quota|too.?many.?requests|^tokens$|^requests$|throttl|usage_not_included"), 429),
    (re.compile(r"overload|unavailable|capacity|slow_down"), 503),
    (re.compile(r"time.?out|deadline"), 504),
    (re.compile(r"payment|billing|credits|balance"), 402),
    (re.compile(r"authentication|unauthorized|api.?key"), 401),
    (re.compile(r"permission|forbidden"), 403),
    (re.compile(r"model.?not.?found|^not.?found"), 404),
    (re.compile(r"invalid|bad.?request|context.?length|policy|unsupported|image|moderation|data_residency"), 400),
    (re.compile(r"server|internal|api.?error"), 500),
)


def render(error: GatewayError) -> bytes:
    """The body of an error answer."""
    return reading.encode({"error": _error(error)})


def event(error: GatewayError, began: bool) -> bytes:
    """The same as the last events of a stream whose status is already spent, and of which nothing is known."""
    failed = {
        "id": "resp_failed",
        "object": "response",
        "created_at": 0,
        "status": "failed",
        "error": failure(error),
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }
    return last_events(error, reading.encode(failed), 0)


def last_events(error: GatewayError, failed: bytes, sequence: int) -> bytes:
    """The events of a stream that fails. ``failed``: the response; ``sequence``: the number of the first of them."""
    said = _error(error)
    members = {"type": "error", "code": said["code"], "message": said["message"], "param": said["param"], "error": said}
    return _event("error", {**members, "sequence_number": sequence}) + _event(
        "response.failed",
        {"type": "response.failed", "response": msgspec.Raw(failed), "sequence_number": sequence + 1},
    )


def failure(error: GatewayError) -> Mapping[str, str]:
    """What a failed response says of its end."""
    return {"code": failed_code(error.status, error.code), "message": error.message}


def failed_code(status: int, code: str | None) -> str:
    """The code of a failed response."""
    if code in _FAILED_CODES:
        return code
    return "rate_limit_exceeded" if status == 429 else "server_error"


def status_of(error: Mapping[str, object]) -> int:
    """The status that an ``error`` stands for where HTTP said 200: what it says itself, else by its words.

    500 where nothing is recognised, so that another target is tried.
    """
    for name in ("status_code", "status", "code"):
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        found = reading.number(value)
        if found is not None and 400 <= found <= 599:
            return found
    for name in ("code", "type"):
        word = reading.text(error.get(name)).lower()
        for pattern, status in _STATUS_OF_WORD if word else ():
            if pattern.search(word):
                return status
    return 500


def read(status: int, body: bytes) -> UpstreamError:
    """An error body, whatever it is."""
    value = reading.mapping(reading.parse(body))
    error = value.get("error")
    if status < 400:
        status = status_of(error if isinstance(error, dict) else {})
    if isinstance(error, str) and error:
        return UpstreamError(status=status, message=error)
    if not isinstance(error, dict):
        error = value
    message = _first(error, "message", "detail", "msg") or _first(value, "message", "detail")
    if not message:
        text = body[: 4 * MAX_TEXT_CHARACTERS].decode("utf-8", "replace").strip()[:MAX_TEXT_CHARACTERS]
        message = text or f"The upstream answered with status {status}."
    code = error.get("code")
    return UpstreamError(
        status=status,
        message=message,
        type=reading.text(error.get("type")),
        code=str(code) if isinstance(code, str | int) and not isinstance(code, bool) else "",
        param=reading.text(error.get("param")) or None,
    )


def _error(error: GatewayError) -> Mapping[str, object]:
    return {"message": error.message, "type": error.type, "param": error.param, "code": error.code}


def _event(name: str, value: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + reading.encode(value) + b"\n\n"


def _first(value: Mapping[str, object], *names: str) -> str:
    return next((found for name in names if (found := reading.text(value.get(name)))), "")
