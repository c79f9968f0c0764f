"""An attempt that has begun before the attempt loop took over: it is out at the upstream already."""

from trunkline_gateway.routing.plan import Plan
from trunkline_gateway.upstream.client import Client, PendingResponse, PooledClient, Request, Response


class Underway(Client):
    """The client of a request whose first attempt is out: the first that is sent is that one, all others are new.

    The attempt loop begins with the first key of the first target of ``order``, whatever has become of them meanwhile.

    Attributes:
        order: The plan that it is the first attempt of; made, and the attempt begun, while nothing had failed.
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

    @property
    def waits(self) -> bool:
        """Whether nobody has asked for its answer yet."""
        return self._answer is not None

    async def send(self, request: Request) -> Response:
        """See `Client.send`."""
        answer = self._answer
        if answer is None:
            return await self._client.send(request)
        self._answer = None
        return await self._client.finish(self._request, answer)

    async def close(self) -> None:
        """Abandon the attempt, should its turn never have come."""
        if self._answer is not None:
            self._answer.abandon()
            self._answer = None
