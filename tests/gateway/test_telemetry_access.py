"""What an access line says, whatever is in it, and that it looks like every other line of the log."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from trunkline_gateway.telemetry import access
from trunkline_gateway.telemetry.access import AccessLog
from trunkline_gateway.telemetry.exchange import Exchange
from trunkline_protocol import logs

WALL = 1_700_000_000.9876


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)


def exchange(path: str = "/v1/chat/completions", **known: object) -> Exchange:
    return Exchange(request_id="r", method="POST", path=path, status=200, **known)  # type: ignore[arg-type]


def made() -> AccessLog:
    return AccessLog(logs.handler(), wall=lambda: WALL, monotonic=lambda: 500.0)


def written(stream: io.StringIO, *exchanges: Exchange) -> list[str]:
    log = made()
    log.log(exchanges)
    log.close()
    return stream.getvalue().split("\n")[:-1]


def test_a_line_holds_what_applies_and_nothing_else(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    more = exchange(
        group="a", key="default/me", attempts=1, streamed=True, first_byte_seconds=0.5, attempt_results=[("one", "ok")]
    )
    first, second = (json.loads(line) for line in written(stream, exchange(duration_seconds=0.0123), more))
    required = ["ts", "level", "logger", "msg", "request_id", "method", "path", "status", "duration_ms"]
    assert list(first) == required
    assert (first["level"], first["logger"], first["msg"]) == ("info", "trunkline_gateway.access", "request")
    assert first["duration_ms"] == 12.3
    assert list(second) == [*required, "group", "key", "attempts", "ttft_ms", "streamed"]
    assert second.items() >= {"group": "a", "key": "default/me", "attempts": 1, "streamed": True}.items()
    assert second["ttft_ms"] == 500


def test_every_field_has_its_name(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    whole = exchange(
        group="g", target="t", key="n/k", team="m", attempts=2, prompt_tokens=3, completion_tokens=4, error="e",
        first_byte_seconds=0.0, streamed=True, truncated=True, client_gone=True,
    )  # fmt: skip
    (line,) = written(stream, whole)
    event = json.loads(line)
    for name in ("request_id", "method", "path", "status", "group", "target", "key", "team", "attempts",
                 "prompt_tokens", "completion_tokens", "error", "streamed", "truncated", "client_gone"):  # fmt: skip
        assert event[name] == getattr(whole, name)
    assert event["ttft_ms"] == 0


@pytest.mark.parametrize(
    ("ended_at", "ts"),
    [(500.0, "2023-11-14T22:13:20.987Z"), (499.0, "2023-11-14T22:13:19.987Z"), (499.1, "2023-11-14T22:13:20.087Z"),
     (0.0, "2023-11-14T22:13:20.987Z")],
)  # fmt: skip
def test_the_time_is_when_the_request_ended(stream: io.StringIO, ended_at: float, ts: str) -> None:
    logs.configure(stream=stream)
    assert [json.loads(line)["ts"] for line in written(stream, exchange(), exchange(ended_at=ended_at))][1] == ts


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_a_line_looks_like_the_record_that_it_replaces(stream: io.StringIO, log_format: str) -> None:
    over = exchange(duration_seconds=0.25, group="a", attempts=1, streamed=True, path='/v1/"quoted"\n\tü')
    logs.configure(stream=stream, log_format=log_format)
    (line,) = written(stream, over)
    AccessLog(None, wall=lambda: WALL).log([over])
    record = stream.getvalue().split("\n")[1]
    if log_format == "json":
        ours, theirs = json.loads(line), json.loads(record)
        assert list(ours) == list(theirs)
        assert {**ours, "ts": ""} == {**theirs, "ts": ""}
    else:
        assert line.partition(" ")[2] == record.partition(" ")[2]
        assert "\\n" in line


@pytest.mark.parametrize("log_format", logs.FORMATS)
@pytest.mark.parametrize(
    "path", ["/\r\n{}", "/\0\x1b[31m\x7f", "/\x85\xff", "/\u2028\u2029", '/"\\', "/😀", "/\ud800", "/" + "\xff" * 5000]
)
def test_any_path_is_one_line(stream: io.StringIO, log_format: str, path: str) -> None:
    logs.configure(stream=stream, log_format=log_format)
    lines = written(stream, exchange(), exchange(path), exchange())
    assert len(lines) == 3
    if log_format == "json":
        shown = [json.loads(line)["path"] for line in lines]
        assert shown[0] == shown[2] == "/v1/chat/completions"
        assert shown[1] == (path[:512] if path != "/\ud800" else "/\\ud800")


def test_an_absurd_number_of_tokens_is_still_a_line(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    assert json.loads(written(stream, exchange(prompt_tokens=10**40))[0])["prompt_tokens"] == 10**40


def test_where_the_level_does_not_ask_for_lines_nothing_is_encoded(stream: io.StringIO) -> None:
    logs.configure(level="warning", stream=stream)
    clock = iter(())
    log = AccessLog(logs.handler(), wall=lambda: next(clock))
    log.log([exchange()])
    log.close()
    assert stream.getvalue() == ""


def test_where_logging_is_somebody_elses_lines_are_records(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, access.logger.name):
        log = AccessLog(None, wall=lambda: WALL)
        log.log([exchange(group="a")])
        log.close()
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("trunkline_gateway.access", "request")
    assert record.__dict__["fields"]["group"] == "a"
    assert log.dropped == 0
