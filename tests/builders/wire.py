"""Builders of small tables, for the tests of the wire. ``table.resource`` with less to write."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from trunkline_operator.compile.result import Compiled, Finding, Verdict
from trunkline_operator.watch.world import Observed, Ref, World
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb


def key(
    name: str, revision: int, *, disabled: bool = False, held_by: str = "", cidrs: Iterable[str] = (), **more: object
) -> pb.Resource:
    namespace = name.partition("/")[0]
    body = pb.Key(
        sha256=sha256((held_by or name).encode()).digest(),
        namespace=namespace,
        groups=["default"],
        models=["*"],
        disabled=disabled,
        allowed_cidrs=list(cidrs),
        **more,
    )
    return table.resource(Name(pb.TYPE_KEY, name), body, {f"VirtualKey/{name}": revision})


def route(
    name: str,
    revision: int,
    *targets: str,
    models: Iterable[str] = (),
    sources: Mapping[str, int] = {},
    min_reader: int = 1,
    **more: object,
) -> pb.Resource:
    namespace, _, group = name.partition("/")
    body = pb.Route(
        group=group,
        namespace=namespace,
        models=list(models) or [group],
        access=[pb.Access(groups=["default"], namespaces=pb.Namespaces(names=[namespace]))],
        targets=[pb.Target(name=f"t{n}", upstream=each, model=group, weight=1) for n, each in enumerate(targets)],
        **more,
    )
    seen = {f"ModelGroup/{name}": revision, **sources}
    return table.resource(Name(pb.TYPE_ROUTE, name), body, seen, min_reader=min_reader)


def upstream(
    name: str, revision: int, *, secret: str = "", base_url: str = "https://up.test/v1", **more: object
) -> pb.Resource:
    namespace, _, credential = name.partition("/")
    body = pb.Upstream(
        credential=credential,
        provider="openai-compatible",
        base_url=base_url,
        dialects=["openai_chat"],
        direct_namespaces=pb.Namespaces(names=[namespace]),
        **more,
    )
    if secret:
        body.auth_header, body.auth_scheme = "authorization", "Bearer "
        body.keys.append(pb.UpstreamKey(name="k", secret=pb.SecretEntry(secret=secret, key="key"), weight=1))
    return table.resource(Name(pb.TYPE_UPSTREAM, name), body, {f"ProviderCredential/{name}": revision})


def secret(name: str, revision: int, value: bytes | str) -> pb.Resource:
    value = value.encode() if isinstance(value, str) else value
    body = pb.Secret(entries=[pb.Secret.Entry(key="key", value=value)])
    return table.resource(Name(pb.TYPE_SECRET, name), body, {f"Secret/{name}": revision})


def name_of(resource: pb.Resource) -> Name:
    return Name(resource.type, resource.name)


def compiled(*resources: pb.Resource, holds: Iterable[Name] = (), denied: Iterable[Name] = ()) -> Compiled:
    """A compilation with these resources, verdicts included."""
    finding = Finding(True, "Accepted", "")
    kinds = {pb.TYPE_ROUTE: "ModelGroup", pb.TYPE_UPSTREAM: "ProviderCredential", pb.TYPE_KEY: "VirtualKey"}
    names = [name_of(each) for each in resources] + [*holds, *denied]
    verdicts = {
        Ref(kinds[name.type], *name.name.split("/")): Verdict(accepted=finding, resolved_refs=finding, programs=(name,))
        for name in names
        if name.type in kinds
    }
    return Compiled(resources={name_of(each): each for each in resources}, holds=frozenset(holds), verdicts=verdicts)


def observed(ref: Ref, revision: int) -> Observed:
    return Observed(
        ref=ref, uid="u", generation=1, revision=revision, created=0, parsed=None, errors=(), raw={}, status={}
    )


def world(listed: int = 0, tombstones: Mapping[str, int] = {}, objects: Mapping[str, int] = {}) -> World:
    """What was observed, as far as the publisher asks."""
    kinds = ("VirtualKey", "ModelGroup", "ProviderCredential", "Secret")
    refs = {Ref(*ref.split("/")): revision for ref, revision in objects.items()}
    return World(
        objects={ref: observed(ref, revision) for ref, revision in refs.items()},
        tombstones={Ref(*ref.split("/")): revision for ref, revision in tombstones.items()},
        listed=dict.fromkeys(kinds, listed),
    )
