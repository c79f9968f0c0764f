"""The format of a custom tool: chat completions wraps a grammar once more than the exchange (and Responses) does.

https://platform.openai.com/docs/guides/function-calling#context-free-grammars

Upstreams that know only functions get one with a single argument for it.
"""

from typing import Final

import msgspec

from trunkline_gateway.exchange import Json

FREE_TEXT: Final = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool, as free '
    b'text."}},"required":["input"],"additionalProperties":false}'
)
"""Parameters of a function that stands for a custom tool."""


class _FreeText(msgspec.Struct):
    input: str


_encoder: Final = msgspec.json.Encoder()
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_free_text: Final = msgspec.json.Decoder(_FreeText)


def read(value: Json) -> Json:
    """``{"type": "grammar", "grammar": {…}}`` as ``{"type": "grammar", …}``; anything else as it is."""
    grammar = _members(_members(value).get("grammar"))
    if not grammar:
        return value
    return msgspec.Raw(_encoder.encode({"type": "grammar", **grammar}))


def write(value: Json) -> Json:
    """The way back."""
    members = _members(value)
    if "syntax" not in members or "grammar" in members:
        return value
    members.pop("type", None)
    return msgspec.Raw(_encoder.encode({"type": "grammar", "grammar": members}))


def unwrapped(arguments: str) -> str:
    """What was given to a function that stands for a custom tool; arguments that are no such object as they are."""
    try:
        return _free_text.decode(arguments).input
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return arguments


def _members(value: Json | None) -> dict[str, msgspec.Raw]:
    try:
        return {} if value is None else _object.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
