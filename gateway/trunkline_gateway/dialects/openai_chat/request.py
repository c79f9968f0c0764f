"""The envelope of a request: what routing needs is read, everything else is kept as the client's own bytes.

https://platform.openai.com/docs/api-reference/chat/create
https://platform.openai.com/docs/api-reference/embeddings/create

Only the top level is looked at. Values below it are carried along unread (`msgspec.Raw`), after it is certain that
they are JSON, UTF-8 and not nested without end.
"""

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType
from typing import Final, NoReturn

import msgspec

from trunkline_gateway.errors import InvalidRequestError
from trunkline_gateway.exchange import Operation

PATHS: Final[Mapping[Operation, str]] = MappingProxyType({"chat": "/chat/completions", "embeddings": "/embeddings"})
"""Below an account's base URL."""

MAX_DEPTH: Final = 128
"""Arrays and objects inside each other, the body itself included."""

MAX_MODEL_CHARACTERS: Final = 253

USAGE_UNASKED: Final = frozenset({"mistral"})
"""Providers that report usage in every stream and refuse a request with ``stream_options``."""

REFUSED_FIELDS: Final = frozenset(
    {
        "api_base",
        "api_key",
        "api_version",
        "apiBase",
        "apiKey",
        "aws_access_key_id",
        "aws_bedrock_runtime_endpoint",
        "aws_profile_name",
        "aws_region_name",
        "aws_role_name",
        "aws_secret_access_key",
        "aws_session_name",
        "aws_session_token",
        "aws_sts_endpoint",
        "aws_web_identity_token",
        "azure_ad_token",
        "azure_endpoint",
        "base_url",
        "baseURL",
        "baseUrl",
        "custom_host",
        "custom_llm_provider",
        "default_headers",
        "endpoint_url",
        "extra_body",
        "extra_headers",
        "headers",
        "http_proxy",
        "https_proxy",
        "organization",
        "proxy_url",
        "vertex_credentials",
        "vertex_location",
        "vertex_project",
    }
)
"""They would choose a host, an account or a header somewhere: at an upstream that is a gateway itself, too
(CVE-2024-6587). Refused rather than dropped, so that nobody believes that they had an effect."""

_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder()
_text: Final = msgspec.json.Decoder(str)
_switch: Final = msgspec.json.Decoder(bool | None)
_options: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)

