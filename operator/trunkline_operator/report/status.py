"""What ``status`` of a resource has to say: a pure function of the verdict, the fleet, the clock and what stands there.

The exact words are those of the API reference: three conditions with reason and observedGeneration, the printer
columns, the state of each key. Nothing here is ever a secret, and counts stand in a message only while something is
missing, so that a gateway that joins or leaves rewrites nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from trunkline_operator.compile.result import Finding, KeyFinding, Verdict
from trunkline_protocol.resources.status import MESSAGE_LENGTH, REASON_LENGTH

PENDING_SECONDS: Final = 2.0
"""A version that is on its way for less than this is not reported as missing."""

NO_GATEWAYS_SECONDS: Final = 4.0
"""What was programmed stays so for this long without a gateway: after a restart of the operator they all reconnect."""

_NAMED_GATEWAYS: Final = 3

_SERVED: Final = frozenset({"ServingPreviousVersion", "Pending", "Rejected"})
"""Reasons that let an operator which has just started conclude that gateways have some version."""

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How far the fleet is with the table resources that carry one object.

    Attributes:
        gateways: How many count: from their first complete ACK until they drain or disconnect.
        behind: Names of those that do not serve these versions yet.
        rejected: Names of those that refused one of these versions, and why.
        kept: Of an object that is held: whether there is an older, valid version; None: the operator never saw one,
            but gateways may have it.
    """

    gateways: int = 0
    behind: tuple[str, ...] = ()
    rejected: tuple[tuple[str, str], ...] = ()
    kept: bool | None = False


@dataclass(frozen=True, slots=True)
class Waits:
    """For how long, in seconds, these versions have been published, and there has been no gateway at all."""

    version: float
    gateways: float


@dataclass(frozen=True, slots=True)
class KeyHealth:
    """What gateways say of one key: ``Active``, ``CoolingDown`` or ``Rejected``; ``until`` in Unix seconds, or 0."""

    state: str
    reason: str = ""
    until: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The object whose status is asked for.

    Attributes:
        status: What stands in the cluster.
    """

    kind: str
    generation: int
    status: Mapping[str, Any]


def status(
    subject: Subject,
    verdict: Verdict,
    rollout: Rollout,
    *,
    now: datetime,
    waits: Waits,
    health: Mapping[str, KeyHealth] | None = None,
) -> dict[str, Any]:
    """Build the status.

    Args:
        subject: The object.
        verdict: What the compiler says of it.
        rollout: What the fleet says of it.
        now: The wall clock.
        waits: Since when nothing has changed.
        health: What gateways say of the keys of a ProviderCredential, by name.
    """
    accepted = _accepted(verdict, now)
    found = {"Accepted": _condition(accepted), "ResolvedRefs": _condition(verdict.resolved_refs)}
    previous = _previous(subject.status)
    programmed = _programmed(verdict, accepted, rollout, waits, previous.get("Programmed"), subject.generation)
    if programmed is not None:
        found["Programmed"] = programmed
    conditions = []
    for kind, (value, reason, message) in found.items():
        conditions.append(_rendered(kind, value, reason, message, subject.generation, previous.get(kind), now))
    if programmed is None and (kept := previous.get("Programmed")):
        conditions.append(dict(kept))
    built: dict[str, Any] = {"observedGeneration": subject.generation, "conditions": conditions}
    display = dict(verdict.display)
    match subject.kind:
        case "ProviderCredential":
            built["keys"] = [_key(key, (health or {}).get(key.name), now) for key in verdict.keys]
            if verdict.keys:
                display["keys"] = f"{sum(key['state'] == 'Active' for key in built['keys'])}/{len(verdict.keys)}"
        case "ModelGroup":
            built["models"] = list(verdict.models)
            if verdict.policy:
                built["effectivePolicy"] = verdict.policy
    if display:
        built["display"] = {name: value[:64] for name, value in sorted(display.items())}
    return built


def differs(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether a status has to be written; when a condition changed its status is not a difference of its own."""
    return _timeless(wanted) != _timeless(there)


