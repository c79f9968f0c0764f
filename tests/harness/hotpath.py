"""The request handler behind a listener, with the HTTP/1.1 client and a table in memory, in a thread of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway import fakes
from harness.rawhttp import IncompleteError, Raw, connect
from harness.serving import Loop, served
from harness.upstream import Upstream as UpstreamDouble
from trunkline_gateway.http import Body, Head, Responder
from trunkline_gateway.ingress import rest
from trunkline_gateway.ingress.asgi import Application
from trunkline_gateway.ingress.handler import Handler, Policy
from trunkline_gateway.ingress.limits import Limits
from trunkline_gateway.ingress.listener import Listener
from trunkline_gateway.ingress.shortcut import Direct
from trunkline_gateway.routing import attempts, request_heads
from trunkline_gateway.routing.health import Health
from trunkline_gateway.routing.snapshot import Snapshot, Target, Upstream
from trunkline_gateway.telemetry.access import AccessLog
from trunkline_gateway.telemetry.exchange import Exchange
from trunkline_gateway.telemetry.ledger import Ledger
from trunkline_gateway.telemetry.metrics import Metrics
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import Endpoint, Request, Response, Timeouts
from trunkline_gateway.upstream.http1.client import Http1Client

KEY = "sk-tl-canary-77aa"
BEARER = f"Authorization: Bearer {KEY}"
PATH = "/v1/chat/completions"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


def account(name: str, url: str, *keys: str) -> Upstream:
    """An account at ``url`` with a key of each name, tried in no particular order."""
    endpoint = Endpoint(url)
    made = fakes.upstream(name, *(fakes.upstream_key(each) for each in keys or ("primary",)))
    held = tuple(
        dataclasses.replace(key, heads=request_heads.Heads(request_heads.Place(endpoint, (), key.auth_header)))
        for key in made.keys
    )
    return dataclasses.replace(made, endpoint=endpoint, keys=held)


def table(*targets: Target) -> Snapshot:
    """One group, ``gpt-4o``, and one key that may use it: `KEY`."""
    made = fakes.snapshot(fakes.route("gpt-4o", *targets))
    return dataclasses.replace(made, keys={hashlib.sha256(KEY.encode()).digest(): fakes.key()})


def targets(upstream: UpstreamDouble) -> tuple[Target, ...]:
    """``first`` and, below it, ``second``: accounts of their own at the same double, told apart by the path."""
    return tuple(
        fakes.target(name, account(name, f"{upstream.url}/{name}"), model=f"m-{name}", priority=priority)
        for priority, name in enumerate(("first", "second"))
    )


class Watched(Handler):
    """Notes which way each request went; ``shortcuts`` may be switched off."""

    def __init__(self, *, shortcuts: bool, **more: Any) -> None:
        super().__init__(**more)
        self.shortcuts = shortcuts
        self.ways: list[str] = []

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        self.ways.append("task")
        await super().handle(head, body, responder)

    def at_once(self, head: Head, responder: Direct) -> bool:
        taken = self.shortcuts and super().at_once(head, responder)
        if taken:
            self.ways.append("shortcut")
        return taken

    async def resume(self, left: Any) -> None:
        self.ways.append("resumed")
        await super().resume(left)


class Unpumped(Http1Client):
    """A client whose answers are read and never pumped."""

    async def send(self, request: Request) -> Any:
        return _Read(await super().send(request))


class _Read:
    def __init__(self, response: Response) -> None:
        self._response = response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        return


class Books(Ledger):
    """Keeps what is entered."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.kept: list[Exchange] = []

    def add(self, exchange: Exchange) -> None:
        self.kept.append(exchange)
        super().add(exchange)


