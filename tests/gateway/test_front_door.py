"""The front door over a socket: prefixes, models, and what every answer carries, in any dialect."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from harness import tables
from harness.operator_double import OperatorDouble
from harness.rawhttp import RawAnswer, connect
from harness.serving import served
from trunkline_gateway.runtime import Gateway
from trunkline_gateway.settings import Settings

KEY = "sk-tl-front-door"
BEARER = f"Authorization: Bearer {KEY}"
TABLE = [
    tables.echo("default/main", direct_models=["tiny", "big-*"]),
    tables.route("default/public", models=["public"], targets=[("only", "echo")], upstream="default/main"),
    tables.key(KEY, models=("*", "main:*")),
]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("front-door")

    @asynccontextmanager
    async def whole() -> AsyncIterator[int]:
        operator = OperatorDouble(directory / "operator.sock", TABLE)
        await operator.start()
        settings = Settings(
            operator=operator.address, host="127.0.0.1", port=0, admin_port=0, state_dir=directory / "state",
            drain_delay_seconds=0, shutdown_grace_seconds=1,
        )  # fmt: skip
        gateway = Gateway(settings)
        await gateway.start()
        await gateway.wait_ready()
        yield gateway.port
        await gateway.stop()
        await operator.stop()

    with served(whole) as (port, _):
        yield port


def get(port: int, path: str) -> RawAnswer:
    with connect(port) as raw:
        return raw.get(path, BEARER).answer()


def post(port: int, path: str, body: Any) -> RawAnswer:
    with connect(port) as raw:
        return raw.request("POST", path, body, BEARER).answer()


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}


@pytest.mark.parametrize("model", ["tiny", "main:tiny", "MAIN:tiny", "big-1", "public"])
def test_below_an_account_its_models_go_by_either_name_and_public_ones_by_theirs(port: int, model: str) -> None:
    answer = post(port, "/main/v1/chat/completions", chat(model))
    assert answer.status == 200
    assert answer.json["model"] in {model.partition(":")[2] or model, "echo"}
    assert answer.headers.get("x-trunkline-model-group") == ("public" if model == "public" else None)


def test_what_an_account_lists_can_be_looked_up_and_called_below_it(port: int) -> None:
    listed = [each["id"] for each in get(port, "/main/v1/models").json["data"]]
    assert listed == ["main:tiny"]
    for name in (*listed, "tiny"):
        assert get(port, f"/main/v1/models/{name}").json["id"] == "main:tiny"
    assert get(port, "/main/v1/models/public").json["id"] == "public"
    assert get(port, "/main/v1/models/nothing").status == 404


def test_an_estimated_count_names_the_group(port: int) -> None:
    answer = post(port, "/v1/messages/count_tokens", chat("public"))
    assert (answer.status, answer.headers["x-trunkline-lossy"]) == (200, "count_estimated")
    assert answer.headers["x-trunkline-model-group"] == "public"


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_cannot_be_written_is_refused_alike_whole_and_streamed(port: int, stream: bool) -> None:
    body = {"model": "public", "max_tokens": 5, "messages": [{"role": "oracle", "content": 3}], "stream": stream}
    answer = post(port, "/v1/messages", body)
    assert (answer.status, answer.json["type"]) == (400, "error")
    assert answer.headers["x-trunkline-model-group"] == "public"
    assert answer.headers["x-trunkline-attempts"] == "0"


@pytest.mark.parametrize("path", ["/v1/responses/compact", "/v1/responses/input_tokens"])
def test_other_calls_of_responses_are_not_said_to_be_stored(port: int, path: str) -> None:
    answer = post(port, path, {"model": "public", "input": "Hi"})
    assert (answer.status, answer.json["error"]["code"]) == (404, "unknown_url")


def test_a_method_of_googles_that_is_not_served_is_not_there(port: int) -> None:
    answer = post(port, "/v1beta/models/public:predict", {})
    assert (answer.status, answer.json["error"]["status"]) == (404, "NOT_FOUND")
    assert post(port, "/v1beta/models/public", {}).status == 405
