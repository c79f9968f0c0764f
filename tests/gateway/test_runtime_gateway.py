"""A whole gateway in this process, over sockets: what clients, Prometheus and Kubernetes see of it."""

import io
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from harness import tables
from harness.operator_double import OperatorDouble
from harness.rawhttp import Raw, RawAnswer, connect
from harness.serving import Loop, served
from trunkline_gateway.runtime import Gateway
from trunkline_gateway.settings import Settings
from trunkline_protocol import logs

KEY = "sk-tl-canary-4f1d"
BEARER = f"Authorization: Bearer {KEY}"
TABLE = [
    tables.echo(),
    tables.route(models=["echo", "org/Echo", "wild-*"]),
    tables.route("default/broken", targets=[("only", "error-500")]),
    tables.route("default/failover", targets=[("bad", "error-500"), ("good", "echo")]),
    tables.route("default/cut", targets=[("only", "cut-mid-stream")]),
    tables.route("default/hang", targets=[("only", "hang")]),
    tables.route("default/secret-group", groups=["vip"]),
    tables.key(KEY),
    tables.key("sk-tl-elsewhere", "default/elsewhere", allowed_cidrs=["203.0.113.0/24"]),
    tables.key("sk-tl-disabled", "default/disabled", disabled=True),
]
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}