@dataclass
class World:
    """What `world` gives. ``loop`` runs things in the thread of the server."""

    handler: Watched
    listener: Listener
    client: Http1Client
    health: Health
    metrics: Metrics
    books: Books
    snapshot: Snapshot
    loop: Loop = field(init=False)

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def in_flight(self) -> int:
        """How many requests the listener counts as being answered."""
        found: int = self.listener._server.config.http.wiring.load.in_flight  # type: ignore[union-attr]
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of ``trunkline_gateway_<name>`` that have these labels."""

        async def collect() -> float:
            self.books.flush()
            return sum(
                sample.value
                for metric in self.metrics.collect()
                for sample in metric.samples
                if sample.name == f"trunkline_gateway_{name}" and labels.items() <= sample.labels.items()
            )

        return self.loop.run(collect())

    def accounted(self, count: int = 1) -> list[Exchange]:
        """The books once ``count`` requests are over; nothing is in flight any more then."""
        until(lambda: len(self.books.kept) >= count and self.in_flight == 0, f"{count} requests to be over")
        assert len(self.books.kept) == count, self.books.kept
        assert self.metric("in_flight") == 0
        return list(self.books.kept)

    def warm(self, upstream: UpstreamDouble) -> None:
        """Make a connection to the first target, so that a shortcut can be taken; nothing is left of it elsewhere."""
        with connect(self.port) as raw:
            assert raw.request("POST", PATH, CHAT, BEARER).answer().status == 200
        self.accounted(len(self.books.kept) or 1)
        self.forget()
        upstream.clear()

    def forget(self) -> None:
        """Forget what was noted."""
        self.handler.ways.clear()
        self.books.kept.clear()

    async def _heal(self) -> None:
        self.health._keys.clear()
        self.health._targets.clear()
        await self.client.prune(())

    def anew(self) -> None:
        """Heal everything, and close every connection to upstreams."""
        self.loop.run(self._heal())


@contextmanager
def world(
    *on: Target,
    shortcuts: bool = True,
    pumps: bool = True,
    limits: Limits | None = None,
    grace_seconds: float = 1,
    patience_seconds: float = 5.0,
    timeouts: Timeouts | None = None,
    **settings: Any,
) -> Iterator[World]:
    """Serve a group of these targets; ``settings`` are those of the attempt loop."""
    serving = attempts.Settings(timeouts=timeouts or Timeouts(connect=2, first_byte=5, stream_idle=5), **settings)

    @asynccontextmanager
    async def life() -> AsyncIterator[World]:
        loop = asyncio.get_running_loop()
        timers = Timers(loop, tick_seconds=0.01)
        metrics = Metrics(version="1")
        snapshot = table(*on)
        metrics.swapped(snapshot)
        books = Books(loop, metrics, AccessLog(None, wall=_wall))
        client, health = (Http1Client if pumps else Unpumped)(timers), Health()
        made: World
        handler = Watched(
            shortcuts=shortcuts,
            table=lambda: made.snapshot,
            client=client,
            health=health,
            metrics=metrics,
            ledger=books,
            timers=timers,
            wall=_wall,
            policy=Policy(serving=serving, patience_seconds=patience_seconds, max_body_bytes=4 << 20),
        )
        listener = Listener(
            Application(handler, rest.application()),
            handler=handler,
            host="127.0.0.1",
            port=0,
            timers=timers,
            limits=limits,
            grace_seconds=grace_seconds,
            keep_alive_seconds=5,
        )
        made = World(handler, listener, client, health, metrics, books, snapshot)
        await listener.start()
        yield made
        if listener._socket.fileno() >= 0:
            await listener.stop()
        await client.close()
        books.close()
        timers.close()

    with served(life) as (made, loop):
        made.loop = loop
        yield made


def _wall() -> float:
    return time.time_ns() / 1e9


def until(holds: Callable[[], bool], what: str, seconds: float = 5.0) -> None:
    """Return once ``holds``; it depends on another thread."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.002)


@dataclass(frozen=True)
class Seen:
    """All that a request has led to, but for times and ids."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool
    upstream: Sequence[tuple[str, str, Sequence[tuple[str, str]], bytes, bool]]
    keys: dict[Any, Any]
    targets: dict[Any, Any]
    books: dict[str, Any]
    metrics: dict[str, float]


_TIMES = ("ended_at", "duration_seconds", "first_byte_seconds", "request_id")


def ask(made: World, upstream: UpstreamDouble, body: object, *headers: str) -> Seen:
    """Send one request on a connection of its own, and see what happens."""
    warm = upstream.connections_total
    before = _counts(made)
    with connect(made.port) as raw:
        raw.request("POST", PATH, body, BEARER, *headers)
        status, got, sent, cut = _read(raw)
    exchange = made.accounted()[0]
    fields = {name: getattr(exchange, name) for name in exchange.__struct_fields__ if name not in _TIMES}
    fields["attempt_results"] = list(exchange.attempt_results)
    fields["has_first_byte"] = exchange.first_byte_seconds is not None
    after = _counts(made)
    return Seen(
        status,
        got,
        sent,
        cut,
        [(each.method, each.target, each.headers, each.body, each.connection > warm) for each in upstream.requests],
        {name: (entry.state, entry.status, entry.failures) for name, entry in made.health._keys.items()},
        {name: (entry.state, entry.status, entry.failures) for name, entry in made.health._targets.items()},
        fields,
        {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)},
    )


def _read(raw: Raw) -> tuple[int, dict[str, str], bytes, bool]:
    try:
        answer = raw.answer()
    except IncompleteError as cut:
        return 0, {}, cut.received, True
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status, headers, answer.body, False


def _counts(made: World) -> dict[str, float]:
    async def collect() -> dict[str, float]:
        made.books.flush()
        return {
            f"{sample.name} {json.dumps(sample.labels, sort_keys=True)}": sample.value
            for metric in made.metrics.collect()
            for sample in metric.samples
            if sample.name.endswith(("_total", "_count"))
        }

    return made.loop.run(collect())
