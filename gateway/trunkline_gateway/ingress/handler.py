"""The one request handler of the APIs: who asks, what for, may they; then the attempt loop, and the account of it.

It knows neither sockets nor ASGI (see `http`), keeps nothing between requests, and serves a request from one table
from beginning to end. Errors are in the caller's dialect; every answer has an ``x-request-id``.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from trunkline_gateway import aside, envelope, errors, registry
from trunkline_gateway.catalog import models as catalog
from trunkline_gateway.catalog import shapes
from trunkline_gateway.dialect import Ingress
from trunkline_gateway.exchange import losses
from trunkline_gateway.http import NO_HEADERS, Block, Body, ClientGoneError, Head, Responder
from trunkline_gateway.ingress import caller, estimate, paths, request_ids, rest
from trunkline_gateway.ingress.authenticate import authenticate
from trunkline_gateway.ingress.shortcut import PATIENCE_SECONDS, Direct, Patience, Shortcut
from trunkline_gateway.routing import answer_headers, attempts, plan, request_heads, upstream_request
from trunkline_gateway.routing.health import Health
from trunkline_gateway.routing.resolve import resolve
from trunkline_gateway.routing.snapshot import Key, Network, Snapshot, answered
from trunkline_gateway.routing.underway import Underway
from trunkline_gateway.telemetry.exchange import CLIENT_GONE_STATUS, Exchange
from trunkline_gateway.telemetry.ledger import Ledger
from trunkline_gateway.telemetry.metrics import Metrics
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import PooledClient
from trunkline_protocol import logs

_logger = logging.getLogger(__name__)

_JSON: Final = (b"content-type", b"application/json")

_PARSED_AT_ONCE_BYTES: Final = 512 << 10
"""A longer body is parsed in a thread, so that it does not hold up everybody else."""

_MAX_TRANSLATED_AT_ONCE_BYTES: Final = 64 << 10
"""A longer body is translated in a task of its own."""

_HOT: Final = {
    path: (match, registry.INGRESS[match.dialect, match.operation])
    for path, match in paths.FIXED.items()
    if match.endpoint == "call"
}
_WHOLE_CALLS: Final = (":generateContent", ":embedContent", ":batchEmbedContents")
"""How paths end that name a model and ask for a whole answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the handler is told once.

    Attributes:
        trusted_proxies: Whose ``X-Forwarded-For`` is believed.
        serving: Timeouts and bounds of the attempt loop.
        patience_seconds: When an answer that a `Shortcut` waits for counts as slow.
    """

    max_body_bytes: int = 64 << 20
    trusted_proxies: Sequence[Network] = ()
    serving: attempts.Settings = field(default_factory=attempts.Settings)
    patience_seconds: float = PATIENCE_SECONDS


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
        client: PooledClient,
        health: Health,
        metrics: Metrics,
        ledger: Ledger,
        timers: Timers,
        wall: Callable[[], float],
        policy: Policy | None = None,
    ) -> None:
        self._table = table
        self._client = client
        self._health = health
        self._metrics = metrics
        self._ledger = ledger
        self._timers = timers
        self._wall = wall
        self._policy = policy or Policy()
        self._fetches_pictures = self._policy.serving.fetch_picture is not None
        self._max_at_once_bytes = min(self._policy.max_body_bytes, _PARSED_AT_ONCE_BYTES)
        self.patience = Patience(timers, min(self._policy.patience_seconds, self._policy.serving.total_seconds))

    def serves(self, path: str) -> bool:
        """Whether ``path`` is for this handler; unknown ones are, so that their 404 has the APIs' shape."""
        return path not in rest.PATHS

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        """Answer one request, and account for it. Raises nothing but cancellation."""
        begun = time.monotonic()
        exchange = _exchange(head)
        self._metrics.began()
        await self._see_through(self._answer(head, body, responder, exchange), head, responder, exchange, begun)

    def gathers(self, head: Head) -> bool:
        """Whether to wait a moment for the rest of a body: it is short enough for `at_once`, and the key is good."""
        length = head.first.get(b"content-length")
        if length is None or len(length) > 9 or int(length) > self._max_at_once_bytes or b"expect" in head.first:
            return False
        try:
            authenticate(head, self._table(), wall=self._wall, trusted_proxies=self._policy.trusted_proxies)
        except errors.GatewayError:
            return False
        return True

    def at_once(self, head: Head, responder: Direct) -> bool:
        """Serve a request by a `Shortcut`, or refuse it, if it is of the kind that one is for; else do nothing."""
        begun = time.monotonic()
        found = _HOT.get(head.path) or _hot_of_model(head)
        if found is None or head.method != "POST" or b"content-encoding" in head.first:
            return False
        match, ingress = found
        sent = responder.arrived()
        snapshot = self._table()
        if len(sent) > self._max_at_once_bytes or not snapshot.version:
            return False
        exchange = _exchange(head)
        exchange.dialect = match.dialect
        try:
            key = authenticate(head, snapshot, wall=self._wall, trusted_proxies=self._policy.trusted_proxies)
            exchange.key = key.name
            exchange.team = key.team
            if match.model:
                request = _parse(sent, match, ingress, head.query, at_once=True)
            else:
                request = envelope.parse(sent, match.operation, match.dialect, ingress.read_envelope, at_once=True)
            if request.stream:
                return False
            resolved = resolve(snapshot, key, request.model)
            exchange.group = resolved.group
            crossing = request_heads.crossing(head.first)
            call = attempts.Call(request, resolved, exchange.request_id, ingress, crossing, self._wall)
            order = attempts.plan_calmly(call, self._health)
            if order is None:
                return False
            candidate = order.candidates[0]
            if candidate.dialect != match.dialect and len(sent) > _MAX_TRANSLATED_AT_ONCE_BYTES:
                return False
            neutral = None
            if self._fetches_pictures:
                neutral = upstream_request.Neutral(call)
                if upstream_request.missing_pictures(call, candidate, neutral):
                    return False
            prepared = upstream_request.prepare(call, candidate, neutral)
            timeouts = self._policy.serving.timeouts
            sending = upstream_request.build(prepared, candidate, candidate.keys[0], False, timeouts)
            answer = self._client.start(sending)
        # Another target may still do it.
        except (envelope.LaboriousError, errors.UpstreamError, errors.UnsupportedFeatureError):
            return False
        except errors.GatewayError as error:
            # Not for `handle` to find out once more: what is wrong may be long to look for.
            self._metrics.began()
            responder.go_on(self._see_through(_raised(error), head, responder, exchange, begun))
            return True
        if answer is None:
            return False
        self._metrics.began()
        Shortcut(self, responder, exchange, begun, call, order, prepared, sending, answer, head)
        return True

    async def resume(self, left: Shortcut) -> None:
        """See `shortcut.Host`."""
        elapsed = time.monotonic() - left.begun
        underway = Underway(self._client, left.order, left.request, left.answer, elapsed)
        work = self._attempt(left.call, left.responder, left.exchange, underway)
        await self._see_through(work, left.head, left.responder, left.exchange, left.begun)

    async def _see_through(
        self, work: Coroutine[Any, Any, None], head: Head, responder: Responder, exchange: Exchange, begun: float
    ) -> None:
        """Do ``work``; see that an answer comes of it, and that it is accounted for."""
        try:
            await work
        except (errors.AuthenticationError, errors.ForbiddenAddressError) as error:
            self._metrics.refused_key(error.code or "")
            await _refuse(error, head, responder, exchange)
        except errors.GatewayError as error:
            await _refuse(error, head, responder, exchange)
        except ClientGoneError:
            exchange.client_gone = True
        except asyncio.CancelledError:
            if not exchange.status:  # the driver says so, after the grace period of a stop
                exchange.status, exchange.error = 503, "shutting_down"
            raise
        except Exception:
            _logger.exception("a request failed", extra=logs.fields(request_id=exchange.request_id))
            await _give_up(head, responder, exchange)
        finally:
            if exchange.client_gone and not exchange.status:
                exchange.status = CLIENT_GONE_STATUS
            self.finish(exchange, begun)

    def finish(self, exchange: Exchange, begun: float) -> None:
        """See `shortcut.Host`."""
        ended = exchange.ended_at = time.monotonic()
        exchange.duration_seconds = ended - begun
        self._ledger.add(exchange)

    async def _answer(self, head: Head, body: Body, responder: Responder, exchange: Exchange) -> None:
        found = paths.match(head.path)
        if found is None or found.endpoint == "stored":
            raise _no_such_url(head) if found is None else _nothing_stored()
        if head.method not in paths.METHODS[found.endpoint]:
            if found.endpoint == "model" and head.method == "POST" and ":" in found.model:
                raise _no_such_url(head)  # a method of Google's that is not served, such as :predict
            raise errors.MethodNotAllowedError(head.method, paths.METHODS[found.endpoint])
        snapshot = self._table()
        if not snapshot.version:
            raise _not_ready()
        key = authenticate(head, snapshot, wall=self._wall, trusted_proxies=self._policy.trusted_proxies)
        exchange.key = key.name
        exchange.team = key.team
        if found.prefix and found.prefix.lower() not in snapshot.direct and found.prefix.lower() not in paths.ALIASES:
            raise _no_such_url(head)
        if found.endpoint == "call":
            exchange.dialect = found.dialect
            await self._complete(found, snapshot, key, head, body, responder, exchange)
            return
        dialect = caller.dialect_of(head, found)
        if found.endpoint == "models":
            entries = catalog.entries(snapshot, key)
            if found.prefix.lower() in snapshot.direct and found.prefix.lower() not in paths.ALIASES:
                entries = [entry for entry in entries if entry.id.startswith(found.prefix.lower() + ":")]
            listed = shapes.render_list(entries, dialect, head.query)
        else:
            named = _named(snapshot, key, found.model, found.prefix)
            listed = shapes.render_one(catalog.entry(snapshot, key, named), dialect)
        await _send_json(listed, responder, exchange)

    async def _complete(
        self,
        found: paths.Match,
        snapshot: Snapshot,
        key: Key,
        head: Head,
        body: Body,
        responder: Responder,
        exchange: Exchange,
    ) -> None:
        coding = head.first.get(b"content-encoding")
        if coding is not None and coding.strip().lower() != b"identity":
            message = "Compressed request bodies are not accepted; send the body without Content-Encoding."
            raise errors.InvalidRequestError(message, status=415, code="unsupported_content_encoding")
        sent = await body.read(self._policy.max_body_bytes)
        ingress = caller.ingress_of(found, head.query)
        request = await _parsed(sent, found, ingress, head.query)
        del sent
        resolved = resolve(snapshot, key, _named(snapshot, key, request.model, found.prefix))
        crossing = request_heads.crossing(head.first)
        call = attempts.Call(request, resolved, exchange.request_id, ingress, crossing, self._wall)
        if found.operation == "count_tokens" and not plan.line_up(resolved, "count_tokens", found.dialect).spoken:
            await _estimate(call, responder, exchange)
            return
        await self._attempt(call, responder, exchange, None)

    async def _attempt(
        self, call: attempts.Call, responder: Responder, exchange: Exchange, underway: Underway | None
    ) -> None:
        outcome = attempts.Outcome(group=call.resolved.group)
        try:
            await attempts.serve(
                call,
                responder,
                client=self._client,
                health=self._health,
                timers=self._timers,
                settings=self._policy.serving,
                outcome=outcome,
                underway=underway,
            )
        finally:
            _account(outcome, exchange)


