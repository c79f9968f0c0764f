"""What is counted, under which names, and what is left out of a log line."""

import io
import json
import logging

import pytest

from harness import tables
from trunkline_gateway.telemetry import access
from trunkline_gateway.telemetry.exchange import Exchange
from trunkline_gateway.telemetry.metrics import Metrics
from trunkline_protocol.logs import JSONFormatter


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics(version="1.2.3")
    made.swapped(tables.snapshot([tables.echo(), tables.route("default/a", targets=[("one", "echo")])]))
    return made


def exchange(**known: object) -> Exchange:
    return Exchange(request_id="r", method="POST", path="/v1/chat/completions", status=200, **known)  # type: ignore[arg-type]


def ended(metrics: Metrics, over: Exchange) -> str:
    metrics.began()
    metrics.ended(over)
    return metrics.render().decode()


def test_a_finished_request_is_counted_by_group_target_and_status(metrics: Metrics) -> None:
    over = exchange(
        group="a", target="one", prompt_tokens=3, completion_tokens=5, streamed=True, first_byte_seconds=0.2,
        duration_seconds=1.5, truncated=True, client_gone=True,
    )  # fmt: skip
    text = ended(metrics, over)
    for line in (
        'trunkline_gateway_requests_total{group="a",status="200",target="one"} 1.0',
        'trunkline_gateway_tokens_total{group="a",kind="prompt",target="one"} 3.0',
        'trunkline_gateway_tokens_total{group="a",kind="completion",target="one"} 5.0',
        'trunkline_gateway_request_duration_seconds_sum{group="a"} 1.5',
        'trunkline_gateway_time_to_first_token_seconds_sum{group="a"} 0.2',
        'trunkline_gateway_stream_truncated_total{group="a",target="one"} 1.0',
        'trunkline_gateway_client_disconnects_total{group="a"} 1.0',
        "trunkline_gateway_in_flight 0.0",
        'trunkline_gateway_build_info{version="1.2.3"} 1.0',
    ):
        assert line in text
    assert "_created" not in text


@pytest.mark.parametrize(
    ("group", "target", "counted"),
    [("a", "one", '{group="a",status="200",target="one"}'), ("a", "gone", '{group="a",status="200",target=""}'),
     ("gone", "one", '{group="",status="200",target=""}'), ("", "", '{group="",status="200",target=""}')],
)  # fmt: skip
def test_only_what_is_in_the_table_has_a_series(metrics: Metrics, group: str, target: str, counted: str) -> None:
    assert f"trunkline_gateway_requests_total{counted} 1.0" in ended(metrics, exchange(group=group, target=target))


def test_series_go_with_their_group_and_their_target(metrics: Metrics) -> None:
    ended(metrics, exchange(group="a", target="one", prompt_tokens=1))
    metrics.attempted("a", "one", "ok")
    metrics.swapped(tables.snapshot([tables.echo(), tables.route("default/a", targets=[("two", "echo")])]))
    text = metrics.render().decode()
    assert 'target="one"' not in text
    assert 'request_duration_seconds_count{group="a"} 1.0' in text
    metrics.swapped(tables.snapshot([]))
    assert 'group="a"' not in metrics.render().decode()
    # A request that outlives its group brings nothing back.
    assert 'group="a"' not in ended(metrics, exchange(group="a", target="one"))


def test_there_is_one_version_at_a_time(metrics: Metrics) -> None:
    metrics.swapped(tables.snapshot([]))
    assert metrics.render().decode().count("trunkline_gateway_config_version_info{") == 1


def test_an_access_line_holds_what_applies_and_nothing_else() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    access.logger.addHandler(handler)
    level = access.logger.level
    access.logger.setLevel(logging.INFO)
    try:
        access.log(exchange(duration_seconds=0.0123))
        access.log(exchange(group="a", key="default/me", attempts=1, streamed=True, first_byte_seconds=0.5))
    finally:
        access.logger.removeHandler(handler)
        access.logger.setLevel(level)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert set(first) == {"ts", "level", "logger", "msg", "request_id", "method", "path", "status", "duration_ms"}
    assert first["duration_ms"] == 12.3
    assert (
        second.items() >= {"group": "a", "key": "default/me", "attempts": 1, "streamed": True, "ttft_ms": 500}.items()
    )
