"""Both ends of the wire over real gRPC, in one process: an operator's publish stage and gateways' subscriptions."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from trunkline_gateway.routing.snapshot import Snapshot
from trunkline_gateway.subscription.client import Settings, Subscription
from trunkline_gateway.subscription.lastgood import Keeper
from trunkline_gateway.subscription.store import Store
from trunkline_operator.compile.result import Compiled
from trunkline_operator.publish.authenticate import Anybody, Authenticator
from trunkline_operator.publish.fleet import Fleet
from trunkline_operator.publish.server import AGE_SECONDS, Servicer, serve
from trunkline_operator.publish.tls import ServingCertificate
from trunkline_operator.watch.world import World
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb


def unix_seconds() -> float:
    return datetime.now(UTC).timestamp()


@dataclass
class Ends:
    """The operator's end. Gateways join by `gateway`."""

    fleet: Fleet
    servicer: Servicer
    address: str
    ca_file: Path | None
    notices: list[frozenset[Name]]

    def set(self, compiled: Compiled, world: World | None = None) -> None:
        self.fleet.set(compiled, world or World())


@contextlib.asynccontextmanager
async def operator(
    address: str,
    *,
    tls_dir: Path | None = None,
    authenticator: Authenticator | None = None,
    ready: Callable[[], bool] = lambda: True,
    age_seconds: float = AGE_SECONDS,
) -> AsyncIterator[Ends]:
    """Listen on ``unix:PATH``, or with TLS on a port of 127.0.0.1."""
    notices: list[frozenset[Name]] = []
    fleet = Fleet(asyncio.get_running_loop(), notices.append)
    servicer = Servicer(fleet, authenticator or Anybody(), ready=ready, clock=unix_seconds, age_seconds=age_seconds)
    certificate = ServingCertificate(tls_dir, ("localhost", "127.0.0.1")) if tls_dir else None
    async with serve(servicer, address=address, certificate=certificate) as port:
        reached = address if certificate is None else f"127.0.0.1:{port}"
        yield Ends(fleet, servicer, reached, tls_dir / "ca.crt" if tls_dir else None, notices)


@dataclass
class Gateway:
    """A gateway's end, and what it was told."""

    subscription: Subscription
    store: Store
    snapshots: list[Snapshot] = field(default_factory=list)
    connections: list[bool] = field(default_factory=list)

    def applied(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def connected(self, connected: bool) -> None:
        self.connections.append(connected)


@contextlib.asynccontextmanager
async def gateway(
    address: str,
    name: str = "gw-0",
    *,
    ca_file: Path | None = None,
    token_file: Path | None = None,
    store: Store | None = None,
    keeper: Callable[[Store], Keeper] | None = None,
    health_report: Callable[[], list[pb.KeyHealth]] = list,
    report_seconds: float = 0.05,
    backoff_seconds: float = 0.05,
) -> AsyncIterator[Gateway]:
    """A subscription that runs while the context lasts."""
    store = store or Store(time.monotonic)
    made = Gateway(None, store)  # type: ignore[arg-type]
    kept = keeper(store) if keeper else None
    made.subscription = Subscription(
        Settings(
            operator=address,
            node_name=name,
            ca_file=ca_file,
            token_file=token_file,
            report_seconds=report_seconds,
            backoff_seconds=backoff_seconds,
            max_backoff_seconds=0.5,
        ),
        store,
        made,
        clock=time.monotonic,
        health_report=health_report,
        keeper=kept,
    )
    running = asyncio.create_task(made.subscription.run())
    try:
        yield made
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        if kept is not None:
            await kept.close()


async def until(probe: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until ``probe`` is true."""
    async with asyncio.timeout(seconds):
        while not probe():  # noqa: ASYNC110 - what it looks at has no events
            await asyncio.sleep(0.002)
