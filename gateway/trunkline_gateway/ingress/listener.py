"""A uvicorn server that shares its loop, leaves signals alone, and says when it is up."""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from uvicorn._types import ASGI3Application

from trunkline_gateway.ingress import backlog, protocol
from trunkline_gateway.ingress.asgi import Handler
from trunkline_gateway.ingress.limits import Limits, Refused
from trunkline_gateway.ingress.wiring import Wiring
from trunkline_gateway.timers import Timers

KEEP_ALIVE_SECONDS: Final = 75
"""More than the idle time that load balancers and SDKs keep connections for, so that they close first."""

_LAST_WORDS_SECONDS: Final = 1.5
"""For what is cancelled to tell its clients, and as long for that to go out."""

_LOOK_SECONDS: Final = 0.02


class Listener:
    """One port and what is served there.

    Args:
        app: Gets what ``handler`` does not serve.
        handler: Driven straight from the parser for the paths that it serves.
        timers: Those of the loop that the listener will run in.
        refused: Told of every request that is refused before it reaches anybody.
        keep_alive_seconds: How long a connection may be idle between two requests.
        grace_seconds: How long `stop` waits for requests that are being answered.
    """

    def __init__(
        self,
        app: ASGI3Application,
        *,
        host: str,
        port: int,
        timers: Timers,
        handler: Handler | None = None,
        refused: Refused = lambda _status, _code: None,
        limits: Limits | None = None,
        grace_seconds: float = 30.0,
        keep_alive_seconds: int = KEEP_ALIVE_SECONDS,
    ) -> None:
        """Bind at once, so that a port that is taken shows before anything else has begun.

        Raises:
            OSError: The address cannot be bound.
        """
        self._socket = _bind(host, port)
        self._wiring = wiring = Wiring(limits=limits or Limits(), refused=refused, handler=handler, timers=timers)
        self._server = _Server(
            uvicorn.Config(
                app,
                http=protocol.protocol_class(wiring),
                ws="none",
                lifespan="off",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=keep_alive_seconds,
                timeout_graceful_shutdown=math.ceil(grace_seconds),
                interface="asgi3",
            )
        )
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port, also where the system chose it."""
        number: int = self._socket.getsockname()[1]
        return number

    async def start(self) -> None:
        """Listen; returns when connections are accepted."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]), name=f"listener {self.port}")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait([up, self._serving], return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            up.cancel()
            await self._serving

    def drain(self) -> None:
        """Serve on, but say in every answer from now on that it is the last of its connection.

        So clients go elsewhere by themselves. What has begun to be answered cannot say so; its connection is kept.
        """
        self._wiring.draining = True
        protocol.drain(self._server.server_state)

    async def stop(self) -> None:
        """Accept nothing more, finish what is being answered, break off what outlasts the grace period.

        Whoever has got a connection by now is still answered: none is lost in the accept queue.
        """
        if self._serving is not None:
            if not self._serving.done():
                await backlog.empty(self._socket)
            self._server.should_exit = True
            await self._serving
            await self._last_words()
        self._socket.close()

    async def _last_words(self) -> None:
        """Let the requests that uvicorn has cancelled tell their clients, and what they tell go out."""
        state = self._server.server_state
        if tasks := list(state.tasks):
            await asyncio.wait(tasks, timeout=_LAST_WORDS_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                while state.connections:  # noqa: ASYNC110  # uvicorn's set, which tells nobody
                    await asyncio.sleep(_LOOK_SECONDS)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def _wait_tasks_to_complete(self) -> None:
        try:
            await super()._wait_tasks_to_complete()
        except asyncio.CancelledError:  # the grace period is over; uvicorn cancels the tasks next
            protocol.end(self.server_state)
            raise

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bind(host: str, port: int) -> socket.socket:
    if host == "::":
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=2048)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)
