"""Put beside uvicorn's own tests of its HTTP protocols, as their conftest: our protocol in place of the one they test.

``TRUNKLINE_SUITE=cold``: there is no request handler, everything goes on into ASGI. ``hot``: every request is for a
handler, one that drives the ASGI application of the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.protocols.http import httptools_impl

from trunkline_gateway.http import NO_HEADERS, Body, ClientGoneError, Head, Responder
from trunkline_gateway.ingress.limits import Limits
from trunkline_gateway.ingress.protocol import protocol_class
from trunkline_gateway.ingress.wiring import Wiring
from trunkline_gateway.outbox import Data, Outbox
from trunkline_gateway.timers import Timers

HOT = os.environ["TRUNKLINE_SUITE"] == "hot"


class AsgiHandler:
    """A request handler that asks an ASGI application."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def gathers(self, _head: object) -> bool:
        return False

    def at_once(self, _head: object, _responder: object) -> bool:
        return False

    def serves(self, _path: str) -> bool:
        return True

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        gone = asyncio.Event()
        complete = read = False

        async def receive() -> dict[str, Any]:
            nonlocal read
            if complete:
                return {"type": "http.disconnect"}
            if not read:
                read = True
                with contextlib.suppress(ClientGoneError):
                    return {"type": "http.request", "body": await body.read(1 << 20), "more_body": False}
            responder.watch(gone.set)
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(event: dict[str, Any]) -> None:
            nonlocal complete
            if event["type"] == "http.response.start":
                headers = [(name.lower(), value) for name, value in event.get("headers", ())]
                if any(name == b"transfer-encoding" for name, _ in headers):  # that is the driver's to say
                    headers = [pair for pair in headers if pair[0] not in (b"transfer-encoding", b"content-length")]
                await responder.start(event["status"], NO_HEADERS, headers)
            elif not responder.started or complete:
                raise RuntimeError("not the time for a body")
            elif event.get("more_body"):
                await responder.write(event["body"])
            else:
                complete = True
                await responder.finish(event.get("body", b""))

        path, root = head.path, self._config.root_path
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": head.method,
            "root_path": root,
            "path": root + path.replace("%2F", "/"),
            "raw_path": (root + path).encode(),
            "query_string": head.query,
            "headers": head.headers,
        }
        await self._config.loaded_app(scope, receive, send)


class AtOnce(Outbox):
    """Waits for nobody."""

    def write(self, transport: asyncio.Transport, data: Data) -> None:
        if isinstance(data, tuple):
            transport.writelines(data)
        else:
            transport.write(data)


class DoubleTimers:
    """Timers on the suite's double of a loop, which has neither a clock nor ``call_at``."""

    def __init__(self, loop: Any) -> None:
        self.loop = self._loop = loop
        self._now = 0.0
        loop.time = lambda: self._now

    def after(self, seconds: float, callback: Callable[[], object]) -> DoubleTimer:
        rung = False

        def ring() -> None:  # the double calls it again if the callback sets another
            nonlocal rung
            if not rung:
                rung = True
                self._now += seconds
                callback()

        return DoubleTimer(self._loop.call_later(seconds, ring))


class DoubleTimer:
    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def cancel(self) -> None:
        with contextlib.suppress(ValueError):  # the double forgets those that have rung
            self._handle.cancel()


def make(config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> Any:
    """Make a protocol as uvicorn does."""
    loop = _loop or asyncio.get_running_loop()
    double = not isinstance(loop, asyncio.AbstractEventLoop)
    if double:  # the suite awaits each request's task to its end, so that a worker must wait for no other
        nothing_more = asyncio.get_running_loop().create_future()
        nothing_more.set_result(None)
        loop.create_future = lambda: nothing_more
    wiring = Wiring(
        limits=Limits(),
        refused=lambda _status, _code: None,
        handler=AsgiHandler(config) if HOT else None,
        timers=DoubleTimers(loop) if double else Timers(loop),  # type: ignore[arg-type]
    )
    if double:  # it calls nobody soon
        wiring.outbox = AtOnce(loop)
    ours = protocol_class(wiring)

    class UnderTest(ours):  # type: ignore[misc, valid-type]
        @property
        def timeout_keep_alive_task(self) -> object:
            return None if self._deadline._at == math.inf else self._deadline

        @timeout_keep_alive_task.setter
        def timeout_keep_alive_task(self, _: object) -> None: ...

        def connection_made(self, transport: Any) -> None:
            if double:  # what the suite's double of a transport lacks
                kind = type(transport)
                kind.can_write_eof = lambda _self: False
                kind.writelines = lambda self, parts: self.write(b"".join(parts))
                kind.abort = kind.close
            super().connection_made(transport)

    return UnderTest(config, server_state, app_state, loop)


httptools_impl.HttpToolsProtocol = make  # type: ignore[assignment, misc]  # a few tests name it


@pytest.fixture
def http_protocol_cls() -> Any:
    return make


@pytest.fixture
def ws_protocol_cls() -> str:
    return "none"  # as the listener has it
