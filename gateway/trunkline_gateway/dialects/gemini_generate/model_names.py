"""Where a body names the model beside its path: Google takes no other there than the path's.

https://ai.google.dev/api/tokens
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialect import Fields

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder()
_NESTED: Final = ("generateContentRequest", "generate_content_request")


def renamed(fields: Fields, model: str) -> Mapping[str, bytes]:
    """The members of a body that have to be written anew for a model that the upstream calls ``model``."""
    name = _encoder.encode(model if model.startswith("models/") else f"models/{model}")
    changed: dict[str, bytes] = {}
    if bytes(fields.get("model", name)) != name:
        changed["model"] = name
    for nested in _NESTED:
        raw = fields.get(nested)
        members = None if raw is None else _members_of(raw)
        if members is not None and bytes(members.get("model", name)) != name:
            changed[nested] = _encoder.encode({**members, "model": msgspec.Raw(name)})
    return changed


def _members_of(raw: msgspec.Raw) -> Mapping[str, msgspec.Raw] | None:
    try:
        return _members.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # the upstream says what is wrong with it
