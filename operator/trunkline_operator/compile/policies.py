"""RoutePolicy → Policy, and which policy is in force for what.

A policy is for ModelGroups of its own namespace. A named one (``targetRefs``) goes before one that selects by labels,
and that before a default; of two that would have the same in the same way, the older has it, and the other one says so.
Which policy a Route has is part of the Route, what a policy says is not: an edit of a policy touches no Route.

An invalid policy is held, and keeps what it is for: the gateways have an older version of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from trunkline_operator.compile import findings, loose, ownership
from trunkline_operator.compile.result import Finding, Verdict
from trunkline_operator.watch.world import Observed, Ref
from trunkline_protocol import resources
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

Part: TypeAlias = tuple[str, str]
"""A ModelGroup of the policy's namespace and a target of it; empty: the group itself."""

_LOSSY: Final[Mapping[str | None, pb.Lossy.ValueType]] = {
    None: pb.LOSSY_UNSPECIFIED,
    "Allow": pb.LOSSY_ALLOW,
    "Warn": pb.LOSSY_WARN,
    "Reject": pb.LOSSY_REJECT,
}
_UNSUPPORTED: Final[Mapping[str | None, pb.UnsupportedParameters.ValueType]] = {
    None: pb.UNSUPPORTED_PARAMETERS_UNSPECIFIED,
    "Drop": pb.UNSUPPORTED_PARAMETERS_DROP,
    "Reject": pb.UNSUPPORTED_PARAMETERS_REJECT,
}


@dataclass(frozen=True, slots=True)
class Basis:
    """What can be known of a RoutePolicy by itself.

    Attributes:
        spec: What to compile; None: it is invalid.
        named: What it names.
        selector: Labels that a group has to have; None: it does not select.
        default: It is for all others.
    """

    spec: resources.RoutePolicySpec | None
    named: tuple[Part, ...] = ()
    selector: Mapping[str, str] | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """What a policy has to know of a ModelGroup."""

    ref: Ref
    labels: Mapping[str, str]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """The policies of one ModelGroup.

    Attributes:
        group: Its own; None: the defaults.
        targets: Target → the policy that it has instead.
    """

    group: Ref | None = None
    targets: tuple[tuple[str, Ref], ...] = ()

    @property
    def all(self) -> tuple[Ref, ...]:
        """All that are in force somewhere in it."""
        own = () if self.group is None else (self.group,)
        return tuple(dict.fromkeys((*own, *(policy for _, policy in self.targets))))


