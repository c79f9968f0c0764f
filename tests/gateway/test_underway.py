"""An attempt that is out already when the attempt loop takes over: finished as if it had been the loop's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway import fakes
from gateway.fakes import JSON, WHOLE, Answer, Pause, RecordingResponder, ScriptedClient, ScriptedResponse, now, run
from trunkline_gateway import errors
from trunkline_gateway.routing import attempts, upstream_request
from trunkline_gateway.routing.health import Health
from trunkline_gateway.routing.plan import Plan
from trunkline_gateway.routing.underway import Underway
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import Request


class Pending(ScriptedResponse):
    """An answer whose head comes ``answer.delay`` after somebody waits for it."""

    def __init__(self, answer: Answer, client: Pool) -> None:
        super().__init__(answer, client)
        self.answer = answer
        self.abandoned = False

    def abandon(self) -> None:
        self.abandoned = True


class Pool(ScriptedClient):
    """A scripted client that can finish what was begun; ``finished`` are the requests of those."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(*answers)
        self.finished: list[Request] = []

    async def finish(self, request: Request, answer: Pending) -> ScriptedResponse:
        self.finished.append(request)
        self.answers.insert(0, answer.answer)
        response = await super().send(request)
        self.requests.pop()
        return response


class Begun:
    """A call whose first attempt is out."""

    def __init__(self, call: attempts.Call, first: Answer, *others: Answer, elapsed_seconds: float = 3.0) -> None:
        self.call = call
        self.client = Pool(*others)
        self.health = fakes.new_health()
        order = attempts.plan_calmly(call, self.health, fakes.in_order)
        assert order is not None
        self.order: Plan = order
        candidate = order.candidates[0]
        timeouts = attempts.Settings().timeouts
        prepared = upstream_request.prepare(call, candidate, upstream_request.Neutral(call))
        self.request = upstream_request.build(prepared, candidate, candidate.keys[0], False, timeouts)
        self.answer = Pending(first, self.client)
        self.underway: Any = Underway(self.client, order, self.request, self.answer, elapsed_seconds)  # type: ignore[arg-type]  # all that it needs of them
        self.responder = RecordingResponder()
        self.outcome = attempts.Outcome()

    async def serve(self, **settings: Any) -> attempts.Outcome:
        timers = Timers(asyncio.get_running_loop(), tick_seconds=fakes.TICK_SECONDS)
        try:
            return await attempts.serve(
                self.call,
                self.responder,
                client=ScriptedClient(),
                health=self.health,
                timers=timers,
                settings=attempts.Settings(**settings),
                outcome=self.outcome,
                underway=self.underway,
                chance=fakes.in_order,
            )
        finally:
            timers.close()

    def fail_target(self, number: int = 0, status: int = 500) -> None:
        """Another request finds out that the target does not work."""
        candidate = self.order.candidates[number]
        ticket = self.health.begin(candidate.name, candidate.upstream, candidate.keys[0])
        assert ticket is not None
        with ticket:
            ticket.target_failed(status)

    def fail_key(self, status: int) -> None:
        candidate = self.order.candidates[0]
        ticket = self.health.begin(candidate.name, candidate.upstream, candidate.keys[0])
        assert ticket is not None
        with ticket:
            ticket.key_failed(status)

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(attempt.target, attempt.result) for attempt in self.outcome.attempts]


def test_its_answer_is_the_answer_and_nothing_is_sent_again() -> None:
    async def test() -> None:
        begun = Begun(fakes.call(), Answer.json(WHOLE))
        outcome = await begun.serve()
        assert begun.responder.body == WHOLE
        assert begun.responder.headers["x-trunkline-attempts"] == "1"
        assert (begun.client.requests, begun.client.finished) == ([], [begun.request])
        assert begun.results == [("first", "ok")]
        assert outcome.ttft_seconds == pytest.approx(3.0)
        assert outcome.duration_seconds == pytest.approx(3.0)
        assert not begun.health._keys
        assert not begun.health._targets
        assert not begun.answer.abandoned

    run(test())


def test_its_failure_goes_on_with_the_accounts_next_key_and_then_with_the_next_target() -> None:
    async def test() -> None:
        one, two = fakes.upstream_key("one"), fakes.upstream_key("two")
        both = fakes.target("first", fakes.upstream("first", one, two))
        call = fakes.call(both, fakes.target("second", priority=1))
        begun = Begun(call, Answer.failing(429), Answer.failing(503), Answer.json(WHOLE))
        await begun.serve()
        assert begun.results == [("first", "rate_limited"), ("first", "server_error"), ("second", "ok")]
        assert len({*begun.client.keys, dict(begun.request.head.headers)[b"authorization"].decode()[7:]}) == 3
        assert begun.responder.headers["x-trunkline-target"] == "second"

    run(test())


