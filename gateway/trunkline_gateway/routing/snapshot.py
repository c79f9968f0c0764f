"""The routing table as a gateway serves from it: immutable, indexed, swapped whole.

What is fixed by the table is computed here, once per swap, and not per request. `build` is pure.
"""

import ipaddress
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from trunkline_gateway.dialect import NO_CAPABILITIES, Capabilities
from trunkline_gateway.http import NO_HEADERS, Block, Headers
from trunkline_gateway.upstream.client import Endpoint, RequestHead

if TYPE_CHECKING:
    from trunkline_gateway.routing.resolve import Resolved

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Namespaces whose keys or routes are let in."""

    all: bool
    names: frozenset[str]

    def __contains__(self, namespace: str) -> bool:
        return self.all or namespace in self.names


EVERYWHERE: Final = Namespaces(True, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamKey:
    """One key of an account, with its value.

    Attributes:
        auth_header: The complete header, ready to send; None where the provider takes no key.
        expires: Unix seconds; 0: never.
        heads: What is sent with it before a body; see `request_heads.Heads`.
    """

    name: str
    weight: int
    expires: int
    auth_header: tuple[bytes, bytes] | None = field(repr=False)
    heads: Mapping[tuple[str, str, bool], RequestHead] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A dialect of an account, and where and how it is spoken.

    Attributes:
        base_url: Without a trailing slash; empty: the account's.
        paths: Operation, or operation and ``+stream`` → path with ``{model}``, in place of the dialect's own.
        auth_header: Lower case; empty: the account's header and scheme.
        headers: Added to each request, before the account's own, which replace them; lower-case names.
    """

    dialect: str
    base_url: str = ""
    paths: Mapping[str, str] = field(default_factory=dict)
    auth_header: str = ""
    auth_scheme: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """An account at a provider.

    Attributes:
        name: ``namespace/name`` of the ProviderCredential; for logs and reports, never for clients.
        keys: Those that have a value and are not disabled. Without authentication: one, with no header.
        headers: Added to each request; lower-case names.
        secret_values: Every secret of this account, to be taken out of what an upstream says in an error.
        route_namespaces: Whose routes may use it; applied in the snapshot already.
        spoken: ``dialects``, the preferred one first.
        quirks: Ways in which it differs from its dialects; see `trunkline_protocol.providers`.
        beta_headers: ``anthropic-beta:`` or ``openai-beta:`` and a pattern of values that it takes, with ``*`` at most
            at the end.
        pinnable: Dialects that it speaks besides, but only to targets whose ``dialect`` asks for them.
    """

    name: str
    credential: str
    provider: str
    endpoint: Endpoint
    dialects: frozenset[str]
    keys: tuple[UpstreamKey, ...]
    headers: tuple[tuple[bytes, bytes], ...]
    direct_models: tuple[str, ...]
    direct_namespaces: Namespaces
    secret_values: tuple[str, ...] = field(repr=False)
    route_namespaces: Namespaces = EVERYWHERE
    spoken: Mapping[str, Spoken] = field(default_factory=dict)
    quirks: frozenset[str] = frozenset()
    beta_headers: tuple[str, ...] = ()

    @property
    def endpoints(self) -> frozenset[Endpoint]:
        """Wherever it may be called."""
        others = {each.base_url for each in (*self.spoken.values(), *self.pinnable.values()) if each.base_url}
        return frozenset({self.endpoint, *(replace(self.endpoint, base_url=url) for url in others)})

    pinnable: Mapping[str, Spoken] = field(default_factory=dict)


def answered(group: str, target: str) -> Headers:
    """The headers that tell who answered. Direct models have neither group nor target that could be named."""
    headers: list[tuple[bytes, bytes]] = []
    if group:
        headers.append((b"x-trunkline-model-group", group.encode("ascii", "replace")))
    if target:
        headers.append((b"x-trunkline-target", target.encode("ascii", "replace")))
    return headers


