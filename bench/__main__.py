"""Benchmarks of the hot path against nginx, in one run on one pinned core; see docs/reference/benchmarks.md.

    PYTHONPATH=tests python -m bench quick        throughput and streams against nginx, about 40 s (make bench-quick)
    PYTHONPATH=tests python -m bench translated   what translating between dialects costs, beside passing on
    PYTHONPATH=tests python -m bench all          the whole table (make bench)
    PYTHONPATH=tests python -m bench check        the short form of CI: fails under 0.85 of bench/recorded.json
    PYTHONPATH=tests python -m bench record       measure as `check` does, and write bench/recorded.json
    PYTHONPATH=tests python -m bench diff REV     the work tree against an earlier commit, taking turns
    PYTHONPATH=tests python -m bench peers        LiteLLM and Portkey too
    PYTHONPATH=tests python -m bench idle         10,000 idle streams
    PYTHONPATH=tests python -m bench soak         ten minutes of mixed traffic: is memory flat?
    PYTHONPATH=tests python -m bench profile      py-spy on the gateway under load (--perf: Linux perf)

`--tree DIR` puts the gateway of another source tree under test, `--json FILE` keeps the figures.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import diff, idle, load, machine, peers, profiling, report, scenarios, soak, wire
from bench.scenarios import Effort, Scenario
from bench.sides import Bench, Pair, Side, Trunkline

RECORDED = machine.ROOT / "bench" / "recorded.json"
_CHECKED = (scenarios.THROUGHPUT, scenarios.STREAMS, scenarios.PACED)
_CHECKED_TRANSLATIONS = (scenarios.TRANSLATED, scenarios.TRANSLATED_PACED)
_CHECKED_PAIRS = 3


Again = Callable[[Sequence[str]], dict[str, float]]
"""Measures the scenarios once more that sentences of `report.regressions` are about."""


def _effort(given: argparse.Namespace, rounds: int, seconds: float) -> Effort:
    return Effort(given.rounds or rounds, given.seconds or seconds)


def _ours(bench: Bench, given: argparse.Namespace) -> Trunkline:
    return bench.trunkline(tree=given.tree)


def _table(
    bench: Bench, chosen: Sequence[Scenario], sides: Sequence[Side], effort: Effort, *, tolerant: bool = False
) -> dict[str, Any]:
    """Measure scenarios, print each as soon as it is there."""
    figures: dict[str, Any] = {}
    for scenario in chosen:
        figures[scenario.name] = found = scenarios.compare(bench, scenario, sides, effort, tolerant=tolerant)
        print("\n".join(scenarios.lines(scenario, found, [side.name for side in sides])), end="\n\n", flush=True)
    return figures


def quick(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Throughput and streams against nginx."""
    return _table(bench, _CHECKED, [bench.nginx(), _ours(bench, given)], _effort(given, 3, 2))