def _hot_of_model(head: Head) -> tuple[paths.Match, Ingress] | None:
    """What `_HOT` has, for a path that names the model."""
    if not head.path.endswith(_WHOLE_CALLS):
        return None
    found = paths.match(head.path)
    if found is None or found.endpoint != "call" or found.stream is not False or found.prefix:
        return None
    return found, caller.ingress_of(found, head.query)


def _parse(body: bytes, found: paths.Match, ingress: Ingress, query: bytes, *, at_once: bool) -> envelope.Request:
    if found.model:
        envelope.check_model(found.model)
    return envelope.parse(
        body,
        found.operation,
        found.dialect,
        ingress.read_envelope,
        at_once=at_once,
        model=found.model,
        stream=found.stream,
        query=query,
    )


async def _parsed(body: bytes, found: paths.Match, ingress: Ingress, query: bytes) -> envelope.Request:
    """The envelope; what takes long is done in a thread, so that it does not hold up everybody else."""
    if len(body) <= _PARSED_AT_ONCE_BYTES:
        with contextlib.suppress(envelope.LaboriousError):
            return _parse(body, found, ingress, query, at_once=True)
    return await aside.run(lambda: _parse(body, found, ingress, query, at_once=False))


def _named(snapshot: Snapshot, key: Key, model: str, prefix: str) -> str:
    """The full name of what ``model`` means below a prefix.

    That is the account's own model, with or without the account in its name (its list has it with); where it has no
    such model, the public name. An account's name wins over an alias that is called the same.
    """
    prefix = prefix.lower()
    if prefix not in snapshot.direct:
        return model
    of_account, colon, _ = model.partition(":")
    if colon and of_account.lower() == prefix:
        return model
    direct = f"{prefix}:{model}"
    try:
        resolve(snapshot, key, direct)
    except errors.ModelNotFoundError:
        return model
    return direct


