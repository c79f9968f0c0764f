"""ProviderCredential → Upstream, and the Secret entries that it needs.

An invalid one is held, and its Secrets still travel, so that its keys can be rotated. But ``allowedNamespaces`` is a
grant: where that is invalid, nobody is let in, and an older, perhaps wider version must not stay. If the rest is valid,
an Upstream that nobody may use goes out in its place; if it is not, the Upstream is taken away.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography import x509

from trunkline_operator.compile import admission, entries, findings, loose
from trunkline_operator.compile.result import Finding, KeyFinding, Verdict
from trunkline_operator.watch.world import Ref
from trunkline_protocol import resources
from trunkline_protocol.accounts import Dialect, Provider, Spoken, resolve
from trunkline_protocol.providers import PROVIDERS
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

Entry: TypeAlias = tuple[str, str]
"""Name of a Secret and key in it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a ModelGroup has to know of a credential.

    Attributes:
        placed: It lives where ProviderCredentials are taken from.
        consent: Whose ModelGroups may use it; None: ``allowedNamespaces`` is invalid, so nobody's.
        usable: It has what it needs to serve; of a held one, as far as that can be told.
        provider: As its spec says, valid or not.
        speaks: What a target may be pinned to; None: not known.
    """

    placed: bool
    consent: resources.Namespaces | None
    usable: bool
    provider: str = ""
    speaks: tuple[Dialect, ...] | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One ProviderCredential compiled.

    Attributes:
        body: None: there is no Upstream, it is held or denied.
        admitted: Namespaces that were chosen by their labels.
    """

    name: Name
    body: pb.Upstream | None = field(repr=False)
    terms: Terms
    verdict: Verdict
    admitted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Basis:
    """What can be known of a ProviderCredential by itself.

    Attributes:
        spec: What to compile; None: nothing can be.
        entries: The Secret entries that it names, an invalid one too.
        consent: As in `Terms`.
        claims: It wants its name for ``credential:model``.
        provider: As `Terms`.
    """

    spec: resources.ProviderCredentialSpec | None
    entries: tuple[Entry, ...]
    consent: resources.Namespaces | None
    claims: bool
    provider: str = ""

    @property
    def selects(self) -> bool:
        """Whether labels of namespaces decide what its Upstream is."""
        return self.spec is not None and admission.selects(self.consent)


def basis(
    ref: Ref,
    parsed: resources.ProviderCredential | None,
    raw: Mapping[str, object],
    errors: tuple[resources.FieldError, ...],
) -> Basis:
    """Read one ProviderCredential, as far as it can be read."""
    if parsed is not None:
        spec: resources.ProviderCredentialSpec | None = parsed.spec
        consent: resources.Namespaces | None = parsed.spec.allowed_namespaces or admission.SAME
    else:
        spec = None
        granted = loose.grant(ref, raw)
        if isinstance(granted, resources.ProviderCredential):
            consent = granted.spec.allowed_namespaces or admission.SAME
        else:
            consent = None
            rest = loose.without_grant(ref, raw, errors)
            spec = rest.spec if isinstance(rest, resources.ProviderCredential) else None
    if spec is None:
        return Basis(
            None,
            tuple(dict.fromkeys(loose.secret_entries(raw))),
            consent,
            loose.grants_direct_models(raw),
            loose.provider(raw),
        )
    named: list[Entry] = [(key.secret_ref.name, key.secret_ref.key) for key in spec.keys]
    if spec.endpoint is not None and (ca := spec.endpoint.ca_secret_ref) is not None:
        named.append((ca.name, ca.key))
    return Basis(spec, tuple(dict.fromkeys(named)), consent, bool(spec.direct_models), spec.provider)


