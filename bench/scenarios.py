"""What is measured. Each scenario takes turns between the sides (A B A B …) and returns figures by side, and ratios.

A ratio is ours / nginx in the same round, median over the rounds, and more is better: throughput as it is, CPU time
the other way round. `added` latencies are what a side adds to the direct way.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench import load, machine, report, wire
from bench.load import Run
from bench.sides import GROUPS, KEYS, Bench, Nginx, Side, Trunkline


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int = 3
    seconds: float = 4.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load whose throughput and CPU time are compared.

    Attributes:
        value: The figure in a run that is compared; more is better.
        cpu: CPU time per unit of it.
    """

    name: str
    unit: str
    kind: wire.Kind
    value: Callable[[Run], float]
    cpu: Callable[[Run], float]


def _answers(run: Run) -> float:
    return run.per_second


def _events(run: Run) -> float:
    return run.events_per_second


def _cpu(run: Run) -> float:
    return run.cpu_microseconds


def _event_cpu(run: Run) -> float:
    return run.cpu_event_microseconds


THROUGHPUT = Scenario("throughput 1 KB", "requests/s", wire.WHOLE, _answers, _cpu)
LARGE = Scenario("throughput 115 KB", "requests/s", wire.LARGE, _answers, _cpu)
TLS = Scenario("TLS upstream", "requests/s", wire.TLS, _answers, _cpu)
STREAMS = Scenario("streams, flat out", "events/s", wire.STREAM, _events, _event_cpu)
PACED = Scenario("streams, event by event", "events/s", wire.PACED, _events, _event_cpu)
SCENARIOS = (THROUGHPUT, LARGE, TLS, STREAMS, PACED)

TRANSLATED = Scenario("translated 1 KB", "requests/s", wire.WHOLE, _answers, _cpu)
TRANSLATED_STREAMS = Scenario("translated streams, flat out", "events/s", wire.STREAM, _events, _event_cpu)
TRANSLATED_PACED = Scenario("translated streams, event by event", "events/s", wire.PACED, _events, _event_cpu)
TRANSLATIONS = (TRANSLATED, TRANSLATED_STREAMS, TRANSLATED_PACED)
"""For the sides of `sides.Bench.pairs`: a ratio is what a translated answer reaches of one that is passed on."""


def compare(
    bench: Bench, scenario: Scenario, sides: Sequence[Side], effort: Effort, *, tolerant: bool = False
) -> dict[str, Any]:
    """Measure one scenario: figures by side; ratios of each later side to the first one.

    With ``tolerant``, a side that cannot serve it is said to have failed and left out.

    Raises:
        LoadError: requests failed, unless ``tolerant``.
    """
    runs: dict[str, list[Run]] = {side.name: [] for side in sides}
    failed: dict[str, str] = {}
    for _ in range(effort.rounds):
        for side in sides:
            if side.name in failed:
                continue
            try:
                runs[side.name].append(load.run(bench, side, scenario.kind, seconds=effort.seconds))
            except load.LoadError as error:
                if not tolerant:
                    raise
                failed[side.name] = str(error).splitlines()[0]
    base = runs[sides[0].name]
    figures: dict[str, Any] = {"unit": scenario.unit}
    for name, done in runs.items():
        figures[name] = {"failed": failed[name]} if name in failed else _summary(scenario, done, base)
    return figures


def _summary(scenario: Scenario, done: Sequence[Run], base: Sequence[Run]) -> dict[str, Any]:
    values, cpu = list(map(scenario.value, done)), list(map(scenario.cpu, done))
    return {
        "per_second": statistics.median(values),
        "cpu_us": min(cpu),
        "ratio": report.median_ratio(values, list(map(scenario.value, base))),
        "best_ratio": max(values) / max(map(scenario.value, base)),
        "cpu_ratio": report.median_ratio(list(map(scenario.cpu, base)), cpu),
        "p50_us": statistics.median(each.p50 for each in done),
        "p99_us": statistics.median(each.p99 for each in done),
        "rounds": values,
    }


