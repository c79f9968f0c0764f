"""A whole answer: is it one, and what it took. Its bytes are passed on as they are."""

from typing import Final

import msgspec

from trunkline_gateway import tail
from trunkline_gateway.dialects.openai_chat import errors, usage
from trunkline_gateway.dialects.openai_chat.usage import WireUsage
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import Usage

TAIL_BYTES: Final = 16 * 1024
"""Of an answer too long to be held: where its usage is looked for. It stands last where it was seen in such answers."""


class Whole(msgspec.Struct, frozen=True):
    """What matters of an answer that came with a status of success.

    Attributes:
        error_status: What it would have been, had the upstream said so in the status; None for a real answer.
        usage: As counted by the upstream.
    """

    error_status: int | None
    usage: Usage | None


_NULL: Final = msgspec.Raw(b"null")


class _WireAnswer(msgspec.Struct):
    """The members that matter of a ``chat.completion``, of a list of embeddings, and of an error."""

    usage: WireUsage | None = None
    error: object = None
    choices: msgspec.Raw = _NULL
    data: msgspec.Raw = _NULL


class _WireAnyAnswer(msgspec.Struct):
    """The same where ``usage`` holds something else than counts."""

    usage: object = None
    error: object = None
    choices: msgspec.Raw = _NULL
    data: msgspec.Raw = _NULL


_decoder: Final = msgspec.json.Decoder(_WireAnswer)
_any_decoder: Final = msgspec.json.Decoder(_WireAnyAnswer)
_json: Final = msgspec.json.Decoder()


def read(body: bytes) -> Whole:
    """Look at a whole answer. One with an ``error`` and nothing else to give is an error, whatever HTTP said.

    Raises:
        UpstreamProtocolError: It is not a JSON object.
    """
    answer: _WireAnswer | _WireAnyAnswer
    try:
        try:
            answer = _decoder.decode(body)
            counts = usage.of_wire(answer.usage)
        except msgspec.ValidationError:
            answer = _any_decoder.decode(body)
            counts = usage.read(answer.usage)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as failure:
        raise UpstreamProtocolError("The upstream's answer is not a JSON object.") from failure
    if answer.error and bytes(answer.choices) in _EMPTY and bytes(answer.data) in _EMPTY:
        return Whole(errors.status_of(answer.error), counts)
    return Whole(None, counts)


_EMPTY: Final = frozenset({b"null", b"[]"})


def usage_at_end(kept: bytes) -> Usage | None:
    """The usage of an answer of which only the end was kept, if its ``usage`` stands there."""
    found = tail.member(kept, b"usage")
    return None if found is None else usage.read(_json.decode(found))
