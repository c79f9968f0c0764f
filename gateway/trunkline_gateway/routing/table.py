"""From the wire to a `Snapshot`: decode each resource once, then put together what requests are served from. Pure.

Decoding judges a resource by itself; what only shows when resources meet (a target without its upstream, a key without
its secret) is a gap in the snapshot, not an error. Nothing here puts a secret into a message.
"""

import ipaddress
import re
import ssl
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from google.protobuf.message import DecodeError

from trunkline_gateway.dialect import NO_CAPABILITIES, Capabilities
from trunkline_gateway.http import Block
from trunkline_gateway.routing import request_heads, snapshot
from trunkline_gateway.upstream.client import Endpoint, RequestHead
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_BLANK: Final = re.compile(r"[\x00-\x20\x7f]")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_MIN_SECRET: Final = 4
_LOSSY: Final[Mapping[int, Literal["Allow", "Warn", "Reject"]]] = {
    pb.LOSSY_UNSPECIFIED: "Warn",
    pb.LOSSY_ALLOW: "Allow",
    pb.LOSSY_WARN: "Warn",
    pb.LOSSY_REJECT: "Reject",
}
_UNSUPPORTED: Final[Mapping[int, Literal["Drop", "Reject"] | None]] = {
    pb.UNSUPPORTED_PARAMETERS_UNSPECIFIED: None,
    pb.UNSUPPORTED_PARAMETERS_DROP: "Drop",
    pb.UNSUPPORTED_PARAMETERS_REJECT: "Reject",
}
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class UnusableError(ValueError):
    """A resource that cannot be used; a sentence that says why and holds no secret."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A decoded Key."""

    sha256: bytes
    key: snapshot.Key


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """A decoded Secret: entry → value, without trailing newlines."""

    entries: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class UpstreamRecord:
    """A decoded Upstream; its keys have no values yet."""

    upstream: snapshot.Upstream
    message: pb.Upstream = field(repr=False)


@dataclass(frozen=True, slots=True)
class RouteRecord:
    """A decoded Route; its targets have no upstreams yet.

    Attributes:
        policies: Names of its own policy and of those of its targets; empty: none.
    """

    route: snapshot.Route
    upstreams: tuple[str, ...]
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """A decoded Policy."""

    policy: snapshot.Policy


Record: TypeAlias = KeyRecord | SecretRecord | UpstreamRecord | RouteRecord | PolicyRecord


def decode(resource: pb.Resource) -> Record:
    """Read one resource.

    Raises:
        UnusableError: It cannot be used.
    """
    body_type = table.BODY_TYPES.get(resource.type)
    if body_type is None:
        raise UnusableError("its type is not known to this gateway")
    try:
        body = body_type.FromString(resource.body)
    except DecodeError:
        raise UnusableError("its body cannot be decoded") from None
    match body:
        case pb.Key():
            return _key(resource.name, body)
        case pb.Secret():
            return SecretRecord({entry.key: entry.value.rstrip(b"\r\n") for entry in body.entries})
        case pb.Upstream():
            return _upstream(resource.name, body)
        case pb.Policy():
            return _policy(resource.name, body)
        case _:
            return _route(resource.name, body)


def _key(name: str, body: pb.Key) -> KeyRecord:
    if len(body.sha256) != 32:
        raise UnusableError("its hash does not have 32 bytes")
    networks: list[snapshot.Network] = []
    for cidr in body.allowed_cidrs:
        try:
            networks.append(ipaddress.ip_network(cidr, strict=False))
        except ValueError:
            raise UnusableError(f"{cidr[:64]!r} in its allowed CIDRs is not a network") from None
    key = snapshot.Key(
        name=name,
        namespace=body.namespace,
        team=body.team,
        user=body.user,
        groups=frozenset(body.groups),
        models=tuple(pattern.lower() for pattern in body.models),
        expires=body.expires,
        disabled=body.disabled,
        networks=tuple(networks),
    )
    return KeyRecord(body.sha256, key)


