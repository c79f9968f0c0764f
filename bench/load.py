"""Run the load generator against one side, and tell what it cost the server."""

import json
import subprocess
from dataclasses import dataclass

from bench import machine, wire
from bench.sides import Bench, Side


class LoadError(RuntimeError):
    """The figures of a run would mean nothing: it had failures."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the load generator saw.

    Attributes:
        per_second: Answers per second.
        events_per_second: Streamed events, of answers that had not ended too.
        cpu_microseconds: CPU time of the server per answer, kernel included.
        cpu_event_microseconds: The same per streamed event; 0 without events.
        p50: And the others: latencies in microseconds.
    """

    per_second: float
    events_per_second: float
    cpu_microseconds: float
    cpu_event_microseconds: float
    p50: float
    p99: float
    p999: float
    failures: int


def run(
    bench: Bench,
    side: Side,
    kind: wire.Kind,
    *,
    seconds: float,
    connections: int = 32,
    rate: float = 0,
    warm_up: float = 0.5,
) -> Run:
    """Put one load on one side.

    Raises:
        LoadError: more than one answer in a thousand failed.
    """
    before = machine.cpu_seconds(side.child)
    said = subprocess.run(
        [
            *machine.pinned(machine.LOAD_CORE), str(bench.directory / "load"), str(side.port(kind.upstream)),
            str(connections), str(warm_up), str(seconds), str(rate), str(bench.file(side, kind)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    cpu = machine.cpu_seconds(side.child) - before
    if said.returncode != 0:
        raise LoadError(f"{side.name}, {kind.name}: {said.stderr.strip()}\n{side.child.log_tail()}")
    got = json.loads(said.stdout)
    if got["total_failures"] > got["total_answers"] / 1000 or (not got["answers"] and not got["events"]):
        raise LoadError(f"{side.name}, {kind.name}: {said.stdout.strip()}\n{side.child.log_tail(5)}")
    return Run(
        per_second=got["answers"] / got["seconds"],
        events_per_second=got["events"] / got["seconds"],
        cpu_microseconds=1e6 * cpu / max(1, got["total_answers"]),
        cpu_event_microseconds=1e6 * cpu / got["total_events"] if got["total_events"] else 0.0,
        p50=got["p50"],
        p99=got["p99"],
        p999=got["p999"],
        failures=got["total_failures"],
    )
