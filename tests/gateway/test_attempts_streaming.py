"""Held, opened, committed: what of a streamed answer reaches the client, and when."""

import asyncio

import msgspec
import pytest

from gateway import fakes
from gateway.fakes import (
    COMMENT,
    DONE,
    HELLO,
    KEEP_ALIVE,
    ROLE,
    STOP,
    USAGE,
    WHOLE,
    WORLD,
    Answer,
    Pause,
    serve,
    target,
)
from trunkline_gateway import errors
from trunkline_gateway.routing import attempts


@pytest.fixture(autouse=True, params=[False, True], ids=["written", "pushed"])
def _pushable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.RecordingResponder, "pushable", request.param)


GOOD = (ROLE, HELLO, WORLD, STOP, DONE)
CUT = errors.UpstreamProtocolError("The upstream's answer was cut short.")
SILENT = errors.UpstreamTimeoutError("The upstream stopped sending in the middle of its answer.")


def two_targets() -> tuple[fakes.Target, fakes.Target]:
    return target("first"), target("second", priority=1)


def last_error(responder: fakes.RecordingResponder) -> dict[str, object]:
    """The error that ends a stream."""
    assert b"[DONE]" not in responder.body
    event = responder.body.rstrip(b"\n").rpartition(b"\n\n")[2] or responder.body
    return msgspec.json.decode(event.removeprefix(b"data: "))["error"]


def test_every_event_is_passed_on_at_once_and_unchanged() -> None:
    steps = [ROLE, Pause(0.4), HELLO, Pause(1), WORLD, Pause(1), STOP + DONE]
    outcome, responder, _ = fakes.run(serve(fakes.streamed(usage=True), Answer.sse(*steps)))
    assert responder.body == b"".join(GOOD)
    assert [(round(when - 1000, 3), data) for when, data in responder.writes] == [
        (0.4, ROLE + HELLO),
        (1.4, WORLD),
        (2.4, STOP + DONE),
    ]
    assert responder.headers["content-type"] == "text/event-stream"
    assert responder.headers["x-trunkline-target"] == "first"
    assert (outcome.streamed, outcome.truncated, outcome.ttft_seconds) == (True, False, pytest.approx(0.4))


def test_usage_is_asked_for_and_its_event_taken_out_again() -> None:
    answer = Answer.sse(ROLE, HELLO, STOP, USAGE, DONE)
    outcome, responder, client = fakes.run(serve(fakes.streamed(), answer))
    assert b'"stream_options":{"include_usage":true}' in (client.requests[0].body or b"")
    assert responder.body == ROLE + HELLO + STOP + DONE
    assert outcome.usage is not None
    assert (outcome.usage.prompt, outcome.usage.completion) == (7, 2)


def test_usage_that_the_client_asked_for_stays() -> None:
    answer = Answer.sse(ROLE, HELLO, STOP, USAGE, DONE)
    outcome, responder, _ = fakes.run(serve(fakes.streamed(usage=True), answer))
    assert responder.body == ROLE + HELLO + STOP + USAGE + DONE
    assert outcome.usage is not None


def test_a_provider_that_refuses_to_be_asked_is_not_asked() -> None:
    account = fakes.upstream("main", provider="mistral")
    last = fakes.chunk(finish=b'"stop"', more=b',"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}')
    outcome, responder, client = fakes.run(serve(fakes.streamed(target("t", account)), Answer.sse(HELLO, last, DONE)))
    assert b"stream_options" not in (client.requests[0].body or b"")
    assert (responder.body, outcome.usage and outcome.usage.total) == (HELLO + last + DONE, 6)