def _upstream(name: str, body: pb.Upstream) -> UpstreamRecord:
    if body.in_process:
        endpoint = Endpoint("", in_process=True)
    else:
        _check_url("base URL", body.base_url)
        if body.proxy_url:
            _check_url("proxy URL", body.proxy_url)
        endpoint = Endpoint(body.base_url.rstrip("/"), body.proxy_url)
    if body.auth_header and not (_HEADER_NAME.fullmatch(body.auth_header) and _latin1(body.auth_scheme) is not None):
        raise UnusableError("its auth header cannot be sent")
    # Older operators give only the names.
    spoken = _spoken(body.spoken or [pb.Spoken(dialect=dialect) for dialect in body.dialects])
    upstream = snapshot.Upstream(
        name=name,
        credential=body.credential,
        provider=body.provider,
        endpoint=endpoint,
        dialects=frozenset(spoken),
        keys=(),
        headers=_headers(body.headers),
        direct_models=tuple(body.direct_models),
        direct_namespaces=_namespaces(body.direct_namespaces),
        secret_values=(),
        route_namespaces=(
            _namespaces(body.route_namespaces) if body.HasField("route_namespaces") else snapshot.EVERYWHERE
        ),
        spoken=spoken,
        quirks=frozenset(body.quirks),
        beta_headers=tuple(body.beta_headers),
        pinnable=_spoken(body.pinnable),
    )
    return UpstreamRecord(upstream, body)


def _spoken(given: Iterable[pb.Spoken]) -> Mapping[str, snapshot.Spoken]:
    spoken: dict[str, snapshot.Spoken] = {}
    for each in given:
        if each.base_url:
            _check_url(f"base URL for {each.dialect[:64]}", each.base_url)
        for path in each.paths.values():
            _check_path(path)
        if each.auth_header and not (
            _HEADER_NAME.fullmatch(each.auth_header) and _latin1(each.auth_scheme) is not None
        ):
            raise UnusableError(f"its auth header for {each.dialect[:64]} cannot be sent")
        spoken[each.dialect] = snapshot.Spoken(
            dialect=each.dialect,
            base_url=each.base_url.rstrip("/"),
            paths=dict(each.paths),
            auth_header=each.auth_header.lower(),
            auth_scheme=each.auth_scheme,
            headers=_headers(each.headers),
        )
    return spoken


def _headers(given: Iterable[pb.Header]) -> tuple[tuple[bytes, bytes], ...]:
    headers: list[tuple[bytes, bytes]] = []
    for header in given:
        value = _latin1(header.value)
        if not _HEADER_NAME.fullmatch(header.name) or value is None:
            raise UnusableError(f"its header {header.name[:64]!r} cannot be sent")
        headers.append((header.name.lower().encode("ascii"), value))
    return tuple(headers)


def _check_path(path: str) -> None:
    if not path.startswith("/") or _BLANK.search(path) or not path.isascii():
        raise UnusableError("one of its paths is not a path")


