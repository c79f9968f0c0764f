"""A whole gateway, put together: listeners, the table coming in, and the handler between them.

    gateway = Gateway(Settings(operator="unix:/run/operator.sock", host="127.0.0.1", port=8080))
    await gateway.start()        # both ports answer
    await gateway.wait_ready()   # there is a table
    await gateway.stop()         # after the drain, running answers are finished

One per event loop. `run` is the process around it.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Coroutine, Mapping
from importlib import metadata
from typing import Any, Final

import uvloop

from trunkline_gateway import admin, process
from trunkline_gateway.ingress import handler, rest
from trunkline_gateway.ingress.asgi import Application
from trunkline_gateway.ingress.limits import Limits
from trunkline_gateway.ingress.listener import Listener
from trunkline_gateway.routing import attempts
from trunkline_gateway.routing.health import Health
from trunkline_gateway.routing.snapshot import EMPTY, Snapshot
from trunkline_gateway.settings import Settings
from trunkline_gateway.subscription import lastgood
from trunkline_gateway.subscription.client import Settings as SubscriptionSettings
from trunkline_gateway.subscription.client import Subscription
from trunkline_gateway.subscription.store import Store
from trunkline_gateway.telemetry.access import AccessLog
from trunkline_gateway.telemetry.ledger import Ledger
from trunkline_gateway.telemetry.metrics import Metrics
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import PooledClient, Timeouts
from trunkline_gateway.upstream.dispatch import DispatchClient
from trunkline_gateway.upstream.echo.client import EchoClient
from trunkline_gateway.upstream.http1.client import Http1Client
from trunkline_gateway.upstream.images import Fetcher
from trunkline_protocol import logs
from trunkline_protocol.v1 import routing_pb2 as pb

_logger = logging.getLogger(__name__)

_RESTART_SECONDS: Final = 5.0
_ADMIN_GRACE_SECONDS: Final = 1.0


class Gateway:
    """See the module.

    Attributes:
        metrics: What ``/metrics`` renders.
        snapshot: The table that is served. Replaced whole; a request keeps the one that it began with.
    """

    def __init__(self, settings: Settings) -> None:
        """Make one; nothing is opened before `start`."""
        self.settings = settings
        self.snapshot: Snapshot = EMPTY
        version = metadata.version("trunkline")
        self.metrics = Metrics(version=version)
        self._draining = False
        self._ready = asyncio.Event()
        self._health = Health(wall=_wall)
        self._store = Store(time.monotonic)
        keeper = lastgood.Keeper(settings.state_dir, self._store.saved) if settings.state_dir is not None else None
        self._keeper = keeper
        self._subscription = Subscription(
            SubscriptionSettings(
                operator=settings.operator,
                node_name=settings.node_name,
                version=version,
                ca_file=settings.ca_file,
                token_file=settings.token_file,
            ),
            self._store,
            self,
            clock=time.monotonic,
            health_report=self._health.report,
            keeper=keeper,
        )
        self._client: PooledClient | None = None
        self._fetcher: Fetcher | None = None
        self._ledger: Ledger | None = None
        self._public: Listener | None = None
        self._admin: Listener | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The public port, also where the system chose it."""
        return self.settings.port if self._public is None else self._public.port

    @property
    def admin_port(self) -> int:
        """The admin port, also where the system chose it."""
        return self.settings.admin_port if self._admin is None else self._admin.port

    # ---- life ----

    async def start(self) -> None:
        """Listen on both ports, take over the last known good, and begin to follow the operator.

        Raises:
            OSError: A port cannot be bound; nothing is left open.
        """
        settings = self.settings
        loop = asyncio.get_running_loop()
        timers = Timers(loop)
        self._client = DispatchClient(Http1Client(timers), EchoClient(clock=_wall))
        self._ledger = Ledger(loop, self.metrics, AccessLog(logs.handler(), wall=_wall))
        self._fetcher = Fetcher() if settings.fetch_image_urls else None
        served = self._handler(self._client, self._ledger, timers)
        try:
            self._admin = Listener(
                admin.application(self),
                host=settings.host,
                port=settings.admin_port,
                timers=timers,
                grace_seconds=_ADMIN_GRACE_SECONDS,
            )
            self._public = Listener(
                Application(served, rest.application()),
                handler=served,
                host=settings.host,
                port=settings.port,
                timers=timers,
                limits=Limits(in_flight=settings.max_in_flight, body_seconds=settings.total_timeout_seconds),
                refused=self.metrics.refused_head,
                grace_seconds=settings.shutdown_grace_seconds,
            )
        except OSError:
            await self._close()
            raise
        self.metrics.watch(
            age_seconds=lambda: self._subscription.config_age_seconds,
            connected=lambda: self._subscription.connected,
            resources=lambda: len(self._store),
            rejected=lambda: len(self._store.rejected),
        )
        await self._admin.start()
        await self._restore()
        await self._public.start()
        self._spawn(self._follow())

    async def wait_ready(self) -> None:
        """Return when there is a table to serve from."""
        await self._ready.wait()

    async def stop(self) -> None:
        """Become unready, drain, accept nothing more, finish what runs within the grace period, close everything.

        The drain: who sends traffic here needs a moment to hear that this gateway goes, so it is served as before, and
        told in each answer to go elsewhere. Where it never was ready nobody sends any, and there is none.
        """
        if not self._draining:
            self._draining = True
            self._subscription.drain()
            if self._public is not None and self._ready.is_set() and self.settings.drain_delay_seconds:
                self._public.drain()
                await asyncio.sleep(self.settings.drain_delay_seconds)
        await self._close()

    async def run(self, until: asyncio.Event) -> None:
        """Start, serve until ``until`` is set, stop."""
        await self.start()
        try:
            await until.wait()
        finally:
            await self.stop()

    async def _close(self) -> None:
        for listener in (self._public, self._admin):
            if listener is not None:
                await listener.stop()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._keeper is not None:
            await self._keeper.close()
        if self._client is not None:
            await self._client.close()
        if self._fetcher is not None:
            self._fetcher.close()
        if self._ledger is not None:
            self._ledger.close()

    def _handler(self, client: PooledClient, ledger: Ledger, timers: Timers) -> handler.Handler:
        settings = self.settings
        timeouts = Timeouts(
            connect=settings.connect_timeout_seconds,
            first_byte=settings.first_byte_timeout_seconds,
            stream_idle=settings.stream_idle_timeout_seconds,
        )
        return handler.Handler(
            table=lambda: self.snapshot,
            client=client,
            health=self._health,
            metrics=self.metrics,
            ledger=ledger,
            timers=timers,
            wall=_wall,
            policy=handler.Policy(
                max_body_bytes=settings.max_body_bytes,
                trusted_proxies=settings.trusted_proxies,
                serving=attempts.Settings(
                    timeouts=timeouts,
                    total_seconds=settings.total_timeout_seconds,
                    fetch_picture=None if self._fetcher is None else self._fetcher.fetch,
                ),
            ),
        )

    # ---- the table ----

    async def _restore(self) -> None:
        if self._keeper is None:
            return
        snapshot = await self._keeper.restore(self._store)
        if snapshot is not None:
            _logger.info("there is a last known good table", extra=logs.fields(version=snapshot.version))
            self.applied(snapshot)

    async def _follow(self) -> None:
        while True:
            try:
                await self._subscription.run()
            except Exception:  # whatever it is: what is served goes on being served
                _logger.exception("the subscription failed; it begins anew")
            await asyncio.sleep(_RESTART_SECONDS)

    def applied(self, snapshot: Snapshot, /) -> None:
        """Serve ``snapshot`` from now on; see `subscription.client.Events`."""
        self.snapshot = snapshot
        self.metrics.swapped(snapshot)
        self._health.prune(snapshot)
        if not self._ready.is_set():
            _logger.info("ready", extra=logs.fields(version=snapshot.version, resources=len(self._store)))
            self._ready.set()
        if self._client is not None:
            endpoints = {each for upstream in snapshot.upstreams.values() for each in upstream.endpoints}
            self._spawn(self._client.prune(endpoints))

    def connected(self, connected: bool, /) -> None:
        """See `subscription.client.Events`."""
        if self._draining:
            return
        _logger.info(
            "connected to the operator" if connected else "the operator is gone; serving what there is",
            extra=logs.fields(operator=self.settings.operator),
        )

    # ---- what the admin port shows ----

    def settle(self) -> None:
        """See `admin.State`."""
        if self._ledger is not None:
            self._ledger.flush()

    def unready_reason(self) -> str | None:
        """See `admin.State`."""
        if self._draining:
            return "The gateway is shutting down."
        if not self._ready.is_set():
            why = self._subscription.last_error
            reason = f"There is no routing table yet: {why}{'' if why.endswith('?') else '.'}"
            return f"{reason} {self._keeper.problem}" if self._keeper and self._keeper.problem else reason
        return None

    def describe_table(self) -> Mapping[str, object]:
        """See `admin.State`."""
        snapshot, stream = self.snapshot, self._subscription
        return {
            "node": self.settings.node_name,
            "version": snapshot.version,
            "resources": len(self._store),
            "routes": len(snapshot.routes),
            "upstreams": len(snapshot.upstreams),
            "keys": len(snapshot.keys),
            "received": self._store.received,
            "updates": stream.updates,
            "connected": stream.connected,
            "last_error": stream.last_error,
            "age_seconds": round(stream.config_age_seconds, 3),
            "rejected": [
                {"type": pb.Type.Name(name.type).removeprefix("TYPE_").lower(), "name": name.name, "reason": reason}
                for name, reason in sorted(self._store.rejected.items())
            ],
            "problems": [
                {"upstream": problem.upstream, "key": problem.key, "reason": problem.reason}
                for problem in self._store.problems
            ],
        }

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def run(settings: Settings) -> int:
    """Be a gateway until SIGTERM or SIGINT; the second one ends it at once. Returns the exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    until = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked_to_stop() -> None:
        if until.is_set():
            os._exit(1)
        _logger.info("shutting down")
        until.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    gateway = Gateway(settings)
    try:
        await gateway.start()
    except OSError as error:
        _logger.error("cannot listen: %s", error.strerror or error)
        return 1
    if settings.redis_url is not None:
        _logger.info("limits are not part of this version: the Redis of --redis-url is not used")
    _logger.info("listening", extra=logs.fields(port=gateway.port, admin_port=gateway.admin_port))
    tuning = asyncio.create_task(process.tune(gateway.wait_ready()))
    await until.wait()
    tuning.cancel()
    await gateway.stop()
    return 0


def _wall() -> float:
    return time.time_ns() / 1e9