def account(
    ref: Ref,
    read: Basis,
    errors: tuple[resources.FieldError, ...],
    placed: bool,
    secrets: tuple[tuple[str, entries.View], ...],
    prefix_owner: Ref | None,
    spaces: admission.Spaces,
) -> Account:
    """Compile one ProviderCredential.

    Args:
        ref: Which.
        read: Its `basis`.
        errors: Empty: it is valid.
        placed: Whether ProviderCredentials are taken from its namespace.
        secrets: What is known of each Secret that it names.
        prefix_owner: Who has its name for ``credential:model``, if it wants it.
        spaces: Looked at only where `Basis.selects`.
    """
    name = Name(pb.TYPE_UPSTREAM, f"{ref.namespace}/{ref.name}")
    views = dict(secrets)
    found = {key: _entry(ref, views, key, read.spec) for key in read.entries}
    states = _key_findings(read.spec, found)
    row = PROVIDERS.get(read.spec.provider) if read.spec is not None else None
    body = None
    admitted: tuple[str, ...] = ()
    ca_fault = _ca_fault(ref, read.spec, found)
    if placed and read.spec is not None and row is not None and ca_fault is None and not _lacks_ca(read.spec, found):
        body = _upstream(ref, read.spec, row, found)
        # Said here too and not only by leaving targets out of Routes: a Route that is held keeps its targets.
        body.route_namespaces.SetInParent()
        if read.consent is not None:
            body.route_namespaces.CopyFrom(admission.resolve(read.consent, ref.namespace, spaces))
            if read.spec.direct_models and prefix_owner == ref:
                body.direct_models.extend(read.spec.direct_models)
                body.direct_namespaces.CopyFrom(body.route_namespaces)
            if admission.selects(read.consent):
                admitted = tuple(body.route_namespaces.names)
    accepted = _accepted(ref, read, errors, placed, row, prefix_owner)
    if accepted.ok and ca_fault is not None:
        accepted = ca_fault
    held = placed and body is None and not accepted.ok and read.consent is not None
    if held:
        usable = _may_serve_held(read, states, found)
    else:
        usable = (
            accepted.ok and body is not None and (not body.auth_header or any(not key.disabled for key in body.keys))
        )
    active = sum(state.state == "Active" for state in states)
    verdict = Verdict(
        accepted=accepted,
        resolved_refs=findings.resolved_refs(each for each in found.values() if isinstance(each, Finding)),
        programs=(name, *(_secret_name(ref, secret) for secret in views)) if placed else (name,),
        held=held,
        display={"keys": f"{active}/{len(states)}" if states else "-"},
        keys=states,
    )
    terms = Terms(placed, read.consent, usable, read.provider, _speaks(read))
    return Account(name, body, terms, verdict, admitted)


def _speaks(read: Basis) -> tuple[Dialect, ...] | None:
    """What targets may be pinned to; of one that is held, all that its provider may speak."""
    row = PROVIDERS.get(read.provider)
    if row is None:
        return None
    if read.spec is None:
        return (*row.speaks, *row.pinnable)
    there = resolve(row, read.spec.base_url, read.spec.api_version)
    return tuple(each.dialect for each in (*there.spoken, *there.pinnable))


def _may_serve_held(read: Basis, states: tuple[KeyFinding, ...], found: Mapping[Entry, bytes | Finding]) -> bool:
    """Whether gateways can serve from the version that they have: they can if it names a key that is still there."""
    if read.spec is not None:
        return not states or any(state.state == "Active" for state in states)
    return not found or any(isinstance(value, bytes) for value in found.values())


def secret(name: Name, seen: entries.View, keys: Iterable[str]) -> pb.Secret | None:
    """The entries of a Secret that credentials refer to; None: it has none of them."""
    namespace, _, secret_name = name.name.partition("/")
    holder = Ref("Secret", namespace, secret_name)
    values = {key: entries.entry(holder, seen, key) for key in sorted(set(keys))}
    body = pb.Secret(
        entries=[pb.Secret.Entry(key=key, value=value) for key, value in values.items() if isinstance(value, bytes)]
    )
    return body if body.entries else None


def _secret_name(ref: Ref, secret_name: str) -> Name:
    return Name(pb.TYPE_SECRET, f"{ref.namespace}/{secret_name}")


def _entry(
    ref: Ref, views: Mapping[str, entries.View], named: Entry, spec: resources.ProviderCredentialSpec | None
) -> bytes | Finding:
    holder, seen = Ref("Secret", ref.namespace, named[0]), views[named[0]]
    if spec is None or named == _ca(spec):
        return entries.entry(holder, seen, named[1])
    return entries.header_entry(holder, seen, named[1])


def _ca(spec: resources.ProviderCredentialSpec | None) -> Entry | None:
    if spec is None or spec.endpoint is None or spec.endpoint.ca_secret_ref is None:
        return None
    return spec.endpoint.ca_secret_ref.name, spec.endpoint.ca_secret_ref.key


def _lacks_ca(spec: resources.ProviderCredentialSpec, found: Mapping[Entry, bytes | Finding]) -> bool:
    """Without the authorities that were asked for, an account is not reached at all, rather than with others."""
    ca = _ca(spec)
    return ca is not None and isinstance(found[ca], Finding)


