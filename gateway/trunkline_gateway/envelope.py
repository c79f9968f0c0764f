"""The envelope of a request: what routing needs is read, everything else is kept as the client's own bytes.

Only the top level is looked at. Values below it are carried along unread (`msgspec.Raw`), after it is certain that
they are JSON, UTF-8 and not nested without end. What the members mean is a dialect's business.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Final, NoReturn

import msgspec

from trunkline_gateway.dialect import Envelope, Fields
from trunkline_gateway.errors import InvalidRequestError
from trunkline_gateway.exchange import Operation

MAX_DEPTH: Final = 128
"""Arrays and objects inside each other, the body itself included."""

MAX_MEMBERS: Final = 1024
"""Of the body itself."""

MAX_MODEL_CHARACTERS: Final = 253

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

# A name that is spelled as it is, and everything up to its value; any name; what follows a value.
_PLAIN_NAME: Final = re.compile(rb'[ \t\n\r]*"([^"\\]*)"[ \t\n\r]*:[ \t\n\r]*')
_ANY_NAME: Final = re.compile(rb'[ \t\n\r]*("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_SEPARATOR: Final = re.compile(rb"[ \t\n\r]*([,}])")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SLICE_BYTES: Final = 1 << 20
_SLICE_BRACKETS: Final = 1 << 14
_NOT_BRACKETS: Final = bytes(each for each in range(256) if each not in b'"[]{}')
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_SHORT_BYTES: Final = 8 << 10
_WALKED_AT_ONCE_BYTES: Final = 32 << 10


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request as a client has sent it, its envelope read.

    Attributes:
        dialect: That it is written in.
        operation: What is wanted.
        model: As the client wrote it, in the body or in the path.
        stream: Whether it wants a stream.
        includes_usage: Whether it asked for the usage of the stream itself, where it has to.
        fields: Every top-level member, in order, each value as its bytes.
        body: All of it, as sent.
        spaces: How many stand after each colon and comma of the top level, where there is no other space; else None.
        query: Of the URL, as sent.
    """

    dialect: str
    operation: Operation
    model: str
    stream: bool
    includes_usage: bool
    fields: Fields
    body: bytes
    spaces: int | None = None
    query: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.dialect}, {self.operation}, model={self.model!r}, stream={self.stream}, body=...)"

    def with_model(self, model: str) -> bytes:
        """The body for a target that calls the model so; every other byte stays as it is."""
        if model == self.model or "model" not in self.fields:
            return self.body
        return self.splice("model", _encoder.encode(model))

    def splice(self, name: str, value: bytes) -> bytes:
        """The body with another value for a member that it has; every other byte stays as it is."""
        place = self._place_of(name)
        # Below this size two copies cost less than two views.
        body = self.body if len(self.body) <= _SHORT_BYTES else memoryview(self.body)
        return b"".join((body[:place], value, body[place + len(self.fields[name]) :]))

    def splice_two(self, one: str, its: bytes, other: str, others: bytes) -> bytes:
        """`splice` for two members at once."""
        body = memoryview(self.body)
        pieces: list[bytes | memoryview] = []
        rest = 0
        for place, name, value in sorted(((self._place_of(one), one, its), (self._place_of(other), other, others))):
            pieces += (body[rest:place], value)
            rest = place + len(self.fields[name])
        return b"".join((*pieces, body[rest:]))

    def rewrite(self, values: Mapping[str, bytes | None]) -> bytes:
        """The body with other values for some members, those it lacks added at the end; None takes a member out."""
        fields = {name: bytes(value) for name, value in self.fields.items()}
        for name, new in values.items():
            if new is None:
                fields.pop(name, None)
            else:
                fields[name] = new
        return b"{" + b",".join([_encoder.encode(name) + b":" + value for name, value in fields.items()]) + b"}"

    def _place_of(self, name: str) -> int:
        """Where the value of a member begins."""
        if self.spaces is None:
            return _places(self.body, self.fields)[name]
        place = 1  # "{"
        for each, value in self.fields.items():
            place += len(each) + 3 + self.spaces  # two quotes and a colon
            if each == name:
                break
            place += len(value) + 1 + self.spaces  # a comma
        return place


