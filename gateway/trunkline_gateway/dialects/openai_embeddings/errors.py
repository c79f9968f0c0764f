"""Errors in OpenAI's shape, written and read.

https://platform.openai.com/docs/guides/error-codes
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway import secrecy
from trunkline_gateway.dialect import UpstreamError
from trunkline_gateway.errors import GatewayError

_MAX_BODY_BYTES: Final = 256 << 10
_MAX_TEXT_BYTES: Final = 4096
_MARKUP: Final = re.compile(r"<[^<>]*>")
_SPACES: Final = re.compile(r"\s+")
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()


def render(error: GatewayError) -> bytes:
    """The body of an error answer."""
    return _encoder.encode(
        {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    )


def read(status: int, body: bytes) -> UpstreamError:
    """An error body (any bytes) with its status."""
    value = _decoded(body)
    error = value.get("error") or value if isinstance(value, Mapping) else value
    said = error if isinstance(error, Mapping) else {}
    code, kind = said.get("code"), said.get("type")
    if status < 400:
        status = code if isinstance(code, int) and 400 <= code <= 599 else 500
    message = _message(error)
    if value is None:
        message = body[:_MAX_BODY_BYTES].decode("utf-8", "replace")
    message = secrecy.cut(_SPACES.sub(" ", _MARKUP.sub(" ", message)).strip(), _MAX_TEXT_BYTES)
    param = said.get("param")
    return UpstreamError(
        status=status,
        message=message or f"The upstream answered with status {status}.",
        type=_word(kind),
        code=_word(code),
        param=_word(param) or None,
    )


def _decoded(body: bytes) -> object:
    if len(body) > _MAX_BODY_BYTES:
        return None
    try:
        value = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return value[0] if isinstance(value, list) and value else value


def _message(error: object) -> str:
    if isinstance(error, str):
        return error
    if not isinstance(error, Mapping):
        return ""
    for name in ("message", "detail", "msg", "error_message", "error"):
        said = error.get(name)
        if isinstance(said, str) and said:
            return said
        if isinstance(said, Mapping | list) and said:
            return _json(said)
    return ""


def _json(value: object) -> str:
    try:
        return _encoder.encode(value).decode()
    except RecursionError:
        return ""


def _word(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 1 << 63 else ""
    return secrecy.cut(value, 256) if isinstance(value, str) else ""
