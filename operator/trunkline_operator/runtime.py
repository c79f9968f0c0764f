"""The operator as a library: source → world → compile → publish → report, on one event loop.

``trunkline-operator`` runs it over a cluster, ``trunkline run`` over a directory; nothing here can tell which.
"""

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from trunkline_operator.compile.result import Compiled
from trunkline_operator.metrics import Metrics, Sample, by_label, single
from trunkline_operator.peers.server import PeersServicer
from trunkline_operator.peers.whole import WholeFleet
from trunkline_operator.publish.authenticate import Authenticator
from trunkline_operator.publish.debounce import Debounce
from trunkline_operator.publish.fleet import Fleet
from trunkline_operator.publish.server import Servicer, serve
from trunkline_operator.publish.tls import ServingCertificate
from trunkline_operator.report.fleet import PublishedFleet
from trunkline_operator.report.reporter import Reporter, Sink
from trunkline_operator.watch.source import Changes, Source
from trunkline_operator.watch.world import Change, Ref, World
from trunkline_protocol.table import Name

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where gateways connect, and who may.

    Attributes:
        address: ``HOST:PORT`` with a certificate, else ``unix:PATH``.
        peers: Lets in other replicas, on the same address; None: there are none.
    """

    address: str
    authenticator: Authenticator
    certificate: ServingCertificate | None = None
    peers: Authenticator | None = None


Follow = Callable[[Iterable[Name], Iterable[str]], None]
"""Takes names and upstreams of which this replica's gateways may say something else now."""