# ---- before the commit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        [CUT],
        [SILENT],
        [],
        [ROLE],
        [ROLE, CUT],
        [ROLE, SILENT],
        [COMMENT, ROLE, b'data: {"choi', CUT],
        [ROLE, b"data: {not json}\n\n"],
        [ROLE, b"data: []\n\n"],
        [ROLE, b'data: {"error":{"message":"boom","type":"server_error"}}\n\n'],
        [ROLE, b'event: error\ndata: {"message":"overloaded"}\n\n'],
        [b'data: {"id":"x","error":{"code":502},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}\n\n'],
        [fakes.chunk(b'{"content":""}', b'"error"')],
    ],
)
def test_case_1_a_fault_before_content_fails_over_unseen(before: list[fakes.Step]) -> None:
    served = fakes.run(serve(fakes.streamed(*two_targets()), Answer.sse(*before), Answer.sse(*GOOD)))
    assert served.responder.body == b"".join(GOOD)
    assert served.responder.headers["x-trunkline-target"] == "second"
    assert served.responder.headers["x-trunkline-attempts"] == "2"


def test_case_3_lifecycle_events_are_held_until_content_comes() -> None:
    quota = b'data: {"error":{"message":"You exceeded your current quota","type":"insufficient_quota"}}\n\n'
    first = Answer.sse(COMMENT, ROLE, Pause(1), quota)
    served = fakes.run(serve(fakes.streamed(*two_targets()), first, Answer.sse(*GOOD)))
    assert (served.responder.body, served.responder.heads) == (b"".join(GOOD), 1)
    assert [each.result for each in served.outcome.attempts] == ["rate_limited", "ok"]


def test_case_4_if_all_fail_before_content_there_is_a_real_status() -> None:
    broken = b'data: {"error":{"message":"boom","code":"server_error"}}\n\n'
    answers = Answer.sse(ROLE, broken), Answer.sse(ROLE, CUT)
    served = fakes.run(serve(fakes.streamed(*two_targets()), *answers))
    assert (served.responder.status, served.responder.headers["content-type"]) == (500, "application/json")
    assert msgspec.json.decode(served.responder.body) == {"error": {"message": "boom", "code": "server_error"}}


def test_an_error_event_of_the_clients_own_making_is_the_answer() -> None:
    refused = (
        b'event: error\ndata: {"error":{"message":"bad tool call","code":"tool_use_failed","status_code":400}}\n\n'
    )
    served = fakes.run(serve(fakes.streamed(*two_targets()), Answer.sse(ROLE, refused)))
    assert (served.responder.body, served.outcome.target) == (ROLE + refused, "first")
    assert (served.outcome.truncated, served.outcome.error) == (False, "upstream_refused")


@pytest.mark.parametrize(
    "delta",
    [
        b'{"content":"x"}',
        b'{"reasoning":"x"}',
        b'{"reasoning_content":"x"}',
        b'{"refusal":"x"}',
        b'{"audio":{"id":"a","data":"AAAA"}}',
        b'{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}',
        b'{"function_call":{"name":"f","arguments":""}}',
        b'{"content":[{"type":"text","text":"x"}]}',
        b'{"content":[{"type":"thinking","thinking":[{"type":"text","text":"x"}]}]}',
        b'{"reasoning_details":[{"type":"reasoning.text","text":"x"}]}',
    ],
)
def test_content_commits(delta: bytes) -> None:
    content = fakes.chunk(delta)
    served = fakes.run(serve(fakes.streamed(*two_targets()), Answer.sse(ROLE, content, CUT)))
    assert served.responder.body.startswith(ROLE + content)
    assert served.outcome.truncated


@pytest.mark.parametrize(
    "delta",
    [
        b'{"role":"assistant"}',
        b'{"content":null,"tool_calls":null,"refusal":null}',
        b'{"content":"","reasoning":"","tool_calls":[]}',
        b'{"content":[]}',
        b'{"content":[{"type":"text","text":""}]}',
        b'{"audio":{"id":"a"}}',
        b'{"reasoning_details":[{"type":"reasoning.encrypted","data":"AAAA"}]}',
    ],
)
def test_what_is_empty_does_not_commit(delta: bytes) -> None:
    answers = Answer.sse(fakes.chunk(delta), CUT), Answer.sse(*GOOD)
    served = fakes.run(serve(fakes.streamed(*two_targets()), *answers))
    assert served.responder.body == b"".join(GOOD)


