"""The operator's metrics: read off the running stages when somebody scrapes, so that nothing has to be kept in step.

Names start with ``trunkline_operator_``. No label holds what users may choose in any number, and none holds a secret.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX: Final = "trunkline_operator_"


@dataclass(slots=True)
class Sample:
    """One value of a metric, with its labels."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """A metric that is read when scraped.

    Attributes:
        kind: ``gauge`` or ``counter``.
        read: Gives the samples; each has the labels named in ``labels``.
    """

    name: str
    help: str
    kind: str
    read: Callable[[], Iterable[Sample]]
    labels: tuple[str, ...] = ()


class Metrics(Collector):
    """A registry of its own, because several operators may run in one process (in tests, in ``trunkline run``).

    Attributes:
        compile_seconds: Durations of compilations.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._reads: list[Read] = []
        self.compile_seconds = Histogram(
            f"{PREFIX}compile_seconds",
            "Duration of compilations.",
            registry=self._registry,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
        )
        self._counts: Counter[str] = Counter()
        self._registry.register(self)
        self.gauge(
            "build_info",
            "The version of the software.",
            lambda: [Sample(1, {"version": version("trunkline")})],
            "version",
        )
        self.counter(
            "compile_errors",
            "Compilations that failed; the table before stays.",
            lambda: self.count_of("compile_errors"),
        )

    def gauge(self, name: str, help_: str, read: Callable[[], Iterable[Sample]], *labels: str) -> None:
        """Add a gauge."""
        self._reads.append(Read(name, help_, "gauge", read, labels))

    def counter(self, name: str, help_: str, read: Callable[[], Iterable[Sample]], *labels: str) -> None:
        """Add a counter; ``_total`` is added to its name."""
        self._reads.append(Read(name, help_, "counter", read, labels))

    def count(self, name: str) -> None:
        """Count one more of something that `count_of` gives."""
        self._counts[name] += 1

    def count_of(self, name: str) -> list[Sample]:
        """What `count` has counted, as the samples of a counter."""
        return [Sample(self._counts[name])]

    def collect(self) -> Iterator[Metric]:
        """Read everything; prometheus-client calls it."""
        for read in self._reads:
            family = (GaugeMetricFamily if read.kind == "gauge" else CounterMetricFamily)(
                PREFIX + read.name, read.help, labels=read.labels
            )
            for sample in read.read():
                family.add_metric([sample.labels.get(label, "") for label in read.labels], sample.value)
            yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before it is read."""
        return iter(())

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)


def by_label(label: str, values: Callable[[], Mapping[str, float]]) -> Callable[[], Iterable[Sample]]:
    """Samples of a mapping from a label's value to a number."""
    return lambda: [Sample(value, {label: name}) for name, value in values().items()]


def single(value: Callable[[], float | None]) -> Callable[[], Iterable[Sample]]:
    """One sample without labels; none where there is no value yet."""

    def read() -> Iterable[Sample]:
        found = value()
        return [] if found is None else [Sample(found)]

    return read
