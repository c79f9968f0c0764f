"""The gRPC end: streams in, `session.Session` inside. Thin on purpose; what is decided is decided there.

``async with serve(…)`` listens with TLS on a port, or on a Unix socket for the embedded mode.
"""

import asyncio
import contextlib
import logging
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc
from grpc import aio

from trunkline_operator.publish.authenticate import Authenticator, Identity, RefusedError
from trunkline_operator.publish.fleet import Connection, Fleet
from trunkline_operator.publish.refusals import Refusals
from trunkline_operator.publish.tls import Pair, ServingCertificate, TLSError
from trunkline_protocol import table
from trunkline_protocol.logs import fields
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1 import routing_pb2_grpc

_LOG: Final = logging.getLogger(__name__)

AGE_SECONDS: Final = 1800.0
_AGE_SPREAD: Final = 0.1
_BEFORE_EXPIRY_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 60.0
_HELLO_SECONDS: Final = 10.0
NODE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
MAX_INSTANCE: Final = 128

OPTIONS: Final[Sequence[tuple[str, int]]] = (
    ("grpc.max_receive_message_length", table.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", table.MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 32 << 10),
    # A gateway that vanished without a word is noticed within 15 seconds; the gateways' own pings are welcome.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # without it a ping waits for its answer for a minute
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
)


@dataclass(slots=True)
class Counts:
    """What the servicer has seen, for metrics. All only grow.

    Attributes:
        refused: gRPC status code → streams that were not let in.
    """

    streams: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    updates: int = 0
    resources: int = 0
    removals: int = 0
    acks: int = 0
    rejects: int = 0
    stale: int = 0


class Servicer(routing_pb2_grpc.RoutingServicer):
    """Serves ``Routing.Stream``."""

    def __init__(
        self,
        fleet: Fleet,
        authenticator: Authenticator,
        *,
        ready: Callable[[], bool],
        clock: Callable[[], float],
        age_seconds: float = AGE_SECONDS,
    ) -> None:
        """Make one.

        Args:
            fleet: Where gateways are known.
            authenticator: Who may come in.
            ready: Whether the first full LIST is done and compiled; until then streams are refused.
            clock: Unix seconds, for the expiry of tokens.
            age_seconds: How long a stream lives, give or take a tenth, so that replicas share the load.
        """
        self.counts = Counts()
        self._refusals = Refusals(_LOG, "a gateway", self.counts.refused)
        self._fleet = fleet
        self._authenticator = authenticator
        self._ready = ready
        self._clock = clock
        self._age_seconds = age_seconds
        self._streams: set[asyncio.Event] = set()
        self._closing = False

    async def Stream(  # noqa: N802 - the stub's name
        self,
        request_iterator: AsyncIterator[pb.GatewayMessage],
        context: aio.ServicerContext[pb.GatewayMessage, pb.OperatorMessage],
    ) -> AsyncIterator[pb.OperatorMessage]:
        """Serve one gateway."""
        try:
            hello, stays = await self._admit(request_iterator, context)
        except RefusedError as refused:
            self._refusals.refused(refused, context.peer())
            await context.abort(refused.code, refused.message)
        self.counts.streams += 1
        stream = _Stream()
        connection = self._fleet.connect(hello, stream.wake.set, stream.replace)
        reader = asyncio.create_task(self._read(connection, request_iterator, stream))
        timer = asyncio.get_running_loop().call_later(stays, stream.end, "the stream has reached its age; reconnect")
        self._streams.add(stream.wake)
        node = fields(node=hello.node.name, instance=hello.node.instance)
        _LOG.info("A gateway has connected", extra=node)
        try:
            while not stream.ended:
                stream.wake.clear()
                for update in connection.session.next():
                    self.counts.updates += not update.more
                    self.counts.resources += len(update.resources)
                    self.counts.removals += len(update.removals)
                    yield pb.OperatorMessage(update=update)
                if not stream.wake.is_set():
                    await stream.wake.wait()
                if self._closing:
                    stream.end("the operator is shutting down; reconnect")
                if stream.overdue and (connection.session.idle or stream.grace_is_over()):
                    stream.ended = stream.overdue
        finally:
            timer.cancel()
            reader.cancel()
            self._streams.discard(stream.wake)
            self._fleet.disconnect(connection)
            _LOG.info("A gateway has left: %s", stream.ended or "its connection is gone", extra=node)
        if not stream.polite:
            await context.abort(grpc.StatusCode.UNAVAILABLE, stream.ended)

    def close(self) -> None:
        """End all streams."""
        self._closing = True
        for wake in self._streams:
            wake.set()

    async def _admit(
        self,
        request_iterator: AsyncIterator[pb.GatewayMessage],
        context: aio.ServicerContext[pb.GatewayMessage, pb.OperatorMessage],
    ) -> tuple[pb.Hello, float]:
        """Who is it, and for how many seconds may it stay."""
        if not self._ready() or self._closing:
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, "the operator has not yet listed all resources")
        identity = await identify(self._authenticator, context)
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                first = await anext(aiter(request_iterator))
        except (TimeoutError, StopAsyncIteration):
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "the gateway said no hello") from None
        hello = first.hello
        node = hello.node
        if not first.HasField("hello") or not NODE.fullmatch(node.name) or len(node.instance) > MAX_INSTANCE:
            raise RefusedError(
                grpc.StatusCode.INVALID_ARGUMENT, "hello with a node name (letters, digits, '.', '-', '_') is needed"
            )
        if identity is not None and identity.pod_name and identity.pod_name != node.name:
            raise RefusedError(
                grpc.StatusCode.PERMISSION_DENIED,
                f"the gateway says that it is {node.name}, but its token belongs to pod {identity.pod_name[:253]}",
            )
        return hello, lifetime(self._age_seconds, identity, self._clock())

    async def _read(
        self, connection: Connection, request_iterator: AsyncIterator[pb.GatewayMessage], stream: "_Stream"
    ) -> None:
        with contextlib.suppress(aio.AioRpcError, aio.UsageError):
            async for message in request_iterator:
                match message.WhichOneof("message"):
                    case "ack":
                        self._acknowledged(connection, message.ack)
                    case "report":
                        self._fleet.report(connection, message.report)
                    case _:
                        pass  # from a newer gateway
        # The gateway has said its last word.
        stream.polite = True
        stream.ended = stream.ended or "it has left"
        stream.wake.set()

    def _acknowledged(self, connection: Connection, ack: pb.Ack) -> None:
        self.counts.acks += 1
        self.counts.rejects += len(ack.rejected)
        self.counts.stale += len(ack.stale)
        for reject in ack.rejected[:20]:
            _LOG.warning(
                "A gateway cannot use %s: %s",
                reject.name,
                reject.reason[:500],
                extra=fields(node=connection.session.node.name),
            )
        self._fleet.acknowledge(connection, ack)


