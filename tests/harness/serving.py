"""Runs a coroutine's worth of server in a thread with its own uvloop, so that tests can talk to it over sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class Loop:
    """The loop of the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, coroutine: Coroutine[Any, Any, T], *, timeout_seconds: float = 15) -> T:
        """Run ``coroutine`` there and give its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_seconds)


@contextmanager
def served(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[tuple[T, Loop]]:
    """Enter ``make()`` in a thread of its own; leave it at the end."""
    entered: list[T | BaseException] = []
    up, down = threading.Event(), threading.Event()
    loops: list[Loop] = []

    async def life() -> None:
        loops.append(Loop(asyncio.get_running_loop()))
        try:
            async with make() as value:
                entered.append(value)
                up.set()
                await asyncio.get_running_loop().run_in_executor(None, down.wait)
        except BaseException as error:
            entered.append(error)
            up.set()
            raise

    def main() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(life())

    thread = threading.Thread(target=main, name="served", daemon=True)
    thread.start()
    assert up.wait(15), "the server did not start"
    if isinstance(entered[0], BaseException):
        raise entered[0]
    try:
        yield entered[0], loops[0]
    finally:
        down.set()
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"
