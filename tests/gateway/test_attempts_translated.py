"""The attempt loop where client and target speak different dialects: commit, failover, errors, losses, seals."""

import dataclasses
import json

import pytest

from gateway import fakes
from gateway.fakes import DONE, HELLO, ROLE, STOP, USAGE, WORLD, Answer, Pause, serve, target, upstream
from trunkline_gateway import errors, exchange
from trunkline_gateway.exchange import origin
from trunkline_gateway.routing.snapshot import Parameters, Policy, Target

ASKED = b'{"model":"gpt-4o","max_tokens":64,"messages":[{"role":"user","content":"Hi"}]}'
ASKED_STREAM = ASKED[:-1] + b',"stream":true}'
WHOLE = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "up-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }
).encode()
MESSAGE = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "Hallo"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 3},
    }
).encode()


def claude(name: str = "claude", **more: object) -> Target:
    account = upstream(name, provider="anthropic", dialects=frozenset({"anthropic_messages"}))
    return dataclasses.replace(target(name, account), **more)  # type: ignore[arg-type]


def events(body: bytes) -> list[tuple[str, dict[str, object]]]:
    found = []
    for block in body.decode().strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in lines:
            found.append((lines.get("event", ""), json.loads(lines["data"])))
    return found


def test_a_whole_answer_comes_in_the_callers_dialect_with_the_upstreams_counts() -> None:
    outcome, responder, client = fakes.run(serve(fakes.call_in("anthropic_messages", ASKED), Answer.json(WHOLE)))
    answer = json.loads(responder.body)
    assert (responder.status, answer["type"], answer["content"][0]["text"]) == (200, "message", "Hello")
    assert answer["usage"]["input_tokens"] == 9
    assert outcome.usage is not None
    assert (outcome.usage.prompt, outcome.upstream_dialect) == (9, "openai_chat")
    assert responder.headers["content-type"] == "application/json"
    body = json.loads(client.requests[0].body or b"")
    assert (client.requests[0].head.path, body["model"]) == ("/chat/completions", "up-1")
    assert body["messages"] == [{"role": "user", "content": "Hi"}]


def test_who_speaks_the_callers_dialect_gets_its_bytes() -> None:
    sent = ASKED.replace(b'"messages"', b'"x_unknown" : [1.0e0], "messages"')
    call = fakes.call_in("anthropic_messages", sent, claude())
    outcome, responder, client = fakes.run(serve(call, Answer.json(MESSAGE)))
    assert responder.body == MESSAGE
    assert client.requests[0].body == sent.replace(b'"gpt-4o"', b'"up-1"')
    assert (client.requests[0].head.path, outcome.lost) == ("/v1/messages", ())
    assert outcome.usage == exchange.Usage(prompt=5, completion=3)


def test_a_stream_begins_once_and_its_first_content_opens_it() -> None:
    call = fakes.call_in("anthropic_messages", ASKED_STREAM)
    steps = [ROLE, Pause(1), HELLO, WORLD, STOP, USAGE, DONE]
    outcome, responder, _ = fakes.run(serve(call, Answer.sse(*steps)))
    seen = [name for name, _ in events(responder.body)]
    assert seen.count("message_start") == seen.count("message_stop") == 1
    assert seen[0] == "message_start"
    assert responder.writes[0][0] == pytest.approx(1001.0)
    assert responder.headers["content-type"].startswith("text/event-stream")
    assert (outcome.streamed, outcome.truncated, outcome.ttft_seconds) == (True, False, pytest.approx(1.0))
    assert outcome.usage is not None


def test_a_failure_before_content_fails_over_to_a_target_of_another_dialect() -> None:
    call = fakes.call_in("anthropic_messages", ASKED_STREAM, target("first"), claude("second", priority=1))
    stream = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":'
        b'"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":'
        b'{"input_tokens":5,"output_tokens":1}}}\n\n'
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
        b'{"type":"text","text":""}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
        b'{"type":"text_delta","text":"Hallo"}}\n\n'
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":'
        b'null},"usage":{"output_tokens":3}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    cut = Answer.sse(ROLE, errors.UpstreamProtocolError("cut"))
    outcome, responder, _ = fakes.run(serve(call, cut, Answer.sse(stream)))
    assert responder.body == stream
    assert [attempt.result for attempt in outcome.attempts] == ["protocol_error", "ok"]
    assert responder.headers["x-trunkline-attempts"] == "2"


