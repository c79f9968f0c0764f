"""A replica's end of ``Peers.Report``: reports to the writer, and follows it when it changes.

Where nobody can say who writes, it reports to all replicas that it knows: the one that writes is among them, and the
others take it for what it may be worth to them later.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from grpc import StatusCode, aio, ssl_channel_credentials

from trunkline_operator.peers.bounds import MAX_ADDRESS, MAX_PEERS
from trunkline_operator.peers.outgoing import Outgoing
from trunkline_operator.publish.fleet import Fleet
from trunkline_protocol import table
from trunkline_protocol.logs import fields
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1.routing_pb2_grpc import PeersStub

_LOG: Final = logging.getLogger(__name__)

COALESCE_SECONDS: Final = 0.1
_REST: Final = 10
"""A report is followed by a pause of so many times as long as it took: a mass change must not stop the loop."""

_BACKOFF_SECONDS: Final = 0.25
_MAX_BACKOFF_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0
_GOODBYE_SECONDS: Final = 1.0

REFRESH_SECONDS: Final = 30.0
"""So often there is a report although there is no news: its answer says who the other replicas are."""

UNREACHABLE_SECONDS: Final = 20.0
"""Whoever cannot be reported to for so long is in trouble, or we are; a killed writer has a successor by then."""

_Call: TypeAlias = "aio.StreamStreamCall[pb.PeerReport, pb.PeerAck]"

SERVER_NAME: Final = "trunkline-operator"
"""Whom a replica's certificate is for unless told otherwise, whatever address it is reached at."""

OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", table.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", table.MAX_MESSAGE_BYTES),
    # As the gateways': a writer that vanished without a word is noticed within 15 seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Whom to trust and who we are; both files are read at each connect.

    Attributes:
        server_name: Must be among the names of a replica's certificate.
    """

    ca_file: Path
    token_file: Path | None
    server_name: str = SERVER_NAME

    def read(self) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """The bundle, and the metadata.

        Raises:
            OSError: One of the files cannot be read; the message says which.
        """
        try:
            roots = self.ca_file.read_bytes()
        except OSError as error:
            raise OSError(f"cannot read the CA file {self.ca_file}: {error.strerror}") from None
        if self.token_file is None:
            return roots, ()
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            raise OSError(f"cannot read the token file {self.token_file}") from None
        return roots, (("authorization", f"Bearer {token}"),)


class PeerClient:
    """Reports to those whom `to` names, until told otherwise."""

    def __init__(
        self,
        fleet: Fleet,
        identity: str,
        credentials: Credentials,
        ended: Callable[[], None] = lambda: None,
        *,
        address: str = "",
        tell: Callable[[str, str], None] = lambda topic, sentence: None,
        told: Callable[[Iterable[str]], None] = lambda addresses: None,
    ) -> None:
        """Make one; `run` starts it.

        Args:
            fleet: What to report on.
            identity: Who reports.
            credentials: For the writer.
            ended: Called when a stream to the writer has ended: it may be leaving.
            address: Where others report to this replica; empty: nowhere.
            tell: Told who cannot be reported to; `problems.Problems.tell`.
            told: Gets the addresses of the other replicas that the writer knows.
        """
        self.fleet = fleet
        self.identity = identity
        self.address = address
        self.credentials = credentials
        self.ended = ended
        self.told = told
        self._tell = tell
        self._addresses: tuple[str, ...] = ()
        self._searching = False
        self._moved = asyncio.Event()
        self._links: dict[str, tuple[_Link, asyncio.Task[None]]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether somebody has acknowledged a report of a stream that is open now."""
        return any(link.connected for link, _ in self._links.values())

    @property
    def last_error(self) -> str:
        """Why there is no stream, in words."""
        return "; ".join(link.last_error for link, _ in self._links.values() if link.last_error)

    def to(self, *addresses: str, searching: bool = False) -> None:
        """Report to each ``HOST:PORT``; none: to nobody.

        Args:
            addresses: Where; empty ones are left out.
            searching: Nobody knows which of them writes: those who do not answer are no trouble.
        """
        self._addresses = tuple(dict.fromkeys(address for address in addresses if address))
        self._searching = searching
        self._moved.set()

    def changed(self, names: Iterable[Name] = (), upstreams: Iterable[str] = ()) -> None:
        """The fleet has notified."""
        for link, _ in self._links.values():
            link.changed(names, upstreams)

    async def run(self) -> None:
        """Work until cancelled; then say goodbye."""
        try:
            while True:
                self._moved.clear()
                self._reconcile()
                await self._moved.wait()
        finally:
            self._addresses = ()
            self._reconcile()
            if self._closing:
                await asyncio.wait(self._closing, timeout=2 * _GOODBYE_SECONDS)

    def tell(self, address: str, sentence: str) -> None:
        """Say what is wrong with ``address``; an empty sentence: nothing."""
        self._tell(f"peer {address}", "" if self._searching else sentence)

    def _reconcile(self) -> None:
        for address in [each for each in self._links if each not in self._addresses]:
            link, task = self._links.pop(address)
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._tell(f"peer {address}", "")
            if link.connected:
                link.close()
                asyncio.get_running_loop().call_later(_GOODBYE_SECONDS, task.cancel)
            else:
                task.cancel()
        for address in self._addresses:
            if address not in self._links:
                link = _Link(self, address)
                self._links[address] = link, asyncio.ensure_future(link.run())