def _ca_fault(
    ref: Ref, spec: resources.ProviderCredentialSpec | None, found: Mapping[Entry, bytes | Finding]
) -> Finding | None:
    """A bundle that no gateway could use is found here, so that the account is held with what worked before."""
    ca = _ca(spec)
    if ca is None or not isinstance(bundle := found[ca], bytes):
        return None
    try:
        if x509.load_pem_x509_certificates(bundle):
            return None
    except ValueError:
        pass
    holder = findings.shown(Ref("Secret", ref.namespace, ca[0]))
    return Finding(
        False, "Invalid", f'spec.endpoint.caSecretRef: "{ca[1]}" of {holder} is no bundle of PEM certificates'
    )


def _key_findings(
    spec: resources.ProviderCredentialSpec | None, found: Mapping[Entry, bytes | Finding]
) -> tuple[KeyFinding, ...]:
    states = []
    for key in spec.keys if spec is not None else ():
        value = found[key.secret_ref.name, key.secret_ref.key]
        state, reason = "Active", ""
        if isinstance(value, Finding):
            state, reason = "Missing", value.message
        if key.state == "Disabled":
            state, reason = "Disabled", ""
        states.append(KeyFinding(name=key.name, state=state, reason=reason, expires=_expires(key)))
    return tuple(states)


def _expires(key: resources.ProviderKey) -> int:
    return resources.unix_seconds(key.expiration_time) if key.expiration_time is not None else 0


def _upstream(
    ref: Ref, spec: resources.ProviderCredentialSpec, row: Provider, found: Mapping[Entry, bytes | Finding]
) -> pb.Upstream:
    endpoint = spec.endpoint
    authenticates = row.auth != "none" and not spec.sends_no_key
    there = resolve(row, spec.base_url, spec.api_version)
    body = pb.Upstream(
        credential=ref.name,
        provider=spec.provider,
        base_url=there.base_url,
        proxy_url=((endpoint.proxy_url if endpoint else None) or "").rstrip("/"),
        headers=[
            pb.Header(name=each.name.lower(), value=each.value) for each in (endpoint.headers if endpoint else ())
        ],
        auth_header=row.auth_header if authenticates else "",
        auth_scheme=row.auth_scheme if authenticates else "",
        dialects=[each.dialect for each in there.spoken],
        spoken=[_spoken(each, authenticates) for each in there.spoken],
        pinnable=[_spoken(each, authenticates) for each in there.pinnable],
        quirks=row.quirks,
        beta_headers=row.beta_headers,
        in_process=row.in_process,
    )
    if (ca := _ca(spec)) is not None:
        body.ca.CopyFrom(_secret_entry(ref, ca))
    for key in spec.keys if authenticates else ():
        named = key.secret_ref.name, key.secret_ref.key
        if not isinstance(found[named], Finding):
            body.keys.add(
                name=key.name,
                secret=_secret_entry(ref, named),
                weight=key.weight,
                expires=_expires(key),
                disabled=key.state == "Disabled",
            )
    return body


def _spoken(spoken: Spoken, authenticates: bool) -> pb.Spoken:
    return pb.Spoken(
        dialect=spoken.dialect,
        base_url=spoken.base_url,
        paths=dict(spoken.paths),
        auth_header=spoken.auth_header if authenticates else "",
        auth_scheme=spoken.auth_scheme if authenticates else "",
        headers=[pb.Header(name=name, value=value) for name, value in spoken.headers],
    )


def _secret_entry(ref: Ref, named: Entry) -> pb.SecretEntry:
    return pb.SecretEntry(secret=f"{ref.namespace}/{named[0]}", key=named[1])


def _accepted(
    ref: Ref,
    read: Basis,
    errors: tuple[resources.FieldError, ...],
    placed: bool,
    row: Provider | None,
    prefix_owner: Ref | None,
) -> Finding:
    if not placed:
        return findings.namespace_not_allowed(ref)
    if errors:
        return findings.invalid(errors)
    if row is None and read.spec is not None:
        known = findings.some(sorted(PROVIDERS), most=len(PROVIDERS))
        return Finding(
            False, "UnknownProvider", f'provider "{read.spec.provider}" is not known to this version; it has: {known}'
        )
    if read.claims and prefix_owner is not None and prefix_owner != ref:
        return Finding(
            True,
            "Accepted",
            f'It is in force, but without directModels: "{ref.name}:" belongs to {findings.shown(prefix_owner)}, which '
            "is older.",
        )
    return findings.ACCEPTED