@pytest.mark.parametrize("error", [errors.UpstreamConnectError("refused"), errors.UpstreamTimeoutError("late")])
def test_a_failure_without_an_answer_goes_on_too(error: errors.UpstreamError) -> None:
    async def test() -> None:
        call = fakes.call(fakes.target("first"), fakes.target("second", priority=1))
        begun = Begun(call, Answer.raising(error), Answer.json(WHOLE))
        await begun.serve()
        assert [target for target, _ in begun.results] == ["first", "second"]
        assert begun.responder.status == 200
        assert begun.health._keys or begun.health._targets

    run(test())


@pytest.mark.parametrize("elapsed", [0.0, 590.0, 599.5, 700.0])
def test_the_time_before_counts_as_time_of_the_request(elapsed: float) -> None:
    async def test() -> None:
        begun = Begun(fakes.call(), Answer.json(WHOLE, delay=10_000), elapsed_seconds=elapsed)
        since = now()
        outcome = await begun.serve()
        assert begun.responder.status == 504
        assert now() - since == pytest.approx(max(600.0 - elapsed, 0.0), abs=0.001)
        assert outcome.duration_seconds == pytest.approx(max(elapsed, 600.0), abs=0.001)
        assert begun.results == [("first", "cancelled")]

    run(test())


@pytest.mark.parametrize("status", [401, 429])
def test_a_key_that_failed_for_others_meanwhile_still_gets_its_answer(status: int) -> None:
    async def test() -> None:
        begun = Begun(fakes.call(), Answer.json(WHOLE))
        begun.fail_key(status)
        await begun.serve()
        assert begun.results == [("first", "ok")]
        assert len(begun.health.report()) == 1  # it was asked before: nothing is taken back

    run(test())


def test_a_target_that_failed_for_others_meanwhile_comes_first_all_the_same() -> None:
    async def test() -> None:
        begun = Begun(fakes.call(fakes.target("first"), fakes.target("second", priority=1)), Answer.json(WHOLE))
        begun.fail_target()
        await begun.serve()
        assert begun.results == [("first", "ok")]
        assert begun.client.requests == []
        assert begun.health.target_until(begun.order.candidates[0].name) is not None

    run(test())


def test_a_target_on_the_same_account_does_not_get_the_answer_of_another() -> None:
    async def test() -> None:
        account = fakes.upstream("shared")
        call = fakes.call(
            fakes.target("first", account, model="m-1"), fakes.target("second", account, model="m-2", priority=1)
        )
        begun = Begun(call, Answer.failing(500), Answer.json(WHOLE))
        begun.fail_target()
        await begun.serve()
        assert begun.results == [("first", "server_error"), ("second", "ok")]
        assert b'"m-1"' in (begun.request.body or b"")
        assert [b'"m-2"' in (each.body or b"") for each in begun.client.requests] == [True]

    run(test())


def test_later_targets_are_judged_by_what_is_known_when_their_turn_comes() -> None:
    async def test() -> None:
        names = ("first", "second", "third")
        call = fakes.call(*(fakes.target(name, priority=priority) for priority, name in enumerate(names)))
        begun = Begun(call, Answer.failing(500), Answer.json(WHOLE))
        begun.fail_target(1)
        await begun.serve()
        assert begun.results == [("first", "server_error"), ("third", "ok")]

    run(test())


def test_a_client_that_leaves_ends_it() -> None:
    async def test() -> None:
        begun = Begun(fakes.call(), Answer([WHOLE[:9], Pause(1000), WHOLE[9:]], content_type=JSON))
        asyncio.get_running_loop().call_later(2, begun.responder.leave)
        outcome = await begun.serve()
        assert outcome.client_gone
        assert begun.results == [("first", "cancelled")]
        assert begun.client.all_closed

    run(test())


async def test_it_is_abandoned_if_nobody_has_asked_for_its_answer() -> None:
    begun = Begun(fakes.call(), Answer.json(WHOLE))
    assert begun.underway.waits
    await begun.underway.close()
    assert begun.answer.abandoned
    assert not begun.underway.waits


async def test_it_is_the_answer_to_the_first_request_only() -> None:
    begun = Begun(fakes.call(), Answer.json(WHOLE), Answer.failing(500))
    assert (await begun.underway.send(begun.request)).status == 200
    assert not begun.underway.waits
    assert (await begun.underway.send(begun.request)).status == 500
    await begun.underway.close()
    assert not begun.answer.abandoned


def test_there_is_no_calm_plan_once_something_has_failed_or_where_there_is_nothing() -> None:
    async def test() -> None:
        health: Health = fakes.new_health()
        call = fakes.call()
        order = attempts.plan_calmly(call, health)
        assert order is not None
        assert attempts.plan_calmly(fakes.call(fakes.target(weight=0)), health) is None
        candidate = order.candidates[0]
        ticket = health.begin(candidate.name, candidate.upstream, candidate.keys[0])
        assert ticket is not None
        with ticket:
            ticket.target_failed(500)
        assert attempts.plan_calmly(call, health) is None

    run(test())
