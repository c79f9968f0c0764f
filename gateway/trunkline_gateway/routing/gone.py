"""Stopping what is done for a client that has left."""

import asyncio
from types import TracebackType
from typing import Self

from trunkline_gateway.http import ClientGoneError, Responder


class UntilGone:
    """``async with UntilGone(responder):`` cancels its body when the client goes, and raises ClientGoneError then.

    It cancels whatever the body waits for, as `asyncio.timeout` does, so nothing in it has to ask. Cancellation from
    outside passes through.
    """

    def __init__(self, responder: Responder) -> None:
        self._disconnected = responder.disconnected
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._fired = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None  # noqa: S101 - a coroutine that runs is in a task
        self._cancelling = self._task.cancelling()
        self._disconnected.add_done_callback(self._gone)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnected.remove_done_callback(self._gone)
        if not self._fired or self._task is None:
            return
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise ClientGoneError from error

    def _gone(self, _: "asyncio.Future[None]") -> None:
        if self._task is not None:
            self._fired = True
            self._task.cancel()