class _Stream:
    """How one stream comes to its end.

    Attributes:
        overdue: Why it should end once nothing is in flight, or when the grace is over.
        ended: Why it ends now.
        polite: The gateway itself has closed: no error is due.
    """

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.overdue = ""
        self.ended = ""
        self.polite = False
        self._loop = asyncio.get_running_loop()
        self._overdue_since = 0.0

    def end(self, why: str) -> None:
        if not self.overdue:
            self.overdue = why
            self._overdue_since = self._loop.time()
            self._loop.call_later(_GRACE_SECONDS / 4, self.wake.set)
        self.wake.set()

    def replace(self) -> None:
        self.ended = "a newer stream of the same node has come"
        self.wake.set()

    def grace_is_over(self) -> bool:
        return self._loop.time() - self._overdue_since >= _GRACE_SECONDS / 4


@contextlib.asynccontextmanager
async def serve(
    servicer: Servicer,
    *,
    address: str,
    certificate: ServingCertificate | None = None,
    peers: routing_pb2_grpc.PeersServicer | None = None,
    closing: Callable[[], object] = lambda: None,
) -> AsyncIterator[int]:
    """Listen while the context lasts; yields the port (1 for a Unix socket).

    Args:
        servicer: What serves.
        address: ``HOST:PORT`` (port 0: any) with ``certificate``, else ``unix:PATH``; the directory of the socket is
            made with mode 0700 and lets in.
        certificate: The serving certificate; read again, and renewed, as new connections come and every hour.
        peers: Serves the other replicas on the same port.
        closing: Called when the server is about to stop, and streams have to end.

    Raises:
        TLSError: there is no usable certificate.
        OSError: the address cannot be bound.
    """
    server = aio.server(options=list(OPTIONS))
    routing_pb2_grpc.add_RoutingServicer_to_server(servicer, server)
    if peers is not None:
        routing_pb2_grpc.add_PeersServicer_to_server(peers, server)
    try:
        if certificate is None:
            port = _bind_socket(server, address)
        else:
            port = server.add_secure_port(address, _credentials(certificate))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error
    await server.start()
    renewal = asyncio.create_task(_keep_fresh(certificate)) if certificate is not None else None
    try:
        yield port
    finally:
        if renewal is not None:
            renewal.cancel()
        servicer.close()
        closing()
        await server.stop(1.0)
        if certificate is None:
            with contextlib.suppress(OSError):
                os.unlink(address.removeprefix("unix:"))


