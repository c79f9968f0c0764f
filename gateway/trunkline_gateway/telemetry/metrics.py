"""What Prometheus sees. Every label comes from the table or from a fixed list: no request can mint a series.

Series of groups and targets that leave the table leave with them; a request that outlives its group counts under the
empty name, like one whose model nobody knows.

What happens for each request is counted in plain numbers (see `series`) and given to prometheus-client at a scrape: its
own counters lock and look up at each step, which costs more than all the rest of the account. `began`, `ended`,
`refused_key`, `refused_head` and `swapped` belong to the event loop; `render` may run in any thread.
"""

from collections.abc import Callable, Iterator
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from trunkline_gateway.exchange import losses
from trunkline_gateway.routing.snapshot import Snapshot
from trunkline_gateway.telemetry.exchange import Exchange
from trunkline_gateway.telemetry.series import GroupSeries, TargetSeries

CONTENT_TYPE: Final = prometheus_client.CONTENT_TYPE_LATEST

_PREFIX: Final = "trunkline_gateway"
_MOST: Final = 1 << 63
"""An upstream may claim to have used any number of tokens; a number that no float can hold would break each scrape."""


class Metrics:
    """All metrics of one gateway, in a registry of their own."""

    def __init__(self, *, version: str) -> None:
        self.registry = CollectorRegistry()
        self._known: frozenset[tuple[str, str]] = frozenset()
        # Made when first counted, dropped with their resource.
        self._targets: dict[tuple[str, str], TargetSeries] = {}
        self._groups: dict[str, GroupSeries] = {}
        self._refusals: dict[str, int] = {}
        self._bad_heads: dict[int, int] = {}
        self._lost: dict[tuple[str, str, str], int] = {}
        self._in_flight = 0
        self._version = ""
        self._lines_dropped: Callable[[], int] | None = None
        self.registry.register(self)
        self._gauge("build_info", "This gateway.", "version").labels(version).set(1)
        prometheus_client.ProcessCollector(registry=self.registry)

    # ---- requests ----

    def began(self) -> None:
        """A request is being answered."""
        self._in_flight += 1

    def ended(self, exchange: Exchange) -> None:
        """It is over."""
        self._in_flight -= 1
        group, target = exchange.group, exchange.target
        series = self._targets.get((group, target)) or self._series(group, target)
        series.requests[exchange.status] = series.requests.get(exchange.status, 0) + 1
        series.of_group.durations.observe(exchange.duration_seconds)
        if exchange.streamed and exchange.first_byte_seconds is not None:
            series.of_group.first_bytes.observe(exchange.first_byte_seconds)
        if exchange.prompt_tokens:
            series.prompt += exchange.prompt_tokens
        if exchange.completion_tokens:
            series.completion += exchange.completion_tokens
        if exchange.cached_tokens:
            series.cached += exchange.cached_tokens
        if exchange.reasoning_tokens:
            series.reasoning += exchange.reasoning_tokens
        for tried, result in exchange.attempt_results:
            attempts = (series if tried == target else self._series(group, tried)).attempts
            attempts[result] = attempts.get(result, 0) + 1
        for name in exchange.lost:
            pair = (exchange.dialect, exchange.upstream_dialect, losses.label(name))
            self._lost[pair] = self._lost.get(pair, 0) + 1
        if exchange.truncated:
            series.truncated += 1
        if exchange.client_gone:
            series.of_group.disconnects += 1

    def refused_key(self, code: str) -> None:
        """A request was refused for its key or its address."""
        self._refusals[code] = self._refusals.get(code, 0) + 1

    def refused_head(self, status: int, _code: str) -> None:
        """A request was refused at the protocol."""
        self._bad_heads[status] = self._bad_heads.get(status, 0) + 1

    # ---- the table ----

    def swapped(self, snapshot: Snapshot) -> None:
        """Another table is served."""
        pairs = {(route.group, target.name) for route in snapshot.routes.values() for target in route.targets}
        pairs |= {(route.group, "") for route in snapshot.routes.values()}
        known = self._known = frozenset(pairs | {("", "")})
        self._targets = {pair: series for pair, series in self._targets.items() if pair in known}
        self._groups = {group: series for group, series in self._groups.items() if (group, "") in known}
        self._version = snapshot.version

    def watch(
        self,
        *,
        age_seconds: Callable[[], float],
        connected: Callable[[], bool],
        resources: Callable[[], int],
        rejected: Callable[[], int],
    ) -> None:
        """Say where to ask at each scrape how the table is doing. Once."""
        for name, text, ask in (
            ("config_age_seconds", "For how long no operator has confirmed the table; 0 while connected.", age_seconds),
            ("connected", "Whether the operator is connected.", connected),
            ("config_resources", "Resources in the table.", resources),
            ("config_rejected_resources", "Resources that could not be used, kept at an older version.", rejected),
        ):
            self._gauge(name, text).set_function(ask)

    def watch_log(self, dropped: Callable[[], int]) -> None:
        """Say where to ask at each scrape how many lines of the log were dropped."""
        self._lines_dropped = dropped

    # ---- a scrape ----

    def render(self) -> bytes:
        """Write the exposition; takes a while with many groups, so not on the event loop."""
        return prometheus_client.generate_latest(self.registry)

    def describe(self) -> Iterator[Metric]:
        """Give the families, for the registry to find doubles."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Give what was counted; for the registry."""
        yield from self._collect_targets(list(self._targets.items()))
        yield from self._collect_groups(list(self._groups.items()))
        refusals = _counter("authentication_refusals", "Requests refused for their key.", "code")
        for code, count in list(self._refusals.items()):
            refusals.add_metric((code,), count)
        yield refusals
        bad_heads = _counter("http_refusals", "Requests refused before they were one.", "status")
        for status, count in list(self._bad_heads.items()):
            bad_heads.add_metric((str(status),), count)
        yield bad_heads
        lost = _counter("lost_features", "What dialects could not say.", "ingress", "upstream", "feature")
        for labels, count in list(self._lost.items()):
            lost.add_metric(labels, count)
        yield lost
        yield GaugeMetricFamily(f"{_PREFIX}_in_flight", "Requests being answered.", self._in_flight)
        version = GaugeMetricFamily(f"{_PREFIX}_config_version_info", "The table that is served.", labels=("version",))
        if served := self._version:
            version.add_metric((served,), 1)
        yield version
        dropped = _counter("log_lines_dropped", "Lines of the access log that could not be written.")
        dropped.add_metric((), self._lines_dropped() if self._lines_dropped is not None else 0)
        yield dropped

    def _collect_targets(self, counted: list[tuple[tuple[str, str], TargetSeries]]) -> Iterator[Metric]:
        requests = _counter("requests", "Requests answered.", "group", "target", "status")
        tokens = _counter("tokens", "Tokens as upstreams counted them.", "group", "target", "kind")
        attempts = _counter("upstream_attempts", "Attempts by how they went.", "group", "target", "result")
        truncated = _counter("stream_truncated", "Answers that an upstream broke off after content.", "group", "target")
        for (group, target), series in counted:
            for status, count in list(series.requests.items()):
                requests.add_metric((group, target, str(status)), count)
            for kind, count in series.tokens():
                if count:
                    tokens.add_metric((group, target, kind), min(count, _MOST))
            for result, count in list(series.attempts.items()):
                attempts.add_metric((group, target, result), count)
            if count := series.truncated:
                truncated.add_metric((group, target), count)
        yield from (requests, tokens, attempts, truncated)

    def _collect_groups(self, counted: list[tuple[str, GroupSeries]]) -> Iterator[Metric]:
        durations = _histogram("request_duration_seconds", "From the head to the end of the answer.")
        first_bytes = _histogram("time_to_first_token_seconds", "From the head to the first byte of a streamed answer.")
        disconnects = _counter("client_disconnects", "Clients that left before the end.", "group")
        for group, series in counted:
            for family, seen in ((durations, series.durations), (first_bytes, series.first_bytes)):
                if buckets := seen.buckets():
                    family.add_metric((group,), buckets, seen.sum)
            if count := series.disconnects:
                disconnects.add_metric((group,), count)
        yield from (durations, first_bytes, disconnects)

    # ---- series ----

    def _series(self, group: str, target: str) -> TargetSeries:
        """Find or make the one that counts for ``target`` of ``group``."""
        if (group, target) not in self._known:
            target = ""
            if (group, "") not in self._known:
                group = ""
        series = self._targets.get((group, target))
        if series is None:
            of_group = self._groups.get(group)
            if of_group is None:
                of_group = self._groups[group] = GroupSeries()
            series = self._targets[group, target] = TargetSeries(of_group)
        return series

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace=_PREFIX, registry=self.registry)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)


def _histogram(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"{_PREFIX}_{name}", text, labels=("group",))