class _Link:
    """Keeps a stream to one replica up; see `PeerClient`."""

    def __init__(self, client: PeerClient, address: str) -> None:
        self.connected = False
        self.last_error = ""
        self._client = client
        self._address = address
        self._news = asyncio.Event()
        self._outgoing: Outgoing | None = None
        self._attempt = 0
        self._closing = asyncio.Event()
        self._lost_at = asyncio.get_running_loop().time()

    def changed(self, names: Iterable[Name], upstreams: Iterable[str]) -> None:
        """The fleet has notified."""
        if self._outgoing is not None:
            self._outgoing.changed(names, upstreams)
            self._news.set()

    def close(self) -> None:
        """Say goodbye and end `run`."""
        self._closing.set()
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled or closed."""
        loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            was_connected, why = False, ""
            try:
                await self._stream()
            except aio.AioRpcError as error:
                why = f"{error.code().name}: {(error.details() or '')[:300]}"
                if error.code() in (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED):
                    self._attempt = max(self._attempt, 4)
            except TimeoutError:
                why = f"no answer in {_ANSWER_SECONDS:.0f} s"
            except (OSError, asyncio.InvalidStateError) as error:
                why = str(error) or type(error).__name__
            except Exception as error:  # noqa: BLE001 - one replica that cannot be told must not end the rest
                why = type(error).__name__
                _LOG.exception("A report could not be made")
            finally:
                was_connected, self.connected, self._outgoing = self.connected, False, None
            if self._closing.is_set():
                return
            if why != self.last_error:
                _LOG.info("No stream to the writing replica: %s", why, extra=fields(writer=self._address))
            self.last_error = why
            if was_connected:
                self._lost_at = loop.time()
                self._client.ended()
            elif loop.time() - self._lost_at >= UNREACHABLE_SECONDS:
                self._client.tell(
                    self._address,
                    f"cannot report to the writing replica at {self._address}, so that statuses do not speak of the "
                    f"gateways here: {why}; operators have to reach each other at that port (NetworkPolicy)",
                )
            ceiling = min(_MAX_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2 ** min(self._attempt, 10))
            self._attempt += 1
            await asyncio.sleep(random.uniform(0, ceiling))  # noqa: S311 - spreads load

    async def _stream(self) -> None:
        client = self._client
        roots, metadata = await asyncio.to_thread(client.credentials.read)
        options = (*OPTIONS, ("grpc.ssl_target_name_override", client.credentials.server_name))
        channel = aio.secure_channel(self._address, ssl_channel_credentials(roots), options=options)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(channel)
            call = PeersStub(channel).Report(metadata=metadata)
            stack.callback(call.cancel)
            self._outgoing = outgoing = Outgoing(client.fleet, client.identity, client.address)
            refresh = False
            while not self._closing.is_set():
                self._news.clear()
                begun = client.fleet.now
                parts = outgoing.next(always=refresh)
                took = client.fleet.now - begun
                if parts:
                    await self._exchange(call, parts)
                    await asyncio.sleep(max(COALESCE_SECONDS, _REST * took))
                refresh = False
                if not self._news.is_set() and not self._closing.is_set():
                    refresh = not await self._until_news(call)
            await self._exchange(call, [outgoing.goodbye()])

    async def _exchange(self, call: _Call, parts: list[pb.PeerReport]) -> None:
        """Send a report and wait for its acknowledgement."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            try:
                for part in parts:
                    await call.write(part)
            except asyncio.InvalidStateError:
                pass  # the call has ended; `read` says why
            answer = await call.read()
        if not isinstance(answer, pb.PeerAck):
            raise OSError("the writer has ended the stream")
        self._attempt = 0
        if not self.connected:
            self.connected, self.last_error = True, ""
            self._client.tell(self._address, "")
            _LOG.info("Reporting to the writing replica", extra=fields(writer=self._address))
        self._client.told([each for each in answer.peers[:MAX_PEERS] if len(each) <= MAX_ADDRESS])

    async def _until_news(self, call: _Call) -> bool:
        """Return when there is something to say, or, with False, after a while; raise when the stream has ended."""
        over = asyncio.Event()
        call.add_done_callback(lambda _: over.set())
        news = asyncio.ensure_future(self._news.wait())
        end = asyncio.ensure_future(over.wait())
        try:
            await asyncio.wait({news, end}, timeout=REFRESH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            end.cancel()
        if over.is_set():
            raise OSError(f"{(await call.code()).name}: {(await call.details() or '')[:300]}")
        return self._news.is_set()