def test_a_stream_that_is_cut_after_content_ends_in_the_callers_words() -> None:
    call = fakes.call_in("anthropic_messages", ASKED_STREAM)
    outcome, responder, _ = fakes.run(
        serve(call, Answer.sse(ROLE, HELLO, errors.UpstreamProtocolError("It was cut short.")))
    )
    seen = events(responder.body)
    assert seen[-1][0] == "error"
    assert seen[-1][1]["type"] == "error"
    assert "message_stop" not in [name for name, _ in seen]
    assert (outcome.truncated, outcome.error) == (True, "stream_truncated")


def test_an_upstream_that_answers_whole_is_streamed_all_the_same() -> None:
    call = fakes.call_in("anthropic_messages", ASKED_STREAM)
    outcome, responder, _ = fakes.run(serve(call, Answer.json(WHOLE)))
    seen = [name for name, _ in events(responder.body)]
    assert (seen[0], seen[-1], outcome.streamed) == ("message_start", "message_stop", True)


@pytest.mark.parametrize(
    ("dialect", "body", "find"),
    [
        ("anthropic_messages", ASKED, lambda error: (error["type"], error["error"]["type"])),
        ("gemini_generate", b'{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}', lambda e: e["error"]["status"]),
    ],
)
def test_an_upstreams_refusal_has_the_callers_shape_and_the_upstreams_status(dialect, body, find) -> None:  # type: ignore[no-untyped-def]
    model = "gpt-4o" if dialect == "gemini_generate" else ""
    call = fakes.call_in(dialect, body, model=model)
    refused = Answer.json(
        b'{"error":{"message":"No such thing, sk-primary-0123456789.","type":"invalid_request_error","code":"c"}}', 400
    )
    outcome, responder, _ = fakes.run(serve(call, refused))
    assert responder.status == 400
    error = json.loads(responder.body)
    assert find(error) in (("error", "invalid_request_error"), "INVALID_ARGUMENT")
    assert "No such thing" in json.dumps(error)
    assert "sk-primary" not in json.dumps(error)
    assert outcome.error == "upstream_refused"


@pytest.mark.parametrize(
    "said", ['{"detail":[{"loc":["body"],"msg":"Too hot"}]}', '{"object":"error","message":"Too hot"}']
)
def test_an_upstreams_refusal_in_nobodys_shape_has_that_of_whoever_speaks_its_dialect(said: str) -> None:
    refused = Answer.json(said.encode(), 422)
    _, responder, _ = fakes.run(serve(fakes.call_in("anthropic_messages", ASKED, claude()), refused))
    body = json.loads(responder.body)
    assert (responder.status, body["type"], body["error"]["type"]) == (422, "error", "invalid_request_error")
    assert "Too hot" in body["error"]["message"]
    _, responder, _ = fakes.run(serve(fakes.call_in("openai_chat", ASKED), refused))
    assert (responder.status, json.loads(responder.body)["error"]["message"]) == (422, "Too hot")


def test_a_refusal_in_a_stream_before_content_gets_its_status() -> None:
    call = fakes.call_in("anthropic_messages", ASKED_STREAM)
    event = (
        b'data: {"error":{"message":"Too long.","type":"invalid_request_error","code":"context_length_exceeded"}}\n\n'
    )
    _, responder, _ = fakes.run(serve(call, Answer.sse(ROLE, event)))
    assert (responder.status, json.loads(responder.body)["error"]["type"]) == (400, "invalid_request_error")


