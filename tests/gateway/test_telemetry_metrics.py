"""What is counted, under which names, and how it goes with the table."""

import sys
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import tables
from trunkline_gateway.telemetry.exchange import Exchange
from trunkline_gateway.telemetry.metrics import Metrics


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
        duration_seconds=1.5, truncated=True, client_gone=True, attempt_results=[("one", "error"), ("one", "ok")],
    )  # fmt: skip
    text = ended(metrics, over)
    for line in (
        'trunkline_gateway_requests_total{group="a",status="200",target="one"} 1.0',
        'trunkline_gateway_tokens_total{group="a",kind="prompt",target="one"} 3.0',
        'trunkline_gateway_tokens_total{group="a",kind="completion",target="one"} 5.0',
        'trunkline_gateway_request_duration_seconds_sum{group="a"} 1.5',
        'trunkline_gateway_time_to_first_token_seconds_sum{group="a"} 0.2',
        'trunkline_gateway_upstream_attempts_total{group="a",result="error",target="one"} 1.0',
        'trunkline_gateway_upstream_attempts_total{group="a",result="ok",target="one"} 1.0',
        'trunkline_gateway_stream_truncated_total{group="a",target="one"} 1.0',
        'trunkline_gateway_client_disconnects_total{group="a"} 1.0',
        "trunkline_gateway_in_flight 0.0",
        'trunkline_gateway_build_info{version="1.2.3"} 1.0',
        "trunkline_gateway_log_lines_dropped_total 0.0",
    ):
        assert line in text.splitlines()
    assert "_created" not in text


def test_the_exposition_reads_as_prometheus_does_and_names_no_family_twice(metrics: Metrics) -> None:
    metrics.refused_key("invalid_api_key")
    metrics.refused_head(431, "header_too_large")
    families = list(text_string_to_metric_families(ended(metrics, exchange(group="a", target="one"))))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    own = {family.name.removeprefix("trunkline_gateway_"): family for family in families}
    assert {name: family.type for name, family in own.items() if not name.startswith("process_")} == {
        "requests": "counter", "tokens": "counter", "upstream_attempts": "counter", "stream_truncated": "counter",
        "request_duration_seconds": "histogram", "time_to_first_token_seconds": "histogram",
        "client_disconnects": "counter", "authentication_refusals": "counter", "http_refusals": "counter",
        "lost_features": "counter",
        "in_flight": "gauge", "config_version_info": "gauge", "build_info": "gauge", "log_lines_dropped": "counter",
    }  # fmt: skip
    assert own["authentication_refusals"].samples[0].labels == {"code": "invalid_api_key"}
    assert own["http_refusals"].samples[0].labels == {"status": "431"}


def test_what_was_never_counted_has_no_series(metrics: Metrics) -> None:
    text = ended(metrics, exchange(group="a", target="one"))
    for name in ("tokens_total{", "upstream_attempts_total{", "time_to_first_token_seconds_bucket{",
                 "stream_truncated_total{", "client_disconnects_total{", 'group=""'):  # fmt: skip
        assert name not in text


@pytest.mark.parametrize(
    ("seconds", "first"),
    [(0.0, "0.01"), (0.01, "0.01"), (0.0101, "0.05"), (1, "1.0"), (300, "300.0"), (300.1, "+Inf")],
)
def test_a_duration_counts_in_each_bucket_that_holds_it(metrics: Metrics, seconds: float, first: str) -> None:
    families = text_string_to_metric_families(ended(metrics, exchange(group="a", duration_seconds=seconds)))
    (family,) = [each for each in families if each.name == "trunkline_gateway_request_duration_seconds"]
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    assert list(buckets) == ["0.01", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0",
                             "300.0", "+Inf"]  # fmt: skip
    assert next(bound for bound, count in buckets.items() if count) == first
    assert buckets["+Inf"] == 1


