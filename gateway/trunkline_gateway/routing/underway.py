"""An attempt that has begun before the attempt loop took over: it is out at the upstream already."""

from trunkline_gateway.routing.plan import Plan
from trunkline_gateway.upstream.client import Client, PendingResponse, PooledClient, Request, Response


class Underway(Client):
    """The client of a request whose first attempt is out: that attempt is finished, all others are sent as always.

    Attributes:
        order: The plan that it is the first attempt of.
        elapsed_seconds: Since the request has come.
    """

    __slots__ = ("_answer", "_client", "_request", "elapsed_seconds", "order")

    def __init__(
        self, client: PooledClient, order: Plan, request: Request, answer: PendingResponse, elapsed_seconds: float
    ) -> None:
        self.order = order
        self.elapsed_seconds = elapsed_seconds
        self._client = client
        self._request = request
        self._answer: PendingResponse | None = answer

    async def send(self, request: Request) -> Response:
        """See `Client.send`."""
        answer = self._answer
        # Another target's turn has come first if this one has failed for others meanwhile.
        if answer is None or request.head is not self._request.head:
            return await self._client.send(request)
        self._answer = None
        return await self._client.finish(self._request, answer)

    async def close(self) -> None:
        """Abandon the attempt, should its turn never have come."""
        if self._answer is not None:
            self._answer.abandon()
            self._answer = None