def test_when_all_fail_the_status_is_real_and_the_shape_the_callers() -> None:
    call = fakes.call_in("anthropic_messages", ASKED_STREAM, target("first"), claude("second", priority=1))
    overloaded = Answer.json(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', 529)
    outcome, responder, _ = fakes.run(serve(call, Answer.failing(500), overloaded))
    assert responder.status == 529
    assert json.loads(responder.body)["error"]["type"] == "overloaded_error"
    assert len(outcome.attempts) == 2


# ---- what is lost ----------------------------------------------------------------------------------------------------

LOSSY = b'{"model":"gpt-4o","seed":7,"logit_bias":{"1":2},"messages":[{"role":"user","content":"Hi"}]}'


def test_what_is_lost_is_named() -> None:
    outcome, responder, _ = fakes.run(serve(fakes.call_in("openai_chat", LOSSY, claude()), Answer.json(MESSAGE)))
    assert responder.headers["x-trunkline-lossy"] == "logit_bias,seed"
    assert sorted(outcome.lost) == ["logit_bias", "seed"]


def test_what_may_be_lost_without_a_word_is_only_counted() -> None:
    call = fakes.call_in("openai_chat", LOSSY, claude(), policy=Policy(lossy="Allow"))
    outcome, responder, _ = fakes.run(serve(call, Answer.json(MESSAGE)))
    assert (responder.status, sorted(outcome.lost)) == (200, ["logit_bias", "seed"])
    assert "x-trunkline-lossy" not in responder.headers


@pytest.mark.parametrize(
    "policy", [Policy(lossy="Reject"), Policy(unsupported_parameters="Reject"), Policy("Allow", "Reject")]
)
def test_what_may_not_be_lost_is_refused_before_anything_is_sent(policy: Policy) -> None:
    call = fakes.call_in("openai_chat", LOSSY, claude(), policy=policy)
    _, responder, client = fakes.run(serve(call))
    assert (responder.status, client.requests) == (400, [])
    error = json.loads(responder.body)["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "unsupported_feature", "seed")
    assert "logit_bias" in error["message"]


def test_parameters_may_be_dropped_where_all_else_may_not_be_lost() -> None:
    call = fakes.call_in("openai_chat", LOSSY, claude(), policy=Policy("Reject", "Drop"))
    _, responder, _ = fakes.run(serve(call, Answer.json(MESSAGE)))
    assert responder.status == 200


def test_a_target_that_can_be_told_everything_is_asked_instead() -> None:
    call = fakes.call_in("openai_chat", LOSSY, claude(), target("second", priority=1), policy=Policy(lossy="Reject"))
    outcome, responder, client = fakes.run(serve(call, Answer.json(WHOLE)))
    assert (responder.status, outcome.target, len(client.requests)) == (200, "second", 1)
    assert responder.headers["x-trunkline-attempts"] == "1"


def test_a_targets_own_policy_counts_before_the_groups() -> None:
    call = fakes.call_in("openai_chat", LOSSY, claude(policy=Policy("Allow", "Drop")), policy=Policy(lossy="Reject"))
    _, responder, _ = fakes.run(serve(call, Answer.json(MESSAGE)))
    assert responder.status == 200


def test_a_request_that_is_not_what_its_dialect_says_is_refused_in_it() -> None:
    call = fakes.call_in("anthropic_messages", ASKED.replace(b"64", b'"many"'))
    _, responder, client = fakes.run(serve(call))
    error = json.loads(responder.body)
    assert (responder.status, error["error"]["type"], client.requests) == (400, "invalid_request_error", [])
    assert "max_tokens" in error["error"]["message"]


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_of_a_target_hold_whatever_dialect_the_caller_speaks() -> None:
    change = Parameters(overrides={"temperature": b"0.25"}, drop=("stop", "/metadata"))  # type: ignore[dict-item]
    for dialect, body in (
        ("openai_chat", b'{"model":"gpt-4o","stop":["x"],"messages":[{"role":"user","content":"Hi"}]}'),
        ("anthropic_messages", ASKED[:-1] + b',"stop_sequences":["x"],"metadata":{"user_id":"u"}}'),
    ):
        call = fakes.call_in(dialect, body, claude(parameters=change))
        _, responder, client = fakes.run(serve(call, Answer.json(MESSAGE)))
        sent = json.loads(client.requests[0].body or b"")
        assert (responder.status, sent["temperature"]) == (200, 0.25)
        assert not {"stop", "stop_sequences", "metadata"} & sent.keys()


def test_what_a_target_itself_asks_for_in_vain_is_nothing_that_the_client_has_lost() -> None:
    change = Parameters(overrides={"seed": b"7"})  # type: ignore[dict-item]
    chat = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}'
    call = fakes.call_in("openai_chat", chat, claude(parameters=change), policy=Policy(lossy="Reject"))
    _, responder, _ = fakes.run(serve(call, Answer.json(MESSAGE)))
    assert (responder.status, "x-trunkline-lossy" in responder.headers) == (200, False)


# ---- seals -----------------------------------------------------------------------------------------------------------


def thinking(signature: str) -> bytes:
    turn = {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": signature}, {"type": "text", "text": "Hello"},
    ]}  # fmt: skip
    messages = [{"role": "user", "content": "Hi"}, turn, {"role": "user", "content": "And?"}]
    return json.dumps({"model": "gpt-4o", "max_tokens": 64, "messages": messages}).encode()


