"""What Prometheus sees. Every label comes from the table or from a fixed list: no request can mint a series.

Series of groups and targets that leave the table leave with them; a request that outlives its group counts under the
empty name, like one whose model nobody knows.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from trunkline_gateway.routing.snapshot import Snapshot
from trunkline_gateway.telemetry.exchange import Exchange

CONTENT_TYPE: Final = prometheus_client.CONTENT_TYPE_LATEST

_Labelled = TypeVar("_Labelled", Counter, Histogram)

_PREFIX: Final = "trunkline_gateway"
_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_TOKEN_KINDS: Final = ("prompt", "completion", "cached", "reasoning")

# One more series for each counter, with the time of its birth, would double what is scraped.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # not typed there


class Metrics:
    """All metrics of one gateway, in a registry of their own."""

    def __init__(self, *, version: str) -> None:
        self.registry = CollectorRegistry()
        self._known: frozenset[tuple[str, str]] = frozenset()
        # Bound children by metric and labels, with the group and target they stand for.
        self._children: dict[tuple[MetricWrapperBase, tuple[str, ...]], tuple[tuple[str, str], Any]] = {}
        self._requests = self._counter("requests", "Requests answered.", "group", "target", "status")
        self._duration = self._histogram("request_duration_seconds", "From the head to the end of the answer.", "group")
        self._first = self._histogram(
            "time_to_first_token_seconds", "From the head to the first byte of a streamed answer.", "group"
        )
        self._tokens = self._counter("tokens", "Tokens as upstreams counted them.", "group", "target", "kind")
        self._attempts = self._counter("upstream_attempts", "Attempts by how they went.", "group", "target", "result")
        self._truncated = self._counter(
            "stream_truncated", "Answers that an upstream broke off after content.", "group", "target"
        )
        self._disconnects = self._counter("client_disconnects", "Clients that left before the end.", "group")
        self._refusals = self._counter("authentication_refusals", "Requests refused for their key.", "code")
        self._bad_heads = self._counter("http_refusals", "Requests refused before they were one.", "status")
        self._in_flight = self._gauge("in_flight", "Requests being answered.")
        self._version = self._gauge("config_version_info", "The table that is served.", "version")
        self._gauge("build_info", "This gateway.", "version").labels(version).set(1)
        prometheus_client.ProcessCollector(registry=self.registry)

    # ---- requests ----

    def began(self) -> None:
        """A request is being answered."""
        self._in_flight.inc()

    def ended(self, exchange: Exchange) -> None:
        """It is over."""
        self._in_flight.dec()
        group, target = self._label(exchange.group, exchange.target)
        owner = (group, target)
        self._child(self._requests, owner, group, target, str(exchange.status)).inc()
        self._child(self._duration, (group, ""), group).observe(exchange.duration_seconds)
        if exchange.streamed and exchange.first_byte_seconds is not None:
            self._child(self._first, (group, ""), group).observe(exchange.first_byte_seconds)
        for kind in _TOKEN_KINDS:
            if count := getattr(exchange, f"{kind}_tokens"):
                self._child(self._tokens, owner, group, target, kind).inc(count)
        if exchange.truncated:
            self._child(self._truncated, owner, group, target).inc()
        if exchange.client_gone:
            self._child(self._disconnects, (group, ""), group).inc()

    def attempted(self, group: str, target: str, result: str) -> None:
        """An attempt is over; ``result`` is a word of the attempt loop's own."""
        group, target = self._label(group, target)
        self._child(self._attempts, (group, target), group, target, result).inc()

    def refused_key(self, code: str) -> None:
        """A request was refused for its key or its address."""
        self._refusals.labels(code).inc()

    def refused_head(self, status: int, _code: str) -> None:
        """A request was refused at the protocol."""
        self._bad_heads.labels(str(status)).inc()

    # ---- the table ----

    def swapped(self, snapshot: Snapshot) -> None:
        """Another table is served."""
        pairs = {(route.group, target.name) for route in snapshot.routes.values() for target in route.targets}
        pairs |= {(route.group, "") for route in snapshot.routes.values()}
        self._known = frozenset(pairs | {("", "")})
        gone = [entry for entry, (owner, _) in self._children.items() if owner not in self._known]
        for metric, labels in gone:
            metric.remove(*labels)
            del self._children[metric, labels]
        self._version.clear()
        self._version.labels(snapshot.version).set(1)

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

    def render(self) -> bytes:
        """Write the exposition; takes a while with many groups, so not on the event loop."""
        return prometheus_client.generate_latest(self.registry)

    # ---- building ----

    def _label(self, group: str, target: str) -> tuple[str, str]:
        if (group, target) in self._known:
            return group, target
        return (group, "") if (group, "") in self._known else ("", "")

    def _child(self, metric: _Labelled, owner: tuple[str, str], *labels: str) -> _Labelled:
        entry = self._children.get((metric, labels))
        if entry is None:
            entry = self._children[metric, labels] = (owner, metric.labels(*labels))
        child: _Labelled = entry[1]
        return child

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace=_PREFIX, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace=_PREFIX, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, namespace=_PREFIX, registry=self.registry, buckets=_SECONDS)
