"""The stream to the operator: connect, say hello, apply, acknowledge; for ever.

`Subscription.run` never gives up and never raises for what an operator or a network does. The gateway serves what it
has meanwhile; how old that is, is a metric.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
from grpc import aio

from trunkline_gateway.routing.snapshot import Snapshot
from trunkline_gateway.subscription import reasons
from trunkline_gateway.subscription.lastgood import Keeper
from trunkline_gateway.subscription.store import Store, WireError
from trunkline_protocol import table
from trunkline_protocol.logs import fields
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1.routing_pb2_grpc import RoutingStub

_LOG: Final = logging.getLogger(__name__)

BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 30.0
REPORT_SECONDS: Final = 5.0
_HANDSHAKE_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.05
_STATUS_SECONDS: Final = 1.0
_REMIND_SECONDS: Final = 600.0
# What an operator says to the older one of two streams of the same node; see its publish/server.py.
_REPLACED: Final = "a newer stream of the same node"

OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.max_receive_message_length", table.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", table.MAX_MESSAGE_BYTES),
    # An operator that vanished without a word is noticed within 15 seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # without it a ping waits for its answer for a minute
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.enable_http_proxy", 0),
    # Each connect is a new channel with connections of its own, so that names are resolved and replicas chosen anew.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the operator is, and who we are.

    Attributes:
        operator: ``HOST:PORT`` or ``unix:PATH``.
        node_name: The pod's name.
        version: Of the software.
        ca_file: Whom to trust; read at each connect. None: the system's.
        token_file: ServiceAccount token; read at each connect. None: none is sent.
        handshake_seconds: How long connecting and the first word of the operator may take.
    """

    operator: str
    node_name: str
    version: str = ""
    ca_file: Path | None = None
    token_file: Path | None = None
    backoff_seconds: float = BACKOFF_SECONDS
    max_backoff_seconds: float = MAX_BACKOFF_SECONDS
    report_seconds: float = REPORT_SECONDS
    handshake_seconds: float = _HANDSHAKE_SECONDS


class Events(Protocol):
    """What happens, for metrics and readiness. Called from the loop; must not block."""

    def connected(self, connected: bool, /) -> None:
        """The stream is up (after its first update) or down."""
        ...

    def applied(self, snapshot: Snapshot, /) -> None:
        """A new snapshot is to be served."""
        ...


