"""The benchmarks still run: every kind of load, against nginx and against a gateway, for a moment."""

import contextlib
import shutil

import pytest
from bench import idle, load, machine, scenarios, wire
from bench.sides import Bench

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or shutil.which("nginx") is None, reason="needs nginx and a C compiler"
)


def test_every_load_gets_its_answers_from_every_side(monkeypatch: pytest.MonkeyPatch) -> None:
    # A benchmark that runs beside the tests does not mind them.
    monkeypatch.setattr(machine, "alone", contextlib.nullcontext)
    with Bench(tick_microseconds=500) as bench:
        nginx, ours = bench.nginx(), bench.trunkline()
        for side in (nginx, ours):
            for scenario in scenarios.SCENARIOS:
                run = load.run(bench, side, scenario.kind, seconds=0.3, connections=4, warm_up=0.1)
                assert scenario.value(run) > 0
                assert run.failures == 0
        streams = idle.compare(bench, [ours], streams=20, rate=100, seconds=0.3)
        assert streams[ours.name]["lost"] == 0
        for pair in bench.pairs():
            for scenario in scenarios.TRANSLATIONS:
                run = load.run(bench, pair, scenario.kind, seconds=0.3, connections=4, warm_up=0.1)
                assert scenario.value(run) > 0
                assert run.failures == 0
        ours.change()
        assert load.run(bench, ours, wire.WHOLE, seconds=0.2, connections=1).per_second > 0
