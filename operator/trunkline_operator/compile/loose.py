"""What can be known of an invalid object: its spec, read as far as it makes sense, and never trusted.

An invalid ProviderCredential or ModelGroup is held: gateways keep an older version of it. So it keeps its names, its
Secrets still travel, and what it grants is judged by the part that grants, alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from trunkline_operator.watch.world import Ref, Resource
from trunkline_protocol import resources

_GRANTS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "ModelGroup": ("access", {"targets": [{"name": "a", "credentialRef": {"name": "a"}, "model": "a"}]}),
    "ProviderCredential": ("allowedNamespaces", {"provider": "echo"}),
}
"""Kind → the field that lets somebody in, and a spec that is valid with any valid value of it."""


def grant(ref: Ref, raw: Mapping[str, object]) -> Resource | None:
    """A valid object with the granting field of ``raw`` and nothing else of it; None: that field is invalid."""
    name, spec = _GRANTS[ref.kind]
    return _parsed(ref, {**spec, name: raw[name]} if name in raw else spec)


def without_grant(ref: Ref, raw: Mapping[str, object], errors: Sequence[resources.FieldError]) -> Resource | None:
    """The object of ``raw`` without its granting field; None: it is invalid beyond that."""
    if not all(error.path.startswith("spec") for error in errors):
        return None
    name, _ = _GRANTS[ref.kind]
    return _parsed(ref, {key: value for key, value in raw.items() if key != name})


def _parsed(ref: Ref, spec: Mapping[str, object]) -> Resource | None:
    metadata = {"name": ref.name, "namespace": ref.namespace}
    try:
        return resources.parse(
            {"apiVersion": resources.API_VERSION, "kind": ref.kind, "metadata": metadata, "spec": dict(spec)}
        )
    except resources.InvalidResourceError:
        return None


def secret_entries(raw: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Name and key of the Secret entries that a ProviderCredential names."""
    candidates = [key.get("secretRef") for key in _mappings(raw.get("keys"))]
    endpoint = raw.get("endpoint")
    if isinstance(endpoint, Mapping):
        candidates.append(endpoint.get("caSecretRef"))
    yield from (found for candidate in candidates if (found := entry_name(candidate)) is not None)


def entry_name(reference: object) -> tuple[str, str] | None:
    """Name and key that a ``secretRef`` gives, if it does."""
    if not isinstance(reference, Mapping):
        return None
    name, key = reference.get("name"), reference.get("key")
    return (name, key) if isinstance(name, str) and isinstance(key, str) else None


def credential_refs(ref: Ref, raw: Mapping[str, object]) -> Iterator[Ref]:
    """The ProviderCredentials that a ModelGroup names."""
    for target in _mappings(raw.get("targets")):
        credential = target.get("credentialRef")
        if isinstance(credential, Mapping):
            name, namespace = credential.get("name"), credential.get("namespace") or ref.namespace
            if isinstance(name, str) and isinstance(namespace, str):
                yield Ref("ProviderCredential", namespace, name)


def target_names(raw: Mapping[str, object]) -> Iterator[str]:
    """The names of a ModelGroup's targets."""
    yield from (name for target in _mappings(raw.get("targets")) if isinstance(name := target.get("name"), str))


def provider(raw: Mapping[str, object]) -> str:
    """The provider of a ProviderCredential, or nothing."""
    given = raw.get("provider")
    return given if isinstance(given, str) else ""


def policy_parts(raw: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The ModelGroups, and the targets of them, that a RoutePolicy names."""
    for reference in _mappings(raw.get("targetRefs")):
        name, section = reference.get("name"), reference.get("sectionName")
        if isinstance(name, str):
            yield name, section if isinstance(section, str) else ""


def policy_selector(raw: Mapping[str, object]) -> Mapping[str, str] | None:
    """The labels that a RoutePolicy asks for; None where they make no sense: it must not be for everything then."""
    selector = raw.get("targetSelector")
    labels = selector.get("matchLabels") if isinstance(selector, Mapping) else None
    if not isinstance(labels, Mapping) or not labels:
        return None
    found = {key: value for key, value in labels.items() if isinstance(key, str) and isinstance(value, str)}
    return found if len(found) == len(labels) else None


def models(ref: Ref, raw: Mapping[str, object]) -> tuple[str, ...]:
    """The public names that a ModelGroup asks for."""
    if raw.get("visibility") == "Internal":
        return ()
    given = raw.get("models")
    if not isinstance(given, Sequence) or isinstance(given, str):
        return (ref.name,)
    return tuple(dict.fromkeys(name for name in given if isinstance(name, str)))


def grants_direct_models(raw: Mapping[str, object]) -> bool:
    """Whether a ProviderCredential has ``directModels``."""
    return bool(raw.get("directModels"))


def _mappings(given: object) -> Iterator[Mapping[str, object]]:
    if isinstance(given, Sequence) and not isinstance(given, str):
        yield from (each for each in given if isinstance(each, Mapping))