@dataclass(frozen=True, slots=True)
class Clamp:
    """Bounds of a number; None: none. Whole ones are whole here too, so that they may stand for a whole number."""

    name: str
    min: float | None
    max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What is changed in a request on its way to a target.

    Names are those of OpenAI's chat completions; what begins with ``/`` is a JSON Pointer into the body as the upstream
    gets it.

    Attributes:
        defaults: Set where the request says nothing.
        overrides: Set whatever the request says.
        rename: From, to.
    """

    defaults: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    overrides: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    clamp: tuple[Clamp, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """How requests are served: a RoutePolicy, or the defaults.

    Attributes:
        lossy: What becomes of a request that the upstream's dialect cannot say in full.
        unsupported_parameters: What becomes of parameters that it does not have; None: as ``lossy`` says.
        name: ``namespace/name`` of the RoutePolicy; empty: the defaults.
    """

    lossy: Literal["Allow", "Warn", "Reject"] = "Warn"
    unsupported_parameters: Literal["Drop", "Reject"] | None = None
    name: str = ""


DEFAULT_POLICY: Final = Policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One upstream model of a group.

    Attributes:
        upstream: None while its credential is not in the table or does not admit the route (no target then).
        model: May hold one ``*``: what the ``*`` of the public glob matched.
        answered: Headers of the answers it gives: which group and target.
        dialect: The one that is spoken to it; empty: the caller's own, else the account's first.
        policy: In place of the route's, as a whole.
    """

    name: str
    upstream: Upstream | None
    model: str
    weight: int
    priority: int
    answered: Block = field(default=NO_HEADERS, repr=False, compare=False)
    dialect: str = ""
    parameters: Parameters | None = None
    capabilities: Capabilities = NO_CAPABILITIES
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """Lets in a key that has one of ``groups`` and lives in one of ``namespaces``."""

    groups: frozenset[str]
    namespaces: Namespaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A ModelGroup: its public names and targets.

    Attributes:
        name: ``namespace/name``.
        group: The ModelGroup's own name: headers, metrics, ``/v1/models``.
        models: Exact names and globs it owns, as written.
        created: Unix seconds.
        exact_only: Those of ``models`` that are meant only as they are written.
    """

    name: str
    group: str
    namespace: str
    models: tuple[str, ...]
    internal: bool
    access: tuple[Access, ...]
    targets: tuple[Target, ...]
    display_name: str
    description: str
    created: int
    exact_only: frozenset[str] = frozenset()
    policy: Policy = DEFAULT_POLICY

    def admits(self, key: "Key") -> bool:
        """Whether ``access`` lets this key in."""
        for entry in self.access:
            if not entry.groups.isdisjoint(key.groups) and key.namespace in entry.namespaces:
                return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A VirtualKey, found by the SHA-256 of what the client sent.

    Attributes:
        name: ``namespace/name``; for logs.
        models: Patterns in lower case, as written otherwise.
        expires: Unix seconds; 0: never.
        networks: Where it may be used from; empty: anywhere.
    """

    name: str
    namespace: str
    team: str
    user: str
    groups: frozenset[str]
    models: tuple[str, ...]
    expires: int
    disabled: bool
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything a request needs, consistent in itself.

    Attributes:
        version: Hex, of the whole table; as acknowledged to the operator.
        exact: Public name as written → its route; internal groups are not in here.
        folded: The same in lower case; where two names differ only in case, that of the oldest group.
        globs: (pattern in lower case, route), the longest first: the first match is the one.
        direct: Credential name → upstream with ``direct_models``.
        keys: SHA-256 digest (32 bytes) → key.
        policies: Those that routes and targets may name, by name.
        meanings: Model names → their group and what is asked of it, as `resolve` has found; belongs to it.
    """

    version: str
    routes: Mapping[str, Route]
    upstreams: Mapping[str, Upstream]
    exact: Mapping[str, Route]
    folded: Mapping[str, Route]
    globs: tuple[tuple[str, Route], ...]
    direct: Mapping[str, Upstream]
    keys: Mapping[bytes, Key]
    policies: Mapping[str, Policy] = field(default_factory=dict)
    meanings: MutableMapping[str, tuple[Route, "Resolved"]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )


EMPTY = Snapshot(version="", routes={}, upstreams={}, exact={}, folded={}, globs=(), direct={}, keys={})