def _check_url(what: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        # urlsplit takes line breaks out; who writes the head would not.
        fits = fits and not _BLANK.search(url) and bool(RequestHead(Endpoint(url), "POST", "/", ()).encoded)
    except ValueError:
        fits = False
    if not fits:
        raise UnusableError(f"its {what} is empty" if not url else f"its {what} is not an http(s) URL")


def _route(name: str, body: pb.Route) -> RouteRecord:
    if not body.group:
        raise UnusableError("it names no group")
    route = snapshot.Route(
        name=name,
        group=body.group,
        namespace=body.namespace,
        models=tuple(body.models),
        internal=body.internal,
        access=tuple(snapshot.Access(frozenset(entry.groups), _namespaces(entry.namespaces)) for entry in body.access),
        targets=tuple(
            snapshot.Target(
                name=target.name,
                upstream=None,
                model=target.model,
                weight=target.weight,
                priority=target.priority,
                answered=Block(snapshot.answered(body.group, target.name)),
                dialect=target.dialect,
                parameters=_parameters(target.parameters) if target.HasField("parameters") else None,
                capabilities=_capabilities(target.capabilities) if target.HasField("capabilities") else NO_CAPABILITIES,
            )
            for target in body.targets
        ),
        display_name=body.display_name,
        description=body.description,
        created=body.created,
        exact_only=frozenset(body.exact_only),
    )
    policies = (body.policy, *(target.policy for target in body.targets))
    return RouteRecord(route, tuple(target.upstream for target in body.targets), policies if any(policies) else ())


def _parameters(body: pb.Parameters) -> snapshot.Parameters:
    return snapshot.Parameters(
        defaults=_object("defaults", body.defaults),
        overrides=_object("overrides", body.overrides),
        drop=tuple(body.drop),
        rename=tuple((each.name, each.to) for each in body.rename),
        clamp=tuple(snapshot.Clamp(each.name, _bound(each.min), _bound(each.max)) for each in body.clamp),
    )


def _object(what: str, text: str) -> Mapping[str, msgspec.Raw]:
    if not text:
        return {}
    try:
        return {name: value.copy() for name, value in _OBJECT.decode(text.encode()).items()}
    except (msgspec.MsgspecError, RecursionError):
        raise UnusableError(f"the {what} of one of its targets are no JSON object") from None


def _bound(text: str) -> float | None:
    if not text:
        return None
    if not _DECIMAL.fullmatch(text):
        raise UnusableError("a bound of one of its targets' parameters is no number")
    return float(text) if "." in text else int(text)


def _capabilities(body: pb.Capabilities) -> Capabilities:
    return Capabilities(
        context_window=body.context_window if body.HasField("context_window") else None,
        max_output_tokens=body.max_output_tokens if body.HasField("max_output_tokens") else None,
        vision=body.vision if body.HasField("vision") else None,
        audio=body.audio if body.HasField("audio") else None,
        tools=body.tools if body.HasField("tools") else None,
        json_schema=body.json_schema if body.HasField("json_schema") else None,
        reasoning=body.reasoning if body.HasField("reasoning") else None,
        embeddings=body.embeddings if body.HasField("embeddings") else None,
    )


def _policy(name: str, body: pb.Policy) -> PolicyRecord:
    if body.lossy not in _LOSSY or body.unsupported_parameters not in _UNSUPPORTED:
        raise UnusableError("it asks for something that is not known to this gateway")
    return PolicyRecord(snapshot.Policy(_LOSSY[body.lossy], _UNSUPPORTED[body.unsupported_parameters], name))


def _namespaces(body: pb.Namespaces) -> snapshot.Namespaces:
    return snapshot.Namespaces(body.all, frozenset(body.names))


def _latin1(value: str) -> bytes | None:
    if not _HEADER_VALUE.fullmatch(value):
        return None
    return value.encode("latin-1")


# ---- putting together -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """A key of an upstream that cannot be used though it is not disabled, and why."""

    upstream: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Records:
    """Everything decoded, by type and name. The mappings are the caller's and may change after `build` has returned."""

    routes: Mapping[str, RouteRecord]
    upstreams: Mapping[str, UpstreamRecord]
    keys: Mapping[str, KeyRecord]
    secrets: Mapping[str, SecretRecord] = field(repr=False)
    policies: Mapping[str, PolicyRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Finished:
    """An upstream, and what it was finished from: as long as that is the same, so is the upstream."""

    record: UpstreamRecord
    secrets: tuple[SecretRecord | None, ...] = field(repr=False)
    upstream: snapshot.Upstream
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A snapshot, and what the next one may reuse.

    Attributes:
        problems: Upstream keys that cannot be used, by upstream and key.
    """

    snapshot: snapshot.Snapshot
    problems: tuple[Problem, ...] = ()
    finished: Mapping[str, _Finished] = field(default_factory=dict, repr=False)
    routes: Mapping[str, RouteRecord] = field(default_factory=dict, repr=False)


NOTHING: Final = Built(snapshot.EMPTY)


def build(records: Records, version: str, *, previous: Built = NOTHING, changed: Set[Name] | None = None) -> Built:
    """Make the snapshot of ``records``.

    What has not changed since ``previous`` is the same object in the new snapshot: one changed key costs little.

    Args:
        records: All of them.
        version: Of the table.
        previous: What the last call has returned; `NOTHING` at first.
        changed: Names that are different now, added or gone since; None: anything may be.
    """
    types = set(table.BODY_TYPES) if changed is None else {name.type for name in changed}
    if changed is None:
        by_name = sorted(records.keys.items(), reverse=True)
        keys: Mapping[bytes, snapshot.Key] = {record.sha256: record.key for _, record in by_name}
    else:
        keys = _keys(records, previous, {name.name for name in changed if name.type == pb.TYPE_KEY})
    if types <= {pb.TYPE_KEY}:
        return replace(previous, snapshot=replace(previous.snapshot, version=version, keys=keys))
    finished = {
        name: _finish(record, records.secrets, previous.finished.get(name))
        for name, record in records.upstreams.items()
    }
    upstreams = {name: each.upstream for name, each in finished.items()}
    policies = {name: record.policy for name, record in records.policies.items()}
    routes = {
        name: _resolve(record, upstreams, policies, previous.snapshot.routes.get(name), previous.routes.get(name))
        for name, record in records.routes.items()
    }
    exact, folded, globs = _index(routes)
    made = snapshot.Snapshot(
        version=version,
        routes=routes,
        upstreams=upstreams,
        exact=exact,
        folded=folded,
        globs=globs,
        direct=_direct(upstreams),
        keys=keys,
        policies=policies,
    )
    problems = tuple(problem for _, each in sorted(finished.items()) for problem in each.problems)
    return Built(made, problems, finished, dict(records.routes))


def _keys(records: Records, previous: Built, names: Set[str]) -> Mapping[bytes, snapshot.Key]:
    if not names:
        return previous.snapshot.keys
    keys = {digest: key for digest, key in previous.snapshot.keys.items() if key.name not in names}
    # Two keys with one hash: the operator serves only one of them; should both come, the first by name is served.
    touched = {record.sha256 for name in names if (record := records.keys.get(name)) is not None}
    touched |= {digest for digest, key in previous.snapshot.keys.items() if key.name in names}
    for name, record in records.keys.items():
        if record.sha256 in touched and ((there := keys.get(record.sha256)) is None or name <= there.name):
            keys[record.sha256] = record.key
    return keys


def _finish(record: UpstreamRecord, secrets: Mapping[str, SecretRecord], before: _Finished | None) -> _Finished:
    """Give an upstream its keys and CA."""
    message = record.message
    used = tuple(secrets.get(name) for name in _secret_names(message))
    if (
        before is not None
        and before.record is record
        and all(a is b for a, b in zip(before.secrets, used, strict=True))
    ):
        return before
    problems: list[Problem] = []
    values: list[str] = []
    keys: list[snapshot.UpstreamKey] = []
    endpoint = record.upstream.endpoint
    usable = True
    if message.HasField("ca"):
        pem = _entry(message.ca, secrets)
        reason = "its CA bundle is missing" if pem is None else _pem_problem(pem)
        if pem is None or reason:
            usable = False
            problems.extend(Problem(record.upstream.name, key.name, reason) for key in message.keys)
        else:
            endpoint = replace(endpoint, ca_pem=pem.decode("ascii"))
    for key in message.keys:
        value = _entry(key.secret, secrets)
        if value is None:
            continue
        text = value.decode("utf-8", "replace")
        if len(text) >= _MIN_SECRET:
            values.append(text)
        if key.disabled or not usable or not message.auth_header:
            continue
        if reason := _value_problem(value):
            problems.append(Problem(record.upstream.name, key.name, reason))
            continue
        header = (message.auth_header.lower().encode("ascii"), (message.auth_scheme + text).encode("latin-1"))
        heads = _heads(endpoint, record.upstream, header, text)
        keys.append(
            snapshot.UpstreamKey(name=key.name, weight=key.weight, expires=key.expires, auth_header=header, heads=heads)
        )
    if not message.auth_header and usable:
        heads = _heads(endpoint, record.upstream, None, "")
        keys.append(snapshot.UpstreamKey(name="", weight=1, expires=0, auth_header=None, heads=heads))
    upstream = replace(record.upstream, endpoint=endpoint, keys=tuple(keys), secret_values=tuple(values))
    return _Finished(record, used, upstream, tuple(problems))


def _heads(
    endpoint: Endpoint, upstream: snapshot.Upstream, header: tuple[bytes, bytes] | None, secret: str
) -> request_heads.Heads:
    """What is sent with a key, in each dialect of its account."""
    places: dict[str, request_heads.Place] = {}
    for name, spoken in (*upstream.pinnable.items(), *upstream.spoken.items()):
        own = header
        if header is not None and spoken.auth_header:
            own = (spoken.auth_header.encode("ascii"), (spoken.auth_scheme + secret).encode("latin-1"))
        there = replace(endpoint, base_url=spoken.base_url) if spoken.base_url else endpoint
        places[name] = request_heads.Place(there, spoken.headers, own)
    return request_heads.Heads(request_heads.Place(endpoint, (), header), upstream.headers, places)


def _secret_names(message: pb.Upstream) -> list[str]:
    names = [key.secret.secret for key in message.keys]
    return [*names, message.ca.secret] if message.HasField("ca") else names


def _entry(reference: pb.SecretEntry, secrets: Mapping[str, SecretRecord]) -> bytes | None:
    secret = secrets.get(reference.secret)
    return secret.entries.get(reference.key) if secret is not None else None


def _value_problem(value: bytes) -> str:
    if not value:
        return "the value in its Secret is empty"
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return "the value in its Secret is not text"
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        return "the value in its Secret has a line break or another control character"
    if _latin1(text) is None:
        return "the value in its Secret has characters that no header can carry"
    return ""


def _pem_problem(pem: bytes) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except (ValueError, ssl.SSLError):
        return "its CA bundle is not PEM"
    return ""


def _resolve(
    record: RouteRecord,
    upstreams: Mapping[str, snapshot.Upstream],
    policies: Mapping[str, snapshot.Policy],
    before: snapshot.Route | None,
    record_before: RouteRecord | None,
) -> snapshot.Route:
    """Give a route its policies and its upstreams: those that admit it, for it may be older than their consent."""
    namespace = record.route.namespace
    found = [
        upstream if (upstream := upstreams.get(name)) is not None and namespace in upstream.route_namespaces else None
        for name in record.upstreams
    ]
    own, *of_targets = [policies.get(name) for name in record.policies] or [None]
    policy = own or snapshot.DEFAULT_POLICY
    of_targets = of_targets or [None] * len(found)
    if (
        before is not None
        and record_before is record
        and before.policy is policy
        and all(
            target.upstream is upstream and target.policy is of_target
            for target, upstream, of_target in zip(before.targets, found, of_targets, strict=True)
        )
    ):
        return before
    targets = zip(record.route.targets, found, of_targets, strict=True)
    return replace(
        record.route,
        policy=policy,
        targets=tuple(replace(target, upstream=upstream, policy=of_target) for target, upstream, of_target in targets),
    )


def _index(
    routes: Mapping[str, snapshot.Route],
) -> tuple[Mapping[str, snapshot.Route], Mapping[str, snapshot.Route], tuple[tuple[str, snapshot.Route], ...]]:
    """Public names and globs to routes. The operator gives each to one group; should two claim it, the older has it."""
    exact: dict[str, snapshot.Route] = {}
    folded: dict[str, snapshot.Route] = {}
    globs: dict[str, snapshot.Route] = {}
    for route in sorted(routes.values(), key=lambda each: (each.created, each.name)):
        if not route.internal:
            for model in route.models:
                if "*" not in model:
                    exact.setdefault(model, route)
                if model not in route.exact_only:
                    (globs if "*" in model else folded).setdefault(model.lower(), route)
    longest_first = sorted(globs.items(), key=lambda glob: (-len(glob[0]), glob[0]))
    return exact, folded, tuple(longest_first)


def _direct(upstreams: Mapping[str, snapshot.Upstream]) -> Mapping[str, snapshot.Upstream]:
    direct: dict[str, snapshot.Upstream] = {}
    for name in sorted(upstreams):
        if upstreams[name].direct_models:
            direct.setdefault(upstreams[name].credential, upstreams[name])
    return direct