@pytest.mark.parametrize(
    ("group", "target", "counted"),
    [("a", "one", '{group="a",status="200",target="one"}'), ("a", "gone", '{group="a",status="200",target=""}'),
     ("gone", "one", '{group="",status="200",target=""}'), ("", "", '{group="",status="200",target=""}')],
)  # fmt: skip
def test_only_what_is_in_the_table_has_a_series(metrics: Metrics, group: str, target: str, counted: str) -> None:
    assert f"trunkline_gateway_requests_total{counted} 1.0" in ended(metrics, exchange(group=group, target=target))


def test_an_attempt_counts_for_the_target_that_was_tried(metrics: Metrics) -> None:
    targets = [("one", "echo"), ("two", "echo")]
    metrics.swapped(tables.snapshot([tables.echo(), tables.route("default/a", targets=targets)]))
    results = [("one", "error"), ("gone", "error"), ("two", "ok")]
    text = ended(metrics, exchange(group="a", target="two", attempt_results=results))
    for target, result in (("one", "error"), ("", "error"), ("two", "ok")):
        counted = f'{{group="a",result="{result}",target="{target}"}} 1.0'
        assert f"trunkline_gateway_upstream_attempts_total{counted}" in text
    assert 'requests_total{group="a",status="200",target="one"}' not in text


def test_series_go_with_their_group_and_their_target(metrics: Metrics) -> None:
    ended(metrics, exchange(group="a", target="one", prompt_tokens=1, attempt_results=[("one", "ok")]))
    metrics.swapped(tables.snapshot([tables.echo(), tables.route("default/a", targets=[("two", "echo")])]))
    text = metrics.render().decode()
    assert 'target="one"' not in text
    assert 'request_duration_seconds_count{group="a"} 1.0' in text
    # The group's go on being counted by its new target.
    assert 'request_duration_seconds_count{group="a"} 2.0' in ended(metrics, exchange(group="a", target="two"))
    metrics.swapped(tables.snapshot([]))
    assert 'group="a"' not in metrics.render().decode()
    # A request that outlives its group brings nothing back.
    assert 'group="a"' not in ended(metrics, exchange(group="a", target="one"))


def test_there_is_one_version_at_a_time(metrics: Metrics) -> None:
    metrics.swapped(tables.snapshot([]))
    assert metrics.render().decode().count("trunkline_gateway_config_version_info{") == 1


def test_an_absurd_number_of_tokens_does_not_break_the_scrape(metrics: Metrics) -> None:
    assert "tokens_total" in ended(metrics, exchange(group="a", target="one", prompt_tokens=10**400))


def test_a_scrape_while_requests_are_counted_is_consistent() -> None:
    names = [f"g{number}" for number in range(40)]
    table = tables.snapshot([tables.echo(), *(tables.route(f"default/{name}") for name in names)])
    metrics = Metrics(version="1")
    metrics.swapped(table)
    failures: list[Exception] = []
    scraped = threading.Event()

    def scrape() -> None:
        try:
            for _ in range(20):
                assert_counts_are_those_of_the_last_bucket(metrics.render().decode())
        except (AssertionError, RuntimeError, ValueError) as error:
            failures.append(error)
        finally:
            scraped.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=scrape)
    try:
        thread.start()
        number = 0
        while not scraped.is_set():
            number += 1
            metrics.ended(
                exchange(group=names[number % 40], target="echo", attempt_results=[("echo", str(number % 1000))])
            )
            if number % 500 == 0:
                metrics.swapped(table if number % 1000 else tables.snapshot([]))
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert not failures, failures


def assert_counts_are_those_of_the_last_bucket(text: str) -> None:
    for family in text_string_to_metric_families(text):
        if family.type == "histogram":
            counts = {each.labels["group"]: each.value for each in family.samples if each.name.endswith("_count")}
            last = {each.labels["group"]: each.value for each in family.samples if each.labels.get("le") == "+Inf"}
            assert counts == last
