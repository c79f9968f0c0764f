"""ModelGroup → Route.

- A target whose credential is missing or does not consent is left out; the others stay. A group without any target
  still has its Route: its names answer 503, as something that is broken, and do not fall to a glob of somebody else.
- A credential that is held, or has lost its keys, stays a target: gateways know best what they have of it.
- An invalid group is held. But ``access`` is a grant: where that is invalid, nobody is let in, and an older, perhaps
  wider version must not stay. If the rest is valid, a Route that admits nobody goes out in its place (its names stay
  taken); if it is not, the Route is taken away.
- Internal groups have no public names, and take none from anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from trunkline_operator.compile import admission, findings, loose, policies, tuning
from trunkline_operator.compile.credentials import Terms
from trunkline_operator.compile.result import Finding, Verdict
from trunkline_operator.watch.world import Ref
from trunkline_protocol import resources
from trunkline_protocol.providers import PROVIDERS
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

POLICY: Final = "default"
"""What the column POLICY says where no RoutePolicy is in force."""

Loss: TypeAlias = tuple[str, Ref]
"""A public name, and the older group that has it."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What can be known of a ModelGroup by itself.

    Attributes:
        spec: What to compile; None: nothing can be.
        access: Who is let in; None: that field is invalid, so nobody.
        models: The public names that it asks for.
        credentials: One for each target that names one.
        targets: Their names.
        problems: What is wrong with it beyond its schema; it is invalid then, as with errors of the schema.
    """

    spec: resources.ModelGroupSpec | None
    access: tuple[resources.Access, ...] | None
    models: tuple[str, ...]
    credentials: tuple[Ref, ...]
    targets: tuple[str, ...] = ()
    problems: tuple[resources.FieldError, ...] = ()

    @property
    def selects(self) -> bool:
        """Whether labels of namespaces decide what its Route is."""
        return self.spec is not None and any(admission.selects(entry.namespaces) for entry in self.access or ())


@dataclass(frozen=True, slots=True)
class Routed:
    """One ModelGroup compiled.

    Attributes:
        body: None: there is no Route, it is held or denied.
        admitted: Namespaces that were chosen by their labels.
    """

    name: Name
    body: pb.Route | None = field(repr=False)
    verdict: Verdict
    admitted: tuple[str, ...] = ()


_DEFAULT_ACCESS: Final = (resources.Access(),)


def basis(
    ref: Ref,
    parsed: resources.ModelGroup | None,
    raw: Mapping[str, object],
    errors: tuple[resources.FieldError, ...],
) -> Basis:
    """Read one ModelGroup, as far as it can be read."""
    spec = parsed.spec if parsed is not None else None
    access: tuple[resources.Access, ...] | None = None
    if spec is not None:
        access = spec.access or _DEFAULT_ACCESS
    elif isinstance(granted := loose.grant(ref, raw), resources.ModelGroup):
        access = granted.spec.access or _DEFAULT_ACCESS
    elif isinstance(rest := loose.without_grant(ref, raw, errors), resources.ModelGroup):
        spec = rest.spec
    problems = tuning.problems(spec.targets) if spec is not None else ()
    if spec is None or problems:
        return Basis(
            None,
            access,
            loose.models(ref, raw),
            tuple(loose.credential_refs(ref, raw)),
            tuple(loose.target_names(raw)),
            problems,
        )
    models = () if spec.visibility == "Internal" else tuple(dict.fromkeys(spec.models or (ref.name,)))
    credentials = tuple(
        Ref("ProviderCredential", target.credential_ref.namespace or ref.namespace, target.credential_ref.name)
        for target in spec.targets
    )
    return Basis(spec, access, models, credentials, tuple(target.name for target in spec.targets))


def routed(
    ref: Ref,
    read: Basis,
    errors: tuple[resources.FieldError, ...],
    placed: bool,
    created: float,
    lost: tuple[Loss, ...],
    exact_only: tuple[str, ...],
    terms: tuple[Terms | None, ...],
    own_labels: admission.Labels | None,
    spaces: admission.Spaces,
    applied: policies.Applied = policies.NOT_APPLIED,
) -> Routed:
    """Compile one ModelGroup.

    Args:
        ref: Which.
        read: Its `basis`.
        errors: Empty: it is valid.
        placed: Whether ModelGroups are taken from its namespace.
        created: Unix seconds.
        lost: Names that it asks for and that older groups have.
        exact_only: Names that it owns and that older groups have in another case.
        terms: Of each of `Basis.credentials`; None: there is no such ProviderCredential.
        own_labels: Of its namespace, for credentials that choose by label; None: it was never seen.
        spaces: Looked at only where `Basis.selects`.
        applied: The policies in force for it.
    """
    name = Name(pb.TYPE_ROUTE, f"{ref.namespace}/{ref.name}")
    gone = {model for model, _ in lost}
    owned = tuple(model for model in read.models if model not in gone) if placed else ()
    failures = [
        _failure(ref, credential, each, own_labels) for credential, each in zip(read.credentials, terms, strict=True)
    ]
    wrong = (*errors, *read.problems, *_wrong_dialects(read, terms))
    accepted = _accepted(ref, read, wrong, placed, owned, lost)
    # What is wrong with `access` alone leaves the rest valid.
    spec = read.spec if wrong == errors else None
    body = None
    admitted: tuple[str, ...] = ()
    targets = "-"
    if spec is not None:
        usable = sum(
            failure is None and each is not None and each.usable for failure, each in zip(failures, terms, strict=True)
        )
        targets = f"{usable}/{len(spec.targets)}"
        if placed and (owned or not read.models):
            body, admitted = _route(ref, read, spec, created, owned, failures, spaces)
            body.exact_only.extend(exact_only)
            _tune(body, spec, terms, applied)
    # What an invalid spec asks for is not what gateways serve under its name: nothing is said of that.
    said = owned if spec is not None else ()
    verdict = Verdict(
        accepted=accepted,
        resolved_refs=findings.resolved_refs(failure for failure in failures if failure is not None),
        programs=(name,),
        held=placed and spec is None and read.access is not None,
        display={
            "models": str(len(said)) if spec is not None else "-",
            "targets": targets,
            "policy": applied.group.name if applied.group is not None else POLICY,
        },
        models=said,
        policy=applied.group.name if applied.group is not None else "",
    )
    return Routed(name, body, verdict, admitted)


def _route(
    ref: Ref,
    read: Basis,
    spec: resources.ModelGroupSpec,
    created: float,
    owned: tuple[str, ...],
    failures: list[Finding | None],
    spaces: admission.Spaces,
) -> tuple[pb.Route, tuple[str, ...]]:
    """The Route, and the namespaces that its ``access`` chose by their labels."""
    body = pb.Route(
        group=ref.name,
        models=owned,
        internal=spec.visibility == "Internal",
        display_name=spec.display_name or "",
        description=spec.description or "",
        created=int(created),
        namespace=ref.namespace,
    )
    admitted: set[str] = set()
    for entry in read.access or ():
        namespaces = admission.resolve(entry.namespaces, ref.namespace, spaces)
        body.access.add(groups=entry.groups, namespaces=namespaces)
        if admission.selects(entry.namespaces):
            admitted.update(namespaces.names)
    for target, credential, failure in zip(spec.targets, read.credentials, failures, strict=True):
        if failure is None:
            body.targets.add(
                name=target.name,
                upstream=f"{credential.namespace}/{credential.name}",
                model=target.model,
                weight=target.weight,
                priority=target.priority,
            )
    return body, tuple(sorted(admitted))


def _tune(
    body: pb.Route, spec: resources.ModelGroupSpec, terms: tuple[Terms | None, ...], applied: policies.Applied
) -> None:
    """Say what is spoken to the targets, what is changed, what they can do, and which policies hold."""
    if applied.group is not None:
        body.policy = f"{applied.group.namespace}/{applied.group.name}"
    instead = {target: f"{policy.namespace}/{policy.name}" for target, policy in applied.targets}
    said = {target.name: (target, each) for target, each in zip(spec.targets, terms, strict=True)}
    for there in body.targets:
        target, each = said[there.name]
        there.dialect = resources.DIALECTS[target.dialect] if target.dialect is not None else ""
        there.policy = instead.get(there.name, "")
        if (parameters := tuning.wire_parameters(target.parameters)) is not None:
            there.parameters.CopyFrom(parameters)
        provider = each.provider if each is not None else ""
        row = PROVIDERS.get(provider)
        catalogue = row.models or provider if row is not None else provider
        if (capabilities := tuning.wire_capabilities(target.capabilities, catalogue, target.model)) is not None:
            there.capabilities.CopyFrom(capabilities)


def _wrong_dialects(read: Basis, terms: tuple[Terms | None, ...]) -> tuple[resources.FieldError, ...]:
    if read.spec is None:
        return ()
    found = (
        tuning.dialect_problem(place, target, each.provider, each.speaks) if each is not None else None
        for place, (target, each) in enumerate(zip(read.spec.targets, terms, strict=True))
    )
    return tuple(problem for problem in found if problem is not None)


def _failure(ref: Ref, credential: Ref, terms: Terms | None, own_labels: admission.Labels | None) -> Finding | None:
    """Why this group cannot use this credential; None: it can."""
    shown = findings.shown(credential)
    if terms is None:
        return Finding(
            False, "CredentialNotFound", f"{shown} not found; create it, or correct credentialRef of the target"
        )
    if not terms.placed:
        return Finding(
            False, "RefNotPermitted", f"{shown} is not in force: ProviderCredentials are not taken from its namespace"
        )
    if terms.consent is None:
        return Finding(
            False, "RefNotPermitted", f"{shown} lets nobody in while its allowedNamespaces is invalid; correct that"
        )
    if not admission.admits(terms.consent, ref.namespace, own_labels, own=credential.namespace):
        return Finding(
            False,
            "RefNotPermitted",
            f"{shown} does not admit ModelGroups of namespace {ref.namespace}; its owner has to name that namespace in "
            "allowedNamespaces",
        )
    return None


def _accepted(
    ref: Ref,
    read: Basis,
    errors: tuple[resources.FieldError, ...],
    placed: bool,
    owned: tuple[str, ...],
    lost: tuple[Loss, ...],
) -> Finding:
    if not placed:
        return findings.namespace_not_allowed(ref)
    if errors:
        return findings.invalid(errors)
    if not lost:
        return findings.ACCEPTED
    said = findings.some([f'"{model}" belongs to {findings.shown(owner)}' for model, owner in lost], separator="; ")
    if read.models and not owned:
        return Finding(
            False, "Conflicted", f"Older groups have every name that it asks for: {said}; give it models of its own"
        )
    return Finding(True, "Accepted", f"It is in force, but without some of its names, which older groups have: {said}.")