@pytest.mark.parametrize("end", [[STOP, DONE], [STOP], [DONE], [STOP, USAGE, DONE]])
def test_an_answer_without_content_is_an_answer(end: list[bytes]) -> None:
    served = fakes.run(serve(fakes.streamed(*two_targets(), usage=True), Answer.sse(ROLE, *end)))
    assert (served.responder.body, len(served.client.requests)) == (ROLE + b"".join(end), 1)


def test_what_is_held_is_bounded() -> None:
    settings = attempts.Settings(max_held_bytes=2000)
    many = [ROLE] * 40
    served = fakes.run(serve(fakes.streamed(*two_targets()), Answer.sse(*many, CUT), settings=settings))
    assert served.responder.body.startswith(b"".join(many))
    assert served.outcome.truncated


# ---- after the commit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [CUT, SILENT, None])
def test_case_2_after_content_a_fault_ends_the_stream_with_an_error_and_no_fake_end(fault: Exception | None) -> None:
    steps: list[fakes.Step] = [ROLE, HELLO, b'data: {"half']
    if fault is not None:
        steps.append(fault)
    served = fakes.run(serve(fakes.streamed(*two_targets()), Answer.sse(*steps)))
    outcome, responder, client = served
    assert responder.body.startswith(ROLE + HELLO + b'data: {"error":')
    assert last_error(responder)["code"] == "stream_truncated"
    assert (responder.finished, len(client.requests)) == (True, 1)
    assert (outcome.truncated, outcome.error) == (True, "stream_truncated")
    assert outcome.attempts[-1].result == "truncated"


def test_case_1_a_malformed_event_after_content_is_skipped() -> None:
    bad = [b"data: {not json}\n\n", b"data: {not json\n\n", b'data: {"usage":\n\n', b"data: nothing\n\n"]
    served = fakes.run(serve(fakes.streamed(), Answer.sse(HELLO, *bad, STOP, DONE)))
    assert served.responder.body == HELLO + STOP + DONE
    assert not served.outcome.truncated


def test_an_error_event_after_content_is_passed_on_clean_and_is_an_end() -> None:
    plain = b'data: {"error": {"message": "overloaded"}}\n\n'
    served = fakes.run(serve(fakes.streamed(), Answer.sse(HELLO, plain)))
    assert (served.responder.body, served.outcome.truncated) == (HELLO + plain, False)
    telling = b'event: error\ndata: {"error": {"message": "bad key sk-primary-0123456789"}}\n\n'
    served = fakes.run(serve(fakes.streamed(), Answer.sse(HELLO, telling)))
    assert served.responder.body == HELLO + b'event: error\ndata: {"error":{"message":"bad key [redacted]"}}\n\n'


@pytest.mark.parametrize("end", [[STOP], [STOP, USAGE], [DONE], [STOP, DONE.rstrip()], [STOP.rstrip()], [STOP, b": p"]])
def test_an_end_is_good_if_the_upstream_said_so(end: list[bytes]) -> None:
    served = fakes.run(serve(fakes.streamed(usage=True), Answer.sse(HELLO, *end)))
    assert (served.responder.body, served.outcome.truncated) == (HELLO + b"".join(end), False)


def test_a_finish_reason_without_the_end_of_the_framing_is_a_cut() -> None:
    served = fakes.run(serve(fakes.streamed(), Answer.sse(HELLO, STOP, CUT)))
    assert served.outcome.truncated


def test_an_upstream_that_does_not_end_after_done_holds_nobody_up() -> None:
    for after in (Pause(1000), CUT):
        served = fakes.run(serve(fakes.streamed(), Answer.sse(HELLO, STOP, DONE, after)))
        assert (served.responder.body, served.outcome.truncated) == (HELLO + STOP + DONE, False)
        assert served.outcome.duration_seconds <= 1.0


