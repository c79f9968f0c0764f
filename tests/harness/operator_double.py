"""An operator as gateways see it: a gRPC server on a Unix socket that sends what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from grpc import aio

from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1 import routing_pb2_grpc


class OperatorDouble(routing_pb2_grpc.RoutingServicer):
    """Sends the whole table at the beginning of each stream, then each change. For one event loop.

    Attributes:
        acks: What gateways have acknowledged.
        hellos: How gateways have introduced themselves.
    """

    def __init__(self, socket: Path, resources: Iterable[pb.Resource] = ()) -> None:
        self.address = f"unix:{socket}"
        self.acks: list[pb.Ack] = []
        self.hellos: list[pb.Hello] = []
        self._resources = {Name(each.type, each.name): each for each in resources}
        self._nonce = 0
        self._streams: list[asyncio.Queue[pb.Update]] = []
        self._server: aio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = aio.server()
        routing_pb2_grpc.add_RoutingServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """Vanish."""
        if self._server is not None:
            await self._server.stop(None)

    async def change(self, *resources: pb.Resource, remove: Sequence[pb.Resource] = ()) -> None:
        """Send resources and removals, and wait until every gateway has acknowledged them."""
        wanted = len(self.acks) + len(self._streams)
        removals = [
            pb.Removal(type=each.type, name=each.name, sources=[pb.Source(ref=each.sources[0].ref, revision=2)])
            for each in remove
        ]
        for each in resources:
            self._resources[Name(each.type, each.name)] = each
        for each in remove:
            del self._resources[Name(each.type, each.name)]
        for stream in self._streams:
            stream.put_nowait(self._update(resources, removals))
        async with asyncio.timeout(5):
            while len(self.acks) < wanted:  # noqa: ASYNC110 - a test's patience
                await asyncio.sleep(0.01)

    async def Stream(  # noqa: N802 - gRPC's name
        self, requests: AsyncIterator[pb.GatewayMessage], context: object
    ) -> AsyncIterator[pb.OperatorMessage]:
        """One gateway."""
        self.hellos.append((await anext(requests)).hello)
        changes: asyncio.Queue[pb.Update] = asyncio.Queue()
        self._streams.append(changes)
        listening = asyncio.create_task(self._listen(requests))
        try:
            yield pb.OperatorMessage(update=self._update(self._resources.values(), ()))
            while True:
                yield pb.OperatorMessage(update=await changes.get())
        finally:
            listening.cancel()
            self._streams.remove(changes)

    async def _listen(self, requests: AsyncIterator[pb.GatewayMessage]) -> None:
        async for message in requests:
            if message.HasField("ack"):
                self.acks.append(message.ack)

    def _update(self, resources: Iterable[pb.Resource], removals: Iterable[pb.Removal]) -> pb.Update:
        self._nonce += 1
        version = table.table_version((name, each.version) for name, each in self._resources.items())
        return pb.Update(nonce=self._nonce, table_version=version, resources=resources, removals=removals)