class LaboriousError(Exception):
    """Reading the body would take milliseconds: it is long, and written or nested in an uncommon way."""


def parse(
    body: bytes,
    operation: Operation,
    dialect: str,
    read: Callable[[Fields], Envelope],
    *,
    at_once: bool = False,
    model: str = "",
    stream: bool | None = None,
    query: bytes = b"",
) -> Request:
    """Read the envelope. Time is linear in the body; for one over some 100 KiB it is best spent in a thread.

    Args:
        body: As sent.
        operation: What is wanted.
        dialect: That it is written in.
        read: The dialect's own look at it.
        at_once: Do not take long; see `LaboriousError`.
        model: Where the path says it.
        stream: Likewise; None: the body says it.
        query: Of the URL.

    Raises:
        InvalidRequestError: The body cannot be used; ``param`` names the field where there is one.
        LaboriousError: It would take long.
    """
    fields, spaces = _members(body, at_once and len(body) > _WALKED_AT_ONCE_BYTES)
    if not REFUSED_FIELDS.isdisjoint(fields):
        name = next(name for name in fields if name in REFUSED_FIELDS)
        raise InvalidRequestError(
            f"The field '{name}' is not accepted: where a request goes is not for the request to say.",
            param=name,
            code="unsupported_field",
        )
    said = read(fields)
    if stream is None:
        stream = said.stream
    return Request(dialect, operation, model or said.model, stream, said.include_usage, fields, body, spaces, query)


# ---- the body --------------------------------------------------------------------------------------------------------


def _members(body: bytes, no_walk: bool) -> tuple[Mapping[str, msgspec.Raw], int | None]:
    """The members of a body that is safe to pass on, and the spaces between them; see `Request`."""
    fields = _decoded(body)
    spaces = _spaces(body, fields)
    if (brackets := _brackets(body)) > MAX_DEPTH:
        # Each message after another closes an object and opens one, so it adds nothing. What looks like that is it: in
        # a string the quote would be escaped, or end the string, and then no letter could follow.
        siblings = body.count(b'}, {"role": ' if spaces else b'},{"role":')
        if brackets - siblings > MAX_DEPTH:
            if no_walk:
                raise LaboriousError
            if _depth_of(body) > MAX_DEPTH:
                _refuse_depth()
    if spaces is None:
        if no_walk:
            raise LaboriousError
        _places(body, fields)
    return fields, spaces


def _decoded(body: bytes) -> Mapping[str, msgspec.Raw]:
    if not body.isascii():
        _check_encoding(body)
    try:
        fields = _decoder.decode(body)
    except RecursionError:
        _refuse_depth()
    except msgspec.ValidationError:
        _refuse("The body must be a JSON object.")
    except msgspec.DecodeError as failure:
        if not body.strip(b" \t\r\n"):
            _refuse("The body is empty; send a JSON object.")
        # Its text is the place and what was wrong there, never the body.
        _refuse(f"The body is not valid JSON: {str(failure).removeprefix('JSON is malformed: ')}.")
    if len(fields) > MAX_MEMBERS:
        _refuse(f"The body has more than {MAX_MEMBERS} fields.")
    return fields


def _check_encoding(body: bytes) -> None:
    try:
        if len(body) <= _SLICE_BYTES:
            body.decode()
            return
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        # In slices: a decoded body may be four times as long.
        for start in range(0, len(body), _SLICE_BYTES):
            decoder.decode(body[start : start + _SLICE_BYTES], final=start + _SLICE_BYTES >= len(body))
    except UnicodeDecodeError:
        _refuse("The body is not valid UTF-8.")


def _brackets(body: bytes) -> int:
    """How many arrays and objects begin in it at most, which is as deep as it can be."""
    # Counting them would take up to ten times as long: this jumps from one to the next.
    return 2 * len(body) - len(body.replace(b"[", b"")) - len(body.replace(b"{", b""))


def _depth_of(body: bytes) -> int:
    """How deep valid JSON is nested."""
    # Outside of strings: without escapes every second piece between quotes. Backslashes stand in strings only.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(plain.split(b'"')[::2]).translate(None, _NOT_BRACKETS)
    depth = deepest = 0
    for start in range(0, len(outside), _SLICE_BRACKETS):  # in slices: other threads get their turn between them
        depths = list(accumulate(map(_STEP.__getitem__, outside[start : start + _SLICE_BRACKETS]), initial=depth))
        deepest, depth = max(deepest, *depths), depths[-1]
    return deepest