_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_NAME: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SLICE_BYTES: Final = 1 << 20
_SLICE_BRACKETS: Final = 1 << 14
_NOT_BRACKETS: Final = bytes(each for each in range(256) if each not in b'"[]{}')
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_TRUE: Final = msgspec.Raw(b"true")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be sent to any target of its model.

    Attributes:
        operation: What is wanted.
        model: As the client wrote it.
        stream: Whether it wants a stream (chat only).
        includes_usage: Whether it asked for the usage of the stream itself.
        fields: Every top-level member, in order, each value as its bytes.
        body: All of it, as sent.
    """

    operation: Operation
    model: str
    stream: bool
    includes_usage: bool
    fields: Mapping[str, msgspec.Raw] = field(repr=False)
    body: bytes = field(repr=False)

    def encode(self, model: str, *, add_usage: bool = False) -> bytes:
        """Write it for a target: `model` is replaced, the bytes of every other value stay as they are.

        Args:
            model: The upstream's name of the model.
            add_usage: Ask for the usage of a stream where the client did not (``stream_options.include_usage``); the
                event that this brings must be taken out of the answer again.
        """
        add_usage = add_usage and self.stream and not self.includes_usage
        if model == self.model and not add_usage:
            return self.body
        fields = dict(self.fields)
        fields["model"] = msgspec.Raw(_encoder.encode(model))
        if add_usage:
            options = dict(_options.decode(fields.get("stream_options", b"null")) or {})
            options["include_usage"] = _TRUE
            fields["stream_options"] = msgspec.Raw(_encoder.encode(options))
        return _encoder.encode(fields)


def parse(body: bytes, operation: Operation) -> Request:
    """Read the envelope. Time is linear in the body; for one over a few MiB it is best spent in a thread.

    Raises:
        InvalidRequestError: The body cannot be used; ``param`` names the field where there is one.
    """
    fields = _members(body)
    for name in fields.keys() & REFUSED_FIELDS:
        raise InvalidRequestError(
            f"The field '{name}' is not accepted: where a request goes is not for the request to say.",
            param=name,
            code="unsupported_field",
        )
    model = _model(fields)
    if operation != "chat":
        return Request(operation, model, False, False, fields, body)
    stream = _boolean(fields, "stream", "stream")
    includes_usage = _includes_usage(fields)
    return Request(operation, model, stream, includes_usage, fields, body)


# ---- the body --------------------------------------------------------------------------------------------------------


def _members(body: bytes) -> Mapping[str, msgspec.Raw]:
    if not body.strip(b" \t\r\n"):
        _refuse("The body is empty; send a JSON object.")
    _check_encoding(body)
    try:
        fields = _decoder.decode(body)
    except RecursionError:
        _refuse_depth()
    except msgspec.ValidationError:
        _refuse("The body must be a JSON object.")
    except msgspec.DecodeError as failure:
        # Its text is the place and what was wrong there, never the body.
        _refuse(f"The body is not valid JSON: {str(failure).removeprefix('JSON is malformed: ')}.")
    if _depth_of(body) > MAX_DEPTH:
        _refuse_depth()
    _check_unique(body, fields)
    return fields


def _check_encoding(body: bytes) -> None:
    if body.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        # In slices: a decoded body may be four times as long.
        for start in range(0, len(body), _SLICE_BYTES):
            decoder.decode(body[start : start + _SLICE_BYTES], final=start + _SLICE_BYTES >= len(body))
    except UnicodeDecodeError:
        _refuse("The body is not valid UTF-8.")


def _depth_of(body: bytes) -> int:
    """How deep valid JSON is nested; at most `MAX_DEPTH` where that can be seen without looking closer."""
    brackets = body.count(b"[") + body.count(b"{")
    if brackets <= MAX_DEPTH:
        return brackets
    # Outside of strings: without escapes every second piece between quotes. Backslashes stand in strings only.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_BRACKETS)
    outside = b"".join(plain.split(b'"')[::2])
    depth = deepest = 0
    for start in range(0, len(outside), _SLICE_BRACKETS):  # in slices: other threads get their turn between them
        depths = list(accumulate(map(_STEP.__getitem__, outside[start : start + _SLICE_BRACKETS]), initial=depth))
        deepest, depth = max(deepest, *depths), depths[-1]
    return deepest


def _check_unique(body: bytes, fields: Mapping[str, msgspec.Raw]) -> None:
    """Refuse a name that occurs twice: who reads the first and who reads the last would see two requests.

    Decoding has collapsed them. So walk over the body, which is known to be valid, with what was decoded: the places
    of the names and values match only if there is no other member.
    """
    place = _after(body, 0) + 1  # "{"
    for name, value in fields.items():
        place = _after(body, place)
        end = _name_end(body, place)
        if _text.decode(body[place:end]) != name:
            _refuse_duplicates(body)
        place = _after(body, _after(body, end) + 1)  # ":"
        raw = bytes(value)
        if not body.startswith(raw, place):
            _refuse_duplicates(body)
        place = _after(body, place + len(raw))
        if body[place] not in b",}":
            _refuse_duplicates(body)
        place += 1  # "," or "}"
    if fields and body[place - 1] != ord("}"):
        _refuse_duplicates(body)


def _after(body: bytes, place: int) -> int:
    space = _SPACE.match(body, place)
    return space.end() if space else place


def _name_end(body: bytes, place: int) -> int:
    name = _NAME.match(body, place)
    if name is None:  # not in valid JSON
        _refuse("The body is not valid JSON.")
    return name.end()


def _refuse_duplicates(body: bytes) -> NoReturn:
    pairs: list[tuple[str, object]] = []

    def note(members: list[tuple[str, object]]) -> None:
        pairs[:] = members  # the outermost object comes last

    json.loads(body, object_pairs_hook=note)
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            shown = name[:64]
            _refuse(f"The field '{shown}' is given more than once.", param=shown)
        seen.add(name)
    _refuse("The body must name each field once.")


def _refuse_depth() -> NoReturn:
    _refuse(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _refuse(message: str, *, param: str | None = None) -> NoReturn:
    raise InvalidRequestError(message, param=param) from None


# ---- its fields ------------------------------------------------------------------------------------------------------


def _model(fields: Mapping[str, msgspec.Raw]) -> str:
    raw = fields.get("model")
    if raw is None:
        _refuse("The field 'model' is missing.", param="model")
    try:
        model = _text.decode(raw)
    except msgspec.MsgspecError:
        _refuse("The field 'model' must be a string.", param="model")
    if not model:
        _refuse("The field 'model' is empty.", param="model")
    if len(model) > MAX_MODEL_CHARACTERS:
        _refuse(f"The field 'model' is longer than {MAX_MODEL_CHARACTERS} characters.", param="model")
    if _CONTROL.search(model):
        _refuse("The field 'model' holds control characters.", param="model")
    return model


def _includes_usage(fields: Mapping[str, msgspec.Raw]) -> bool:
    raw = fields.get("stream_options")
    if raw is None:
        return False
    try:
        options = _options.decode(raw)
    except msgspec.MsgspecError:
        _refuse("The field 'stream_options' must be an object.", param="stream_options")
    if options is None:
        return False
    return _boolean(options, "include_usage", "stream_options.include_usage")


def _boolean(fields: Mapping[str, msgspec.Raw], name: str, param: str) -> bool:
    raw = fields.get(name)
    if raw is None:
        return False
    try:
        return bool(_switch.decode(raw))
    except msgspec.MsgspecError:
        _refuse(f"The field '{param}' must be true or false.", param=param)