async def _estimate(call: attempts.Call, responder: Responder, exchange: Exchange) -> None:
    """Answer a count that no target of the model can give, and say that it is none."""
    lost = ("count_estimated",)
    if call.resolved.policy.lossy == "Reject":
        message = f"No upstream of the model '{call.request.model}' counts tokens, and its policy allows no estimate."
        raise errors.UnsupportedFeatureError(message, param="model")

    def estimated() -> bytes:
        request = call.ingress.decode(call.request.fields, call.request.model, False, call.request.query)
        return call.ingress.encode(estimate.tokens(request), request).body

    exchange.group = call.resolved.group
    body = estimated() if len(call.request.body) <= aside.AT_ONCE_BYTES else await aside.run(estimated)
    exchange.lost = lost
    exchange.status = 200
    headers = [_request_id(exchange), _JSON]
    if call.resolved.policy.lossy != "Allow":
        headers.append((b"x-trunkline-lossy", losses.header(lost).encode("ascii")))
    await responder.answer(200, Block(answered(call.resolved.group, "")), headers, body)


async def _raised(error: errors.GatewayError) -> None:
    raise error


def _exchange(head: Head) -> Exchange:
    request_id = request_ids.accept(head.first.get(b"x-request-id"))
    return Exchange(request_id=request_id, method=head.method, path=head.path)


