"""In which order the targets of a request are tried, and with which keys: a pure decision over health and chance.

Healthy targets first, by priority; within a priority by weighted choice without replacement, so that the first is
chosen in proportion to the weights and the rest stand by. Then, because nothing healthy is left, those that cool for
5xx or timeouts, the one that is back soonest first. Keys that cool or were refused are not tried at all.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from trunkline_gateway import dialect, registry
from trunkline_gateway.exchange import Operation, origin
from trunkline_gateway.routing import parameters, request_heads
from trunkline_gateway.routing.health import Health, TargetName
from trunkline_gateway.routing.resolve import Resolved
from trunkline_gateway.routing.snapshot import Target, Upstream, UpstreamKey
from trunkline_protocol import models

MAX_ATTEMPTS: Final = 16
"""(target, key) pairs of one request."""

MAX_RESERVED: Final = 8
"""How many attempts the keys of one account leave to the targets after it."""

Chance = Callable[[], float]
"""A number in [0, 1), as `random.random` gives."""

_T = TypeVar("_T")


class Candidate(NamedTuple):
    """A target that does the operation, with keys of its account.

    Attributes:
        name: Its name in `health`.
        model: The upstream's name of the model.
        keys: Of a plan: those that may be tried, in order, at least one. Of a lineup: all.
        dialect: That is spoken to it.
        side: The upstream side of that.
        kinds: What is asked of a key's heads for a whole answer, and for a stream.
        written_for: What the dialect's encoder is told of it.
        passes_bytes: What the target changes in requests can be changed in a body of its dialect.
    """

    target: Target
    upstream: Upstream
    name: TargetName
    model: str
    keys: tuple[UpstreamKey, ...]
    dialect: str
    side: dialect.Upstream
    kinds: tuple[request_heads.Kind, request_heads.Kind]
    written_for: dialect.Target
    passes_bytes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to try, and why it may be nothing.

    Attributes:
        spoken: Whether any target does the operation, usable or not.
        rejected: Whether keys were left out because they were refused.
        soonest: When the first of the keys that were left out for a 429 is back, on health's clock; None: there are
            none.
    """

    candidates: tuple[Candidate, ...]
    spoken: bool
    rejected: bool
    soonest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineup:
    """What of a plan is fixed by the table.

    Attributes:
        candidates: Those that take part: weight over 0. Their accounts may have no keys.
        spoken: See `Plan`.
        settled: The plan as long as its only target and key are well, where chance and expiry have no say in it.
    """

    candidates: tuple[Candidate, ...]
    spoken: bool
    settled: Plan | None


def plan(resolved: Resolved, operation: Operation, ingress: str, health: Health, chance: Chance) -> Plan:
    """Order the targets of ``resolved``. Targets of weight 0 take no part; keys past their expiry neither.

    Args:
        resolved: What the request is for.
        operation: What is wanted.
        ingress: The dialect that the client speaks: a target is spoken to in the same, if it can be.
        health: Of targets and keys.
        chance: Decides among equals.
    """
    lineup = line_up(resolved, operation, ingress)
    if lineup.settled is not None:
        only = lineup.settled.candidates[0]
        if health.is_well(only.name, only.upstream, only.keys[0]):
            return lineup.settled
    rejected = False
    soonest: float | None = None
    healthy: dict[int, list[Candidate]] = {}
    cooling: list[tuple[float, Candidate]] = []
    for candidate in lineup.candidates:
        usable, is_rejected, until = _keys(candidate.upstream, health)
        rejected = rejected or is_rejected
        soonest = _earlier(soonest, until)
        if not usable:
            continue
        ordered = _by_chance(usable, candidate.upstream, health, chance)
        if len(candidate.keys) > 1:
            candidate = candidate._replace(keys=tuple(ordered))  # noqa: PLW2901  # the same one, with other keys
        back = health.target_until(candidate.name)
        if back is None:
            healthy.setdefault(candidate.target.priority, []).append(candidate)
        else:
            cooling.append((back, candidate))
    candidates: list[Candidate] = []
    for priority in sorted(healthy):
        candidates += weighted_order(healthy[priority], lambda each: each.target.weight, chance)
    candidates += [candidate for _, candidate in sorted(cooling, key=lambda each: each[0])]
    return Plan(candidates=tuple(candidates), spoken=lineup.spoken, rejected=rejected, soonest=soonest)


def line_up(resolved: Resolved, operation: Operation, ingress: str) -> Lineup:
    """What of a plan is fixed by the table; see `plan`."""
    lineup = resolved.lineups.get((operation, ingress))
    if lineup is None:
        lineup = resolved.lineups[operation, ingress] = _line_up(resolved, operation, ingress)
    return lineup


