"""The writer's end of ``Peers.Report``: thin; `whole.WholeFleet` takes what is said."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

import grpc
from grpc import aio

from trunkline_operator.peers.bounds import MAX_BYTES, MAX_PARTS, MAX_PEERS, MalformedError, TooLargeError, check
from trunkline_operator.peers.whole import Peer, WholeFleet
from trunkline_operator.publish.authenticate import Authenticator, RefusedError
from trunkline_operator.publish.refusals import Refusals
from trunkline_operator.publish.server import AGE_SECONDS, identify, lifetime
from trunkline_protocol.logs import fields
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1 import routing_pb2_grpc

_LOG: Final = logging.getLogger(__name__)

_FIRST_SECONDS: Final = 10.0

PART_SECONDS: Final = 30.0
"""Between two parts of one report."""


class PeersServicer(routing_pb2_grpc.PeersServicer):
    """Serves ``Peers.Report``.

    Attributes:
        refused: gRPC status code → streams that were not let in.
    """

    def __init__(
        self,
        whole: WholeFleet,
        authenticator: Authenticator,
        *,
        clock: Callable[[], float],
        age_seconds: float = AGE_SECONDS,
    ) -> None:
        """Make one; ``clock`` gives Unix seconds, for the expiry of tokens."""
        self.refused: dict[str, int] = {}
        self._refusals = Refusals(_LOG, "a replica", self.refused)
        self._whole = whole
        self._authenticator = authenticator
        self._clock = clock
        self._age_seconds = age_seconds
        self._streams: set[asyncio.Event] = set()
        self._closing = False

    def close(self) -> None:
        """End all streams."""
        self._closing = True
        for ended in self._streams:
            ended.set()

    async def Report(  # noqa: N802 - the stub's name
        self,
        request_iterator: AsyncIterator[pb.PeerReport],
        context: aio.ServicerContext[pb.PeerReport, pb.PeerAck],
    ) -> AsyncIterator[pb.PeerAck]:
        """Listen to one replica."""
        ended = asyncio.Event()
        peer: Peer | None = None
        goodbye = False
        try:
            stays = await self._admit(context)
            reports = aiter(request_iterator)  # not before: gRPC's iterator wants to be used once it was asked for
            self._streams.add(ended)
            loop = asyncio.get_running_loop()
            timer = loop.call_later(stays, ended.set)
            try:
                while (parts := await self._next(reports, ended, _FIRST_SECONDS if peer is None else None)) is not None:
                    if peer is None:
                        peer = self._connect(parts[0], ended)
                    if goodbye := parts[-1].leaving:
                        yield pb.PeerAck(nonce=parts[-1].nonce)
                        break
                    self._whole.report(peer, parts)
                    others = [each for each in self._whole.addresses if each != peer.address]
                    yield pb.PeerAck(nonce=parts[-1].nonce, peers=others[:MAX_PEERS])
            finally:
                timer.cancel()
                self._streams.discard(ended)
                if peer is not None:
                    self._whole.disconnect(peer, goodbye=goodbye)
                    _LOG.info("A replica has ceased to report", extra=fields(peer=peer.identity))
        except RefusedError as refused:
            self._refusals.refused(refused, context.peer())
            await context.abort(refused.code, refused.message)
        except TooLargeError as error:
            _LOG.warning("A replica reports too much: %s", error)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        if ended.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the stream has come to its end; reconnect")

    async def _admit(self, context: aio.ServicerContext[pb.PeerReport, pb.PeerAck]) -> float:
        """For how many seconds it may stay."""
        if self._closing:
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, "the operator is shutting down")
        identity = await identify(self._authenticator, context)
        return lifetime(self._age_seconds, identity, self._clock())

    def _connect(self, first: pb.PeerReport, ended: asyncio.Event) -> Peer:
        _LOG.info("A replica reports", extra=fields(peer=first.peer))
        return self._whole.connect(first.peer, ended.set, first.address)

    async def _next(
        self, reports: AsyncIterator[pb.PeerReport], ended: asyncio.Event, seconds: float | None
    ) -> list[pb.PeerReport] | None:
        """The parts of the next report; None: the stream is over."""
        parts: list[pb.PeerReport] = []
        size = 0
        over = asyncio.ensure_future(ended.wait())
        try:
            while not parts or parts[-1].more:
                if len(parts) >= MAX_PARTS:
                    raise TooLargeError(f"more than {MAX_PARTS} parts")
                message = asyncio.ensure_future(_received(reports))
                try:
                    patience = PART_SECONDS if parts else seconds
                    await asyncio.wait({message, over}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                    if not message.done() and not over.done():
                        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "the replica said nothing")
                finally:
                    if not message.done():
                        message.cancel()
                        with contextlib.suppress(asyncio.CancelledError):
                            await message
                if over.done() or message.cancelled() or (said := message.result()) is None:
                    return None
                size += said.ByteSize()
                if size > MAX_BYTES:
                    raise TooLargeError(f"more than {MAX_BYTES} bytes")
                try:
                    check(said)
                except MalformedError as error:
                    raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
                parts.append(said)
        finally:
            over.cancel()
        return parts


async def _received(reports: AsyncIterator[pb.PeerReport]) -> pb.PeerReport | None:
    try:
        return await anext(reports)
    except (StopAsyncIteration, aio.AioRpcError, aio.UsageError):
        return None
