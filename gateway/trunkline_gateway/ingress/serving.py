"""Running the handler for the requests of one connection, and what becomes of a request when that goes wrong."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from trunkline_gateway import errors
from trunkline_gateway.http import NO_HEADERS
from trunkline_gateway.ingress import caller, refusals, request_ids
from trunkline_gateway.ingress.asgi import Handler
from trunkline_gateway.ingress.hot import HotRequest

_logger = logging.getLogger(__name__)


class Load:
    """How much the handler has to do, over all connections of a listener.

    Attributes:
        in_flight: Requests that it is busy with.
    """

    __slots__ = ("in_flight",)

    def __init__(self) -> None:
        self.in_flight = 0


class Worker:
    """Gives requests to the handler in a task that waits for the next one: cheaper by 1 µs than a task for each.

    The task is among ``tasks``, the server's, while it has a request, so that drain waits for it and ends it after the
    grace period. A request that comes while the handler is still busy with one that is answered gets a task of its own.
    """

    __slots__ = ("_closed", "_draining", "_handler", "_idle", "_idle_task", "_load", "_loop", "_tasks")

    def __init__(
        self, handler: Handler, load: Load, loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[None]]
    ) -> None:
        self._handler = handler
        self._load = load
        self._loop = loop
        self._tasks = tasks
        self._closed = False
        self._draining = False
        self._idle: asyncio.Future[HotRequest | None] | None = None
        self._idle_task: asyncio.Task[None] | None = None

    def begin(self, request: HotRequest) -> None:
        """Have the handler answer ``request``, from the next turn of the loop on."""
        request.begun = True
        self._load.in_flight += 1
        # A server that is about to stop waits for tasks, and ends them.
        if request.ended and request.keep_alive and not self._draining:
            try:
                if self._handler.at_once(request.head, request):
                    return
            except Exception:
                _logger.exception("the handler failed to begin a request at once")
                if request.started or request.handed_over is not None:
                    give_up(request, refusals.internal_error())
                    self._load.in_flight -= 1
                    return
                # Nothing has come of it yet: in a task it is answered, or refused, and accounted for.
        idle, task = self._idle, self._idle_task
        if idle is None or task is None or idle.done():
            self._tasks.add(self._loop.create_task(self._work(request)))
        else:
            self._tasks.add(task)
            self._idle = self._idle_task = None
            idle.set_result(request)

    def go_on(self, request: HotRequest, rest: Coroutine[Any, Any, None] | None) -> None:
        """See `shortcut.Direct`."""
        if rest is None:
            self._load.in_flight -= 1
            return
        task = self._loop.create_task(self._see_through(request, rest))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def drain(self) -> None:
        """Begin every further request in a task."""
        self._draining = True

    def close(self) -> None:
        """Wait for no further request."""
        self._closed = True
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        self._idle = self._idle_task = None

    async def _work(self, first: HotRequest) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is in a task
        request: HotRequest | None = first
        del first
        try:
            while request is not None:
                await self._see_through(request, self._handler.handle(request.head, request, request))
                request = None  # it may be large, and the next may be long in coming
                self._tasks.discard(task)
                if self._closed or self._idle is not None:
                    return
                self._idle_task = task
                self._idle = self._loop.create_future()
                request = await self._idle
        finally:
            self._tasks.discard(task)
            if self._idle_task is task:
                self._idle = self._idle_task = None

    async def _see_through(self, request: HotRequest, work: Coroutine[Any, Any, None]) -> None:
        """Let the handler answer; see that an answer or the end of the connection comes of it."""
        try:
            await work
            if not request.complete and not request.lost:
                _logger.error("the handler left a request without an answer")
                give_up(request, refusals.internal_error())
        except asyncio.CancelledError:
            give_up(request, errors.shutting_down())
            raise
        except Exception:
            _logger.exception("the handler failed")
            give_up(request, refusals.internal_error())
        finally:
            self._load.in_flight -= 1
            request.watch(None)


def give_up(request: HotRequest, error: errors.GatewayError) -> None:
    """Answer with ``error`` if nothing is out yet, else break the answer off; either way, end the connection."""
    if request.started:
        request.break_off()
    else:
        request.keep_alive = False
        send_error(request, error)


def send_error(request: HotRequest, error: errors.GatewayError) -> str:
    """Answer with ``error``, only while nothing is out; give the request id."""
    request_id = request_ids.accept(request.head.first.get(b"x-request-id"))
    headers = refusals.headers_of(error, request_id)
    request.send(error.status, NO_HEADERS, headers, caller.side_of(request.head).render_error(error))
    return request_id
