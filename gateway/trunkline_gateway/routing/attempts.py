"""The attempt loop: target after target until one answers, and what of its answer reaches the client.

Every way out closes the upstream's response. Nothing of a failed attempt reaches the client, its headers least of all.
"""

import asyncio
import random

from trunkline_gateway import errors
from trunkline_gateway.dialects.openai_chat import errors as openai_errors
from trunkline_gateway.http import ClientGoneError, Headers, Responder
from trunkline_gateway.routing import failures, plan
from trunkline_gateway.routing.call import Attempt, Call, Outcome, Result, Settings
from trunkline_gateway.routing.downstream import Downstream
from trunkline_gateway.routing.failures import Failure
from trunkline_gateway.routing.gone import UntilGone
from trunkline_gateway.routing.health import Health
from trunkline_gateway.routing.one_attempt import OneAttempt, Serving, target_headers
from trunkline_gateway.routing.plan import Candidate, Chance, Plan
from trunkline_gateway.routing.snapshot import UpstreamKey
from trunkline_gateway.upstream.client import Client

__all__ = ["Attempt", "Call", "Outcome", "Result", "Settings", "serve"]

_LAST_WORD_SECONDS = 1.0
"""For the error of a request that took too long; its client may have stopped reading."""


async def serve(
    call: Call,
    responder: Responder,
    *,
    client: Client,
    health: Health,
    settings: Settings | None = None,
    outcome: Outcome | None = None,
    chance: Chance = random.random,
) -> Outcome:
    """Answer ``call``: always, and completely, but for a client that has gone. Raises nothing but cancellation.

    Args:
        call: What is asked.
        responder: Where the answer goes; nothing may have been sent.
        client: Sends to upstreams.
        health: Is asked before, and told after, each attempt.
        settings: Timeouts and bounds.
        outcome: Is filled in and returned; give one to see it after a cancellation.
        chance: Decides between targets, and between keys.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    settings = settings or Settings()
    outcome = outcome if outcome is not None else Outcome()
    outcome.group = call.resolved.group
    downstream = Downstream(responder, _head(call), settings)
    loop_of_attempts = _Loop(Serving(call, client, health, downstream, settings, outcome, begun), chance)
    try:
        async with UntilGone(responder):
            await loop_of_attempts.run()
    except ClientGoneError:
        outcome.client_gone = True
    finally:
        await downstream.close()
        outcome.status = downstream.status
        outcome.duration_seconds = loop.time() - begun
    return outcome


class _Loop:
    """The attempts of one request."""

    def __init__(self, serving: Serving, chance: Chance) -> None:
        self._serving = serving
        self._call = serving.call
        self._health = serving.health
        self._downstream = serving.downstream
        self._outcome = serving.outcome
        self._chance = chance

    async def run(self) -> None:
        limit = asyncio.timeout(self._serving.settings.total_seconds)
        try:
            async with limit:
                await self._run()
        except TimeoutError:
            if not limit.expired():
                raise
            await self._too_late()

    async def _run(self) -> None:
        if self._call.request.stream:
            self._downstream.watch()
        order = self._plan()
        failed = self._impossible(order)
        if failed is None:
            failed = await self._try_all(order)
        if failed is not None:
            await self._refuse(failed)

    def _plan(self) -> Plan:
        return plan.plan(self._call.resolved, self._call.request.operation, self._health, self._chance)

    def _impossible(self, order: Plan) -> Failure | None:
        """Why nothing needs to be tried at all."""
        if order.spoken or not any(target.upstream for target in self._call.resolved.targets):
            return None
        operation = {"chat": "chat completions", "embeddings": "embeddings"}[self._call.request.operation]
        message = f"The model '{self._call.request.model}' does not do {operation}."
        return failures.without_attempt(
            errors.InvalidRequestError(message, param="model", code="unsupported_operation")
        )

    async def _try_all(self, order: Plan) -> Failure | None:
        """Try one after the other; None once the client has its answer, else the failure that helps most."""
        failed: list[Failure] = []
        postponed: list[Candidate] = []
        left = len(order.candidates)
        for candidate in order.candidates:
            # Asked again: by now it may have failed for others, or be on trial by one of them.
            if self._health.target_until(candidate.name) is not None:
                postponed.append(candidate)
                continue
            left -= 1
            if await self._try_target(candidate, left, failed):
                return None
        for candidate in postponed:
            left -= 1
            if await self._try_target(candidate, left, failed):
                return None
        return self._most_helpful(failed)

    async def _try_target(self, candidate: Candidate, left: int, failed: list[Failure]) -> bool:
        """Try a target with key after key; whether the client has its answer. ``left`` targets come after it."""
        for key in candidate.keys[: plan.keys_left(len(failed), left)]:
            ended, failure = await self._try(candidate, key)
            if ended:
                return True
            if failure is None:  # the key cannot be used any more; nothing was sent
                continue
            failed.append(failure)
            if failures.ends_target(failure):
                break
        return False

    async def _try(self, candidate: Candidate, key: UpstreamKey) -> tuple[bool, Failure | None]:
        ticket = self._health.begin(candidate.name, candidate.upstream, key)
        if ticket is None:
            return False, None
        with ticket:
            failure = await OneAttempt(self._serving, candidate, key, ticket).run()
        return failure is None, failure

    def _most_helpful(self, failed: list[Failure]) -> Failure:
        """Of what was tried, and of what was not because it would have been in vain."""
        now = self._plan()
        wait = None if now.soonest is None else max(now.soonest - self._health.clock(), 0.0)
        if wait is not None:
            failed = [*failed, failures.without_attempt(failures.rate_limited(wait))]
        if not failed:
            error = (
                errors.UpstreamError(failures.REJECTED, code="upstream_rejected_credentials")
                if now.rejected
                else errors.UpstreamError(failures.NO_TARGET, status=503, code="no_upstream")
            )
            return failures.without_attempt(error)
        best = failures.most_helpful(failed)
        return best if wait is None or best.status != 429 else failures.with_retry_after(best, wait)

    async def _refuse(self, failure: Failure) -> None:
        self._outcome.error = failure.error.code or failure.error.type
        self._outcome.target = failure.target
        body = openai_errors.render(failure.error) if failure.body is None else failure.body
        helpful = failure.retry_after_seconds if failure.status in (429, 503) else None
        await self._downstream.refuse(
            failure.status,
            target_headers(failure.target, len(self._outcome.attempts)),
            body,
            retry_after_seconds=helpful,
        )

    async def _too_late(self) -> None:
        """All time is used up. An attempt that was cut off has closed its upstream already."""
        error = errors.UpstreamTimeoutError("The request took too long.")
        self._outcome.error = error.code or ""
        state = self._downstream.state
        self._outcome.truncated = state in ("committed", "ended")
        if state == "ended" or (state == "committed" and not self._outcome.streamed):
            await self._downstream.abort()
            return
        try:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self._refuse(failures.of_exception(error, target=self._outcome.target))
        except TimeoutError:
            await self._downstream.abort()


def _head(call: Call) -> Headers:
    headers = [(b"x-request-id", call.request_id.encode("ascii", "replace"))]
    if call.resolved.group:
        headers.append((b"x-trunkline-model-group", call.resolved.group.encode("ascii", "replace")))
    return headers