def test_an_event_without_end_is_a_protocol_error() -> None:
    endless = [b"data: " + b"x" * 5_000_000, b"x" * 5_000_000, Pause(1000)]
    served = fakes.run(serve(fakes.streamed(*two_targets()), Answer.sse(*endless), Answer.sse(*GOOD)))
    assert served.outcome.target == "second"
    served = fakes.run(serve(fakes.streamed(), Answer.sse(HELLO, *endless)))
    assert served.outcome.truncated


def test_case_10_characters_cut_in_half_arrive_whole() -> None:
    text = fakes.chunk('{"content":"日本語 🦊"}'.encode())
    for place in range(1, len(text)):
        served = fakes.run(serve(fakes.streamed(), Answer.sse(text[:place], text[place:], STOP, DONE)))
        assert served.responder.body == text + STOP + DONE


def test_case_11_usage_beside_choices_is_taken_verbatim_and_left_where_it_is() -> None:
    last = (
        b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":2612,'
        b'"completion_tokens":8,"total_tokens":2620,"prompt_tokens_details":{"cached_tokens":2560}}}\n\n'
    )
    outcome, responder, _ = fakes.run(serve(fakes.streamed(), Answer.sse(HELLO, last, DONE)))
    assert responder.body == HELLO + last + DONE
    assert outcome.usage is not None
    assert (outcome.usage.prompt, outcome.usage.completion, outcome.usage.cached) == (2612, 8, 2560)


# ---- opened ---------------------------------------------------------------------------------------------------------


def test_after_ten_seconds_without_content_the_answer_is_opened_and_kept_alive() -> None:
    answer = Answer.sse(ROLE, Pause(15), HELLO, STOP, DONE, delay=20)
    outcome, responder, _ = fakes.run(serve(fakes.streamed(), answer))
    assert [(round(when - 1000), data) for when, data in responder.writes[:4]] == [
        (10, KEEP_ALIVE),
        (20, KEEP_ALIVE),
        (30, KEEP_ALIVE),
        (35, ROLE + HELLO),
    ]
    assert responder.started_at == pytest.approx(1010)
    assert responder.headers["content-type"].startswith("text/event-stream")
    assert "x-trunkline-target" not in responder.headers
    assert responder.body.replace(KEEP_ALIVE, b"") == ROLE + HELLO + STOP + DONE
    assert outcome.ttft_seconds == pytest.approx(35)


def test_an_opened_answer_still_fails_over() -> None:
    answers = Answer.sse(ROLE, Pause(12), CUT), Answer.sse(*GOOD)
    _, responder, _ = fakes.run(serve(fakes.streamed(*two_targets()), *answers))
    assert responder.body == KEEP_ALIVE + b"".join(GOOD)


@pytest.mark.parametrize("last", [Answer.failing(429), Answer.json(b'{"error":{\n"message":"no"}}', 400), CUT])
def test_an_opened_answer_that_fails_ends_with_an_error_event(last: Answer | Exception) -> None:
    second = Answer.raising(last) if isinstance(last, Exception) else last
    answers = Answer.sse(ROLE, Pause(12), CUT), second
    outcome, responder, _ = fakes.run(serve(fakes.streamed(*two_targets()), *answers))
    assert responder.body.startswith(KEEP_ALIVE + b'data: {"error":')
    assert last_error(responder)["message"]
    assert (responder.finished, outcome.status) == (True, 200)
    assert outcome.error


def test_an_opened_answer_cannot_become_a_whole_one() -> None:
    _, responder, _ = fakes.run(serve(fakes.streamed(), Answer.json(WHOLE, delay=12)))
    assert responder.body.startswith(KEEP_ALIVE)
    assert last_error(responder)["code"] == "upstream_protocol_error"