_CHECKED: Final[Mapping[str, Mapping[str, str]]] = {
    THROUGHPUT.name: {"best_ratio": THROUGHPUT.name, "cpu_ratio": f"{THROUGHPUT.name} (CPU)"},
    # Flat out, CPU time per event depends on how many come in one read, and so on what else the machine does.
    STREAMS.name: {"best_ratio": STREAMS.name},
    # Every side delivers what the upstream sends; only what it costs differs.
    PACED.name: {"cpu_ratio": f"{PACED.name} (CPU)"},
}


def checked(scenario: Scenario, figures: Mapping[str, float]) -> dict[str, float]:
    """The ratios of a scenario that are recorded and checked, by name."""
    return {name: figures[each] for each, name in _CHECKED[scenario.name].items()}


def lines(scenario: Scenario, figures: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The figures of one scenario as a table."""
    rows: list[list[object]] = []
    for name in names:
        got = figures[name]
        if "failed" in got:
            rows.append([name, "failed", None, None, None])
        else:
            rows.append([name, *(got[each] for each in ("per_second", "cpu_us", "ratio", "cpu_ratio"))])
    return report.lines([scenario.name, scenario.unit, "us CPU each", "ratio", "ratio by CPU"], rows)


def latency(bench: Bench, sides: Sequence[Side], direct: Side, rate: float, effort: Effort) -> dict[str, Any]:
    """Latency at a constant rate of requests, and what each side adds to the direct way."""
    runs: dict[str, list[Run]] = {side.name: [] for side in (direct, *sides)}
    for _ in range(effort.rounds):
        for side in (direct, *sides):
            runs[side.name].append(
                load.run(bench, side, wire.WHOLE, seconds=effort.seconds, rate=rate, connections=64, warm_up=1)
            )
    figures: dict[str, Any] = {"rate": rate}
    base = _latencies(runs[direct.name])
    for name, done in runs.items():
        figures[name] = found = _latencies(done)
        for each in ("p50_us", "p99_us", "p99_best_us"):
            found[f"added_{each}"] = found[each] - base[each]
    theirs = figures[sides[0].name]
    for side in sides:
        for each in ("added_p50_us", "added_p99_best_us"):
            figures[side.name][f"{each}_ratio"] = figures[side.name][each] / max(1.0, theirs[each])
    return figures


def _latencies(done: Sequence[Run]) -> dict[str, float]:
    return {
        "p50_us": statistics.median(each.p50 for each in done),
        "p99_us": statistics.median(each.p99 for each in done),
        "p99_best_us": min(each.p99 for each in done),
        "p999_us": statistics.median(each.p999 for each in done),
        "cpu_us": min(each.cpu_microseconds for each in done),
    }


def latency_lines(figures: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The latencies as a table, in microseconds."""
    columns = ("p50_us", "p99_us", "p99_best_us", "added_p50_us", "added_p99_us", "added_p99_best_us")
    return report.lines(
        [
            f"latency in us at {figures['rate']:,.0f}/s",
            "p50",
            "p99",
            "p99 best",
            "added p50",
            "added p99",
            "added p99 best",
        ],
        [[name, *(figures[name][each] for each in columns)] for name in names],
    )


def memory(sides: Sequence[Nginx | Trunkline]) -> dict[str, Any]:
    """How long each side took to start, and its resident memory when it was ready and now, after load."""
    figures: dict[str, Any] = {"groups": GROUPS, "keys": KEYS}
    for side in sides:
        figures[side.name] = {
            "start_to_ready_s": side.start_seconds,
            "rss_ready_mb": side.ready_mb,
            "rss_after_load_mb": machine.resident_mb(side.child),
        }
    return figures


def memory_lines(figures: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Start-up and memory as a table."""
    columns = ("start_to_ready_s", "rss_ready_mb", "rss_after_load_mb")
    return report.lines(
        [f"{GROUPS:,} groups, {KEYS:,} keys", "start to ready s", "RSS MB ready", "RSS MB after load"],
        [[name, *(figures[name][each] for each in columns)] for name in names],
    )
