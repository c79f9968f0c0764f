"""The client that the gateway uses: in-process endpoints here, everything else over the network."""

from collections.abc import Collection

from trunkline_gateway.upstream.client import Client, Endpoint, PendingResponse, PooledClient, Request, Response


class DispatchClient:
    """`PooledClient` that hands each request to one of two clients, and owns both."""

    def __init__(self, remote: PooledClient, in_process: Client) -> None:
        self._remote = remote
        self._in_process = in_process

    async def send(self, request: Request) -> Response:
        """See `Client.send`."""
        client = self._in_process if request.head.endpoint.in_process else self._remote
        return await client.send(request)

    def start(self, request: Request) -> PendingResponse | None:
        """See `PooledClient.start`."""
        return None if request.head.endpoint.in_process else self._remote.start(request)

    async def finish(self, request: Request, answer: PendingResponse) -> PendingResponse:
        """See `PooledClient.finish`."""
        return await self._remote.finish(request, answer)

    async def prune(self, endpoints: Collection[Endpoint]) -> None:
        """See `PooledClient.prune`."""
        await self._remote.prune(endpoints)

    async def close(self) -> None:
        """Close both clients."""
        try:
            await self._remote.close()
        finally:
            await self._in_process.close()
