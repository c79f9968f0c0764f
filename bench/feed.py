"""The operator's part, as a process of its own: feeds one gateway a large table, and changes it when told to.

    python -m bench.feed '{"socket": PATH, "groups": N, "keys": N, "upstreams": {NAME: URL}, "ca": PEM}'

Groups ``bench-N`` are served by the upstream ``bench``, and groups ``messages-N`` by the upstream ``messages``, where
there is one; every other upstream NAME has one group, ``NAME-0``. Those called ``messages`` and so on speak Anthropic's
dialect, the others OpenAI chat. Keys are
those of `wire.client_key`. Each line on the standard input makes one round of changes (a group and a key come and
change) and is answered by a line once the gateway has acknowledged them. The end of the input ends the process.
"""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

from bench import wire
from grpc import aio

from harness.operator_double import OperatorDouble
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1 import routing_pb2_grpc

_EVERYWHERE = pb.Namespaces(all=True)


class _Operator(OperatorDouble):
    """Puts up with a gateway's pings, as the operator does; else gRPC ends the stream after 40 s of silence, and the
    gateway reads the whole table again in the middle of a measurement.
    """

    async def start(self) -> None:
        self._server = aio.server(options=[("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000)])
        routing_pb2_grpc.add_RoutingServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()


def _secret(name: str, value: bytes) -> pb.Resource:
    body = pb.Secret(entries=[pb.Secret.Entry(key="key", value=value)])
    return table.resource(Name(pb.TYPE_SECRET, name), body, {f"Secret/{name}": 1})


def _upstream(name: str, url: str, *, ca: str = "") -> pb.Resource:
    speaks_messages = name.startswith("bench/messages")
    body = pb.Upstream(
        credential=name.partition("/")[2],
        provider="anthropic" if speaks_messages else "openai-compatible",
        base_url=url,
        dialects=["anthropic_messages" if speaks_messages else "openai_chat"],
        direct_namespaces=_EVERYWHERE,
        auth_header="authorization",
        auth_scheme="Bearer ",
        keys=[pb.UpstreamKey(name="k", secret=pb.SecretEntry(secret="bench/key", key="key"), weight=1)],
    )
    if ca:
        body.ca.CopyFrom(pb.SecretEntry(secret=ca, key="key"))
    return table.resource(Name(pb.TYPE_UPSTREAM, name), body, {f"ProviderCredential/{name}": 1})


def _route(group: str, upstream: str, revision: int = 1) -> pb.Resource:
    body = pb.Route(
        group=group,
        namespace="bench",
        models=[group],
        access=[pb.Access(groups=["default"], namespaces=_EVERYWHERE)],
        targets=[pb.Target(name="only", upstream=upstream, model="double-1", weight=1)],
        description=str(revision),
        created=1_700_000_000,
    )
    return table.resource(Name(pb.TYPE_ROUTE, f"bench/{group}"), body, {f"ModelGroup/bench/{group}": revision})


def _key(name: str, value: str, revision: int = 1) -> pb.Resource:
    body = pb.Key(
        sha256=hashlib.sha256(value.encode()).digest(),
        namespace="bench",
        team=f"team-{revision % 7}",
        groups=["default"],
        models=["*"],
    )
    return table.resource(Name(pb.TYPE_KEY, f"bench/{name}"), body, {f"VirtualKey/bench/{name}": revision})


def resources(groups: int, keys: int, upstreams: dict[str, str], ca: str) -> list[pb.Resource]:
    """The whole table."""
    made = [_secret("bench/key", wire.UPSTREAM_KEY.encode()), _secret("bench/ca", ca.encode())]
    for name, url in upstreams.items():
        made.append(_upstream(f"bench/{name}", url, ca="bench/ca" if url.startswith("https:") else ""))
        many = groups if name in wire.MANY else 1
        made += [_route(f"{name}-{n}", f"bench/{name}") for n in range(many)]
    made += [_key(f"key-{n}", wire.client_key(n)) for n in range(keys)]
    return made


async def _churn(operator: OperatorDouble, turn: int) -> None:
    route, key = _route("churn", "bench/bench", 2 * turn), _key("churn", f"sk-tl-churn-{turn}", 2 * turn)
    await operator.change(route, key, _route("bench-0", "bench/bench", turn + 1))
    await operator.change(_route("churn", "bench/bench", 2 * turn + 1))


async def main() -> None:
    """Feed until the standard input ends."""
    told = json.loads(sys.argv[1])
    table_resources = resources(told["groups"], told["keys"], told["upstreams"], told["ca"])
    operator = _Operator(Path(told["socket"]), table_resources)
    await operator.start()
    print("ready", flush=True)
    turn = 1
    while await asyncio.to_thread(sys.stdin.readline):
        await _churn(operator, turn)
        turn += 1
        print("changed", flush=True)
    await operator.stop()


if __name__ == "__main__":
    asyncio.run(main())