# ---- each name once --------------------------------------------------------------------------------------------------
#
# Decoding has collapsed names that occur twice. Who reads the first and who reads the last would see two requests, so
# it has to be certain that the body holds what was decoded and nothing else.


def _spaces(body: bytes, fields: Mapping[str, msgspec.Raw]) -> int | None:
    """The spaces after each colon and comma of the top level if the members are written in one of the two usual ways.

    That proves that none was collapsed. None: it may be so or not.
    """
    named = sum(map(len, fields))
    if not (_are_plain_known(tuple(fields)) if named <= _MAX_KNOWN_NAMES else _are_plain(fields)):
        return None
    count = len(fields)
    # Each name has two quotes and a colon, each member but the last a comma, and there are two braces. Any other
    # member, space or escape makes the body longer than that.
    shortest = named + sum(map(len, fields.values())) + 4 * count + 1
    if len(body) == shortest:
        return 0
    # As Python's `json` writes it. The text is compared: with spaces, length proves nothing.
    if len(body) == shortest + 2 * count - 1:
        form = '{"' + '": %b, "'.join(fields) + '": %b}'
        if body == form.encode() % tuple(fields.values()):
            return 1
    return None


def _are_plain(names: Iterable[str]) -> bool:
    """Whether each has as many bytes as characters, and no other spelling."""
    joined = "".join(names)
    return joined.isidentifier() and joined.isascii()


# Clients send the same fields again and again.
_are_plain_known: Final = lru_cache(maxsize=1024)(_are_plain)
_MAX_KNOWN_NAMES: Final = 512
"""Characters of all names together that are worth remembering."""


def _places(body: bytes, fields: Mapping[str, msgspec.Raw]) -> Mapping[str, int]:
    """Where each value begins in a body that is known to be valid, however it is written; refuses duplicates.

    A walk over the body with what was decoded: the names and values match only if there is no other member.
    """
    places: dict[str, int] = {}
    place = body.index(b"{") + 1
    ended = b"{"
    for name, value in fields.items():
        found = _PLAIN_NAME.match(body, place)
        if found is None:
            found = _ANY_NAME.match(body, place)
            if found is None or _text.decode(found[1]) != name:
                _refuse_duplicates(body)
        elif found[1] != name.encode():
            _refuse_duplicates(body)
        raw = bytes(value)
        places[name] = place = found.end()
        after = _SEPARATOR.match(body, place + len(raw))
        if after is None or not body.startswith(raw, place):
            _refuse_duplicates(body)
        place = after.end()
        ended = after[1]
    if fields and ended != b"}":
        _refuse_duplicates(body)
    return places


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


def read_model(fields: Fields) -> str:
    """The member ``model``.

    Raises:
        InvalidRequestError: It is missing, or no usable name.
    """
    raw = fields.get("model")
    if raw is None:
        _refuse("The field 'model' is missing.", param="model")
    try:
        model = _text.decode(raw)
    except msgspec.MsgspecError:
        _refuse("The field 'model' must be a string.", param="model")
    check_model(model)
    return model


def check_model(model: str) -> None:
    """See `read_model`; for a name from a path, too."""
    if not model:
        _refuse("The field 'model' is empty.", param="model")
    if len(model) > MAX_MODEL_CHARACTERS:
        _refuse(f"The field 'model' is longer than {MAX_MODEL_CHARACTERS} characters.", param="model")
    if not model.isprintable() and _CONTROL.search(model):
        _refuse("The field 'model' holds control characters.", param="model")


def read_switch(fields: Fields, name: str, param: str = "") -> bool:
    """A member that is true or false; null and nothing are false.

    Raises:
        InvalidRequestError: It is something else; the message names ``param``, or ``name``.
    """
    raw = fields.get(name)
    if raw is None:
        return False
    try:
        return bool(_switch.decode(raw))
    except msgspec.MsgspecError:
        _refuse(f"The field '{param or name}' must be true or false.", param=param or name)
