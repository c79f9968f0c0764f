"""Every recorded answer of the dialect, cut at arbitrary bytes, through the attempt loop."""

import json
import random

import pytest

from gateway import fakes
from gateway.fakes import Answer, random_cuts, serve, target
from harness import corpus
from trunkline_gateway import errors, sse
from trunkline_gateway.routing import failures


@pytest.fixture(autouse=True, params=[False, True], ids=["written", "pushed"])
def _pushable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.RecordingResponder, "pushable", request.param)


RECORDED = [*corpus.recordings("chat"), *corpus.recordings("embeddings")]
SUCCEEDED = [each for each in RECORDED if each.status == 200]
REFUSED = [each for each in RECORDED if failures.kind_of(each.status) == "answer" and each.status != 200]
FAILED = [each for each in RECORDED if failures.kind_of(each.status) in ("key", "rate", "target")]


def by_file(recordings: list[corpus.Recording]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recording", recordings, ids=lambda each: each.file.removesuffix(".json"))


def asked(recording: corpus.Recording, *targets: fakes.Target) -> fakes.attempts.Call:
    if recording.endpoint == "embeddings":
        return fakes.call(*targets, body=b'{"model":"gpt-4o","input":"x"}', operation="embeddings")
    return fakes.streamed(*targets, usage=True) if recording.stream else fakes.call(*targets)


def answered(recording: corpus.Recording, seed: int) -> Answer:
    return Answer(
        random_cuts(recording.body, seed),
        status=recording.status,
        content_type=recording.content_type,
        headers=dict(recording.headers),
    )


def said_and_thought(usage: dict[str, object]) -> object:
    """What was written, thoughts included: xAI counts them beside it, which its total tells."""
    details = usage.get("completion_tokens_details")
    thought = details.get("reasoning_tokens") if isinstance(details, dict) else None
    prompt, said = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if isinstance(prompt, int) and isinstance(said, int) and isinstance(thought, int):
        return said + thought if usage.get("total_tokens") == prompt + said + thought else said
    return said


def recorded_usage(recording: corpus.Recording) -> dict[str, object] | None:
    """The last usage in the recording, found by the slowest and simplest means."""
    if not recording.stream:
        return json.loads(recording.body).get("usage")
    last = None
    for line in recording.body.decode().splitlines():
        if line.startswith("data:") and "[DONE]" not in line:
            event = json.loads(line.removeprefix("data:"))
            last = event.get("usage") or (event.get("x_groq") or {}).get("usage") or last
    return last


def events(body: bytes) -> list[sse.ServerSentEvent]:
    splitter = sse.EventSplitter()
    whole = splitter.receive_data(body)
    rest = splitter.receive_eof()
    return whole if rest is None else [*whole, rest]


@by_file(SUCCEEDED)
def test_an_answer_passes_unchanged_and_its_usage_is_verbatim(recording: corpus.Recording) -> None:
    for seed in range(4):
        served = fakes.run(serve(asked(recording), answered(recording, seed)))
        assert served.responder.body == recording.body
        assert served.responder.status == 200
        assert served.responder.headers["content-type"] == recording.content_type
        assert not served.outcome.truncated
        assert served.outcome.attempts[0].result in ("ok", "refused")
        expected = recorded_usage(recording)
        usage = served.outcome.usage
        if not expected:
            assert usage is None
        else:
            assert usage is not None
            assert usage.prompt == expected.get("prompt_tokens")
            assert usage.completion == said_and_thought(expected)
            assert usage.total == expected.get("total_tokens")


@by_file([each for each in SUCCEEDED if each.stream])
def test_after_the_first_content_every_event_is_passed_on_as_it_comes(recording: corpus.Recording) -> None:
    pieces = [event.raw for event in events(recording.body)]
    served = fakes.run(serve(asked(recording), Answer.sse(*pieces)))
    written = [data for _, data in served.responder.writes]
    assert written[1:] == pieces[len(pieces) - len(written) + 1 :]
    assert written[0] == b"".join(pieces[: len(pieces) - len(written) + 1])


@by_file([each for each in SUCCEEDED if each.stream])
def test_usage_that_only_we_asked_for_is_taken_out_and_nothing_else(recording: corpus.Recording) -> None:
    served = fakes.run(serve(fakes.streamed(), answered(recording, 1)))
    kept, taken_out = [], 0
    for event in events(recording.body):
        chunk = {} if b"{" not in event.data else json.loads(event.data)
        if chunk.get("usage") and chunk.get("choices") == []:
            taken_out += 1
        else:
            kept.append(event.raw)
    assert served.responder.body == b"".join(kept)
    assert taken_out <= 1


@by_file([each for each in SUCCEEDED if each.stream and each.form == "sse"])
def test_a_stream_that_is_cut_anywhere_never_ends_as_if_it_were_whole(recording: corpus.Recording) -> None:
    for seed in range(6):
        place = random.Random(f"{seed}{recording.id}").randrange(len(recording.body))
        cut = Answer.sse(recording.body[:place], errors.UpstreamProtocolError("The answer was cut short."))
        spare = Answer.sse(fakes.HELLO, fakes.STOP, fakes.DONE)
        served = fakes.run(serve(asked(recording, target("first"), target("second", priority=1)), cut, spare))
        body = served.responder.body
        if b"data: [DONE]" in recording.body[:place]:
            assert not served.outcome.truncated
        elif served.outcome.target == "second":
            assert body == fakes.HELLO + fakes.STOP + fakes.DONE
        else:
            assert served.outcome.truncated
            assert b'"code":"stream_truncated"' in body
            assert not body.endswith(fakes.DONE)


@by_file(REFUSED)
def test_a_refusal_passes_unchanged(recording: corpus.Recording) -> None:
    served = fakes.run(serve(asked(recording, target("first"), target("second")), answered(recording, 3)))
    assert (served.responder.status, served.responder.body) == (recording.status, recording.body)
    assert served.responder.headers["content-type"] == recording.content_type
    assert len(served.client.requests) == 1


@by_file(FAILED)
def test_a_failure_goes_on_to_the_next_target(recording: corpus.Recording) -> None:
    targets = target("first"), target("second", priority=1)
    served = fakes.run(serve(asked(recording, *targets), answered(recording, 5), Answer.json(fakes.WHOLE)))
    assert (served.responder.status, served.responder.body) == (200, fakes.WHOLE)
    alone = fakes.run(serve(asked(recording), answered(recording, 5)))
    assert alone.responder.status == (429 if recording.status == 429 else 502)
    if recording.status == 429:
        assert alone.responder.body == recording.body
    else:
        assert b"upstream_rejected_credentials" in alone.responder.body
