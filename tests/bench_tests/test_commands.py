"""What decides: whether a check fails, whether memory is flat, where samples were taken."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench import __main__ as commands
from bench import profiling, scenarios, soak
from bench.load import Run

RECORDED = {
    "throughput 1 KB": 0.5,
    "throughput 1 KB (CPU)": 0.5,
    "streams, flat out": 0.6,
    "streams, event by event (CPU)": 0.6,
    "translated 1 KB, messages to chat (CPU)": 0.6,
    "translated streams, event by event, messages to chat (CPU)": 0.6,
}


BASES = ("nginx", "passed on")


def measured(share: float) -> Run:
    """A run of a side that is ``share`` as fast as nginx."""
    return Run(
        per_second=1000 * share, events_per_second=1000 * share, cpu_microseconds=10 / share,
        cpu_event_microseconds=10 / share, p50=1, p99=2, p999=3, failures=0,
    )  # fmt: skip


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    recorded = tmp_path / "recorded.json"
    recorded.write_text(json.dumps({"ratios": RECORDED}))
    monkeypatch.setattr(commands, "RECORDED", recorded)

    def run(shares: Sequence[float]) -> dict[str, Any]:
        """Check a gateway that has these shares of nginx, one after the other, the last one for ever."""
        left = list(shares)

        def load_run(_bench: object, side: SimpleNamespace, *_: object, **__: object) -> Run:
            return measured(1 if side.name in BASES else left.pop(0) if len(left) > 1 else left[0])

        monkeypatch.setattr(scenarios.load, "run", load_run)
        bench = SimpleNamespace(
            nginx=lambda: SimpleNamespace(name="nginx"),
            trunkline=lambda tree: SimpleNamespace(name="trunkline"),
            pairs=lambda tree: [SimpleNamespace(name="passed on"), SimpleNamespace(name="messages to chat")],
        )
        given = argparse.Namespace(tree=None, rounds=1, seconds=1.0)
        return commands.check(bench, given)  # type: ignore[arg-type]  # a double

    return run


def test_the_check_passes_at_what_is_recorded(check: Any) -> None:
    assert check([0.6])["failed"] == []


def test_the_check_fails_below_085_of_what_is_recorded(check: Any) -> None:
    failed = check([0.42])["failed"]
    assert len(failed) == len(RECORDED)
    assert failed[0] == "throughput 1 KB: 0.420 is under 0.85 of the recorded 0.500"


def test_one_bad_measurement_does_not_fail_the_check(check: Any) -> None:
    assert check([0.1, 0.6])["failed"] == []


def test_what_is_measured_again_is_what_was_doubtful(check: Any) -> None:
    # The three loads of nginx's scenarios, then a translated answer that is slow once, and is well again.
    found = check([0.6, 0.6, 0.6, 0.1, 0.6])
    assert found["failed"] == []
    assert found["ratios"]["translated 1 KB, messages to chat (CPU)"] == 0.6


def test_a_paced_load_is_compared_by_cpu_time_only() -> None:
    figures = scenarios.checked(scenarios.PACED, {"best_ratio": 1.0, "cpu_ratio": 0.2})
    assert figures == {"streams, event by event (CPU)": 0.2}


def test_memory_that_fills_up_in_the_beginning_is_flat() -> None:
    samples = [(float(at), min(150.0, 100.0 + at)) for at in range(600)]
    assert soak.verdict(samples)["flat"]


def test_memory_that_grows_slowly_but_surely_is_not_flat() -> None:
    samples = [(float(at), 150 + at / 120 + at % 2) for at in range(600)]
    found = soak.verdict(samples)
    assert not found["flat"]
    assert found["mb_per_minute"] == pytest.approx(0.5, abs=0.05)


def test_self_time_belongs_to_the_innermost_function() -> None:
    own, within = profiling.self_times(
        ["main (a.py:1);serve (b.py:2);parse (c.py:3) 7", "main (a.py:1);serve (b.py:9) 3", ""]
    )
    assert own == {"parse (c.py)": 7, "serve (b.py)": 3}
    assert within == {"main (a.py)": 10, "serve (b.py)": 10, "parse (c.py)": 7}