def _account(outcome: attempts.Outcome, exchange: Exchange) -> None:
    exchange.status = outcome.status
    exchange.group = outcome.group
    exchange.target = outcome.target
    exchange.attempts = len(outcome.attempts)
    exchange.attempt_results = [(attempt.target, attempt.result) for attempt in outcome.attempts]
    exchange.first_byte_seconds = outcome.ttft_seconds
    exchange.streamed = outcome.streamed
    exchange.truncated = outcome.truncated
    exchange.client_gone = outcome.client_gone
    exchange.error = outcome.error
    exchange.upstream_dialect = outcome.upstream_dialect
    exchange.lost = outcome.lost
    if outcome.usage is not None:
        exchange.count(outcome.usage)


# ---- answers that are not an upstream's ------------------------------------------------------------------------------


async def _send_json(body: bytes, responder: Responder, exchange: Exchange) -> None:
    exchange.status = 200
    await responder.answer(200, NO_HEADERS, (_request_id(exchange), _JSON), body)


async def _refuse(error: errors.GatewayError, head: Head, responder: Responder, exchange: Exchange) -> None:
    exchange.error = error.code or error.type
    if responder.started:  # not by anybody's plan: the attempt loop ends what it has begun
        await responder.abort()
        return
    headers = [_request_id(exchange), _JSON]
    if isinstance(error, errors.AuthenticationError):
        headers.append((b"www-authenticate", b"Bearer"))
    elif isinstance(error, errors.MethodNotAllowedError):
        headers.append((b"allow", ", ".join(error.allowed).encode("ascii")))
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_seconds)))
    if exchange.group:  # it is known what was asked for, and that nothing was sent
        headers.append(answer_headers.attempts(0))
    try:
        exchange.status = error.status
        block = Block(answered(exchange.group, ""))
        await responder.answer(error.status, block, headers, caller.side_of(head).render_error(error))
    except ClientGoneError:
        exchange.client_gone = True


def _request_id(exchange: Exchange) -> tuple[bytes, bytes]:
    return (b"x-request-id", exchange.request_id.encode("ascii"))


async def _give_up(head: Head, responder: Responder, exchange: Exchange) -> None:
    message = f"Something went wrong in the gateway. The request id {exchange.request_id} finds it in the log."
    await _refuse(errors.GatewayError(message, code="internal_error"), head, responder, exchange)


def _no_such_url(head: Head) -> errors.GatewayError:
    shown = head.path if len(head.path) <= 253 else head.path[:253] + "…"
    return errors.InvalidRequestError(
        f"There is nothing at {head.method} {shown}. Paths look like /v1/chat/completions.",
        status=404,
        code="unknown_url",
    )


def _nothing_stored() -> errors.GatewayError:
    message = "Answers are not stored here: send the whole conversation in 'input', with store: false."
    return errors.InvalidRequestError(message, status=404, code="not_stored")


def _not_ready() -> errors.GatewayError:
    return errors.NotReadyError("The gateway has no routing table yet; try again soon.", retry_after_seconds=1)