@dataclass
class World:
    gateway: Gateway
    operator: OperatorDouble
    loop: Loop

    @property
    def port(self) -> int:
        return self.gateway.port

    def admin(self, path: str) -> RawAnswer:
        with connect(self.gateway.admin_port) as raw:
            return raw.get(path).answer()

    def metrics(self) -> str:
        return self.admin("/metrics").body.decode()

    def metric(self, name: str, **labels: str) -> float:
        total = 0.0
        for line in self.metrics().splitlines():
            if line.partition("{")[0].partition(" ")[0] == f"trunkline_gateway_{name}" and all(
                f'{label}="{value}"' in line for label, value in labels.items()
            ):
                total += float(line.rpartition(" ")[2])
        return total


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, as the process would write it."""
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure(stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture(scope="module")
def world(log: io.StringIO, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("gateway")

    @asynccontextmanager
    async def whole() -> AsyncIterator[World]:
        operator = OperatorDouble(directory / "operator.sock", TABLE)
        await operator.start()
        gateway = Gateway(
            Settings(
                operator=operator.address,
                host="127.0.0.1",
                port=0,
                admin_port=0,
                state_dir=directory / "state",
                max_body_bytes=1 << 20,
                first_byte_timeout_seconds=5,
                drain_delay_seconds=0,
                shutdown_grace_seconds=1,
                node_name="gw-1",
            )
        )
        await gateway.start()
        await gateway.wait_ready()
        yield World(gateway, operator, None)  # type: ignore[arg-type] # the loop is added below
        await gateway.stop()
        await operator.stop()

    with served(whole) as (made, loop):
        made.loop = loop
        yield made


@pytest.fixture
def raw(world: World) -> Iterator[Raw]:
    with connect(world.port) as connection:
        yield connection


@pytest.fixture
def sdk(world: World) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{world.port}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def line_of(log: io.StringIO, request_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        for line in log.getvalue().splitlines():
            event: dict[str, Any] = json.loads(line)
            if event.get("request_id") == request_id and event["logger"] == "trunkline_gateway.access":
                return event
        time.sleep(0.01)
    raise AssertionError(f"no access line of {request_id}")


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_the_official_sdk_gets_whole_and_streamed_answers_embeddings_and_models(sdk: openai.OpenAI) -> None:
    whole = sdk.chat.completions.create(model="echo", messages=[{"role": "user", "content": "one two"}])
    assert "one two" in (whole.choices[0].message.content or "")
    stream = sdk.chat.completions.create(model="echo", messages=[{"role": "user", "content": "one two"}], stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len(sdk.embeddings.create(model="org/Echo", input=["a", "b"]).data) == 2
    assert [model.id for model in sdk.models.list()] == ["broken", "cut", "echo", "failover", "hang", "org/Echo"]
    assert sdk.models.retrieve("org/Echo").id == "org/Echo"
    assert sdk.models.retrieve("wild-thing").owned_by == "echo"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/v1/chat/completions/"])
def test_paths_work_with_and_without_v1(raw: Raw, path: str) -> None:
    assert raw.request("POST", path, CHAT, BEARER).answer().status == 200


@pytest.mark.parametrize("path", ["/v1/models/org/Echo", "/models/org%2FEcho", "/v1/models/ORG%2fecho/"])
def test_ids_of_models_may_hold_slashes(raw: Raw, path: str) -> None:
    answer = raw.get(path, BEARER).answer()
    assert answer.status == 200
    assert answer.json["id"] == "org/Echo"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/echo", "/models", "/health", "/healthz", "/"])
def test_head_works_where_get_does(raw: Raw, path: str) -> None:
    got = raw.get(path, BEARER).answer()
    assert got.status == 200
    headed = raw.request("HEAD", path, None, BEARER).answer(head_only=True)
    assert headed.status == 200
    assert headed.headers["content-length"] == str(len(got.body))
    assert raw.get("/healthz").answer().status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/embeddings", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/v1/models/echo", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_with_allow(raw: Raw, method: str, path: str, allowed: str) -> None:
    answer = raw.request(method, path, None, BEARER).answer()
    assert answer.status == 405
    assert answer.headers["allow"] == allowed
    assert answer.error["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1", "/v2/models", "//v1/models", "/v1/v1/models", "/v1/chat%2Fcompletions"]
)
def test_an_unknown_path_is_404_in_the_apis_shape(raw: Raw, path: str) -> None:
    answer = raw.get(path).answer()
    assert answer.status == 404
    assert answer.error["code"] == "unknown_url"
    assert path in answer.error["message"]


# ---- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ((), 401, "Authorization"),
        (("Authorization: Bearer sk-nobody",), 401, "Incorrect"),
        (("X-Api-Key: sk-tl-disabled",), 401, "disabled"),
        (("X-Api-Key: sk-tl-elsewhere",), 403, "address"),
        (("X-Api-Key: sk-tl-elsewhere", "X-Forwarded-For: 203.0.113.5"), 403, "address"),
    ],
)
def test_keys_are_refused_in_words(raw: Raw, headers: tuple[str, ...], status: int, says: str) -> None:
    answer = raw.request("POST", "/v1/chat/completions", CHAT, *headers).answer()
    assert answer.status == status
    assert says in answer.error["message"]
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert raw.get("/healthz").answer().status == 200


@pytest.mark.parametrize("header", ["x-api-key: ", "X-Goog-Api-Key: ", "authorization: bEARER "])
def test_a_key_may_come_in_other_headers(raw: Raw, header: str) -> None:
    assert raw.get("/v1/models", f"{header}{KEY}").answer().status == 200


def test_the_host_header_decides_nothing(world: World) -> None:
    with connect(world.port) as raw:
        raw.send("GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:1/healthz?\r\n\r\n")
        assert raw.answer().status == 400
    with connect(world.port) as raw:
        raw.send("GET /v1/models HTTP/1.1\r\nHost: healthz\r\n\r\n")
        assert raw.answer().status == 401


def test_forbidden_and_unknown_models_get_the_same_404(raw: Raw) -> None:
    def refusal(model: str, path: str) -> tuple[bytes, dict[str, str]]:
        asked = (
            raw.get(f"/v1/models/{model}", BEARER)
            if path == "GET"
            else raw.request("POST", path, {**CHAT, "model": model, "input": "x"}, BEARER)
        )
        answer = asked.answer()
        assert answer.status == 404
        headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
        return answer.body.replace(model.encode(), b"NAME"), headers

    for path in ("GET", "/v1/chat/completions", "/v1/embeddings"):
        assert refusal("secret-group", path) == refusal("unheard-of-x", path)


# ---- bad input -------------------------------------------------------------------------------------------------------

BAD = {
    "not JSON": b"{",
    "empty": b"",
    "a list": b"[]",
    "no model": b'{"messages":[]}',
    "a number for a model": b'{"model":4}',
    "null for a model": b'{"model":null}',
    "an empty model": b'{"model":""}',
    "text for stream": b'{"model":"echo","stream":"yes"}',
    "invalid UTF-8": b'{"model":"echo","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "duplicate keys": b'{"model":"echo","model":"other","messages":[]}',
    "deep nesting": b'{"model":"echo","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "trailing bytes": b'{"model":"echo","messages":[]} x',
    "a host of its own": b'{"model":"echo","messages":[],"api_base":"http://evil"}',
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_clear_400_and_the_connection_goes_on(raw: Raw, case: str) -> None:
    answer = raw.request("POST", "/v1/chat/completions", BAD[case], BEARER).answer()
    assert answer.status == 400, answer
    assert answer.error["type"] == "invalid_request_error"
    assert len(answer.error["message"]) > 15
    assert raw.request("POST", "/v1/chat/completions", CHAT, BEARER).answer().status == 200


def test_a_compressed_body_is_415(raw: Raw) -> None:
    answer = raw.request("POST", "/v1/chat/completions", b"\x1f\x8b", BEARER, "Content-Encoding: gzip").answer()
    assert answer.status == 415
    assert "Content-Encoding" in answer.error["message"]
    assert (
        raw.request("POST", "/v1/chat/completions", CHAT, BEARER, "Content-Encoding: identity").answer().status == 200
    )


def test_a_body_over_the_limit_is_413_before_it_is_read(raw: Raw) -> None:
    raw.send(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{BEARER}\r\nContent-Length: {100 << 20}\r\n\r\n")
    answer = raw.answer()
    assert answer.status == 413
    assert "1048576 bytes" in answer.error["message"]


def test_a_chunked_body_over_the_limit_is_413_as_soon_as_it_is(raw: Raw) -> None:
    raw.send(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{BEARER}\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(3):
        raw.send(b"80000\r\n" + b" " * 0x80000 + b"\r\n")
    assert raw.answer().status == 413
    # What still comes is read and dropped, so that the client gets to see the answer; then the connection is good.
    raw.send(b"80000\r\n" + b" " * 0x80000 + b"\r\n0\r\n\r\n")
    assert raw.get("/v1/models", BEARER).answer().status == 200


# ---- streams and clients that leave ----------------------------------------------------------------------------------


def test_a_stream_that_the_upstream_cuts_ends_with_an_error_and_no_done(raw: Raw) -> None:
    answer = raw.request("POST", "/v1/chat/completions", {**CHAT, "model": "cut", "stream": True}, BEARER)
    body = b""
    try:
        body = answer.answer().body
    except Exception as cut:  # noqa: BLE001 - IncompleteError: allowed, too
        body = getattr(cut, "received", b"")
    assert b'"error"' in body
    assert b"[DONE]" not in body


def test_a_client_that_leaves_is_noticed_within_a_second(world: World, log: io.StringIO) -> None:
    before = world.metric("client_disconnects_total", group="hang")
    with connect(world.port) as raw:
        raw.request("POST", "/v1/chat/completions", {**CHAT, "model": "hang"}, BEARER, "X-Request-Id: leaver")
        deadline = time.monotonic() + 2
        while world.metric("in_flight") < 1:
            assert time.monotonic() < deadline
    left = time.monotonic()
    event = line_of(log, "leaver")
    assert time.monotonic() - left < 1
    assert event["client_gone"] is True
    assert event["status"] == 499
    assert event["group"] == "hang"
    assert world.metric("client_disconnects_total", group="hang") == before + 1
    assert world.metric("in_flight") == 0


def test_pipelined_calls_are_answered_in_order(raw: Raw) -> None:
    for number in range(5):
        raw.request("POST", "/v1/chat/completions", {**CHAT, "model": "echo"}, BEARER, f"X-Request-Id: p{number}")
    assert [raw.answer().headers["x-request-id"] for _ in range(5)] == [f"p{number}" for number in range(5)]


# ---- request ids, logs, metrics --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/healthz"])
def test_a_sane_request_id_is_kept_and_another_replaced(raw: Raw, path: str) -> None:
    for sane in ("abc", "A.b_c-9", "x" * 128):
        assert raw.get(path, f"X-Request-Id: {sane}").answer().headers["x-request-id"] == sane
    for other in ("", "x" * 129, "a b", 'a"b', "a\x80b", "{}"):
        assert raw.get(path, f"X-Request-Id: {other}").answer().headers["x-request-id"].startswith("req_")


def test_an_access_line_says_what_happened_and_nothing_that_was_said(raw: Raw, log: io.StringIO) -> None:
    raw.request("POST", f"/v1/chat/completions?key={KEY}", {**CHAT, "model": "failover"}, "X-Request-Id: told").answer()
    event = line_of(log, "told")
    assert event.items() >= {
        "method": "POST", "path": "/v1/chat/completions", "status": 200, "group": "failover", "target": "good",
        "key": "default/me", "team": "a-team", "attempts": 2, "msg": "request", "level": "info",
    }.items()  # fmt: skip
    assert event["prompt_tokens"] > 0
    assert event["completion_tokens"] > 0
    assert event["duration_ms"] >= 0


def test_no_key_and_no_prompt_is_in_any_log_metric_or_answer(world: World, raw: Raw, log: io.StringIO) -> None:
    prompt = "a-canary-of-a-prompt"
    body = {**CHAT, "messages": [{"role": "user", "content": prompt}]}
    answers = [
        raw.request("POST", "/v1/chat/completions", {**body, "model": model}, BEARER).answer()
        for model in ("broken", "unknown")
    ]
    answers.append(raw.get(f"/v1/models?key={KEY}").answer())
    answers.append(raw.get(f"/v1/nothing?key={KEY}").answer())
    answers.append(raw.get("/v1/models?key=sk-tl-canary-wrong").answer())
    answers.append(raw.request("POST", "/v1/chat/completions", b'{"model": "' + KEY.encode(), BEARER).answer())
    with connect(world.port) as other:
        answers.append(other.send(f"GET /v1/models?key={KEY} HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n\r\n").answer())
    said = log.getvalue() + world.metrics() + world.admin("/debug/table").body.decode() + repr(answers)
    assert "sk-tl-" not in said
    assert prompt not in said


def test_metrics_tell_what_happened(world: World, raw: Raw) -> None:
    def counted() -> list[float]:
        return [
            world.metric("requests_total", group="failover", target="good", status="200"),
            world.metric("upstream_attempts_total", group="failover", target="bad", result="server_error"),
            world.metric("tokens_total", group="failover", target="good", kind="completion"),
            world.metric("request_duration_seconds_count", group="failover"),
            world.metric("authentication_refusals_total", code="invalid_api_key"),
            world.metric("http_refusals_total", status="426"),
        ]

    before = counted()
    raw.request("POST", "/v1/chat/completions", {**CHAT, "model": "failover"}, BEARER).answer()
    raw.get("/v1/models").answer()
    raw.get("/v1/responses", "Connection: Upgrade", "Upgrade: websocket").answer()
    after = counted()
    # The broken target may cool down by now and not be tried.
    assert after[0] == before[0] + 1
    assert after[1] >= max(before[1], 1)
    assert after[2] > before[2]
    assert after[3:] == [value + 1 for value in before[3:]]
    assert world.metric("connected") == 1
    assert world.metric("config_age_seconds") == 0
    assert world.metric("config_resources") == len(TABLE)
    assert f'version="{world.gateway.snapshot.version}"' in world.metrics()


def test_a_thousand_invented_models_mint_no_series(world: World, raw: Raw) -> None:
    raw.request("POST", "/v1/chat/completions", {**CHAT, "model": "invented"}, BEARER).answer()
    raw.get("/v1/models/invented", BEARER).answer()
    before = len(world.metrics().splitlines())
    for number in range(1000):
        raw.request("POST", "/v1/chat/completions", {**CHAT, "model": f"invented-{number}"}, BEARER)
        assert raw.answer().status == 404
    assert len(world.metrics().splitlines()) == before
    assert "invented" not in world.metrics()


def test_series_of_a_group_that_goes_go_with_it(world: World, raw: Raw) -> None:
    passing = tables.route("default/passing")
    world.loop.run(world.operator.change(passing))
    assert raw.request("POST", "/v1/chat/completions", {**CHAT, "model": "passing"}, BEARER).answer().status == 200
    assert 'group="passing"' in world.metrics()
    world.loop.run(world.operator.change(remove=[passing]))
    assert 'group="passing"' not in world.metrics()
    assert raw.request("POST", "/v1/chat/completions", {**CHAT, "model": "passing"}, BEARER).answer().status == 404


def test_a_removed_key_is_dead_at_once(world: World, raw: Raw) -> None:
    other = tables.key("sk-tl-other", "default/other")
    world.loop.run(world.operator.change(other))
    assert raw.get("/v1/models", "x-api-key: sk-tl-other").answer().status == 200
    world.loop.run(world.operator.change(remove=[other]))
    assert raw.get("/v1/models", "x-api-key: sk-tl-other").answer().status == 401


# ---- the admin port --------------------------------------------------------------------------------------------------


def test_the_admin_port_says_how_it_is(world: World) -> None:
    assert world.admin("/healthz").status == 200
    assert world.admin("/readyz").status == 200
    assert world.admin("/metrics").headers["content-type"].startswith("text/plain; version=")
    table = world.admin("/debug/table").json
    assert table["version"] == world.gateway.snapshot.version
    assert table["rejected"] == []
    assert table["connected"] is True
    assert (table["routes"], table["keys"], table["upstreams"]) == (6, 3, 1)
    assert world.admin("/docs").status == 404
    assert world.admin("/v1/models").status == 404


def test_the_public_port_shows_no_metrics_and_no_table(raw: Raw) -> None:
    for path in ("/metrics", "/debug/table", "/readyz", "/docs", "/openapi.json"):
        assert raw.get(path, BEARER).answer().status == 404