def test_a_seal_of_another_account_is_left_out_and_said_to_be_lost() -> None:
    seal = origin.stamp(exchange.Seal(maker="anthropic", account=origin.fingerprint("platform/other"), value="sig"))
    call = fakes.call_in("anthropic_messages", thinking(seal), claude())
    _, responder, client = fakes.run(serve(call, Answer.json(MESSAGE)))
    assert b"sig" not in (client.requests[0].body or b"")
    assert "reasoning_signature" in responder.headers["x-trunkline-lossy"]


def test_a_seal_of_the_same_account_goes_back_as_it_came() -> None:
    seal = origin.stamp(exchange.Seal(maker="anthropic", account=origin.fingerprint("platform/claude"), value="c2ln"))
    call = fakes.call_in("anthropic_messages", thinking(seal), claude())
    _, responder, client = fakes.run(serve(call, Answer.json(MESSAGE)))
    sent = json.loads(client.requests[0].body or b"")
    assert sent["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    assert "x-trunkline-lossy" not in responder.headers


def test_case_21_what_an_account_cannot_read_is_taken_out_once_and_sent_again() -> None:
    refused = Answer.json(
        b'{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid '
        b'`signature` in `thinking` block"}}',
        400,
    )
    call = fakes.call_in("anthropic_messages", thinking("of-another-account"), claude())
    outcome, responder, client = fakes.run(serve(call, refused, Answer.json(MESSAGE)))
    assert (responder.status, len(client.requests)) == (200, 2)
    assert b"of-another-account" in (client.requests[0].body or b"")
    assert b"of-another-account" not in (client.requests[1].body or b"")
    assert "reasoning_signature" in responder.headers["x-trunkline-lossy"]
    assert [attempt.result for attempt in outcome.attempts] == ["refused", "ok"]


def test_case_21_it_is_sent_again_only_once() -> None:
    refused = b'{"type":"error","error":{"type":"invalid_request_error","message":"Invalid `signature`"}}'
    call = fakes.call_in("anthropic_messages", thinking("of-another-account"), claude())
    _, responder, client = fakes.run(serve(call, Answer.json(refused, 400), Answer.json(refused, 400)))
    assert (responder.status, len(client.requests)) == (400, 2)


# ---- headers of the client -------------------------------------------------------------------------------------------


def test_case_23_betas_reach_only_who_takes_them() -> None:
    betas = ((b"anthropic-beta", b"a-2025-01-01, b-2025-02-02"),)
    account = dataclasses.replace(
        upstream("claude", provider="anthropic", dialects=frozenset({"anthropic_messages"})),
        beta_headers=("anthropic-beta:a-*",),
    )
    call = fakes.call_in("anthropic_messages", ASKED, dataclasses.replace(claude(), upstream=account), headers=betas)
    _, responder, client = fakes.run(serve(call, Answer.json(MESSAGE)))
    assert dict(client.requests[0].headers)[b"anthropic-beta"] == b"a-2025-01-01"
    assert responder.headers["x-trunkline-lossy"] == "anthropic-beta"
    _, responder, client = fakes.run(
        serve(fakes.call_in("anthropic_messages", ASKED, headers=betas), Answer.json(WHOLE))
    )
    assert b"anthropic-beta" not in dict(client.requests[0].headers)
    assert responder.headers["x-trunkline-lossy"] == "anthropic-beta"


# ---- what providers do beside their manuals --------------------------------------------------------------------------

BY_DIALECT = {"anthropic_messages": "anthropic", "gemini_generate": "gemini", "openai_responses": "openai"}


def speaking(dialect: str, name: str = "other") -> Target:
    return target(name, upstream(name, provider=BY_DIALECT[dialect], dialects=frozenset({dialect})))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("dialect", "body", "status"),
    [
        ("anthropic_messages", b'{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}', 529),
        ("anthropic_messages", b'{"type":"error","error":{"type":"invalid_request_error","message":"Bad"}}', 400),
        ("gemini_generate", b'{"error":{"code":503,"message":"Busy","status":"UNAVAILABLE"}}', 503),
        ("gemini_generate", b'{"error":{"message":"Bad","status":"INVALID_ARGUMENT"}}', 400),
        ("gemini_generate", b'{"error":"what"}', 500),
        ("openai_responses", b'{"error":{"code":"invalid_prompt","message":"Bad"}}', 400),
        ("openai_responses", b'{"error":{"type":"server_error","message":"Oh"}}', 500),
    ],
)
def test_an_error_that_came_with_status_200_is_none_of_success(
    dialect: str, body: bytes, status: int, stream: bool
) -> None:
    asked = ASKED_STREAM if stream else ASKED
    _, responder, _ = fakes.run(serve(fakes.call_in("openai_chat", asked, speaking(dialect)), Answer.json(body)))
    assert responder.status == status
    assert "error" in json.loads(responder.body)
    if status >= 500:
        call = fakes.call_in("openai_chat", asked, speaking(dialect), target("good"))
        outcome, responder, _ = fakes.run(serve(call, Answer.json(body), Answer.json(WHOLE)))
        assert (responder.status, outcome.target, len(outcome.attempts)) == (200, "good", 2)


