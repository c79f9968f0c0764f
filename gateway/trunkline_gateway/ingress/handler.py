"""The one request handler of the APIs: who asks, what for, may they; then the attempt loop, and the account of it.

It knows neither sockets nor ASGI (see `http`), keeps nothing between requests, and serves a request from one table
from beginning to end. Errors have OpenAI's shape; every answer has an ``x-request-id``.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import unquote

from trunkline_gateway import errors
from trunkline_gateway.catalog import models as catalog
from trunkline_gateway.dialects.openai_chat import errors as openai_errors
from trunkline_gateway.dialects.openai_chat import request as openai_request
from trunkline_gateway.http import Body, ClientGoneError, Head, Headers, Responder
from trunkline_gateway.ingress import request_ids, rest
from trunkline_gateway.ingress.authenticate import authenticate
from trunkline_gateway.routing import attempts
from trunkline_gateway.routing.health import Health
from trunkline_gateway.routing.resolve import resolve
from trunkline_gateway.routing.snapshot import Key, Network, Snapshot
from trunkline_gateway.telemetry import access
from trunkline_gateway.telemetry.exchange import CLIENT_GONE_STATUS, Exchange
from trunkline_gateway.telemetry.metrics import Metrics
from trunkline_gateway.upstream.client import Client
from trunkline_protocol import logs

_logger = logging.getLogger(__name__)

_JSON: Final = (b"content-type", b"application/json")

_PARSED_AT_ONCE_BYTES: Final = 1 << 20
"""A longer body is parsed in a thread, so that it does not hold up everybody else."""

_Endpoint: TypeAlias = Literal["chat", "embeddings", "models", "model"]

_METHODS: Final[Mapping[_Endpoint, tuple[str, ...]]] = MappingProxyType(
    {"chat": ("POST",), "embeddings": ("POST",), "models": ("GET", "HEAD"), "model": ("GET", "HEAD")}
)
_PATHS: Final[Mapping[str, _Endpoint]] = MappingProxyType(
    {"/chat/completions": "chat", "/embeddings": "embeddings", "/models": "models"}
)
_MODEL_PATH: Final = "/models/"


class _Match(NamedTuple):
    endpoint: _Endpoint
    model: str = ""


def match(path: str) -> _Match | None:
    """Find what ``path`` is for: with or without ``/v1``, with or without a slash at the end. Nothing else decides."""
    short = path.removeprefix("/v1") if path.startswith("/v1/") else path
    short = short.removesuffix("/")
    if (endpoint := _PATHS.get(short)) is not None:
        return _Match(endpoint)
    if short.startswith(_MODEL_PATH) and len(short) > len(_MODEL_PATH):
        return _Match("model", unquote(short.removeprefix(_MODEL_PATH), errors="replace"))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the handler is told once.

    Attributes:
        trusted_proxies: Whose ``X-Forwarded-For`` is believed.
        serving: Timeouts and bounds of the attempt loop.
    """

    max_body_bytes: int = 64 << 20
    trusted_proxies: Sequence[Network] = ()
    serving: attempts.Settings = field(default_factory=attempts.Settings)


