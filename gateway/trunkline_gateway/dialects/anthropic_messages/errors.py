"""Errors in Anthropic's shape, written and read.

https://docs.anthropic.com/en/api/errors
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialect import UpstreamError
from trunkline_gateway.dialects.anthropic_messages import upstream_json
from trunkline_gateway.dialects.anthropic_messages.threads import ThreadError
from trunkline_gateway.dialects.anthropic_messages.vocabulary import ERROR_STATUS, ERROR_TYPE
from trunkline_gateway.errors import GatewayError

MAX_TEXT_CHARACTERS: Final = 4096
"""Of what is no error in JSON; the caller cuts and scrubs what is left."""

_encoder: Final = msgspec.json.Encoder()
_TEXTS: Final = ("message", "Message", "detail", "msg", "error_message", "error_description", "error")
"""Where the words stand. Bedrock writes ``Message``, FastAPI ``detail``: a string, or a list of what has a ``msg``."""
_MAX_ITEMS: Final = 8
_MAX_DEPTH: Final = 4
_MARKUP: Final = re.compile(r"(?is)<(?:style|script)\b[^<>]*>[^<]*</(?:style|script)>|<[^<>]*>")


def type_of(status: int) -> str:
    """The error's type for a status."""
    known = ERROR_TYPE.get(status)
    if known is not None:
        return known
    return "api_error" if status >= 500 else "invalid_request_error"


def render(error: GatewayError) -> bytes:
    """The body of an error answer."""
    message = error.message.encode("utf-8", "replace").decode()
    said: dict[str, object] = {"type": type_of(error.status), "message": message}
    if isinstance(error, ThreadError):
        said["details"] = error.details
    return _encoder.encode({"type": "error", "error": said})


def event(error: GatewayError, began: bool) -> bytes:  # the same before content and after
    """The same as the last event of a stream; no ``message_stop`` follows it."""
    return b"event: error\ndata: " + render(error) + b"\n\n"


def status_of(word: str) -> int:
    """The status that an error's type stands for; 500 where nobody knows it, so that another target is tried."""
    return ERROR_STATUS.get(word, 500)


def read(status: int, body: bytes) -> UpstreamError:
    """What an error body says, whoever wrote it: Anthropic, a cloud in front of it, or a proxy."""
    top = _top(body)
    error = upstream_json.members(top.get("error")) or top
    message = (
        _said_in(error)
        or _said_in(top)
        or _sentence(body)
        or _plain(body)
        or f"The upstream answered with status {status}."
    )
    word = upstream_json.text(error.get("type")) or upstream_json.text(error.get("status")) or ""
    return UpstreamError(
        status=status if status >= 400 else status_of(word),
        message=message,
        type="" if word == "error" else word,
        code=upstream_json.text(error.get("code")) or "",
        param=upstream_json.text(error.get("param")),
    )


def _top(body: bytes) -> Mapping[str, msgspec.Raw]:
    """The members of a body, or of the first item of a list (Google's, for what was asked for as a stream)."""
    found = upstream_json.members(body)
    if not found and (listed := upstream_json.items(body)):
        return upstream_json.members(listed[0])
    return found


def _said_in(error: Mapping[str, msgspec.Raw], depth: int = 0) -> str:
    return next((said for name in _TEXTS if name in error and (said := _sentence(error[name], depth + 1))), "")


def _sentence(value: bytes | msgspec.Raw, depth: int = 0) -> str:
    """The words in it: of a string itself, of a list those of its items."""
    said = upstream_json.text(value)
    if said is not None:
        return said.strip()
    if depth > _MAX_DEPTH:
        return ""
    said = _said_in(upstream_json.members(value), depth)
    return said or "; ".join(
        found for each in upstream_json.items(value)[:_MAX_ITEMS] if (found := _sentence(each, depth + 1))
    )


def _plain(body: bytes) -> str:
    """The beginning of what is left of a page without its markup."""
    text = body[: 16 * MAX_TEXT_CHARACTERS].decode("utf-8", "replace")
    return " ".join(_MARKUP.sub(" ", text).split())[:MAX_TEXT_CHARACTERS]
