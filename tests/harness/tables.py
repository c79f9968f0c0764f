"""Small routing tables for tests: resources as an operator would send them, and the snapshot made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from trunkline_gateway.routing import table as routing
from trunkline_gateway.routing.snapshot import Snapshot
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

EVERYWHERE = pb.Namespaces(all=True)


def route(
    name: str = "default/echo",
    *,
    models: Sequence[str] = (),
    targets: Sequence[tuple[str, str]] = (("echo", "echo"),),
    upstream: str = "default/echo",
    groups: Sequence[str] = ("default",),
    namespaces: pb.Namespaces = EVERYWHERE,
    internal: bool = False,
    display_name: str = "",
    description: str = "",
    created: int = 1_700_000_000,
) -> pb.Resource:
    """A ModelGroup; ``targets`` are names and upstream models, by descending priority."""
    namespace, _, group = name.partition("/")
    body = pb.Route(
        group=group,
        namespace=namespace,
        models=models or [group],
        internal=internal,
        access=[pb.Access(groups=groups, namespaces=namespaces)],
        targets=[
            pb.Target(name=each, upstream=upstream, model=model, weight=1, priority=priority)
            for priority, (each, model) in enumerate(targets)
        ],
        display_name=display_name,
        description=description,
        created=created,
    )
    return table.resource(Name(pb.TYPE_ROUTE, name), body, {f"ModelGroup/{name}": 1})


def echo(name: str = "default/echo", *, direct_models: Sequence[str] = ()) -> pb.Resource:
    """An account at the built-in provider."""
    body = pb.Upstream(
        credential=name.partition("/")[2],
        provider="echo",
        dialects=["openai_chat", "openai_embeddings"],
        in_process=True,
        direct_models=direct_models,
        direct_namespaces=EVERYWHERE,
    )
    return table.resource(Name(pb.TYPE_UPSTREAM, name), body, {f"ProviderCredential/{name}": 1})


def key(
    value: str,
    name: str = "default/me",
    *,
    models: Sequence[str] = ("*",),
    groups: Sequence[str] = ("default",),
    team: str = "a-team",
    expires: int = 0,
    disabled: bool = False,
    allowed_cidrs: Sequence[str] = (),
) -> pb.Resource:
    """A VirtualKey whose secret is ``value``."""
    body = pb.Key(
        sha256=hashlib.sha256(value.encode()).digest(),
        namespace=name.partition("/")[0],
        team=team,
        groups=groups,
        models=models,
        expires=expires,
        disabled=disabled,
        allowed_cidrs=allowed_cidrs,
    )
    return table.resource(Name(pb.TYPE_KEY, name), body, {f"VirtualKey/{name}": 1})


def snapshot(resources: Iterable[pb.Resource]) -> Snapshot:
    """What a gateway serves when it holds ``resources``."""
    routes: dict[str, routing.RouteRecord] = {}
    upstreams: dict[str, routing.UpstreamRecord] = {}
    keys: dict[str, routing.KeyRecord] = {}
    versions: list[tuple[Name, bytes]] = []
    for resource in resources:
        versions.append((Name(resource.type, resource.name), resource.version))
        match routing.decode(resource):
            case routing.RouteRecord() as record:
                routes[resource.name] = record
            case routing.UpstreamRecord() as record:
                upstreams[resource.name] = record
            case routing.KeyRecord() as record:
                keys[resource.name] = record
    records = routing.Records(routes=routes, upstreams=upstreams, keys=keys, secrets={})
    return routing.build(records, table.table_version(versions)).snapshot
