"""The format of a custom tool: chat completions wraps a grammar once more than the exchange (and Responses) does.

https://platform.openai.com/docs/guides/function-calling#context-free-grammars
"""

from typing import Final

import msgspec

from trunkline_gateway.exchange import Json

_encoder: Final = msgspec.json.Encoder()
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


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


def _members(value: Json | None) -> dict[str, msgspec.Raw]:
    try:
        return {} if value is None else _object.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
