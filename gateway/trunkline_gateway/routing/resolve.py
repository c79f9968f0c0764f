"""From a name to a group and its targets, and whether this key may: one step, so that neither can be had alone.

The order is fixed: exact public name, the same ignoring case, the longest glob, ``credential:model``. The first that
fits is meant; a key that may not use it gets the same answer as for a name that nobody has.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from trunkline_gateway.errors import ModelNotFoundError
from trunkline_gateway.exchange import Operation
from trunkline_gateway.routing.snapshot import DEFAULT_POLICY, Key, Policy, Route, Snapshot, Target

if TYPE_CHECKING:
    from trunkline_gateway.routing.plan import Lineup

MAX_REMEMBERED: Final = 4096
"""Names whose meaning a table remembers; clients choose those that globs match."""

DIRECT: Final = ""
"""Stands where a group's and a target's name would be, for ``credential:model``; no resource is called so."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a request is for.

    Attributes:
        route: ``namespace/name`` of the ModelGroup, or `DIRECT`.
        group: The ModelGroup's own name, or `DIRECT`.
        targets: All that it has, in the table's order.
        capture: What stands for ``*`` in a target's model.
        policy: Of the group; a target may have its own.
        lineups: What `plan` has made of it, by operation and the client's dialect; belongs to it.
    """

    route: str
    group: str
    targets: tuple[Target, ...]
    capture: str
    policy: Policy = DEFAULT_POLICY
    lineups: MutableMapping[tuple[Operation, str], "Lineup"] = field(default_factory=dict, repr=False, compare=False)

    def model_of(self, target: Target) -> str:
        """The upstream's name of the model at ``target``."""
        return target.model.replace("*", self.capture) if "*" in target.model else target.model


def resolve(snapshot: Snapshot, key: Key, model: str) -> Resolved:
    """Find what ``model`` means for ``key``.

    Raises:
        ModelNotFoundError: There is no such model, or not for this key; the sentence is the same.
    """
    meant = snapshot.meanings.get(model)
    if meant is None:
        meant = _meaning(snapshot, model)
        if meant is not None:
            if len(snapshot.meanings) >= MAX_REMEMBERED:
                snapshot.meanings.clear()
            snapshot.meanings[model] = meant
    if meant is not None:
        # Whoever owns the name decides: if the key may not use it, nothing else is meant by it.
        route, resolved = meant
        if route.internal or not may_use(key, route, model):
            raise ModelNotFoundError(model)
        return resolved
    direct = _direct(snapshot, key, model)
    if direct is None:
        raise ModelNotFoundError(model)
    return direct


def may_use(key: Key, route: Route, public_name: str) -> bool:
    """Whether ``key`` may call ``public_name`` of ``route``; decides what is served and what is listed."""
    if not route.admits(key):
        return False
    if "*" in key.models:
        return True
    folded = public_name.lower()
    return any(match(pattern, folded) is not None for pattern in key.models)


def match(pattern: str, name: str) -> str | None:
    """What the first ``*`` of ``pattern`` stands for in ``name``: the name itself without one, None without a match.

    Linear in the name for each ``*``, whatever the pattern: pieces are found from the left, none is tried twice.
    """
    start, middle, end = _pieces(pattern)
    if end is None:
        return name if pattern == name else None
    if len(name) < len(start) + len(end) or not name.startswith(start) or not name.endswith(end):
        return None
    stop = len(name) - len(end)
    place, first_stop = len(start), stop
    for number, piece in enumerate(middle):
        found = name.find(piece, place, stop)
        if found < 0:
            return None
        if number == 0:
            first_stop = found
        place = found + len(piece)
    return name[len(start) : first_stop]


@lru_cache(maxsize=8192)
def _pieces(pattern: str) -> tuple[str, tuple[str, ...], str | None]:
    """Before the first ``*``, between them, after the last; None as the last where there is none."""
    pieces = pattern.split("*")
    if len(pieces) == 1:
        return pattern, (), None
    return pieces[0], tuple(pieces[1:-1]), pieces[-1]


def _meaning(snapshot: Snapshot, model: str) -> tuple[Route, Resolved] | None:
    """The group that owns the name, whoever asks."""
    folded = model.lower()
    capture = model
    route = snapshot.exact.get(model)
    if route is None:
        route = snapshot.folded.get(folded)
        if route is not None:
            capture = next((name for name in route.models if name.lower() == folded), model)
    if route is None:
        for pattern, owner in snapshot.globs:
            captured = match(pattern, folded)
            if captured is not None:
                route, capture = owner, _as_written(model, folded, pattern, captured)
                break
    if route is None:
        return None
    return route, Resolved(route.name, route.group, route.targets, capture, route.policy)


def _as_written(model: str, folded: str, pattern: str, captured: str) -> str:
    """The captured part in the client's own spelling."""
    if len(model) != len(folded):
        return captured  # a letter whose lower case is longer: the places do not agree
    start = pattern.index("*")
    return model[start : start + len(captured)]


def _direct(snapshot: Snapshot, key: Key, model: str) -> Resolved | None:
    """``credential:model``; see `Consent of direct models` in docs/design/001 for the three consents."""
    credential, colon, name = model.partition(":")
    if not colon or not name:
        return None
    credential = credential.lower()
    upstream = snapshot.direct.get(credential)
    if upstream is None or key.namespace not in upstream.direct_namespaces:
        return None
    folded = name.lower()
    if not any(match(pattern.lower(), folded) is not None for pattern in upstream.direct_models):
        return None
    prefix = f"{credential}:"
    if not any(
        pattern.startswith(prefix) and match(pattern[len(prefix) :], folded) is not None for pattern in key.models
    ):
        return None
    target = Target(name=DIRECT, upstream=upstream, model="*", weight=1, priority=0)
    return Resolved(DIRECT, DIRECT, (target,), name)