class Handler:
    """See the module. One per process; safe for any number of requests at once.

    Args:
        table: Gives the table that is served now; asked once for each request.
        wall: Unix seconds, for the expiry of keys.
    """

    def __init__(
        self,
        *,
        table: Callable[[], Snapshot],
        client: Client,
        health: Health,
        metrics: Metrics,
        wall: Callable[[], float],
        policy: Policy | None = None,
    ) -> None:
        self._table = table
        self._client = client
        self._health = health
        self._metrics = metrics
        self._wall = wall
        self._policy = policy or Policy()

    def serves(self, path: str) -> bool:
        """Whether ``path`` is for this handler; unknown ones are, so that their 404 has the APIs' shape."""
        return path not in rest.PATHS

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        """Answer one request, and account for it. Raises nothing but cancellation."""
        begun = time.monotonic()
        exchange = Exchange(
            request_id=request_ids.accept(head.get(b"x-request-id")), method=head.method, path=head.path
        )
        answer = _Answer(responder, exchange)
        self._metrics.began()
        try:
            await self._answer(head, body, answer, exchange)
        except errors.GatewayError as error:
            await _refuse(error, answer, exchange)
        except ClientGoneError:
            exchange.client_gone = True
        except Exception:
            _logger.exception("a request failed", extra=logs.fields(request_id=exchange.request_id))
            await _give_up(answer, exchange)
        finally:
            exchange.duration_seconds = time.monotonic() - begun
            if exchange.client_gone and not exchange.status:
                exchange.status = CLIENT_GONE_STATUS
            self._metrics.ended(exchange)
            access.log(exchange)

    async def _answer(self, head: Head, body: Body, answer: "_Answer", exchange: Exchange) -> None:
        found = match(head.path)
        if found is None:
            raise _no_such_url(head)
        if head.method not in _METHODS[found.endpoint]:
            allowed = _METHODS[found.endpoint]
            allow = (b"allow", ", ".join(allowed).encode("ascii"))
            await _refuse(_wrong_method(head, allowed), answer, exchange, allow)
            return
        snapshot = self._table()
        if not snapshot.version:
            raise errors.NotReadyError("The gateway has no routing table yet; try again soon.", retry_after_seconds=1)
        key = self._authenticate(head, snapshot)
        exchange.key, exchange.team = key.name, key.team
        match found.endpoint:
            case "models":
                await _send_json(catalog.render_list(snapshot, key), answer)
            case "model":
                await _send_json(catalog.render_one(snapshot, key, found.model), answer)
            case "chat" | "embeddings" as operation:
                await self._complete(operation, snapshot, key, head, body, answer, exchange)

    def _authenticate(self, head: Head, snapshot: Snapshot) -> Key:
        try:
            return authenticate(head, snapshot, now=self._wall(), trusted_proxies=self._policy.trusted_proxies)
        except errors.GatewayError as error:
            self._metrics.refused_key(error.code or "")
            raise

    async def _complete(
        self,
        operation: Literal["chat", "embeddings"],
        snapshot: Snapshot,
        key: Key,
        head: Head,
        body: Body,
        answer: "_Answer",
        exchange: Exchange,
    ) -> None:
        coding = (head.get(b"content-encoding") or b"identity").strip().lower()
        if coding != b"identity":
            message = "Compressed request bodies are not accepted; send the body without Content-Encoding."
            raise errors.InvalidRequestError(message, status=415, code="unsupported_content_encoding")
        sent = await body.read(self._policy.max_body_bytes)
        if len(sent) > _PARSED_AT_ONCE_BYTES:
            request = await asyncio.to_thread(openai_request.parse, sent, operation)
        else:
            request = openai_request.parse(sent, operation)
        del sent
        resolved = resolve(snapshot, key, request.model)
        call = attempts.Call(
            request=request, resolved=resolved, request_id=exchange.request_id, headers=_without_keys(head.headers)
        )
        exchange.group = resolved.group
        outcome = attempts.Outcome(group=resolved.group)
        try:
            await attempts.serve(
                call,
                answer,
                client=self._client,
                health=self._health,
                settings=self._policy.serving,
                outcome=outcome,
            )
        finally:
            self._account(outcome, exchange)

    def _account(self, outcome: attempts.Outcome, exchange: Exchange) -> None:
        exchange.group = outcome.group
        exchange.target = outcome.target
        exchange.attempts = len(outcome.attempts)
        exchange.first_byte_seconds = outcome.ttft_seconds
        exchange.streamed = outcome.streamed
        exchange.truncated = outcome.truncated
        exchange.client_gone = outcome.client_gone
        exchange.error = outcome.error
        if (usage := outcome.usage) is not None:
            exchange.prompt_tokens = usage.prompt or 0
            exchange.completion_tokens = usage.completion or 0
            exchange.cached_tokens = usage.cached or 0
            exchange.reasoning_tokens = usage.reasoning or 0
        for attempt in outcome.attempts:
            self._metrics.attempted(outcome.group, attempt.target, attempt.result)


# ---- answers that are not an upstream's ------------------------------------------------------------------------------


async def _send_json(body: bytes, answer: "_Answer") -> None:
    await answer.start(200, [_JSON, (b"content-length", b"%d" % len(body))])
    await answer.finish(body)


async def _refuse(
    error: errors.GatewayError, answer: "_Answer", exchange: Exchange, *more: tuple[bytes, bytes]
) -> None:
    exchange.error = error.code or error.type
    if answer.started:  # not by anybody's plan: the attempt loop ends what it has begun
        await answer.abort()
        return
    body = openai_errors.render(error)
    headers = [_JSON, (b"content-length", b"%d" % len(body)), *more]
    if isinstance(error, errors.AuthenticationError):
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_seconds)))
    try:
        await answer.start(error.status, headers)
        await answer.finish(body)
    except ClientGoneError:
        exchange.client_gone = True


async def _give_up(answer: "_Answer", exchange: Exchange) -> None:
    message = f"Something went wrong in the gateway. The request id {exchange.request_id} finds it in the log."
    await _refuse(errors.GatewayError(message, code="internal_error"), answer, exchange)


def _no_such_url(head: Head) -> errors.GatewayError:
    shown = head.path if len(head.path) <= 253 else head.path[:253] + "…"
    return errors.InvalidRequestError(
        f"There is nothing at {head.method} {shown}. Paths look like /v1/chat/completions.",
        status=404,
        code="unknown_url",
    )


def _wrong_method(head: Head, allowed: Sequence[str]) -> errors.GatewayError:
    return errors.MethodNotAllowedError(f"{head.method} is not for this path; use {' or '.join(allowed)}.")


_SECRET_HEADERS: Final = frozenset(
    {b"authorization", b"x-api-key", b"x-goog-api-key", b"cookie", b"proxy-authorization"}
)


def _without_keys(headers: Headers) -> Headers:
    return tuple(header for header in headers if header[0] not in _SECRET_HEADERS)


class _Answer:
    """A responder that notes the status and adds the request id."""

    def __init__(self, responder: Responder, exchange: Exchange) -> None:
        self._responder = responder
        self._exchange = exchange

    @property
    def disconnected(self) -> "asyncio.Future[None]":
        return self._responder.disconnected

    @property
    def started(self) -> bool:
        return self._responder.started

    async def start(self, status: int, headers: Headers) -> None:
        self._exchange.status = status
        kept = [header for header in headers if header[0] != b"x-request-id"]
        kept.append((b"x-request-id", self._exchange.request_id.encode("ascii")))
        await self._responder.start(status, kept)

    async def write(self, data: bytes) -> None:
        await self._responder.write(data)

    async def finish(self, data: bytes = b"") -> None:
        await self._responder.finish(data)

    async def abort(self) -> None:
        await self._responder.abort()