class Operator:
    """One running operator. Construct it in the loop that runs it.

    Attributes:
        world: What was observed.
        fleet: The gateways of this replica.
        whole: With them those that other replicas report.
        compiled: The last compilation; None before the first.
        port: Where gateways connect, once it listens.
        listening: Set once it does.
        compiled_once: Set after the first compilation.
    """

    def __init__(
        self,
        source: Callable[[World, Changes], Source],
        compile_world: Callable[[World], Compiled],
        sink: Sink,
        listener: Listener,
        *,
        metrics: Metrics | None = None,
        tell: Callable[[str, str], None] = lambda topic, sentence: None,
    ) -> None:
        """Wire the stages; nothing runs yet.

        Args:
            source: Makes the source of a world.
            compile_world: The compiler, with its memory and settings bound.
            sink: Takes the statuses: `report.writer.StatusWriter` or `report.log.LogReporter`.
            listener: Where gateways connect.
            metrics: A registry to add to.
            tell: Told which other replicas are missing; `problems.Problems.tell`.
        """
        loop = asyncio.get_running_loop()
        self.world = World()
        self.compiled: Compiled | None = None
        self.port = 0
        self.listening = asyncio.Event()
        self.compiled_once = asyncio.Event()
        self.metrics = metrics or Metrics()
        self._compile_world = compile_world
        self._listener = listener
        self._debounce = Debounce(loop, self._compile)
        self.fleet = Fleet(
            loop,
            notify=self._own_fleet_changed,
            keys_changed=self._own_keys_changed,
            stale=self._suspect,
        )
        self.whole = WholeFleet(self.fleet, loop, self._fleet_changed, self._keys_changed, tell)
        self._reporter = Reporter(self.world, PublishedFleet(self.whole), sink)
        self._follow: Follow = lambda names, upstreams: None
        self._servicer = Servicer(
            self.fleet,
            listener.authenticator,
            ready=lambda: self.compiled is not None,
            clock=time.time,  # noqa: TID251 - tokens expire by the wall clock
        )
        self._peers: PeersServicer | None = None
        if listener.peers is not None:
            self._peers = PeersServicer(self.whole, listener.peers, clock=time.time)  # noqa: TID251 - the same
        self._source = source(self.world, Changes(self._recorded, self._debounce.touch))
        self._register_metrics()

    def why_not_ready(self) -> list[str]:
        """What is missing before it serves gateways; empty: it does."""
        if not self._source.synced.is_set():
            return [self._source.why_not]
        return [] if self.compiled is not None else ["nothing has been compiled yet"]

    async def run(self, *background: Callable[[], Awaitable[object]]) -> None:
        """Run until cancelled.

        Args:
            background: What else has to run for as long, such as a sink's own loop.

        Raises:
            OSError, TLSError: it cannot listen.
        """
        async with contextlib.AsyncExitStack() as stack:
            listener = self._listener
            self.port = await stack.enter_async_context(
                serve(
                    self._servicer,
                    address=listener.address,
                    certificate=listener.certificate,
                    peers=self._peers,
                    closing=self._peers.close if self._peers is not None else _nothing,
                )
            )
            self.listening.set()
            stack.callback(self._debounce.close)
            async with asyncio.TaskGroup() as group:
                for each in (self._source.run, self._compile_first, self._reporter.run, *background):
                    group.create_task(_awaited(each))

    def gateways(self) -> list[dict[str, Any]]:
        """Who is connected and what they lack, for the debug page."""
        now = asyncio.get_running_loop().time()
        return [
            {
                "node": gateway.node,
                "instance": gateway.instance,
                "version": gateway.version,
                "counts": gateway.counts,
                "draining": gateway.draining,
                "behind": gateway.behind,
                "rejected": [{"name": str(name), "reason": reason} for name, reason in gateway.rejected],
                "connectedSeconds": round(now - gateway.connected_since, 1),
                "lastSeenSeconds": round(now - gateway.last_seen, 1),
            }
            for gateway in self.fleet.gateways()
        ]

    # ---- one of several ---------------------------------------------------------------------------------------------

    def follow(self, follow: Follow) -> None:
        """Tell ``follow`` from now on when this replica's own gateways say something else."""
        self._follow = follow

    def suspend_reports(self) -> None:
        """Somebody else writes the statuses."""
        self._reporter.stand_by()

    def resume_reports(self) -> None:
        """Write them, after a look at everything."""
        self._reporter.resume()

    # ---- between the stages -----------------------------------------------------------------------------------------

    def _recorded(self, ref: Ref, change: Change) -> None:
        if change is Change.NONE:
            self._reporter.observed(ref)
        else:
            self._debounce.touch(urgent=change is Change.REVOKES)

    async def _compile_first(self) -> None:
        await self._source.synced.wait()
        self._compile()
        # What was loaded at the start mostly stays. Walking 10,000 objects again and again would stop everything for a
        # tenth of a second each time, in the middle of somebody's change.
        gc.collect()
        gc.freeze()

    def _compile(self) -> None:
        if not self._source.synced.is_set():
            return
        try:
            with self.metrics.compile_seconds.time():
                compiled = self._compile_world(self.world)
        except Exception:  # noqa: BLE001 - gateways keep what they have; the next change may be one that compiles
            self.metrics.count("compile_errors")
            _LOG.exception("Compiling failed; the table stays as it was")
            return
        self.fleet.set(compiled, self.world)
        if self.compiled is None:
            _LOG.info("Ready: %d resources compiled", len(compiled.resources))
        self.compiled = compiled
        self.compiled_once.set()
        self._reporter.compiled(compiled)

    def _own_fleet_changed(self, names: frozenset[Name]) -> None:
        self._follow(names, ())
        self._fleet_changed(names)

    def _own_keys_changed(self, upstreams: frozenset[str]) -> None:
        self._follow((), upstreams)
        self._keys_changed(upstreams)

    def _fleet_changed(self, names: frozenset[Name]) -> None:
        self._reporter.fleet_changed(names)

    def _suspect(self) -> None:
        self._source.suspect()

    def _keys_changed(self, upstreams: frozenset[str]) -> None:
        self._reporter.health_changed(upstreams)

    # ---- metrics ----------------------------------------------------------------------------------------------------

    def _register_metrics(self) -> None:
        metrics, counts = self.metrics, self._servicer.counts
        metrics.gauge("ready", "Whether gateways are served.", single(lambda: float(not self.why_not_ready())))
        metrics.gauge("resources", "Resources by kind and acceptance.", self._resources, "kind", "accepted")
        metrics.gauge(
            "connected_gateways",
            "Gateways with an open stream; those that count have acknowledged a complete table.",
            self._connected,
            "counts",
        )
        metrics.gauge(
            "gateways_behind",
            "Gateways that lack something of the table; at the writer, those of its peers are among them.",
            single(self._behind),
        )
        metrics.gauge(
            "table_info",
            "The version of the table.",
            lambda: [Sample(1, {"version": self.fleet.publisher.version})],
            "version",
        )
        metrics.gauge("table_resources", "Resources in the table.", single(lambda: len(self.fleet.publisher.entries)))
        for name, help_, read in (
            ("streams", "Streams that were let in.", lambda: counts.streams),
            ("pushes", "Updates sent.", lambda: counts.updates),
            ("pushed_resources", "Resources sent.", lambda: counts.resources),
            ("pushed_removals", "Removals sent.", lambda: counts.removals),
            ("acks", "Acknowledgements received.", lambda: counts.acks),
            ("rejects", "Resources that gateways refused.", lambda: counts.rejects),
            ("stale", "Resources that gateways had newer.", lambda: counts.stale),
        ):
            metrics.counter(name, help_, single(read))
        metrics.counter(
            "authentications_refused",
            "Streams that were not let in, by gRPC status.",
            by_label("code", lambda: counts.refused),
            "code",
        )

    def _resources(self) -> list[Sample]:
        found: dict[tuple[str, str], int] = {}
        for ref, verdict in (self.compiled.verdicts if self.compiled else {}).items():
            key = (ref.kind, str(verdict.accepted.ok).lower())
            found[key] = found.get(key, 0) + 1
        return [Sample(count, {"kind": kind, "accepted": accepted}) for (kind, accepted), count in found.items()]

    def _behind(self) -> int:
        return self.whole.behind() + sum(gateway.behind > 0 for gateway in self.fleet.gateways())

    def _connected(self) -> list[Sample]:
        found = {"true": 0, "false": 0}
        for gateway in self.fleet.gateways():
            found[str(gateway.counts).lower()] += 1
        return [Sample(count, {"counts": counts}) for counts, count in found.items()]


def _nothing() -> None:
    pass


async def _awaited(start: Callable[[], Awaitable[object]]) -> None:
    await start()
