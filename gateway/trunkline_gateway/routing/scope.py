"""Stopping what is done for a client that has left, or that has waited long enough."""

import asyncio
from types import TracebackType
from typing import Literal, Self

from trunkline_gateway.http import ClientGoneError, Responder
from trunkline_gateway.timers import Timer, Timers


class TimeIsUpError(Exception):
    """The body of a `Scope` took longer than it may."""


class Scope:
    """``with Scope(responder, timers, seconds):`` cancels its body when the client goes or when the time is up.

    It cancels whatever the body waits for, as `asyncio.timeout` does, so nothing in it has to ask. Then it raises
    ClientGoneError or TimeIsUpError. Cancellation from outside passes through.
    """

    __slots__ = ("_cancelling", "_responder", "_seconds", "_task", "_timer", "_timers", "_why")

    def __init__(self, responder: Responder, timers: Timers, seconds: float) -> None:
        self._responder = responder
        self._timers = timers
        self._seconds = seconds
        self._why: Literal["gone", "late"] | None = None
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._timers.loop)
        assert task is not None  # noqa: S101 - a coroutine that runs is in a task
        self._task: asyncio.Task[object] = task
        self._cancelling = task.cancelling()
        self._timer = self._timers.after(self._seconds, self._late)
        self._responder.watch(self._gone)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._responder.watch(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # it holds a method of this one
        if self._why is None:
            return
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise (ClientGoneError if self._why == "gone" else TimeIsUpError) from error

    def _gone(self) -> None:
        self._cancel("gone")

    def _late(self) -> None:
        self._cancel("late")

    def _cancel(self, why: Literal["gone", "late"]) -> None:
        if self._why is None:
            self._why = why
            self._task.cancel()
