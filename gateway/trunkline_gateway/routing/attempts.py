"""The attempt loop: target after target until one answers, and what of its answer reaches the client.

Every way out closes the upstream's response. Nothing of a failed attempt reaches the client, its headers least of all.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping
from typing import Final

from trunkline_gateway import aside, errors
from trunkline_gateway.exchange import Operation
from trunkline_gateway.http import Block, ClientGoneError, Responder
from trunkline_gateway.routing import answer_headers, failures, plan, upstream_request
from trunkline_gateway.routing.call import Attempt, Call, Outcome, Result, Settings
from trunkline_gateway.routing.downstream import Downstream
from trunkline_gateway.routing.failures import Failure
from trunkline_gateway.routing.health import Health, Ticket
from trunkline_gateway.routing.one_attempt import OneAttempt, Serving
from trunkline_gateway.routing.plan import Candidate, Chance, Plan
from trunkline_gateway.routing.scope import Scope, TimeIsUpError
from trunkline_gateway.routing.snapshot import UpstreamKey, answered
from trunkline_gateway.routing.underway import Underway
from trunkline_gateway.routing.upstream_request import Prepared
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import Client

__all__ = ["Attempt", "Call", "Outcome", "Result", "Settings", "plan_calmly", "serve"]

_OPERATIONS: Final[Mapping[Operation, str]] = {
    "chat": "chat completions",
    "embeddings": "embeddings",
    "count_tokens": "the counting of tokens",
}

_UNUSABLE: Final = failures.without_attempt(errors.UpstreamError(failures.NO_TARGET))
"""The key cannot be used any more; nothing was sent."""

_LAST_WORD_SECONDS = 1.0
"""For the error of a request that is ended early; its client may have stopped reading."""


async def serve(
    call: Call,
    responder: Responder,
    *,
    client: Client,
    health: Health,
    timers: Timers,
    settings: Settings,
    outcome: Outcome | None = None,
    underway: Underway | None = None,
    chance: Chance = random.random,
) -> Outcome:
    """Answer ``call``: always, and completely, but for a client that has gone. Raises nothing but cancellation.

    Cancelled, as at the end of a drain, it tells the client first; that takes a second at most.

    Args:
        call: What is asked.
        responder: Where the answer goes; nothing may have been sent.
        client: Sends to upstreams.
        health: Is asked before, and told after, each attempt.
        timers: Of the running loop.
        settings: Timeouts and bounds.
        outcome: Is filled in and returned; give one to see it after a cancellation.
        underway: The first attempt, if it is out already; it is in the place of ``client`` then.
        chance: Decides between targets, and between keys.
    """
    outcome = outcome if outcome is not None else Outcome()
    group = outcome.group = call.resolved.group
    downstream = Downstream(responder, call.request_id, group, call.ingress, settings=settings, timers=timers)
    attempts = _Loop(call, underway or client, health, downstream, settings, outcome, timers)
    attempts.chance = chance
    attempts.underway = underway
    order, seconds = None, settings.total_seconds
    if underway is not None:
        order, seconds = underway.order, max(seconds - underway.elapsed_seconds, 0.0)
        attempts.begun -= underway.elapsed_seconds
    try:
        with Scope(responder, timers, seconds):
            await attempts.run(order)
    except ClientGoneError:
        outcome.client_gone = True
    except TimeIsUpError:
        await attempts.end_early(errors.UpstreamTimeoutError("The request took too long."))
    except asyncio.CancelledError:
        await attempts.end_early(errors.shutting_down())
        raise
    finally:
        if underway is not None:
            await underway.close()
        if downstream.state != "ended":
            await downstream.close()
        outcome.status = downstream.status
        outcome.duration_seconds = timers.time() - attempts.begun
    return outcome


def plan_calmly(call: Call, health: Health, chance: Chance = random.random) -> Plan | None:
    """The plan for a call, if its first target and key are well; None where it takes more thought."""
    order = plan.plan(call.resolved, call.request.operation, call.request.dialect, health, chance)
    if not order.candidates:
        return None
    first = order.candidates[0]
    return order if health.is_well(first.name, first.upstream, first.keys[0]) else None


class _Loop(Serving):
    """The attempts of one request."""

    __slots__ = ("chance", "underway")

    chance: Chance
    underway: Underway | None

    async def run(self, order: Plan | None) -> None:
        if self.call.request.stream:
            self.downstream.watch()
        order = order or self._plan()
        failure = None if order.spoken else self._impossible()
        if failure is None:
            failure = await self._try_all(order)
        if failure is not None:
            await self._refuse(failure)

    def _plan(self) -> Plan:
        request = self.call.request
        return plan.plan(self.call.resolved, request.operation, request.dialect, self.health, self.chance)

    def _impossible(self) -> Failure | None:
        """Why nothing needs to be tried at all: no target does the operation. None: there are no targets."""
        if not any(target.upstream for target in self.call.resolved.targets):
            return None
        operation = _OPERATIONS[self.call.request.operation]
        message = f"The model '{self.call.request.model}' does not do {operation}."
        return failures.without_attempt(
            errors.InvalidRequestError(message, param="model", code="unsupported_operation")
        )

    async def _try_all(self, order: Plan) -> Failure | None:
        """Try one after the other; None once the client has its answer, else the failure that helps most."""
        failed: list[Failure] = []
        for left, candidate in self._in_turn(order):
            try:
                if self.settings.fetch_picture is not None:
                    fetch = self.settings.fetch_picture
                    await upstream_request.fetch_pictures(self.call, candidate, self.neutral, fetch)
                prepared = await self._prepare(candidate)
            except errors.UnsupportedFeatureError as error:  # another target may be told all of it
                failed.append(failures.without_attempt(error, target=candidate.target.name))
                continue
            except errors.InvalidRequestError as error:
                return failures.without_attempt(error)
            for key in candidate.keys[: plan.keys_left(len(failed), left)]:
                failure = await self._try(candidate, key, prepared)
                if failure is not None and failure.seals and (unsealed := await self._unsealed(candidate)) is not None:
                    prepared = unsealed
                    failure = await self._try(candidate, key, prepared)
                if failure is None:
                    return None
                if failure is _UNUSABLE:
                    continue
                failed.append(failure)
                if failures.ends_target(failure):
                    break
        return self._most_helpful(failed)

    async def _prepare(self, candidate: Candidate) -> Prepared:
        """Write the request for a target; a long one aside, so that it does not hold up everybody else."""
        if len(self.call.request.body) <= aside.AT_ONCE_BYTES:
            return upstream_request.prepare(self.call, candidate, self.neutral)
        return await aside.run(lambda: upstream_request.prepare(self.call, candidate, self.neutral))

    async def _unsealed(self, candidate: Candidate) -> Prepared | None:
        """The same without sealed reasoning; None where the policy does not allow that to be lost."""
        self.neutral.unseal()
        try:
            return await self._prepare(candidate)
        except errors.UnsupportedFeatureError:
            return None

    async def _try(self, candidate: Candidate, key: UpstreamKey, prepared: Prepared) -> Failure | None:
        """One attempt. None: the client has its answer."""
        ticket = self._begin(candidate, key)
        if ticket is None:
            return _UNUSABLE
        with ticket:
            return await OneAttempt(self, candidate, key, ticket, prepared).run()

    def _begin(self, candidate: Candidate, key: UpstreamKey) -> Ticket | None:
        if self._is_out:
            # As it was when it was sent: what others have found out since says nothing about it, nor it about that.
            return Ticket(self.health, candidate.name, candidate.upstream, key, None, None)
        return self.health.begin(candidate.name, candidate.upstream, key)

    @property
    def _is_out(self) -> bool:
        """Whether the attempt that comes next was sent already."""
        return self.underway is not None and self.underway.waits

    def _in_turn(self, order: Plan) -> Iterator[tuple[int, Candidate]]:
        """Each candidate, with how many come after it. Those that are not well when their turn comes go last."""
        postponed: list[Candidate] = []
        left = len(order.candidates)
        for candidate in order.candidates:
            # Asked again: by now it may have failed for others, or be on trial by one of them.
            if self.health.target_until(candidate.name) is not None and not self._is_out:
                postponed.append(candidate)
                continue
            left -= 1
            yield left, candidate
        for candidate in postponed:
            left -= 1
            yield left, candidate

    def _most_helpful(self, failed: list[Failure]) -> Failure:
        """Of what was tried, and of what was not because it would have been in vain."""
        now = self._plan()
        wait = None if now.soonest is None else max(now.soonest - self.health.clock(), 0.0)
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
        self.outcome.error = failure.code
        self.outcome.target = failure.target
        helpful = failure.retry_after_seconds if failure.status in (429, 503) else None
        await self.downstream.refuse(
            failure.status,
            Block(answered(self.call.resolved.group, failure.target)),
            (answer_headers.attempts(len(self.outcome.attempts)),),
            failure.error,
            failure.body,
            retry_after_seconds=helpful,
        )

    async def end_early(self, error: errors.GatewayError) -> None:
        """Tell the client why there is no more. An attempt that was cut off has closed its upstream already."""
        self.outcome.error = error.code or ""
        state = self.downstream.state
        self.outcome.truncated = state in ("committed", "ended")
        try:
            if state == "ended" or (state == "committed" and not self.outcome.streamed):
                await self.downstream.abort()
                return
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self._refuse(failures.without_attempt(error, target=self.outcome.target))
        except TimeoutError:
            await self.downstream.abort()
        except ClientGoneError:
            self.outcome.client_gone = True
