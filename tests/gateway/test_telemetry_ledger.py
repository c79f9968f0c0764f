"""Requests are accounted for a little later, many at once, and none is lost."""

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from harness import tables
from trunkline_gateway.telemetry.access import AccessLog
from trunkline_gateway.telemetry.exchange import Exchange
from trunkline_gateway.telemetry.ledger import BATCH, Ledger
from trunkline_gateway.telemetry.metrics import Metrics
from trunkline_protocol import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure(stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics(version="1")
    made.swapped(tables.snapshot([]))
    return made


@pytest.fixture
async def ledger(stream: io.StringIO, metrics: Metrics) -> Ledger:
    return Ledger(asyncio.get_running_loop(), metrics, AccessLog(logs.handler(), wall=lambda: 1_700_000_000.0))


def exchange(number: int = 0) -> Exchange:
    return Exchange(request_id=str(number), method="GET", path="/v1/models", status=200)


def counted(metrics: Metrics) -> float:
    labels = {"group": "", "target": "", "status": "200"}
    return metrics.registry.get_sample_value("trunkline_gateway_requests_total", labels) or 0


def ids(stream: io.StringIO) -> list[str]:
    return [json.loads(line)["request_id"] for line in stream.getvalue().splitlines()]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  # it comes from another thread
            await asyncio.sleep(0.005)


async def test_adding_does_nothing_else_yet(ledger: Ledger, metrics: Metrics, stream: io.StringIO) -> None:
    ledger.add(exchange())
    assert counted(metrics) == 0
    assert stream.getvalue() == ""
    ledger.close()


async def test_a_request_is_accounted_for_without_another_one(
    ledger: Ledger, metrics: Metrics, stream: io.StringIO
) -> None:
    ledger.add(exchange(1))
    await until(lambda: stream.getvalue().endswith("\n"))
    assert counted(metrics) == 1
    assert ids(stream) == ["1"]
    ledger.add(exchange(2))  # and the next one too
    await until(lambda: counted(metrics) == 2)
    ledger.close()


async def test_a_full_batch_does_not_wait(ledger: Ledger, metrics: Metrics) -> None:
    for number in range(BATCH + 3):
        ledger.add(exchange(number))
    assert counted(metrics) == 0
    await asyncio.sleep(0)
    assert counted(metrics) == BATCH + 3
    ledger.close()


async def test_a_flush_before_a_scrape_counts_what_has_ended(ledger: Ledger, metrics: Metrics) -> None:
    metrics.began()
    ledger.add(exchange())
    ledger.flush()
    text = metrics.render().decode()
    assert 'trunkline_gateway_requests_total{group="",status="200",target=""} 1.0' in text
    assert "trunkline_gateway_in_flight 0.0" in text
    ledger.close()


async def test_nothing_is_lost_at_the_end_and_the_order_is_kept(
    ledger: Ledger, metrics: Metrics, stream: io.StringIO
) -> None:
    for number in range(3 * BATCH + 1):
        ledger.add(exchange(number))
        if number == BATCH:
            await asyncio.sleep(0)
    ledger.close()
    assert counted(metrics) == 3 * BATCH + 1
    assert ids(stream) == [str(number) for number in range(3 * BATCH + 1)]


async def test_what_ends_after_the_end_is_counted_at_once(ledger: Ledger, metrics: Metrics) -> None:
    ledger.close()
    ledger.add(exchange())
    assert counted(metrics) == 1
    ledger.close()


async def test_dropped_lines_are_in_the_metrics(metrics: Metrics, stream: io.StringIO) -> None:
    ledger = Ledger(asyncio.get_running_loop(), metrics, AccessLog(logs.handler(), wall=lambda: 0.0))
    stream.close()
    ledger.add(exchange())
    ledger.close()
    assert "trunkline_gateway_log_lines_dropped_total 1.0" in metrics.render().decode()