def test_silence_between_events_is_kept_alive_too() -> None:
    answer = Answer.sse(HELLO, Pause(25), WORLD[:20], Pause(16), WORLD[20:], STOP, DONE)
    _, responder, _ = fakes.run(serve(fakes.streamed(), answer))
    assert responder.body == HELLO + KEEP_ALIVE * 4 + WORLD + STOP + DONE


def test_a_whole_answer_is_never_opened() -> None:
    _, responder, _ = fakes.run(serve(fakes.call(), Answer.json(WHOLE, delay=50)))
    assert (responder.body, responder.started_at) == (WHOLE, pytest.approx(1050))


# ---- the client -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (fakes.streamed, Answer.sse(*GOOD, delay=100)),
        (fakes.call, Answer.json(WHOLE, delay=100)),
        (fakes.streamed, Answer.sse(ROLE, Pause(100))),
        (fakes.streamed, Answer.sse(ROLE, HELLO, Pause(100))),
        (fakes.call, Answer([WHOLE[:20], Pause(100)])),
        (fakes.call, Answer([b"{", Pause(100)], status=500)),
    ],
)
@pytest.mark.parametrize("leave_after", [0, 3, 12])
def test_case_13_when_the_client_has_gone_the_upstream_is_closed_at_once(
    asked: object, answer: Answer, leave_after: float
) -> None:
    async def main() -> None:
        served = await serve(asked(), answer, leave_after=leave_after)  # type: ignore[operator]
        if answer.status == 500 and leave_after > 5:
            return  # it was answered by then
        assert served.outcome.client_gone
        assert served.outcome.duration_seconds == pytest.approx(leave_after)
        closed = served.client.responses[0].closed_at if served.client.responses else served.client.cancelled_at
        assert closed is None or closed == pytest.approx(1000 + leave_after)
        assert [each.result for each in served.outcome.attempts] in ([], ["cancelled"])
        # Nobody is to blame: the next request finds everything as it was.
        again = await serve(fakes.call(), Answer.json(WHOLE), health=served.health)
        assert again.outcome.target == "first"

    fakes.run(main())


def test_case_13_what_was_used_until_the_client_left_is_known() -> None:
    used = fakes.chunk(b'{"content":"a"}', more=b',"usage":{"prompt_tokens":7,"completion_tokens":1}')
    served = fakes.run(serve(fakes.streamed(), Answer.sse(used, Pause(100)), leave_after=3))
    assert served.outcome.usage is not None
    assert served.outcome.usage.completion == 1


def test_nothing_more_is_read_than_the_client_takes() -> None:
    async def main() -> None:
        client = fakes.ScriptedClient(Answer.sse(HELLO, *[WORLD] * 50, STOP, DONE))
        responder = fakes.RecordingResponder()
        seen: list[int] = []

        async def slow(_: bytes) -> None:
            before = client.reads
            await asyncio.sleep(1)
            seen.append(client.reads - before)

        responder.on_write = slow
        await serve(fakes.streamed(), client=client, responder=responder)
        assert set(seen) == {0}
        assert len(seen) > 50

    fakes.run(main())


def test_a_client_that_does_not_read_does_not_outlast_the_whole() -> None:
    async def main() -> None:
        responder = fakes.RecordingResponder(slow=10_000)
        settings = attempts.Settings(total_seconds=60)
        served = await serve(fakes.streamed(), Answer.sse(*GOOD), responder=responder, settings=settings)
        assert responder.aborted
        assert served.outcome.duration_seconds == pytest.approx(61)

    fakes.run(main())


def test_a_stream_that_takes_too_long_ends_with_an_error() -> None:
    settings = attempts.Settings(total_seconds=30)
    outcome, responder, _ = fakes.run(serve(fakes.streamed(), Answer.sse(HELLO, Pause(500)), settings=settings))
    assert last_error(responder)["code"] == "upstream_timeout"
    assert (outcome.truncated, responder.finished) == (True, True)
