"""The events of a stream as they stand on the wire.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from typing import Final

import msgspec

from trunkline_gateway.dialects.openai_responses import answer, reading

NONE: Final = msgspec.Raw(b"null")
"""What is not there."""

_DONE: Final = b"[DONE]"


class WireEvent(msgspec.Struct, gc=False):
    """The members of all events in one: most are deltas, and of those only the first few are there."""

    type: str = ""
    delta: str | None = None
    output_index: int | None = None
    item_id: str | None = None
    content_index: int | None = None
    summary_index: int | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    item: msgspec.Raw = NONE
    part: msgspec.Raw = NONE
    annotation: msgspec.Raw = NONE
    logprobs: msgspec.Raw = NONE
    response: msgspec.Raw = NONE


_decoder: Final = msgspec.json.Decoder(WireEvent)
_TEXTS: Final = ("delta", "item_id", "text", "refusal", "arguments", "input")
_INDEXES: Final = ("output_index", "content_index", "summary_index")
_RAWS: Final = ("item", "part", "annotation", "logprobs", "response")


def read(data: bytes) -> WireEvent | None:
    """An event; without a type where it is not one. None: the end of OpenAI chat, which some send here as well."""
    try:
        return _decoder.decode(data)
    except reading.DECODE_ERRORS:
        return None if data.strip() == _DONE else _leniently(data)


def _leniently(data: bytes) -> WireEvent:
    """An event with members of wrong types, read without them; one without a type where it is not even an object."""
    value = reading.mapping(reading.parse(data))
    wire = WireEvent(type=reading.text(value.get("type")))
    for name in _TEXTS:
        if isinstance(found := value.get(name), str):
            setattr(wire, name, found)
    for name in _INDEXES:
        setattr(wire, name, reading.count(value.get(name)))
    if isinstance(arguments := value.get("arguments"), dict):
        wire.arguments = answer.arguments_of(arguments)
    for name in _RAWS:
        if (found := value.get(name)) is not None:
            setattr(wire, name, reading.raw(found))
    return wire