def test_a_whole_answer_in_place_of_a_stream_is_streamed_to_who_speaks_the_same_too() -> None:
    call = fakes.call_in("anthropic_messages", ASKED_STREAM, claude())
    outcome, responder, _ = fakes.run(serve(call, Answer.json(MESSAGE)))
    seen = [name for name, _ in events(responder.body)]
    assert (seen[0], seen[-1], outcome.streamed) == ("message_start", "message_stop", True)
    assert b"Hallo" in responder.body
    assert outcome.usage == exchange.Usage(prompt=5, completion=3)


def test_a_whole_answer_to_a_request_that_only_the_upstream_can_read_stays_what_it_is() -> None:
    asked = b'{"model":"gpt-4o","max_tokens":64,"stream":true,"messages":[{"role":"oracle","content":"Hi"}]}'
    call = fakes.call_in("anthropic_messages", asked, claude())
    _, responder, _ = fakes.run(serve(call, Answer.json(MESSAGE)))
    assert (responder.status, responder.body) == (200, MESSAGE)


def test_an_answer_without_an_id_gets_one_of_its_own() -> None:
    nameless = json.dumps({name: value for name, value in json.loads(WHOLE).items() if name != "id"}).encode()
    ids = set()
    for asked in (ASKED, ASKED, ASKED_STREAM, ASKED_STREAM):
        for dialect in ("anthropic_messages", "openai_responses"):
            body = asked if dialect == "anthropic_messages" else asked.replace(b'"messages"', b'"input"')
            body = body.replace(b"max_tokens", b"max_output_tokens") if dialect == "openai_responses" else body
            call = fakes.call_in(dialect, body)
            steps = (each.replace(b'"id":"c",', b"") for each in (ROLE, HELLO, STOP, USAGE, DONE))
            answer = Answer.sse(*steps) if asked is ASKED_STREAM else Answer.json(nameless)
            _, responder, _ = fakes.run(serve(call, answer))
            if asked is ASKED_STREAM:
                first = events(responder.body)[0][1]
                said = first.get("message") or first.get("response")
            else:
                said = json.loads(responder.body)
            assert isinstance(said, dict)
            ids.add(said["id"])
    assert len(ids) == 8