def translated(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Answers and streams that are translated, beside those of the same gateway that are passed on."""
    return _table(bench, scenarios.TRANSLATIONS, bench.pairs(given.tree), _effort(given, 3, 2))


def everything(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """All scenarios, latency at half load, start-up and memory, idle streams, translation."""
    nginx, ours, effort = bench.nginx(), _ours(bench, given), _effort(given, 3, 3)
    figures = _table(bench, scenarios.SCENARIOS, [nginx, ours], effort)
    rate = figures[scenarios.THROUGHPUT.name][ours.name]["per_second"] / 2
    direct = bench.direct()
    figures["latency"] = scenarios.latency(bench, [nginx, ours], direct, rate, effort)
    print("\n".join(scenarios.latency_lines(figures["latency"], [direct.name, nginx.name, ours.name])), end="\n\n")
    figures["memory"] = scenarios.memory([nginx, ours])
    print("\n".join(scenarios.memory_lines(figures["memory"], [nginx.name, ours.name])), end="\n\n", flush=True)
    figures["idle streams"] = _idle(bench, [nginx, ours], given)
    return {**figures, **translated(bench, given)}


def idle_streams(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Idle streams alone."""
    return {"idle streams": _idle(bench, [bench.nginx(), _ours(bench, given)], given)}


def _idle(bench: Bench, sides: Sequence[Side], given: argparse.Namespace) -> dict[str, Any]:
    found = idle.compare(bench, sides, streams=given.streams, rate=given.rate, seconds=5)
    print("\n".join(idle.lines(found, [side.name for side in sides])), end="\n\n", flush=True)
    return found


def _ratios(bench: Bench, sides: Sequence[Side], chosen: Sequence[Scenario], effort: Effort) -> dict[str, float]:
    figures = _table(bench, chosen, sides, effort)
    return {
        name: value
        for scenario in chosen
        for name, value in scenarios.checked(scenario, figures[scenario.name][sides[1].name]).items()
    }


def _translated_ratios(
    bench: Bench, pairs: Sequence[Pair], chosen: Sequence[Scenario], effort: Effort
) -> dict[str, float]:
    """By CPU time: one process serves all pairs, so that is what can differ, and nobody else's load is in it."""
    figures = _table(bench, chosen, pairs, effort)
    return {
        f"{scenario.name}, {pair.name} (CPU)": figures[scenario.name][pair.name]["cpu_ratio"]
        for scenario in chosen
        for pair in pairs[1:]
    }


def _measured(bench: Bench, given: argparse.Namespace, rounds: int) -> tuple[dict[str, float], Again]:
    """All ratios that are recorded, and how to measure some of them once more."""
    effort = _effort(given, rounds, 2)
    short = Effort(min(effort.rounds, 2), min(effort.seconds, 0.8))
    sides: list[Side] = [bench.nginx(), _ours(bench, given)]
    ratios = _ratios(bench, sides, _CHECKED, effort)
    pairs = bench.pairs(given.tree)[:_CHECKED_PAIRS]
    ratios |= _translated_ratios(bench, pairs, _CHECKED_TRANSLATIONS, short)

    def again(doubtful: Sequence[str]) -> dict[str, float]:
        def is_meant(scenario: Scenario) -> bool:
            return any(said.startswith(scenario.name) for said in doubtful)

        found = _ratios(bench, sides, [each for each in _CHECKED if is_meant(each)], effort)
        meant = [each for each in _CHECKED_TRANSLATIONS if is_meant(each)]
        return found | _translated_ratios(bench, pairs, meant, short)

    return ratios, again


def check(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Measure the ratios that are recorded; what seems too low is measured once more, and the better figure counts."""
    if not RECORDED.exists():
        raise machine.MissingError(f"there is no {RECORDED}; write it with make bench-record")
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))["ratios"]
    ratios, measure_again = _measured(bench, given, 3)
    if doubtful := report.regressions(ratios, recorded):
        print("once more, to be sure:", *doubtful, sep="\n  ", end="\n\n")
        for name, value in measure_again(doubtful).items():
            ratios[name] = max(value, ratios[name])
    return {"ratios": ratios, "recorded": recorded, "failed": report.regressions(ratios, recorded)}


def record(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Measure what `check` does, longer, and write it down."""
    ratios, _ = _measured(bench, given, 5)
    figures = {"ratios": ratios, "machine": machine.describe()}
    report.write(RECORDED, figures)
    return figures


def compare_revisions(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """The work tree (or `--tree`) against a commit."""
    if not given.revision:
        raise machine.MissingError("diff needs a revision: make bench-diff REV=HEAD~1")
    before = diff.checkout(given.revision, bench.directory, sys.executable)
    old = bench.trunkline(before.name, before.tree, before.python)
    new = bench.trunkline("work tree", given.tree)
    figures = _table(bench, scenarios.SCENARIOS, [old, new], _effort(given, 3, 2))
    figures["memory"] = scenarios.memory([old, new])
    print("\n".join(scenarios.memory_lines(figures["memory"], [old.name, new.name])))
    return figures


def with_peers(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Throughput and streams of the peers, of nginx and of ours. Peers need more time for a figure."""
    sides: list[Side] = [bench.nginx(), _ours(bench, given), peers.Portkey(bench)]
    sides.append(peers.LiteLLM(bench, str(Path(sys.executable).parent / "uv"), sys.executable))
    figures = _table(bench, (scenarios.THROUGHPUT, scenarios.STREAMS), sides, _effort(given, 2, 6), tolerant=True)
    for side in sides:
        figures.setdefault("rss_mb", {})[side.name] = machine.resident_mb(side.child)
    print("RSS in MB:", ", ".join(f"{name} {value:.0f}" for name, value in figures["rss_mb"].items()))
    return figures


def soaked(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Mixed traffic for minutes."""
    found = soak.run(bench, _ours(bench, given), minutes=given.minutes)
    shown = {name: value for name, value in found.items() if name != "samples"}
    print(json.dumps(report.rounded(shown), indent=2))
    said = f"memory grows by {found['mb_per_minute']:.2f} MB a minute"
    return {"soak": found, "failed": [] if found["flat"] else [said]}


def profile(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Where the gateway's time goes."""
    kinds = {each.name: each for each in (wire.WHOLE, wire.LARGE, wire.STREAM, wire.PACED, wire.TLS)}
    ours: Trunkline | Pair = _ours(bench, given) if given.pair is None else bench.pairs(given.tree)[given.pair]
    seconds = given.seconds or 8.0
    if given.perf:
        found = profiling.perf(bench, ours, kinds[given.kind], seconds=seconds)
    else:
        found = profiling.py_spy(
            bench, ours, kinds[given.kind], seconds=seconds, program=given.py_spy, raw=given.raw, top=given.top
        )
    print("\n".join(found))
    return {"profile": found}


COMMANDS: dict[str, Callable[[Bench, argparse.Namespace], dict[str, Any]]] = {
    "quick": quick,
    "translated": translated,
    "all": everything,
    "check": check,
    "record": record,
    "diff": compare_revisions,
    "peers": with_peers,
    "idle": idle_streams,
    "soak": soaked,
    "profile": profile,
}


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("what", choices=COMMANDS)
    made.add_argument("revision", nargs="?", help="diff: the earlier commit")
    made.add_argument("--tree", type=Path, default=machine.ROOT, help="source tree of the gateway under test")
    made.add_argument("--rounds", type=int, help="how often the sides take turns")
    made.add_argument("--seconds", type=float, help="how long each side is measured in a round")
    made.add_argument("--tick", type=int, default=2000, help="microseconds between two events of a paced stream")
    made.add_argument("--streams", type=int, default=10_000, help="idle: how many")
    made.add_argument("--rate", type=float, default=500, help="idle: requests/s of the client beside them")
    made.add_argument("--minutes", type=float, default=10, help="soak: how long")
    made.add_argument("--nice", type=int, default=0, help="of everything here; below 0 only for root")
    made.add_argument("--json", type=Path, help="write the figures here")
    made.add_argument("--py-spy", default="py-spy", help="profile: the program")
    made.add_argument("--perf", action="store_true", help="profile: with Linux perf, kernel included")
    made.add_argument(
        "--kind", choices=("whole", "large", "stream", "paced", "tls"), default="whole", help="profile: load"
    )
    made.add_argument("--pair", type=int, choices=range(4), help="profile: as `translated` shows them; 0: passed on")
    made.add_argument("--raw", type=Path, help="profile: keep py-spy's stacks here")
    made.add_argument("--top", type=int, default=40, help="profile: how many functions to print")
    return made


def main() -> int:
    """See the module."""
    given = parser().parse_args()
    given.tree = given.tree.resolve()
    os.setpriority(os.PRIO_PROCESS, 0, given.nice)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children and scratch files go
    begun = time.monotonic()
    try:
        with Bench(tick_microseconds=given.tick) as bench:
            figures = COMMANDS[given.what](bench, given)
    except (machine.MissingError, load.LoadError) as error:  # said in one sentence; anything else is a bug
        print(f"bench: {error}", file=sys.stderr)
        return 2
    figures = {"machine": machine.describe(), "command": given.what, **figures}
    if given.what != "profile":
        into = given.json or machine.ROOT / "bench" / "out" / f"{given.what}.json"
        report.write(into, figures)
        print(f"{time.monotonic() - begun:.0f} s; figures: {os.path.relpath(into)}")
    for failure in figures.get("failed", ()):
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if figures.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
