"""Doubles at the seams of the attempt loop: a client that answers by script, a responder that records, virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trunkline_gateway import envelope, errors, registry
from trunkline_gateway.exchange import Operation
from trunkline_gateway.http import Block, ClientGoneError, Headers
from trunkline_gateway.routing import attempts, request_heads
from trunkline_gateway.routing.health import Health
from trunkline_gateway.routing.resolve import Resolved
from trunkline_gateway.routing.snapshot import (
    DEFAULT_POLICY,
    Access,
    Key,
    Namespaces,
    Policy,
    Route,
    Snapshot,
    Spoken,
    Target,
    Upstream,
    UpstreamKey,
    answered,
)
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import Endpoint, Request

T = TypeVar("T")

JSON = "application/json"
SSE = "text/event-stream"
ALL = Namespaces(True, frozenset())
WALL_SECONDS = 1_800_000_000.0
TICK_SECONDS = 1e-6
"""Of deadlines: fine enough for times to be compared."""


# ---- time ------------------------------------------------------------------------------------------------------------


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in which nothing takes time but sleeping, and sleeping takes none."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits for somebody else"
            self._loop.now += max(timeout, 0.0)
        return ready


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run in virtual time; tasks that are left over are a mistake."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def alone() -> T:
            result = await main
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            assert not others, others
            return result

        return runner.run(alone())


def now() -> float:
    return asyncio.get_running_loop().time()


# ---- the upstream ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pause:
    """The upstream says nothing for so long."""

    seconds: float


Step = bytes | Pause | Exception


@dataclass
class Answer:
    """What an upstream answers: a head after ``delay``, then the steps; an exception in their place is raised."""

    steps: Sequence[Step] = ()
    status: int = 200
    content_type: str | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    error: Exception | None = None

    @classmethod
    def sse(cls, *steps: Step, **more: Any) -> Answer:
        return cls(steps, content_type=SSE, **more)

    @classmethod
    def json(cls, body: bytes, status: int = 200, **more: Any) -> Answer:
        return cls([body], status=status, **more)

    @classmethod
    def failing(cls, status: int, message: str = "it failed", **more: Any) -> Answer:
        body = b'{"error":{"message":"%s","type":"t","param":null,"code":null}}' % message.encode()
        return cls([body], status=status, **more)

    @classmethod
    def raising(cls, error: Exception, **more: Any) -> Answer:
        return cls(error=error, **more)


class ScriptedResponse:
    def __init__(self, answer: Answer, client: ScriptedClient) -> None:
        self.status = answer.status
        own = [] if answer.content_type is None else [(b"content-type", answer.content_type.encode())]
        self.headers: Headers = [*own, *((name.encode(), value.encode()) for name, value in answer.headers.items())]
        self._steps = iter(answer.steps)
        self._client = client
        self.closed_at: float | None = None

    async def read(self) -> bytes:
        assert self.closed_at is None
        self._client.reads += 1
        await asyncio.sleep(0)
        for step in self._steps:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Exception):
                raise step
            elif step:
                return step
        return b""

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        while data := await self.read_or_failure():
            if isinstance(data, Exception):
                self._steps = itertools.chain([data], self._steps)
                return
            if not sink(data):
                return

    async def read_or_failure(self) -> bytes | Exception:
        try:
            return await self.read()
        except errors.UpstreamError as error:
            return error

    async def close(self) -> None:
        self.closed_at = self.closed_at or now()


class ScriptedClient:
    """Answers in order, whoever is asked; or by base URL where answers are given by name."""

    def __init__(self, *answers: Answer, by_host: dict[str, Callable[[], Answer]] | None = None) -> None:
        self.answers = list(answers)
        self.by_host = by_host
        self.requests: list[Request] = []
        self.responses: list[ScriptedResponse] = []
        self.reads = 0
        self.cancelled_at: float | None = None

    async def send(self, request: Request) -> ScriptedResponse:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.by_host is None else self.by_host[request.head.endpoint.base_url]()
        try:
            await asyncio.sleep(answer.delay)
        except asyncio.CancelledError:
            self.cancelled_at = now()
            raise
        if answer.error is not None:
            raise answer.error
        response = ScriptedResponse(answer, self)
        self.responses.append(response)
        return response

    async def close(self) -> None:
        return None

    @property
    def all_closed(self) -> bool:
        return all(response.closed_at is not None for response in self.responses)

    @property
    def keys(self) -> list[str]:
        """Which key each request carried."""
        sent = [dict(request.head.headers).get(b"authorization", b"") for request in self.requests]
        return [value.decode().removeprefix("Bearer ") for value in sent]


# ---- the client's side -----------------------------------------------------------------------------------------------


class RecordingResponder:
    """Notes everything, with the time; ``slow`` seconds for each write."""

    pushable = False
    """Whether what is written may be pushed, too: a stream must be the same either way."""

    def __init__(self, slow: float = 0.0) -> None:
        self.status = 0
        self.heads = 0
        self.headers: dict[str, str] = {}
        self.writes: list[tuple[float, bytes]] = []
        self.finished = False
        self.aborted = False
        self.started_at: float | None = None
        self.slow = slow
        self.on_write: Callable[[bytes], Awaitable[None]] | None = None
        self._left = False
        self._gone: Callable[[], None] | None = None
        self._busy = False

    @property
    def started(self) -> bool:
        return self.heads > 0

    def leave(self) -> None:
        self._left = True
        if (gone := self._gone) is not None:
            self._gone = None
            gone()

    def watch(self, gone: Callable[[], None] | None) -> None:
        self._gone = gone
        if self._left:
            self.leave()

    async def answer(self, status: int, block: Block, headers: Headers, body: bytes) -> None:
        await self.start(status, block, [*headers, (b"content-length", b"%d" % len(body))])
        await self.finish(body)

    async def start(self, status: int, block: Block, headers: Headers) -> None:
        assert not self.started, "two heads"
        self.heads += 1
        self.status = status
        sent = [*block.pairs, *headers]
        names = [name for name, _ in sent]
        assert len(names) == len(set(names)), names
        self.headers = {name.decode(): value.decode() for name, value in sent}
        self.started_at = now()
        await asyncio.sleep(0)

    async def write(self, data: bytes) -> None:
        assert self.started
        assert not self.finished
        assert not self.aborted
        assert not self._busy, "two writers"
        if self._left:
            raise ClientGoneError
        self.writes.append((now(), data))
        self._busy = True
        try:
            await asyncio.sleep(self.slow)
        finally:
            self._busy = False
        if self.on_write is not None:
            await self.on_write(data)

    @property
    def writable(self) -> bool:
        return self.pushable and not self._busy and not self._left and not self.slow and self.on_write is None

    def push(self, data: bytes) -> None:
        assert self.started
        assert not self.finished
        assert self.writable
        self.writes.append((now(), data))

    async def finish(self, data: bytes = b"") -> None:
        if data:
            await self.write(data)
        assert not self.finished
        self.finished = True

    async def abort(self) -> None:
        assert not self.finished
        self.aborted = True

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.writes)


# ---- what is served --------------------------------------------------------------------------------------------------


def upstream_key(name: str = "primary", *, weight: int = 1, expires: int = 0, value: str | None = None) -> UpstreamKey:
    secret = value or f"sk-{name}-0123456789"
    return UpstreamKey(
        name=name, weight=weight, expires=expires, auth_header=(b"authorization", f"Bearer {secret}".encode())
    )


def upstream(
    name: str = "main",
    *keys: UpstreamKey,
    provider: str = "openai-compatible",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    direct_models: tuple[str, ...] = (),
    direct_namespaces: Namespaces = ALL,
    dialects: frozenset[str] = frozenset({"openai_chat", "openai_embeddings"}),
) -> Upstream:
    endpoint = Endpoint(f"http://{name}.example.com/v1")
    held = tuple(
        dataclasses.replace(key, heads=request_heads.Heads(request_heads.Place(endpoint, (), key.auth_header), headers))
        for key in keys or (upstream_key(),)
    )
    return Upstream(
        name=f"platform/{name}",
        credential=name,
        provider=provider,
        endpoint=endpoint,
        dialects=dialects,
        keys=held,
        headers=headers,
        direct_models=direct_models,
        direct_namespaces=direct_namespaces,
        secret_values=tuple(
            key.auth_header[1].decode().removeprefix("Bearer ") for key in held if key.auth_header is not None
        ),
        spoken={name: Spoken(name) for name in sorted(dialects)},
        quirks=frozenset({"no_stream_options"}) if provider == "mistral" else frozenset(),
        beta_headers=("openai-beta:*",),
    )


def target(
    name: str = "first", account: Upstream | None = None, *, model: str = "up-1", weight: int = 1, priority: int = 0
) -> Target:
    return Target(
        name=name,
        upstream=account or upstream(name),
        model=model,
        weight=weight,
        priority=priority,
        answered=Block(answered("gpt-4o", name)),
    )


def route(
    group: str = "gpt-4o",
    *targets: Target,
    models: tuple[str, ...] = (),
    internal: bool = False,
    groups: frozenset[str] = frozenset({"default"}),
    namespaces: Namespaces = ALL,
) -> Route:
    return Route(
        name=f"platform/{group}",
        group=group,
        namespace="platform",
        models=models or (group,),
        internal=internal,
        access=(Access(groups, namespaces),),
        targets=targets,
        display_name="",
        description="",
        created=0,
    )


def key(*models: str, namespace: str = "team-a", groups: frozenset[str] = frozenset({"default"})) -> Key:
    return Key(
        name=f"{namespace}/alice",
        namespace=namespace,
        team="a",
        user="alice",
        groups=groups,
        models=tuple(model.lower() for model in models) or ("*",),
        expires=0,
        disabled=False,
        networks=(),
    )


def snapshot(*routes: Route, upstreams: Sequence[Upstream] = ()) -> Snapshot:
    public = [each for each in routes if not each.internal]
    exact = {name: each for each in public for name in each.models if "*" not in name}
    globs = sorted(
        ((name.lower(), each) for each in public for name in each.models if "*" in name),
        key=lambda pair: (-len(pair[0]), pair[0]),
    )
    accounts = {each.name: each for each in upstreams}
    accounts |= {each.upstream.name: each.upstream for r in routes for each in r.targets if each.upstream is not None}
    return Snapshot(
        version="1",
        routes={each.name: each for each in routes},
        upstreams=accounts,
        exact=exact,
        folded={name.lower(): exact[name] for name in sorted(exact, reverse=True)},
        globs=tuple(globs),
        direct={each.credential: each for each in accounts.values() if each.direct_models},
        keys={},
    )


def call(
    *targets: Target,
    body: bytes = b'{"model":"gpt-4o","messages":[]}',
    operation: Operation = "chat",
    headers: Headers = (),
) -> attempts.Call:
    dialect = "openai_chat" if operation == "chat" else "openai_embeddings"
    ingress = registry.INGRESS[dialect, operation]
    return attempts.Call(
        request=envelope.parse(body, operation, dialect, ingress.read_envelope),
        resolved=Resolved("platform/gpt-4o", "gpt-4o", targets or (target(),), "gpt-4o"),
        request_id="req-1",
        ingress=ingress,
        crossing=request_heads.crossing(dict(reversed(headers))),
    )


def call_in(
    dialect: str,
    body: bytes,
    *targets: Target,
    operation: Operation = "chat",
    policy: Policy = DEFAULT_POLICY,
    headers: Headers = (),
    model: str = "",
    stream: bool | None = None,
    query: bytes = b"",
) -> attempts.Call:
    """A request in any dialect."""
    ingress = registry.INGRESS[dialect, operation]
    ingress = ingress if ingress.for_query is None else ingress.for_query(query)
    return attempts.Call(
        request=envelope.parse(
            body, operation, dialect, ingress.read_envelope, model=model, stream=stream, query=query
        ),
        resolved=Resolved("platform/gpt-4o", "gpt-4o", targets or (target(),), "gpt-4o", policy),
        request_id="req-1",
        ingress=ingress,
        crossing=request_heads.crossing(dict(reversed(headers))),
        wall=lambda: 1_700_000_000.0,
    )


def streamed(*targets: Target, usage: bool = False) -> attempts.Call:
    options = b',"stream_options":{"include_usage":true}' if usage else b""
    return call(*targets, body=b'{"model":"gpt-4o","stream":true' + options + b',"messages":[]}')


def new_health() -> Health:
    """On the time of the running loop."""
    return Health(clock=asyncio.get_running_loop().time, wall=lambda: WALL_SECONDS + now() - 1000.0)


def in_order() -> float:
    """A chance that leaves things of equal weight in their order."""
    return 0.5


async def serving(
    asked: attempts.Call,
    responder: RecordingResponder,
    *,
    client: ScriptedClient,
    health: Health,
    settings: attempts.Settings | None = None,
    outcome: attempts.Outcome | None = None,
) -> attempts.Outcome:
    """The attempt loop itself, in the time of the running loop."""
    timers = Timers(asyncio.get_running_loop(), tick_seconds=TICK_SECONDS)
    try:
        return await attempts.serve(
            asked,
            responder,
            client=client,
            health=health,
            timers=timers,
            settings=settings or attempts.Settings(),
            outcome=outcome,
            chance=in_order,
        )
    finally:
        timers.close()


@dataclass
class Served:
    outcome: attempts.Outcome
    responder: RecordingResponder
    client: ScriptedClient
    health: Health

    def __iter__(self) -> Iterator[Any]:
        return iter((self.outcome, self.responder, self.client))


async def serve(
    asked: attempts.Call,
    *answers: Answer,
    client: ScriptedClient | None = None,
    health: Health | None = None,
    responder: RecordingResponder | None = None,
    settings: attempts.Settings | None = None,
    leave_after: float | None = None,
) -> Served:
    """Serve one call, and check what always holds."""
    client = client or ScriptedClient(*answers)
    health = health or new_health()
    responder = responder or RecordingResponder()
    if leave_after is not None:
        asyncio.get_running_loop().call_later(leave_after, responder.leave)
    outcome = await serving(asked, responder, client=client, health=health, settings=settings)
    assert responder.finished or responder.aborted or outcome.client_gone
    assert outcome.status == responder.status
    if len(asyncio.all_tasks()) == 1:  # nobody else is at it
        assert client.all_closed
        assert not any(entry.trials for entry in [*health._keys.values(), *health._targets.values()])
    return Served(outcome, responder, client, health)


def random_cuts(body: bytes, seed: int, pieces: int = 12) -> list[bytes]:
    """``body`` cut at arbitrary places."""
    places = sorted(random.Random(seed).choices(range(len(body) + 1), k=pieces))
    edges = [0, *places, len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


# ---- events ----------------------------------------------------------------------------------------------------------


def chunk(delta: bytes = b"{}", finish: bytes = b"null", more: bytes = b"") -> bytes:
    return b'data: {"id":"c","choices":[{"index":0,"delta":%s,"finish_reason":%s}]%s}\n\n' % (delta, finish, more)


ROLE = chunk(b'{"role":"assistant","content":""}')
HELLO = chunk(b'{"content":"Hello"}')
WORLD = chunk(b'{"content":" world"}')
STOP = chunk(finish=b'"stop"')
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}\n\n'
DONE = b"data: [DONE]\n\n"
COMMENT = b": OPENROUTER PROCESSING\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
WHOLE = (
    b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}'
)