def merge_patch(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch of ``status`` that leaves exactly ``wanted`` where ``there`` stands."""
    patch: dict[str, Any] = {name: None for name in there if name not in wanted}
    for name, value in wanted.items():
        old = there.get(name)
        patch[name] = merge_patch(value, old) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return patch


def next_instant(verdict: Verdict, now: datetime) -> float | None:
    """When, in Unix seconds, the clock alone will change the status; None: never."""
    instants = [verdict.expires, *(key.expires for key in verdict.keys)]
    return min((instant for instant in instants if instant > now.timestamp()), default=None)


# ---- conditions -----------------------------------------------------------------------------------------------------

_Words = tuple[ConditionStatus, str, str]


def _accepted(verdict: Verdict, now: datetime) -> Finding:
    if verdict.accepted.ok and verdict.expires and verdict.expires <= now.timestamp():
        when = _timestamp(datetime.fromtimestamp(verdict.expires, UTC))
        return Finding(False, "Expired", f"It expired at {when}; move expirationTime to use it again.")
    return verdict.accepted


def _condition(finding: Finding) -> _Words:
    return "True" if finding.ok else "False", finding.reason, finding.message


def _programmed(
    verdict: Verdict,
    accepted: Finding,
    rollout: Rollout,
    waits: Waits,
    previous: Mapping[str, Any] | None,
    generation: int,
) -> _Words | None:
    """None: too early to tell; what stands there stays."""
    if not accepted.ok or not verdict.programs:
        return _not_in_force(verdict, accepted, rollout, previous or {})
    if rollout.gateways == 0:
        was = (previous or {}).get("status")
        unchanged = (previous or {}).get("observedGeneration") == generation
        patience = NO_GATEWAYS_SECONDS if was == "True" and unchanged else PENDING_SECONDS
        if waits.gateways < patience or waits.version < PENDING_SECONDS:
            return None
        return "Unknown", "NoGateways", "No gateway is connected."
    if rollout.rejected:
        return "False", "Rejected", _rejected(rollout)
    if rollout.behind:
        if waits.version < PENDING_SECONDS:
            return None
        serving = rollout.gateways - len(rollout.behind)
        missing = _some(rollout.behind)
        return "False", "Pending", f"{serving} of {rollout.gateways} gateways serve this version; missing: {missing}."
    return "True", "Programmed", "Every gateway serves this version."


def _not_in_force(verdict: Verdict, accepted: Finding, rollout: Rollout, previous: Mapping[str, Any]) -> _Words:
    was_served = previous.get("status") == "True" or previous.get("reason") in _SERVED
    if verdict.held and (rollout.kept or (rollout.kept is None and was_served)):
        message = "Gateways keep the version that they have until this one is accepted."
        return "False", "ServingPreviousVersion", message
    why = accepted if not accepted.ok else verdict.resolved_refs
    return "False", "NotAccepted", f"Gateways do not serve it: {why.reason}."


def _rejected(rollout: Rollout) -> str:
    reasons: dict[str, list[str]] = {}
    for gateway, reason in sorted(rollout.rejected):
        reasons.setdefault(reason, []).append(gateway)
    said = "; ".join(f"{_some(gateways)}: {reason}" for reason, gateways in reasons.items())
    count = f"{len(rollout.rejected)} of {rollout.gateways} gateways"
    return f"Rejected by {count}, which keep the version that they have: {said}"


def _some(gateways: Iterable[str]) -> str:
    names = sorted(gateways)
    more = f" and {len(names) - _NAMED_GATEWAYS} more" if len(names) > _NAMED_GATEWAYS else ""
    return ", ".join(names[:_NAMED_GATEWAYS]) + more


def _rendered(
    kind: str,
    value: ConditionStatus,
    reason: str,
    message: str,
    generation: int,
    previous: Mapping[str, Any] | None,
    now: datetime,
) -> dict[str, Any]:
    flipped = previous is None or previous.get("status") != value
    since = _timestamp(now) if flipped or previous is None else previous.get("lastTransitionTime") or _timestamp(now)
    return {
        "type": kind,
        "status": value,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": reason,
        "message": _cut(message, MESSAGE_LENGTH),
    }


# ---- keys -----------------------------------------------------------------------------------------------------------


def _key(key: KeyFinding, health: KeyHealth | None, now: datetime) -> dict[str, Any]:
    """The compiler's finding, unless the clock or a gateway knows of something worse about an active key."""
    state, reason, until = key.state, key.reason, 0
    if state == "Active" and key.expires and key.expires <= now.timestamp():
        when = _timestamp(datetime.fromtimestamp(key.expires, UTC))
        state, reason = "Expired", f"It expired at {when}."
    elif state == "Active" and health is not None and health.state != "Active":
        state, reason, until = health.state, health.reason, health.until
    rendered: dict[str, Any] = {"name": key.name, "state": state, "reason": _cut(reason, REASON_LENGTH)}
    if until > 0:
        rendered["until"] = _timestamp(datetime.fromtimestamp(until, UTC))
    return rendered


# ---- small things ---------------------------------------------------------------------------------------------------


def _previous(there: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    conditions = there.get("conditions")
    return {each["type"]: each for each in conditions} if isinstance(conditions, Sequence) else {}


def _timeless(given: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(given)
    conditions = plain.get("conditions") or ()
    plain["conditions"] = [
        {name: value for name, value in each.items() if name != "lastTransitionTime"} for each in conditions
    ]
    return plain


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
