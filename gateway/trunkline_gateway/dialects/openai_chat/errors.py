"""Errors in OpenAI's shape, written and read.

https://platform.openai.com/docs/guides/error-codes
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from trunkline_gateway import secrecy
from trunkline_gateway.errors import GatewayError

MAX_BODY_BYTES: Final = 64 * 1024
"""Of an upstream's error body that is kept as it is; a longer one is cut down to its text."""

MAX_OTHER_TEXT_BYTES: Final = 16 * 1024
"""Of a string in it that is not the error's text: Groq sends back there what the model had written."""

Scrub: TypeAlias = Callable[[str], str]
"""Takes out of a text what must not leave; see `secrecy.Scrubber`."""

_encoder: Final = msgspec.json.Encoder()
_TEXT_NAMES: Final = frozenset({"error", "message", "detail", "msg", "raw", "error_message"})
_KEY_NAME: Final = re.compile(r"(?i)^(x-)?(api[_-]?key|authorization|access[_-]?token|secret([_-]?key)?|password)$")
_MARKUP: Final = re.compile(r"(?is)<(?:style|script)\b[^<>]*>[^<]*</(?:style|script)>|<[^<>]*>")
_SPACES: Final = re.compile(r"\s+")

# What a provider calls an error that comes with status 200, and the status it would have had. Read from the left of
# the first word that fits: a code is more exact than a type.
_STATUS_OF_WORD: Final[tuple[tuple[re.Pattern[str], int], ...]] = (
    (re.compile(r"rate.?limit|quota|too.?many.?requests|^tokens$|^requests$|throttl"), 429),
    (re.compile(r"overload|unavailable|capacity"), 503),
    (re.compile(r"time.?out|deadline"), 504),
    (re.compile(r"payment|billing|credits|balance"), 402),
    (re.compile(r"authentication|unauthorized|api.?key"), 401),
    (re.compile(r"permission|forbidden"), 403),
    (re.compile(r"not.?found"), 404),
    (
        re.compile(r"invalid|bad.?request|context.?length|content.?(filter|policy)|tool.?use|unsupported|moderation"),
        400,
    ),
    (re.compile(r"server|internal|api.?error"), 500),
)


def render(error: GatewayError) -> bytes:
    """The body of an error answer."""
    return _encoder.encode(
        {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    )


def event(error: GatewayError) -> bytes:
    """The same as an event of a stream whose status is already spent; a client raises it. Never followed by [DONE]."""
    return event_of(render(error))


def event_of(body: bytes) -> bytes:
    """An error body in JSON as an event of a stream."""
    # Line ends stand between tokens only; within strings they are escaped.
    return b"data: " + body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n\n"


def status_of(error: object) -> int:
    """The status that an ``error`` member stands for where HTTP said 200: what it says itself, else by its words.

    500 where nothing is recognised, so that another target is tried.
    """
    if not isinstance(error, Mapping):
        return 500
    for name in ("status_code", "status", "code"):
        status = _number(error.get(name))
        if status is not None:
            return status
    for name in ("code", "type", "status"):
        word = error.get(name)
        if isinstance(word, str):
            for pattern, status in _STATUS_OF_WORD:
                if pattern.search(word.lower()):
                    return status
    return 500


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
        return value
    return None


# ---- what an upstream says -------------------------------------------------------------------------------------------


def clean(body: bytes, scrub: Scrub) -> bytes | None:
    """An upstream's JSON without what `scrub` takes out of its strings, its error text cut; else the same bytes.

    None where it is not a JSON object.
    """
    try:
        value = msgspec.json.decode(body)
        if not isinstance(value, dict):
            return None
        cleaned = _cleaned(value, "", scrub)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body if cleaned == value else _encoder.encode(cleaned)


def wrap(text: str, scrub: Scrub, *, status: int) -> bytes:
    """An error body in OpenAI's shape around the text of something else, such as a proxy's HTML page."""
    plain = _SPACES.sub(" ", _MARKUP.sub(" ", scrub(text))).strip()
    said = secrecy.cut(scrub(plain)) or f"The upstream answered with status {status}."
    kind = "invalid_request_error" if 400 <= status < 500 and status != 429 else "upstream_error"
    return _encoder.encode({"error": {"message": said, "type": kind, "param": None, "code": None}})


def passed_on(body: bytes, scrub: Scrub, *, status: int) -> bytes:
    """An upstream's error body as a client gets it."""
    cleaned = clean(body, scrub) if len(body) <= MAX_BODY_BYTES else None
    return wrap(body.decode("utf-8", "replace"), scrub, status=status) if cleaned is None else cleaned


def has_error_shape(body: bytes) -> bool:
    """Whether it is an object with an ``error``, as OpenAI's clients expect."""
    try:
        return bool(_shape.decode(body).error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


class _Shape(msgspec.Struct):
    error: object = None


_shape: Final = msgspec.json.Decoder(_Shape)


def _cleaned(value: object, name: str, scrub: Scrub) -> object:
    if isinstance(value, str):
        if _KEY_NAME.search(name):
            return secrecy.REDACTED
        return secrecy.cut(scrub(value), secrecy.MAX_TEXT_BYTES if name in _TEXT_NAMES else MAX_OTHER_TEXT_BYTES)
    if isinstance(value, list):
        return [_cleaned(each, name, scrub) for each in value]
    if isinstance(value, dict):
        return {scrub(str(key)): _cleaned(each, str(key), scrub) for key, each in value.items()}
    return value
