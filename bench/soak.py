"""Minutes of mixed traffic, clients that leave, and changes of the table: does the gateway's memory stay flat?

Whole answers and streams at a constant rate, clients that leave in the middle of an answer, and a change of the table
every second. Memory is sampled once a second; a line is fitted through the samples after the warm-up.
"""

import contextlib
import functools
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench import load, machine, report
from bench.sides import Bench, Trunkline
from bench.wire import LARGE, PACED, WHOLE, Kind

WARM_UP_SHARE = 0.3
"""Of the samples: pools, caches and the allocator's arenas fill in the beginning."""

FLAT_MB_PER_MINUTE = 0.2


def verdict(samples: list[tuple[float, float]]) -> dict[str, Any]:
    """Judge ``(seconds, MB)`` samples: flat unless the slope is surely (two standard errors) over the limit."""
    kept = samples[int(len(samples) * WARM_UP_SHARE) :]
    found, error = report.slope([(at / 60, mb) for at, mb in kept])
    return {
        "mb_per_minute": found,
        "standard_error": error,
        "first_mb": kept[0][1],
        "last_mb": kept[-1][1],
        "peak_mb": max(mb for _, mb in samples),
        "flat": found - 2 * error < FLAT_MB_PER_MINUTE,
    }


@dataclass
class _Traffic:
    bench: Bench
    ours: Trunkline
    until: float
    counts: dict[str, float] = field(default_factory=lambda: {"left": 0, "changes": 0})
    errors: list[BaseException] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def guarded(self, work: Callable[[], None]) -> None:
        try:
            while time.monotonic() < self.until and not self.stopped.is_set():
                work()
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            self.errors.append(error)
            self.stopped.set()

    def stay(self, kind: Kind, rate: float, connections: int) -> None:
        """Ask at a constant rate and read every answer; the connections are new every few seconds."""
        seconds = max(2.0, min(10.0, self.until - time.monotonic() - 0.5))
        done = load.run(self.bench, self.ours, kind, seconds=seconds, rate=rate, connections=connections, warm_up=0)
        self.counts[kind.name] = self.counts.get(kind.name, 0) + round(done.per_second * seconds)

    def leave(self) -> None:
        """Ask, read a little or nothing, and go."""
        request = random.choice(self.ours.requests(random.choice((PACED, WHOLE, LARGE))))
        with socket.create_connection(("127.0.0.1", self.ours.port("bench")), timeout=10) as client:
            client.sendall(request if random.random() < 0.8 else request[: len(request) // 2])
            if random.random() < 0.7:
                client.settimeout(random.choice((0.001, 0.02, 0.2)))
                with contextlib.suppress(TimeoutError):
                    client.recv(4096)
        self.counts["left"] += 1
        self.stopped.wait(0.02)

    def change(self) -> None:
        self.ours.change()
        self.counts["changes"] += 1
        self.stopped.wait(1)


def run(bench: Bench, ours: Trunkline, *, minutes: float) -> dict[str, Any]:
    """Soak one gateway.

    Raises:
        LoadError: requests failed.
        RuntimeError: some part of the traffic broke down.
    """
    begun = time.monotonic()
    traffic = _Traffic(bench, ours, begun + minutes * 60)
    staying = [functools.partial(traffic.stay, *each) for each in ((WHOLE, 1000, 32), (LARGE, 50, 8), (PACED, 16, 64))]
    threads = [
        threading.Thread(target=traffic.guarded, args=(work,), daemon=True)
        for work in (*staying, traffic.leave, traffic.leave, traffic.change)
    ]
    for thread in threads:
        thread.start()
    samples: list[tuple[float, float]] = []
    while not traffic.stopped.wait(min(1.0, max(0.0, traffic.until - time.monotonic()))):
        samples.append((time.monotonic() - begun, machine.resident_mb(ours.child)))
        if time.monotonic() >= traffic.until:
            break
    for thread in threads:
        thread.join(30)
    if traffic.errors:
        raise traffic.errors[0]
    return {
        "minutes": minutes,
        **traffic.counts,
        **verdict(samples),
        "samples": [round(mb, 1) for _, mb in samples[::10]],
    }
