"""``/v1/models`` as OpenAI shapes it, for what one key may call.

Exact public names are listed, sorted; a glob stands for names that nobody can count, so it is not, and neither is a
group that is internal. ``credential:model`` is listed where it is exact and the key may call it. No entry says which
account or upstream serves a model.

https://platform.openai.com/docs/api-reference/models
"""

from typing import Final

import msgspec

from trunkline_gateway.errors import ModelNotFoundError
from trunkline_gateway.routing.resolve import DIRECT, may_use, resolve
from trunkline_gateway.routing.snapshot import Key, Route, Snapshot

_OWNER: Final = "trunkline"
"""Of models that belong to no group."""


class WireModel(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="object", tag="model"):
    """An entry; ``name`` and ``description`` are for people and no part of OpenAI's shape."""

    id: str
    created: int
    owned_by: str
    name: str = ""
    description: str = ""


class WireModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The list."""

    object: str = "list"
    data: list[WireModel]


_encoder: Final = msgspec.json.Encoder()


def render_list(snapshot: Snapshot, key: Key) -> bytes:
    """Write the list for ``key``."""
    entries = [_entry(name, route) for name, route in snapshot.exact.items() if may_use(key, route, name)]
    for credential, upstream in snapshot.direct.items():
        for model in upstream.direct_models:
            name = f"{credential}:{model}"
            if "*" not in model and _is_direct(snapshot, key, name):
                entries.append(_entry(name, None))
    return _encoder.encode(WireModelList(data=sorted(entries, key=lambda entry: entry.id)))


def render_one(snapshot: Snapshot, key: Key, name: str) -> bytes:
    """Write the entry that ``name`` means: exact, in another case, by a glob or direct, as in a request.

    Raises:
        ModelNotFoundError: There is none, or not for this key.
    """
    resolved = resolve(snapshot, key, name)
    route = snapshot.routes.get(resolved.route)
    # Where only the case differs, the answer has the name as it is written in the group.
    shown = resolved.capture if resolved.capture.lower() == name.lower() else name
    return _encoder.encode(_entry(shown, route))


def _entry(name: str, route: Route | None) -> WireModel:
    if route is None:
        return WireModel(id=name, created=0, owned_by=_OWNER)
    return WireModel(
        id=name, created=route.created, owned_by=route.group, name=route.display_name, description=route.description
    )


def _is_direct(snapshot: Snapshot, key: Key, name: str) -> bool:
    try:
        return resolve(snapshot, key, name).group == DIRECT
    except ModelNotFoundError:
        return False
