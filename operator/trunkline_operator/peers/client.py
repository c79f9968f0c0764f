"""A replica's end of ``Peers.Report``: finds the writer, reports to it, and follows it when it changes."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from grpc import StatusCode, aio, ssl_channel_credentials

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

_Call: TypeAlias = "aio.StreamStreamCall[pb.PeerReport, pb.PeerAck]"

SERVER_NAME: Final = "trunkline-operator"
"""Whom a replica's certificate is for, whatever address it is reached at."""

OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
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
    ("grpc.ssl_target_name_override", SERVER_NAME),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Whom to trust and who we are; both files are read at each connect."""

    ca_file: Path
    token_file: Path | None


class PeerClient:
    """Reports to whoever `to` names, until told otherwise.

    Attributes:
        connected: Whether the writer has acknowledged a report of the stream that is open now.
        last_error: Why there is no stream, in words.
    """

    def __init__(
        self,
        fleet: Fleet,
        identity: str,
        credentials: Credentials,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Make one; `run` starts it.

        Args:
            fleet: What to report on.
            identity: Who reports.
            credentials: For the writer.
            ended: Called when a stream to the writer has ended: it may be leaving.
        """
        self.connected = False
        self.last_error = ""
        self._fleet = fleet
        self._identity = identity
        self._credentials = credentials
        self._ended = ended
        self._address = ""
        self._moved = asyncio.Event()
        self._news = asyncio.Event()
        self._outgoing: Outgoing | None = None
        self._attempt = 0

    def to(self, address: str) -> None:
        """Report to ``HOST:PORT``; empty: to nobody."""
        if address != self._address:
            self._address = address
            self._attempt = 0
            self._moved.set()

    def changed(self, names: Iterable[Name] = (), upstreams: Iterable[str] = ()) -> None:
        """The fleet has notified."""
        if self._outgoing is not None:
            self._outgoing.changed(names, upstreams)
            self._news.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._moved.clear()
            moved = asyncio.ensure_future(self._moved.wait())
            stream = asyncio.ensure_future(self._follow(self._address)) if self._address else moved
            try:
                await asyncio.wait({moved, stream}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (moved, stream):
                    task.cancel()
                await asyncio.gather(moved, stream, return_exceptions=True)

    async def _follow(self, address: str) -> None:
        """Keep a stream to one writer up."""
        while True:
            try:
                await self._stream(address)
                why = "the writer has ended the stream"
            except aio.AioRpcError as error:
                why = f"{error.code().name}: {(error.details() or '')[:300]}"
                if error.code() in (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED):
                    self._attempt = max(self._attempt, 4)
            except (OSError, TimeoutError, asyncio.InvalidStateError) as error:
                why = str(error) or type(error).__name__
            finally:
                self.connected, self._outgoing = False, None
            if why != self.last_error:
                _LOG.info("No stream to the writing replica: %s", why, extra=fields(writer=address))
            self.last_error = why
            self._ended()
            ceiling = min(_MAX_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2 ** min(self._attempt, 10))
            self._attempt += 1
            await asyncio.sleep(random.uniform(0, ceiling))  # noqa: S311 - spreads load

    async def _stream(self, address: str) -> None:
        roots, metadata = await asyncio.to_thread(self._read_credentials)
        channel = aio.secure_channel(address, ssl_channel_credentials(roots), options=OPTIONS)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(channel)
            call = PeersStub(channel).Report(metadata=metadata)
            stack.callback(call.cancel)
            self._outgoing = outgoing = Outgoing(self._fleet, self._identity)
            while True:
                self._news.clear()
                begun = self._fleet.now
                parts = outgoing.next()
                took = self._fleet.now - begun
                if parts:
                    await self._exchange(call, parts)
                    await asyncio.sleep(max(COALESCE_SECONDS, _REST * took))
                if not self._news.is_set():
                    await self._until_news(call)

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
            _LOG.info("Reporting to the writing replica")

    async def _until_news(self, call: _Call) -> None:
        """Return when there is something to say; raise when the stream has ended meanwhile."""
        over = asyncio.Event()
        call.add_done_callback(lambda _: over.set())
        news = asyncio.ensure_future(self._news.wait())
        end = asyncio.ensure_future(over.wait())
        try:
            await asyncio.wait({news, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            end.cancel()
        if over.is_set():
            raise OSError(f"{(await call.code()).name}: {(await call.details() or '')[:300]}")

    def _read_credentials(self) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """The bundle, and the metadata.

        Raises:
            OSError: One of the files cannot be read; the message says which.
        """
        given = self._credentials
        try:
            roots = given.ca_file.read_bytes()
        except OSError as error:
            raise OSError(f"cannot read the CA file {given.ca_file}: {error.strerror}") from None
        if given.token_file is None:
            return roots, ()
        try:
            token = given.token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            raise OSError(f"cannot read the token file {given.token_file}") from None
        return roots, (("authorization", f"Bearer {token}"),)