def _bind_socket(server: aio.Server, address: str) -> int:
    path = Path(address.removeprefix("unix:"))
    if not address.startswith("unix:") or not path.name:
        raise ValueError(f"{address!r} is not unix:PATH; without TLS there is only a Unix socket")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.parent.stat()
    if mode.st_uid != os.geteuid() or mode.st_mode & 0o077:
        raise OSError(f"{path.parent} must be ours alone (mode 0700): whoever can open the socket gets every key")
    path.unlink(missing_ok=True)
    return server.add_insecure_port(address)


def _credentials(certificate: ServingCertificate) -> grpc.ServerCredentials:
    def configuration(pair: Pair) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)])

    served = certificate.current(datetime.now(UTC))

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # Called by gRPC, on its threads, for each new connection. A configuration is gRPC's own once it was returned:
        # to return one twice crashes the process. None means that the last one stands.
        nonlocal served
        try:
            pair = certificate.current(datetime.now(UTC))
        except TLSError as error:
            _LOG.error("%s", error)
            return None
        if pair is served:
            return None
        served = pair
        return configuration(pair)

    return grpc.dynamic_ssl_server_credentials(
        configuration(served),
        fetch,  # type: ignore[arg-type]  # None is documented; the stubs do not know it
        require_client_authentication=False,
    )


async def _keep_fresh(certificate: ServingCertificate) -> None:
    """Renew in time for gateways that read ``ca.crt`` before they connect."""
    while True:
        await asyncio.sleep(600)
        try:
            certificate.current(datetime.now(UTC))
        except TLSError as error:
            _LOG.error("%s", error)


async def identify(authenticator: Authenticator, context: aio.ServicerContext[Any, Any]) -> Identity | None:
    """Who opens this stream; None: anybody may.

    Raises:
        RefusedError: not let in.
    """
    given = dict(context.invocation_metadata() or ()).get("authorization")
    return await authenticator.authenticate(given.decode("ascii", "replace") if isinstance(given, bytes) else given)


def lifetime(age_seconds: float, identity: Identity | None, now: float) -> float:
    """For how many seconds a stream may stay: spread, so that replicas share the load, and not beyond its token.

    Args:
        age_seconds: How long, give or take a tenth.
        identity: Whose it is.
        now: Unix seconds.
    """
    age = age_seconds * random.uniform(1 - _AGE_SPREAD, 1 + _AGE_SPREAD)  # noqa: S311 - spreads load
    return age if identity is None else max(0.0, min(age, identity.expires - now - _BEFORE_EXPIRY_SECONDS))