NOT_APPLIED: Final = Applied()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of all that a policy is for.

    Attributes:
        groups: For how many ModelGroups it is in force, in whole or in part.
        won: There is something that no older policy has in the same way.
        matched: Something is there that it is for.
        lost: What an older one has: in words, and which.
        missing: What it names and is not there: in words.
    """

    groups: int = 0
    won: bool = False
    matched: bool = False
    lost: tuple[tuple[str, Ref], ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policed:
    """One RoutePolicy compiled. ``body`` None: there is no Policy, it is held or denied."""

    name: Name
    body: pb.Policy | None = field(repr=False)
    verdict: Verdict
    admitted: tuple[str, ...] = ()


def basis(ref: Ref, parsed: resources.RoutePolicy | None, raw: Mapping[str, object]) -> Basis:
    """Read one RoutePolicy, as far as it can be read."""
    if parsed is None:
        return Basis(None, tuple(loose.policy_parts(raw)), loose.policy_selector(raw), raw.get("default") is True)
    spec = parsed.spec
    return Basis(
        spec,
        tuple(dict.fromkeys((each.name, each.section_name or "") for each in spec.target_refs)),
        spec.target_selector.match_labels if spec.target_selector is not None else None,
        bool(spec.default),
    )


def apply(
    policies: Iterable[tuple[Observed, Basis]], groups: Iterable[Group]
) -> tuple[dict[Ref, Applied], dict[Ref, Outcome]]:
    """Find what is in force for each of ``groups``, and what came of each of ``policies``. All of one namespace."""
    named: dict[Part, Ref] = {}
    selecting: list[tuple[Ref, Mapping[str, str]]] = []
    defaults: list[Ref] = []
    lost: dict[Ref, list[tuple[str, Ref]]] = {}
    read: dict[Ref, Basis] = {}
    for observed, each in sorted(policies, key=lambda one: ownership.age(one[0])):
        ref = observed.ref
        read[ref], lost[ref] = each, []
        for part in each.named:
            if (owner := named.setdefault(part, ref)) != ref:
                lost[ref].append((f"is for {_shown(part)}", owner))
        if each.selector is not None:
            selecting.append((ref, each.selector))
        if each.default:
            defaults.append(ref)
    for ref in defaults[1:]:
        lost[ref].append(("is the default", defaults[0]))
    applied: dict[Ref, Applied] = {}
    matched: set[Ref] = set(defaults)
    won: set[Ref] = set(defaults[:1])
    there: dict[str, Group] = {}
    for group in groups:
        there[group.ref.name] = group
        chosen = [ref for ref, labels in selecting if labels.items() <= group.labels.items()]
        matched.update(chosen)
        won.update(chosen[:1])
        for ref in chosen[1:]:
            lost[ref].append((f"is for {group.ref.name}", chosen[0]))
        own = named.get((group.ref.name, "")) or next(iter(chosen), None) or next(iter(defaults), None)
        of_targets = tuple(
            (target, policy) for target in group.targets if (policy := named.get((group.ref.name, target))) is not None
        )
        if own is not None or of_targets:
            applied[group.ref] = Applied(own, of_targets)
    counts: dict[Ref, int] = {}
    for each_applied in applied.values():
        for ref in each_applied.all:
            counts[ref] = counts.get(ref, 0) + 1
    won.update(named.values())
    outcomes = {
        ref: Outcome(
            groups=counts.get(ref, 0),
            won=ref in won,
            matched=ref in matched or bool(each.named),
            lost=tuple(lost[ref]),
            missing=tuple(_missing(ref, each, there)),
        )
        for ref, each in read.items()
    }
    return applied, outcomes


def policed(ref: Ref, read: Basis, errors: tuple[resources.FieldError, ...], placed: bool, outcome: Outcome) -> Policed:
    """Compile one RoutePolicy.

    Args:
        ref: Which.
        read: Its `basis`.
        errors: Empty: it is valid.
        placed: Whether RoutePolicies are taken from its namespace.
        outcome: What came of what it is for; nothing, where it is not placed.
    """
    name = Name(pb.TYPE_POLICY, f"{ref.namespace}/{ref.name}")
    accepted = _accepted(ref, read, errors, placed, outcome)
    body = None
    if read.spec is not None and accepted.ok:
        body = pb.Policy(
            lossy=_LOSSY[read.spec.lossy], unsupported_parameters=_UNSUPPORTED[read.spec.unsupported_parameters]
        )
    missing = (Finding(False, "ModelGroupNotFound", said) for said in outcome.missing)
    verdict = Verdict(
        accepted=accepted,
        resolved_refs=findings.resolved_refs(missing),
        programs=(name,),
        held=placed and read.spec is None,
        display={"applies": _applies(read), "groups": str(outcome.groups)},
    )
    return Policed(name, body, verdict)


def _accepted(
    ref: Ref, read: Basis, errors: tuple[resources.FieldError, ...], placed: bool, outcome: Outcome
) -> Finding:
    if not placed:
        return findings.namespace_not_allowed(ref)
    if read.spec is None:
        return findings.invalid(errors)
    if outcome.lost:
        said = findings.some([f"{findings.shown(owner)} {what}" for what, owner in outcome.lost], separator="; ")
        if not outcome.won:
            return Finding(
                False,
                "Conflicted",
                f"An older policy is in its place: {said}; delete one of them, or change what it is for",
            )
        return Finding(True, "Accepted", f"It is in force, but not for all that it is for: {said}, and older.")
    if not outcome.matched:
        return Finding(True, "Accepted", "It is valid, but no ModelGroup of its namespace has these labels.")
    return findings.ACCEPTED


def _missing(ref: Ref, read: Basis, groups: Mapping[str, Group]) -> Iterable[str]:
    for name, target in read.named:
        shown = findings.shown(Ref("ModelGroup", ref.namespace, name))
        if name not in groups:
            yield f"{shown} not found; create it, or correct targetRefs"
        elif target and target not in groups[name].targets:
            yield f'{shown} has no target "{target}"; correct sectionName'


def _shown(part: Part) -> str:
    group, target = part
    return f'target "{target}" of {group}' if target else group


def _applies(read: Basis) -> str:
    if read.named:
        return _shown(read.named[0]) if len(read.named) == 1 else f"{len(read.named)} references"
    if read.selector is not None:
        said = ",".join(f"{key}={value}" for key, value in sorted(read.selector.items()))
        return said if len(said) <= _MOST else said[: _MOST - 1] + "…"
    return "default" if read.default else "-"


_MOST: Final = 64
