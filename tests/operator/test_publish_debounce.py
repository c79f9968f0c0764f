"""50 ms after the last change, 200 ms after the first, at once for a revocation; in virtual time."""

import pytest

from builders.virtual_time import Loop
from trunkline_operator.publish.debounce import Debounce


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def runs(loop: Loop) -> list[float]:
    return []


@pytest.fixture
def debounce(loop: Loop, runs: list[float]) -> Debounce:
    return Debounce(loop, lambda: runs.append(round(loop.now, 3)))


def test_one_change_waits_for_quiet(loop: Loop, debounce: Debounce, runs: list[float]) -> None:
    debounce.touch()
    loop.advance(1)
    assert runs == [0.05]


def test_a_burst_is_one_run(loop: Loop, debounce: Debounce, runs: list[float]) -> None:
    for _ in range(4):
        debounce.touch()
        loop.advance(0.03)
    loop.advance(1)
    assert runs == [0.14]


def test_endless_changes_do_not_starve_it(loop: Loop, debounce: Debounce, runs: list[float]) -> None:
    for _ in range(50):
        debounce.touch()
        loop.advance(0.01)
    assert runs == [0.2, 0.4]


def test_a_revocation_does_not_wait(loop: Loop, debounce: Debounce, runs: list[float]) -> None:
    debounce.touch()
    loop.advance(0.01)
    for _ in range(3):
        debounce.touch(urgent=True)
        debounce.touch()
    loop.advance(1)
    assert runs == [0.01]


def test_closed_it_runs_no_more(loop: Loop, debounce: Debounce, runs: list[float]) -> None:
    debounce.touch()
    debounce.close()
    loop.advance(1)
    assert runs == []
