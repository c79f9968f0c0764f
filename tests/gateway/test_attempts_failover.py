"""Which failure goes on to which target, and what the client gets when none is left."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from gateway import fakes
from gateway.fakes import DONE, HELLO, ROLE, STOP, WHOLE, Answer, Pause, serve, target, upstream, upstream_key
from trunkline_gateway import errors
from trunkline_gateway.routing import attempts


def two_targets() -> tuple[fakes.Target, fakes.Target]:
    return target("first"), target("second", priority=1)


def two_keys(**more: object) -> fakes.Target:
    return target("first", upstream("main", upstream_key("one"), upstream_key("two")), **more)  # type: ignore[arg-type]


def said(served: fakes.Served) -> dict[str, object]:
    return msgspec.json.decode(served.responder.body)["error"]


def test_a_whole_answer_is_passed_on_with_our_headers_and_none_of_the_upstreams() -> None:
    answer = Answer.json(WHOLE, headers={"x-ratelimit-limit-requests": "5", "set-cookie": "a=b", "server": "secret"})
    outcome, responder, client = fakes.run(serve(fakes.call(target("first", model="up-9")), answer))
    assert (responder.status, responder.body, responder.finished) == (200, WHOLE, True)
    assert responder.headers == {
        "content-type": "application/json",
        "content-length": str(len(WHOLE)),
        "x-request-id": "req-1",
        "x-trunkline-model-group": "gpt-4o",
        "x-trunkline-target": "first",
        "x-trunkline-attempts": "1",
    }
    assert outcome.usage is not None
    assert (outcome.usage.prompt, outcome.usage.completion, outcome.usage.total) == (7, 2, 9)
    assert (outcome.status, outcome.target, outcome.provider, outcome.error) == (200, "first", "openai-compatible", "")
    assert [(each.target, each.result, each.status) for each in outcome.attempts] == [("first", "ok", 200)]
    assert client.requests[0].head.path == "/chat/completions"


def test_an_upstream_gets_the_key_and_only_what_is_allowed_to_cross() -> None:
    sent = [(b"authorization", b"Bearer sk-tl-mine"), (b"cookie", b"c"), (b"openai-beta", b"x=1"), (b"x-own", b"1")]
    account = upstream("main", headers=((b"x-team", b"t"), (b"user-agent", b"theirs")))
    _, _, client = fakes.run(serve(fakes.call(target("first", account), headers=sent), Answer.json(WHOLE)))
    assert sorted((*client.requests[0].head.headers, *client.requests[0].headers)) == [
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"authorization", b"Bearer sk-primary-0123456789"),
        (b"content-type", b"application/json"),
        (b"openai-beta", b"x=1"),
        (b"user-agent", b"theirs"),
        (b"x-team", b"t"),
    ]
    assert b'"model":"up-1"' in (client.requests[0].body or b"")


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520, 529])
def test_a_target_that_fails_is_followed_by_the_next_and_cools_down(status: int) -> None:
    async def main() -> None:
        served = await serve(fakes.call(*two_targets()), Answer.failing(status), Answer.json(WHOLE))
        assert served.responder.headers["x-trunkline-target"] == "second"
        assert served.responder.headers["x-trunkline-attempts"] == "2"
        again = await serve(fakes.call(*two_targets()), Answer.json(WHOLE), health=served.health)
        assert again.outcome.target == "second"
        await asyncio.sleep(5.1)
        back = await serve(fakes.call(*two_targets()), Answer.json(WHOLE), health=served.health)
        assert back.outcome.target == "first"

    fakes.run(main())


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (errors.UpstreamConnectError("No connection."), "connect_error"),
        (errors.UpstreamTimeoutError("Too late."), "timeout"),
        (errors.UpstreamProtocolError("Not HTTP."), "protocol_error"),
    ],
)
def test_no_answer_at_all_goes_on_to_the_next_target_not_to_the_next_key(
    error: errors.UpstreamError, result: str
) -> None:
    targets = two_keys(), target("second", priority=1)
    outcome, responder, client = fakes.run(serve(fakes.call(*targets), Answer.raising(error), Answer.json(WHOLE)))
    assert [each.result for each in outcome.attempts] == [result, "ok"]
    assert client.keys == ["sk-one-0123456789", "sk-primary-0123456789"]
    assert responder.body == WHOLE


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_a_key_that_fails_is_followed_by_the_accounts_next_key(status: int) -> None:
    async def main() -> None:
        served = await serve(fakes.call(two_keys()), Answer.failing(status), Answer.json(WHOLE))
        assert served.client.keys == ["sk-one-0123456789", "sk-two-0123456789"]
        assert served.responder.headers["x-trunkline-attempts"] == "2"
        again = await serve(fakes.call(two_keys()), Answer.json(WHOLE), health=served.health)
        assert again.client.keys == ["sk-two-0123456789"]

    fakes.run(main())


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 418, 422])
def test_an_error_of_the_request_is_the_answer_and_is_not_tried_elsewhere(status: int) -> None:
    body = b'{"error": {"message": "no such thing", "param": "messages[0]"}}'
    outcome, responder, client = fakes.run(serve(fakes.call(*two_targets()), Answer.json(body, status)))
    assert (responder.status, responder.body, len(client.requests)) == (status, body, 1)
    assert responder.headers["x-trunkline-target"] == "first"
    assert outcome.attempts[0].result == "refused"
    assert outcome.error == "upstream_refused"


def test_a_redirect_is_not_followed_and_leaks_nothing() -> None:
    moved = Answer.json(b"<a href=http://evil/>", 307, headers={"location": "http://evil/"})
    served = fakes.run(serve(fakes.call(), moved))
    assert served.responder.status == 502
    assert "location" not in served.responder.headers
    assert b"evil" not in served.responder.body


@pytest.mark.parametrize("status", [102, 199, 600, 999])
def test_a_status_that_http_does_not_know_fails_over(status: int) -> None:
    alone = fakes.run(serve(fakes.call(), Answer.json(b"{}", status)))
    assert alone.responder.status == 502
    both = fakes.run(serve(fakes.call(*two_targets()), Answer.json(b"{}", status), Answer.json(b'{"choices":[]}')))
    assert (both.responder.status, len(both.client.requests)) == (200, 2)


def test_case_25_a_429_of_all_stays_429_with_the_soonest_retry_after() -> None:
    answers = [Answer.failing(429, headers={"retry-after": "30"}), Answer.failing(429, headers={"retry-after": "20"})]
    served = fakes.run(serve(fakes.call(two_keys()), *answers))
    assert served.responder.status == 429
    assert served.responder.headers["retry-after"] == "20"
    assert said(served)["message"] == "it failed"
    assert served.outcome.error == "rate_limit_exceeded"


def test_case_25_a_429_is_not_hidden_behind_other_failures() -> None:
    served = fakes.run(serve(fakes.call(*two_targets()), Answer.failing(429), Answer.failing(500)))
    assert served.responder.status == 429
    assert served.responder.headers["retry-after"] == "5"
    assert served.responder.headers["x-trunkline-attempts"] == "2"


def test_keys_that_cool_down_are_not_tried_and_the_answer_comes_at_once() -> None:
    async def main() -> None:
        first = await serve(fakes.call(), Answer.failing(429, headers={"retry-after": "60"}))
        await asyncio.sleep(18)
        again = await serve(fakes.call(), health=first.health)
        assert (again.responder.status, again.responder.headers["retry-after"]) == (429, "42")
        assert again.client.requests == []
        assert again.responder.headers["x-trunkline-attempts"] == "0"

    fakes.run(main())


@pytest.mark.parametrize("status", [401, 402, 403])
def test_rejected_keys_are_the_platforms_problem_and_name_no_account(status: int) -> None:
    body = "Incorrect API key provided: sk-primary-0123456789 for account main"

    async def main() -> None:
        served = await serve(fakes.call(), Answer.failing(status, body))
        assert served.responder.status == 502
        assert b"main" not in served.responder.body
        assert b"sk-" not in served.responder.body
        again = await serve(fakes.call(), health=served.health)
        assert (again.responder.status, again.client.requests) == (502, [])
        await asyncio.sleep(301)
        probe = await serve(fakes.call(), Answer.json(WHOLE), health=served.health)
        assert probe.responder.status == 200

    fakes.run(main())


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([500, 503, 502], 503),
        ([502, 504, 500], 504),
        ([502, 500, 502], 500),
        ([401, 502, 500], 500),
        ([520, 502, 401], 520),
        ([503, 500, 429], 429),
        ([408, 500, 502], 408),
    ],
)
def test_the_answer_is_the_failure_that_helps_most(statuses: list[int], expected: int) -> None:
    targets = [target(f"t{place}", priority=place) for place in range(3)]
    served = fakes.run(serve(fakes.call(*targets), *[Answer.failing(each) for each in statuses]))
    assert served.responder.status == expected
    assert len(served.outcome.attempts) == 3


def test_a_target_that_cools_down_is_tried_all_the_same_when_nothing_else_is_left() -> None:
    async def main() -> None:
        first = await serve(fakes.call(*two_targets()), Answer.failing(500), Answer.failing(500))
        assert first.responder.status == 500
        again = await serve(fakes.call(*two_targets()), Answer.json(WHOLE), health=first.health)
        assert (again.responder.status, again.outcome.target) == (200, "first")

    fakes.run(main())


def test_no_more_than_sixteen_pairs_are_tried_and_an_accounts_keys_leave_room_for_others() -> None:
    many = target("first", upstream("main", *[upstream_key(f"k{each:02}") for each in range(20)]))
    answers = [*[Answer.failing(401)] * 15, Answer.json(WHOLE)]
    served = fakes.run(serve(fakes.call(many, target("second", priority=1)), *answers))
    assert (served.outcome.target, len(served.client.requests)) == ("second", 16)
    served = fakes.run(serve(fakes.call(many), *[Answer.failing(401)] * 20))
    assert len(served.client.requests) == 16


def test_an_upstreams_own_error_is_passed_on_without_keys_and_where_it_came_from() -> None:
    text = "key sk-primary-0123456789 at http://first.example.com/v1/x overloaded"
    served = fakes.run(serve(fakes.call(), Answer.failing(503, text, headers={"retry-after": "7"})))
    assert served.responder.status == 503
    assert said(served)["message"] == "key [redacted] at http://[upstream]/v1/x overloaded"
    assert served.responder.headers["retry-after"] == "7"


def test_a_page_of_a_proxy_becomes_an_error_in_openais_shape() -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head><body>" + b"x" * 5000 + b"</body></html>"
    served = fakes.run(serve(fakes.call(), Answer([page], status=502, content_type="text/html")))
    assert (served.responder.status, served.responder.headers["content-type"]) == (502, "application/json")
    message = said(served)["message"]
    assert isinstance(message, str)
    assert message.startswith("502 Bad Gateway x")
    assert len(message.encode()) <= 1024


def test_an_error_whose_body_never_ends_does_not_hold_up_the_next_target() -> None:
    answers = Answer([b'{"err', Pause(1000)], status=500), Answer.json(WHOLE)
    served = fakes.run(serve(fakes.call(*two_targets()), *answers))
    assert served.responder.status == 200
    assert served.outcome.duration_seconds == pytest.approx(5)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"error":{"message":"slow down","code":429}}', 429),
        (b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', 429),
        (b'{"error":{"message":"quota","type":"insufficient_quota"}}', 429),
        (b'{"error":{"message":"boom","type":"server_error"}}', 500),
        (b'{"error":"boom"}', 500),
        (b'{"error":{"message":"no","code":401}}', 502),
        (b"not json", 502),
        (b"<html>login</html>", 502),
        (b"", 502),
    ],
)
def test_an_error_with_status_200_fails_over_all_the_same(body: bytes, status: int) -> None:
    targets = two_targets()
    served = fakes.run(serve(fakes.call(*targets), Answer.json(body), Answer.json(WHOLE)))
    assert (served.responder.status, served.outcome.target) == (200, "second")
    alone = fakes.run(serve(fakes.call(), Answer.json(body)))
    assert alone.responder.status == status


def test_an_error_of_the_request_with_status_200_is_the_answer() -> None:
    body = b'{"error":{"message":"filtered","code":"content_filter","status":400}}'
    served = fakes.run(serve(fakes.call(*two_targets()), Answer.json(body)))
    assert (served.responder.status, served.responder.body, len(served.client.requests)) == (200, body, 1)


@pytest.mark.parametrize("asked", [fakes.call, fakes.streamed])
def test_an_answer_that_is_compressed_unasked_fails_over(asked: Callable[..., attempts.Call]) -> None:
    content_type = "text/event-stream" if asked is fakes.streamed else "application/json"
    coded = Answer([b"\x1f\x8b" * 5_000_000], content_type=content_type, headers={"content-encoding": "gzip"})
    served = fakes.run(serve(asked(*two_targets()), coded, Answer.json(WHOLE)))
    assert (served.responder.body, served.outcome.target) == (WHOLE, "second")
    assert served.outcome.attempts[0].result == "protocol_error"


def test_a_whole_answer_that_is_cut_fails_over_unseen() -> None:
    cut = Answer([WHOLE[:40], errors.UpstreamProtocolError("The body was cut.")])
    served = fakes.run(serve(fakes.call(*two_targets()), cut, Answer.json(WHOLE)))
    assert (served.responder.body, served.outcome.target) == (WHOLE, "second")


def test_a_whole_answer_too_long_to_hold_is_passed_on_as_it_comes() -> None:
    async def main() -> None:
        settings = attempts.Settings(max_whole_bytes=100)
        long = Answer([b'{"data":"' + b"x" * 200, Pause(5), b'","usage":{"prompt_tokens":3,"d":{"a":1}}}'])
        served = await serve(fakes.call(), long, settings=settings)
        assert [when - 1000 for when, _ in served.responder.writes] == pytest.approx([0, 5])
        assert "content-length" not in served.responder.headers
        assert served.outcome.usage is not None
        assert served.outcome.usage.prompt == 3
        cut = Answer([b"x" * 200, errors.UpstreamProtocolError("cut")], content_type="text/plain")
        served = await serve(fakes.call(), cut, settings=settings)
        assert (served.responder.aborted, served.outcome.truncated) == (True, True)

    fakes.run(main())


def test_a_request_for_a_stream_may_be_answered_whole() -> None:
    served = fakes.run(serve(fakes.streamed(), Answer.json(WHOLE)))
    assert (served.responder.body, served.responder.headers["content-type"]) == (WHOLE, "application/json")
    assert served.outcome.streamed is False


def test_case_5_the_policy_is_the_same_streamed_or_not() -> None:
    answers = {"whole": Answer.json(WHOLE), "streamed": Answer.sse(HELLO, STOP, DONE)}
    for asked, good in ((fakes.call, answers["whole"]), (fakes.streamed, answers["streamed"])):
        targets = two_keys(), target("second", priority=1), target("third", priority=2)
        failing = [Answer.failing(429), Answer.failing(401), Answer.failing(503)]
        served = fakes.run(serve(asked(*targets), *failing, good))
        assert [each.result for each in served.outcome.attempts] == [
            "rate_limited",
            "key_rejected",
            "server_error",
            "ok",
        ]
        assert (served.responder.status, served.outcome.target) == (200, "third")


def test_case_6_a_refusal_is_a_status_and_not_the_beginning_of_a_stream() -> None:
    served = fakes.run(serve(fakes.streamed(), Answer.failing(429, headers={"retry-after": "9"})))
    assert (served.responder.status, served.responder.headers["retry-after"]) == (429, "9")
    assert served.responder.headers["content-type"] == "application/json"


def test_a_model_without_any_account_is_a_503_and_one_that_cannot_do_it_a_400() -> None:
    gone = fakes.Target(name="t", upstream=None, model="m", weight=1, priority=0)
    served = fakes.run(serve(fakes.call(gone)))
    assert (served.responder.status, said(served)["code"]) == (503, "no_upstream")
    chat_only = target("first", upstream("main", dialects=frozenset({"openai_chat"})))
    asked = fakes.call(chat_only, body=b'{"model":"gpt-4o","input":"x"}', operation="embeddings")
    served = fakes.run(serve(asked))
    assert (served.responder.status, said(served)["param"]) == (400, "model")


def test_embeddings_go_to_their_own_path() -> None:
    body = b'{"object":"list","data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":4,"total_tokens":4}}'
    asked = fakes.call(body=b'{"model":"gpt-4o","input":"x"}', operation="embeddings")
    served = fakes.run(serve(asked, Answer.json(body)))
    assert (served.client.requests[0].head.path, served.responder.body) == ("/embeddings", body)
    assert served.outcome.usage is not None
    assert served.outcome.usage.prompt == 4


def test_the_whole_takes_no_longer_than_it_may() -> None:
    settings = attempts.Settings(total_seconds=30)
    served = fakes.run(serve(fakes.call(), Answer.json(WHOLE, delay=100), settings=settings))
    assert (served.responder.status, said(served)["code"]) == (504, "upstream_timeout")
    assert served.outcome.duration_seconds == pytest.approx(30)
    assert served.client.cancelled_at == pytest.approx(1030)
    assert served.outcome.attempts[0].result == "cancelled"


def test_a_cancellation_from_outside_passes_through_and_closes_the_upstream() -> None:
    async def main() -> None:
        outcome = attempts.Outcome()
        client = fakes.ScriptedClient(Answer.sse(ROLE, HELLO, Pause(1000)))
        responder = fakes.RecordingResponder()
        serving = fakes.serving(fakes.streamed(), responder, client=client, health=fakes.new_health(), outcome=outcome)
        task = asyncio.create_task(serving)
        await asyncio.sleep(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.all_closed
        assert (outcome.status, outcome.target, outcome.duration_seconds) == (200, "first", pytest.approx(3))

    fakes.run(main())


def test_a_target_on_trial_is_not_joined_by_a_request_that_planned_before() -> None:
    async def main() -> None:
        health = fakes.new_health()
        await serve(fakes.call(target("a")), Answer.failing(500), health=health)
        await asyncio.sleep(5.1)  # "a" may be tried again
        by_host = {
            "http://a.example.com/v1": lambda: Answer.json(WHOLE, delay=2),
            "http://z.example.com/v1": lambda: Answer.failing(500, delay=1),
            "http://b.example.com/v1": lambda: Answer.json(WHOLE),
        }
        client = fakes.ScriptedClient(by_host=by_host)
        late = fakes.call(target("z"), target("a", priority=1), target("b", priority=2))
        waiting = asyncio.create_task(serve(late, client=client, health=health))
        await asyncio.sleep(0.5)
        trial = asyncio.create_task(attempts_of(fakes.call(target("a")), client, health))
        served = await waiting
        assert served.outcome.target == "b"
        assert await trial == ["a"]

    async def attempts_of(asked: attempts.Call, client: fakes.ScriptedClient, health: fakes.Health) -> list[str]:
        outcome = await fakes.serving(asked, fakes.RecordingResponder(), client=client, health=health)
        return [each.target for each in outcome.attempts]

    fakes.run(main())
