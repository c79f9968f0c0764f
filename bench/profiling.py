"""Where the gateway's time goes under load: py-spy samples it, and the functions with the most self time are printed.

py-spy is no dependency of ours: it is found on the PATH or given by `--py-spy`. With ``--perf`` Linux perf samples the
kernel's and the interpreter's own functions instead.
"""

import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench import load, wire
from bench.machine import MissingError
from bench.sides import Bench, Pair, Trunkline

_LINE = re.compile(r":\d+\)$")


def self_times(stacks: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """Samples by function: as the innermost one, and anywhere on the stack. ``stacks``: "outer;…;inner count"."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        if not stack or not count.isdigit():
            continue
        own[frames[-1]] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    return own, within


def lines(stacks: Iterable[str], top: int = 40) -> list[str]:
    """The ``top`` functions by self time, with the share of samples they were the innermost in, and were in at all."""
    own, within = self_times(stacks)
    total = sum(own.values()) or 1
    made = [f"{total} samples", " self   with callees"]
    made += [f"{100 * n / total:5.1f}%  {100 * within[name] / total:5.1f}%  {name}" for name, n in own.most_common(top)]
    return made


def py_spy(
    bench: Bench,
    ours: Trunkline | Pair,
    kind: wire.Kind,
    *,
    seconds: float,
    program: str,
    raw: Path | None,
    top: int = 40,
) -> list[str]:
    """Profile the gateway under a closed loop of ``kind``.

    Raises:
        MissingError: there is no py-spy.
    """
    found = shutil.which(program)
    if found is None:
        raise MissingError("py-spy is missing: pip install py-spy, or say where it is with --py-spy")
    into = raw or bench.directory / "profile.raw"
    argv = [found, "record", "--format", "raw", "--rate", "500", "--duration", str(int(seconds)), "--output", str(into),
            "--pid", str(ours.child.pid), "--nonblocking"]  # fmt: skip
    said = _during(bench, ours, kind, seconds, argv)
    if not into.exists():
        raise MissingError(f"py-spy failed: {said}")
    return lines(into.read_text(encoding="utf-8").splitlines(), top)


def perf(bench: Bench, ours: Trunkline | Pair, kind: wire.Kind, *, seconds: float) -> list[str]:
    """Sample the process with Linux perf, kernel included.

    Raises:
        MissingError: there is no perf.
    """
    if shutil.which("perf") is None:
        raise MissingError("perf is missing (on Debian: apt-get install linux-perf)")
    into = bench.directory / "perf.data"
    argv = [
        "perf",
        "record",
        "-q",
        "-F",
        "997",
        "-g",
        "-o",
        str(into),
        "-p",
        str(ours.child.pid),
        "--",
        "sleep",
        str(seconds),
    ]
    said = _during(bench, ours, kind, seconds, argv)
    report = subprocess.run(
        ["perf", "report", "-i", str(into), "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.4",
         "--sort", "dso,symbol"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    shown = [line.rstrip(" -") for line in report.stdout.splitlines()]
    return [line for line in shown if line and not line.startswith("#")] or [said]


def _during(bench: Bench, ours: Trunkline | Pair, kind: wire.Kind, seconds: float, argv: list[str]) -> str:
    """Run a profiler while the load runs; returns what the profiler said."""
    runs: list[load.Run] = []
    loading = threading.Thread(target=lambda: runs.append(load.run(bench, ours, kind, seconds=seconds + 2)))
    loading.start()
    said = subprocess.run(argv, capture_output=True, text=True, check=False)
    loading.join()
    return (said.stderr + said.stdout).strip()[-400:]
