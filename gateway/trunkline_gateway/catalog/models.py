"""What models there are for one key, in no dialect's words; `shapes` writes them.

Exact public names are listed, sorted; a glob stands for names that nobody can count, so it is not, and neither is a
group that is internal. ``credential:model`` is listed where it is exact and the key may call it.
"""

from collections.abc import Sequence

import msgspec

from trunkline_gateway.dialect import NO_CAPABILITIES
from trunkline_gateway.errors import ModelNotFoundError
from trunkline_gateway.routing.resolve import DIRECT, may_use, resolve
from trunkline_gateway.routing.snapshot import Key, Route, Snapshot, Upstream

_OWNER = "trunkline"
"""Of models that belong to no group."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be called.

    Attributes:
        id: By which it is called.
        owner: The group's name.
        display_name: For people.
        created: Unix seconds.
        provider: The credential of a direct model; else the group.
        provider_type: Of the first target's account: an id of the provider registry.
        provider_types: Of all targets.
        model: What it is called there; of a group, its public name.
    """

    id: str
    owner: str
    display_name: str
    description: str
    created: int
    provider: str
    provider_type: str
    provider_types: frozenset[str]
    model: str
    context_window: int | None = None
    max_output_tokens: int | None = None


def entries(snapshot: Snapshot, key: Key) -> Sequence[Entry]:
    """All models that ``key`` may call, by name."""
    found = [_of_route(name, route) for name, route in snapshot.exact.items() if may_use(key, route, name)]
    for credential, upstream in snapshot.direct.items():
        for model in upstream.direct_models:
            name = f"{credential}:{model}"
            if "*" not in model and _is_direct(snapshot, key, name):
                found.append(_of_account(name, credential, model, upstream))
    return sorted(found, key=lambda entry: entry.id)


def entry(snapshot: Snapshot, key: Key, name: str) -> Entry:
    """The entry that ``name`` means: exact, in another case, by a glob or direct, as in a request.

    Raises:
        ModelNotFoundError: There is none, or not for this key.
    """
    resolved = resolve(snapshot, key, name)
    # Where only the case differs, the answer has the name as it is written in the group.
    shown = resolved.capture if resolved.capture.lower() == name.lower() else name
    route = snapshot.routes.get(resolved.route)
    if route is not None:
        return _of_route(shown, route)
    credential, _, model = name.partition(":")
    upstream = resolved.targets[0].upstream
    return _of_account(shown, credential.lower(), model, upstream)


def _of_route(name: str, route: Route) -> Entry:
    accounts = [target.upstream for target in route.targets if target.upstream is not None]
    first = min(
        (each for each in route.targets if each.upstream is not None), key=lambda each: each.priority, default=None
    )
    known = NO_CAPABILITIES if first is None else first.capabilities
    return Entry(
        id=name,
        owner=route.group,
        display_name=route.display_name,
        description=route.description,
        created=route.created,
        provider=route.group,
        provider_type="" if first is None or first.upstream is None else first.upstream.provider,
        provider_types=frozenset(account.provider for account in accounts),
        model=name,
        context_window=known.context_window,
        max_output_tokens=known.max_output_tokens,
    )


def _of_account(name: str, credential: str, model: str, upstream: Upstream | None) -> Entry:
    provider = "" if upstream is None else upstream.provider
    return Entry(
        id=name,
        owner=_OWNER,
        display_name="",
        description="",
        created=0,
        provider=credential,
        provider_type=provider,
        provider_types=frozenset({provider}),
        model=model,
    )


def _is_direct(snapshot: Snapshot, key: Key, name: str) -> bool:
    try:
        return resolve(snapshot, key, name).group == DIRECT
    except ModelNotFoundError:
        return False
