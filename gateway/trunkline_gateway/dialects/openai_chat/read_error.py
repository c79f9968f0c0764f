"""What an upstream says went wrong, read from any bytes: OpenAI's shape, its relatives, lists, strings, HTML.

https://platform.openai.com/docs/guides/error-codes
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway import exchange, secrecy
from trunkline_gateway.dialect import UpstreamError
from trunkline_gateway.dialects.openai_chat import errors

_json: Final = msgspec.json.Decoder()
_MARKUP: Final = re.compile(r"(?is)<(?:style|script)\b[^<>]*>[^<]*</(?:style|script)>|<[^<>]*>")
_SPACES: Final = re.compile(r"\s+")
_TEXTS: Final = ("message", "detail", "msg", "error_message", "error_description", "description", "reason", "title")
_MAX_TEXT_BYTES: Final = 4096
_MAX_BODY_BYTES: Final = 256 << 10
_MAX_DEPTH: Final = 6


def read(status: int, body: bytes) -> UpstreamError:
    """An error body with its status; with a status of success, what it would have been is told by its words."""
    value = _decoded(body)
    said = _error_of(value)
    if status < 400:
        status = errors.status_of(said)
    if value is None:
        message = _plain(body[:_MAX_BODY_BYTES].decode("utf-8", "replace"))
    else:
        message = _sentence(said) or _text(value)
    return UpstreamError(
        status=status,
        message=message or f"The upstream answered with status {status}.",
        type=_word(said, "type", "status"),
        code=_word(said, "code"),
        param=_word(said, "param") or None,
    )


def of_stream(data: bytes) -> exchange.Failed:
    """An error that came as an event."""
    return _failed(read(0, data))


def of_value(error: object) -> exchange.Failed:
    """An error that stands in an answer, as its decoded JSON."""
    return _failed(
        UpstreamError(
            status=errors.status_of(error),
            message=_sentence(error) or "The upstream gave up.",
            type=_word(error, "type", "status"),
            code=_word(error, "code"),
            param=_word(error, "param") or None,
        )
    )


def _failed(error: UpstreamError) -> exchange.Failed:
    return exchange.Failed(
        status=error.status, message=error.message, type=error.type, code=error.code, param=error.param
    )


def _decoded(body: bytes) -> object:
    """The JSON of a body; None: it is none, or too long to be looked at."""
    if len(body) > _MAX_BODY_BYTES:
        return None
    try:
        return _json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _error_of(value: object) -> object:
    """The ``error`` in a body: of the first item of a list (Google), else the body itself."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, Mapping):
        return value.get("error") or value
    return value


def _sentence(error: object) -> str:
    """What it says; OpenRouter has the words of the provider behind it beside its own."""
    said = _text(error)
    metadata = error.get("metadata") if isinstance(error, Mapping) else None
    behind = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return f"{said}: {_plain(behind)}" if said and isinstance(behind, str) and behind else said


def _text(value: object, depth: int = 0) -> str:
    """The sentence in it."""
    if isinstance(value, str):
        return _plain(value)
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(value, Mapping):
        for name in _TEXTS:
            found = _text(value.get(name), depth + 1)
            if found:
                return found
        return _text(value["error"], depth + 1) if "error" in value else ""
    if isinstance(value, Sequence):
        # FastAPI's list of what is wrong with a request.
        return "; ".join(found for each in list(value)[:8] if (found := _text(each, depth + 1)))
    return ""


def _plain(text: str) -> str:
    return secrecy.cut(_SPACES.sub(" ", _MARKUP.sub(" ", text)).strip(), _MAX_TEXT_BYTES)


def _word(error: object, *names: str) -> str:
    if isinstance(error, Mapping):
        for name in names:
            value = error.get(name)
            if isinstance(value, str) and value:
                return secrecy.cut(value, 256)
            if isinstance(value, int) and not isinstance(value, bool):
                return secrecy.cut(str(value), 256) if abs(value) < 1 << 63 else ""
    return ""