def test_case_21_what_may_not_be_taken_out_is_refused_in_the_upstreams_words() -> None:
    refused = b'{"type":"error","error":{"type":"invalid_request_error","message":"Invalid `signature`"}}'
    call = fakes.call_in("anthropic_messages", thinking("of-another-account"), claude(), policy=Policy(lossy="Reject"))
    outcome, responder, client = fakes.run(serve(call, Answer.json(refused, 400)))
    assert (responder.status, len(client.requests), len(outcome.attempts)) == (400, 1, 1)
    assert b"Invalid `signature`" in responder.body


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (
            b'{"requests":[{"model":"models/gpt-4o","content":{"parts":[{"text":"a"}]}}]}',
            b'{"requests":[{"model":"models/up-1","content":{"parts":[{"text":"a"}]}}]}',
        ),
        (
            b'{"requests" :[{"model":"models/up-1","content":1}]}',
            b'{"requests" :[{"model":"models/up-1","content":1}]}',
        ),
        (b'{"requests":{"model":3}}', b'{"requests":{"model":3}}'),
    ],
)
def test_each_request_of_geminis_batch_has_the_upstreams_name_of_the_model(body: bytes, sent: bytes) -> None:
    account = upstream("gemini", provider="gemini", dialects=frozenset({"gemini_embed"}))
    call = fakes.call_in(
        "gemini_embed", body, target("gemini", account), operation="embeddings", model="gpt-4o", stream=False
    )
    _, responder, client = fakes.run(serve(call, Answer.json(b'{"embeddings":[{"values":[1.0]}]}')))
    assert (responder.status, client.requests[0].body) == (200, sent)


def test_geminis_count_of_a_whole_request_has_the_upstreams_name_of_the_model() -> None:
    account = upstream("gemini", provider="gemini", dialects=frozenset({"gemini_generate"}))
    inner = b'{"contents":[{"parts":[{"text":"a"}]}],"model":"models/%b"}'
    body = b'{"generateContentRequest":' + inner % b"gpt-4o" + b"}"
    call = fakes.call_in(
        "gemini_generate", body, target("gemini", account), operation="count_tokens", model="gpt-4o", stream=False
    )
    _, _, client = fakes.run(serve(call, Answer.json(b'{"totalTokens":1}')))
    assert client.requests[0].body == b'{"generateContentRequest":' + inner % b"up-1" + b"}"


def test_what_an_answer_too_long_to_be_held_took_is_read_at_its_end() -> None:
    text = "x" * 9_000_000
    gemini = json.dumps(
        {
            "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}],
            },
            "modelVersion": "m", "responseId": "r",
        }
    ).encode()  # fmt: skip
    message = MESSAGE.replace(b"Hallo", text.encode())
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]
    response = json.dumps(
        {
            "id": "r",
            "status": "completed",
            "output": output,
            "usage": {"input_tokens": 5, "output_tokens": 3},
            "user": None,
        }
    ).encode()
    for dialect, asked, model, body in (
        ("anthropic_messages", ASKED, "", message),
        ("gemini_generate", b'{"contents":[{"parts":[{"text":"Hi"}]}]}', "gpt-4o", gemini),
        ("openai_responses", b'{"model":"gpt-4o","input":"Hi"}', "", response),
    ):
        stream = False if model else None
        call = fakes.call_in(dialect, asked, speaking(dialect), model=model, stream=stream)
        outcome, responder, _ = fakes.run(serve(call, Answer.json(body)))
        assert responder.body == body
        assert outcome.usage is not None
        assert (outcome.usage.prompt, outcome.usage.completion) == (5, 3)