def _line_up(resolved: Resolved, operation: Operation, ingress: str) -> Lineup:
    spoken = False
    candidates: list[Candidate] = []
    for target in resolved.targets:
        upstream = target.upstream
        if upstream is None or (chosen := _dialect_of(target, upstream, operation, ingress)) is None:
            continue
        spoken = True
        if target.weight:
            candidates.append(_candidate(resolved, target, upstream, chosen, operation))
    settled: Plan | None = None
    if len(candidates) == 1 and len(candidates[0].keys) == 1 and not candidates[0].keys[0].expires:
        settled = Plan(candidates=tuple(candidates), spoken=spoken, rejected=False, soonest=None)
    return Lineup(candidates=tuple(candidates), spoken=spoken, settled=settled)


def _dialect_of(target: Target, upstream: Upstream, operation: Operation, ingress: str) -> str | None:
    """What is spoken to a target: what it pins, else the client's own where it speaks it, else its first."""
    if target.dialect and (target.dialect, operation) in registry.UPSTREAM:
        return target.dialect
    known = [each for each in upstream.spoken if (each, operation) in registry.UPSTREAM]
    return ingress if ingress in known else next(iter(known), None)


def _candidate(resolved: Resolved, target: Target, upstream: Upstream, chosen: str, operation: Operation) -> Candidate:
    side = registry.UPSTREAM[chosen, operation]
    model = resolved.model_of(target)
    spoken = upstream.spoken.get(chosen) or upstream.pinnable.get(chosen)
    return Candidate(
        target,
        upstream,
        TargetName(resolved.route, target.name, upstream.name),
        model,
        upstream.keys,
        chosen,
        side,
        request_heads.kinds(chosen, side, {} if spoken is None else spoken.paths, operation, model),
        dialect.Target(
            model=model,
            provider=upstream.provider,
            quirks=upstream.quirks,
            capabilities=_known(target.capabilities, upstream.provider, model)
            if "*" in target.model
            else target.capabilities,
            account=origin.fingerprint(upstream.name),
        ),
        target.parameters is None or parameters.stand_in_body(target.parameters, chosen, side.parameters),
    )


@lru_cache(maxsize=1024)
def _known(said: dialect.Capabilities, provider: str, model: str) -> dialect.Capabilities:
    """What a target says of its models, and else what is publicly known of the one that a glob has turned out to be.

    Of a model that a target names, the operator has looked that up.
    """
    facts = models.known(provider, model)
    if facts is models.UNKNOWN:
        return said
    here = asdict(said)
    return replace(said, **{name: fact for name, fact in asdict(facts).items() if here[name] is None})


def keys_left(made: int, after: int) -> int:
    """How many keys a target may try when ``made`` attempts were made and ``after`` targets follow: at least one."""
    return max(MAX_ATTEMPTS - made - min(after, MAX_RESERVED), 1) if made < MAX_ATTEMPTS else 0


def weighted_order(items: Iterable[_T], weight: Callable[[_T], int], chance: Chance) -> list[_T]:
    """Draw all without replacement, each time in proportion to the weights (Efraimidis and Spirakis, 2006)."""
    items = list(items)
    if len(items) < 2:
        return items
    # An exponential clock per item, the rate being its weight: the order in which they ring.
    drawn = [(-math.log(1.0 - chance()) / max(weight(item), 1), place) for place, item in enumerate(items)]
    drawn.sort()
    return [items[place] for _, place in drawn]


def _keys(upstream: Upstream, health: Health) -> tuple[list[UpstreamKey], bool, float | None]:
    """The keys that may be tried now; whether others were refused; when the first cooling one is back."""
    usable: list[UpstreamKey] = []
    rejected = False
    soonest: float | None = None
    for key in upstream.keys:
        if key.expires and key.expires <= health.wall():
            continue
        state = health.key_state(upstream, key)
        if state == "active":
            usable.append(key)
        elif state == "rejected":
            rejected = True
        else:
            soonest = _earlier(soonest, health.key_until(upstream, key))
    return usable, rejected, soonest


def _by_chance(keys: list[UpstreamKey], upstream: Upstream, health: Health, chance: Chance) -> list[UpstreamKey]:
    """By weight; those that another request is just trying after a cooldown come last."""
    if len(keys) == 1:
        return keys
    ordered = weighted_order(keys, lambda key: key.weight, chance)
    ordered.sort(key=lambda key: health.key_on_trial(upstream, key))
    return ordered


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