class Subscription:
    """This gateway's subscription.

    Attributes:
        connected: Whether a stream is up and its first update applied.
        last_error: Why there is no stream, in words; empty while there is one.
        updates: How many updates were applied.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        events: Events,
        *,
        clock: Callable[[], float],
        health_report: Callable[[], list[pb.KeyHealth]] = list,
        keeper: Keeper | None = None,
    ) -> None:
        """Make one; `run` starts it.

        Args:
            settings: Where and who.
            store: With what was restored, if anything.
            events: Told what happens.
            clock: Monotonic seconds.
            health_report: The state of all keys, complete; only what has changed is sent.
            keeper: Writes the last known good.
        """
        self.connected = False
        self.last_error = "no operator has been reached yet"
        self.updates = 0
        self._settings = settings
        self._store = store
        self._events = events
        self._clock = clock
        self._health_report = health_report
        self._keeper = keeper
        self._instance = secrets.token_hex(8)
        self._confirmed = clock()
        self._draining = asyncio.Event()
        self._attempt = 0
        self._replaced = 0  # streams in a row that a newer one of the same node has ended
        self._warned = ("", -_REMIND_SECONDS)
        self._where = reasons.Where(settings.operator, str(settings.ca_file or ""), str(settings.token_file or ""))

    @property
    def config_age_seconds(self) -> float:
        """For how long nobody has confirmed that what is served is current; 0 while connected.

        Without any operator so far it counts from the start of the process.
        """
        return 0.0 if self.connected else self._clock() - self._confirmed

    async def run(self) -> None:
        """Keep a stream up until cancelled."""
        while True:
            begun = self._clock()
            try:
                await self._stream()
                why = "the operator has ended the stream"
            except aio.AioRpcError as error:
                why = reasons.refused(error.code(), error.details() or "", self._where)
            except TimeoutError:
                why = reasons.silent(self._where, self._settings.handshake_seconds)
            except asyncio.InvalidStateError:
                why = "the stream has broken"
            except (OSError, WireError) as error:
                why = str(error) or type(error).__name__
            finally:
                self._set_connected(False)
            if _REPLACED in why:
                why = self._was_replaced(why, self._clock() - begun)
            else:
                self._replaced = 0
            self.last_error = why
            delay = self._backoff()
            _LOG.log(
                self._level(why),
                "No stream from the operator, next try in %.1f s: %s",
                delay,
                why,
                extra=fields(operator=self._settings.operator),
            )
            await asyncio.sleep(delay)

    def drain(self) -> None:
        """Tell the operator, soon, that this gateway is about to exit and no longer counts."""
        self._draining.set()

    def _level(self, why: str) -> int:
        """What is new is a warning, and what lasts is one every ten minutes."""
        # The ordinary end of a stream, which is soon there again, is no news; nor is what has been warned of.
        if self._attempt <= 1 or self._replaced:
            return logging.INFO
        warned, since = self._warned
        now = self._clock()
        sentence = reasons.gist(why)
        if sentence == warned and now - since < _REMIND_SECONDS:
            return logging.DEBUG
        self._warned = (sentence, now)
        return logging.WARNING

    def _backoff(self) -> float:
        """Full jitter: an operator that comes back must not meet all gateways at once."""
        settings = self._settings
        ceiling = min(settings.max_backoff_seconds, settings.backoff_seconds * 2 ** min(self._attempt, 30))
        self._attempt += 1
        return random.uniform(0, ceiling)  # noqa: S311 - spreads load

    def _was_replaced(self, why: str, lasted: float) -> str:
        """Back off more each time, or two gateways with one name throw each other out for ever. Returns the cause."""
        if lasted > 4 * self._settings.max_backoff_seconds:
            self._replaced = 0  # whoever it was has not come back
        self._attempt = self._replaced
        self._replaced += 1
        why = f"{why}; do two gateways share --node-name {self._settings.node_name}?"
        if self._replaced == 1:
            _LOG.warning(
                "Another gateway has taken over the stream: two gateways share --node-name %s, and only one at a time "
                "follows the operator",
                self._settings.node_name,
            )
        return why

    def _set_connected(self, connected: bool) -> None:
        if connected:
            self.last_error = ""
            self._warned = ("", -_REMIND_SECONDS)
        if connected != self.connected:
            if not connected:
                self._confirmed = self._clock()
            self.connected = connected
            self._events.connected(connected)

    async def _stream(self) -> None:
        metadata = await asyncio.to_thread(self._metadata)
        roots = await asyncio.to_thread(self._roots)
        async with contextlib.AsyncExitStack() as stack:
            channel = await stack.enter_async_context(self._channel(roots))
            call = RoutingStub(channel).Stream(metadata=metadata)
            stack.callback(call.cancel)
            up = _Up(call)
            node = pb.Node(name=self._settings.node_name, instance=self._instance, version=self._settings.version)
            hello = pb.Hello(node=node, reader=table.READER_VERSION, held=self._store.held())
            try:
                async with asyncio.timeout(self._settings.handshake_seconds):
                    await up.send(pb.GatewayMessage(hello=hello))
                    message = await call.read()
                reports = asyncio.create_task(self._report(up))
                stack.callback(reports.cancel)
                while isinstance(message, pb.OperatorMessage):
                    if message.HasField("update"):
                        await self._apply(message.update, up)
                    message = await call.read()
            except (aio.AioRpcError, asyncio.InvalidStateError):
                pass
            # The stream has ended: its status, which comes a moment after a write has failed, says why.
            try:
                async with asyncio.timeout(_STATUS_SECONDS):
                    code, details = await call.code(), await call.details()
            except TimeoutError:
                raise asyncio.InvalidStateError from None
            if code is not grpc.StatusCode.OK:
                raise OSError(reasons.refused(code, details or "", self._where))

    async def _apply(self, update: pb.Update, up: "_Up") -> None:
        applied = self._store.receive(update)
        if applied is None:
            return
        if applied.snapshot is not None:
            self._events.applied(applied.snapshot)
        self.updates += 1
        self._attempt = 0
        if self._keeper is not None:
            # Before the ACK: once the operator may say that a key is revoked, no restart must bring it back.
            await self._keeper.keep(applied.parts)
        await up.send(pb.GatewayMessage(ack=applied.ack))
        self._set_connected(True)
        for reject in applied.ack.rejected:
            _LOG.warning("Cannot use %s of the operator's table: %s", reject.name, reject.reason)

    async def _report(self, up: "_Up") -> None:
        """Send what has changed, at most once in ``report_seconds``; the first one is complete."""
        sent: dict[tuple[str, str], pb.KeyHealth] = {}
        told = False
        with contextlib.suppress(aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                if not self.connected:
                    await asyncio.sleep(_POLL_SECONDS)
                    continue
                current = self._health()
                changed = [health for name, health in current.items() if sent.get(name) != health]
                changed += [
                    pb.KeyHealth(upstream=upstream, key=key, state=pb.HEALTH_STATE_ACTIVE)
                    for upstream, key in sent.keys() - current.keys()
                ]
                draining = self._draining.is_set()
                if changed or draining != told:
                    await up.send(pb.GatewayMessage(report=pb.NodeReport(keys=changed, draining=draining)))
                sent, told = current, draining
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.report_seconds):
                        await (asyncio.Event() if told else self._draining).wait()

    def _health(self) -> dict[tuple[str, str], pb.KeyHealth]:
        current = {(health.upstream, health.key): health for health in self._health_report()}
        for problem in self._store.problems:
            current[problem.upstream, problem.key] = pb.KeyHealth(
                upstream=problem.upstream, key=problem.key, state=pb.HEALTH_STATE_REJECTED, reason=problem.reason
            )
        return current

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        if (path := self._settings.token_file) is None:
            return ()
        try:
            token = path.read_text(encoding="ascii").strip()
        except OSError as error:
            raise OSError(reasons.unreadable_token(self._where, error.strerror or type(error).__name__)) from None
        except ValueError:
            raise OSError(reasons.unreadable_token(self._where, "it is not ASCII")) from None
        if not token:
            raise OSError(reasons.unreadable_token(self._where, "it is empty"))
        return (("authorization", f"Bearer {token}"),)

    def _roots(self) -> bytes | None:
        if (path := self._settings.ca_file) is None:
            return None
        try:
            roots = path.read_bytes()
        except OSError as error:
            raise OSError(reasons.unreadable_ca(self._where, error.strerror or type(error).__name__)) from None
        if b"-----BEGIN CERTIFICATE-----" not in roots:
            # gRPC would take an empty file for the system's authorities.
            raise OSError(reasons.unreadable_ca(self._where, "it holds no certificate"))
        return roots

    def _channel(self, roots: bytes | None) -> aio.Channel:
        operator = self._settings.operator
        if operator.startswith("unix:"):
            # Nobody but ourselves can open the socket: it lies in a directory of mode 0700.
            return aio.insecure_channel(operator, options=OPTIONS)
        return aio.secure_channel(f"dns:///{operator}", grpc.ssl_channel_credentials(roots), options=OPTIONS)


class _Up:
    """The way up: one message at a time, as gRPC wants it."""

    def __init__(self, call: "aio.StreamStreamCall[pb.GatewayMessage, pb.OperatorMessage]") -> None:
        self._call = call
        self._lock = asyncio.Lock()
        # `call.write` that meets a call which the other end has just ended makes "INTERNAL: Internal error from Core"
        # the call's status for ever, and the true one is lost. So we write to the layer below, if this gRPC has it.
        self._core: Any = getattr(call, "_cython_call", None)

    async def send(self, message: pb.GatewayMessage) -> None:
        """Send it.

        Raises:
            aio.AioRpcError: The call has ended.
            asyncio.InvalidStateError: The call has ended, too, or is about to.
        """
        async with self._lock:
            if not hasattr(self._core, "send_serialized_message"):
                await self._call.write(message)
                return
            await self._call.wait_for_connection()
            if self._call.done():
                raise asyncio.InvalidStateError
            try:
                await self._core.send_serialized_message(message.SerializeToString())
            except Exception as error:  # noqa: BLE001 - gRPC's own, which it does not export
                raise asyncio.InvalidStateError(str(error)) from None
