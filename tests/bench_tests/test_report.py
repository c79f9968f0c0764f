"""The arithmetic behind the figures."""

import json
from pathlib import Path

import pytest
from bench import report
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.floats(min_value=-1e6, max_value=1e6)


def test_a_percentile_is_the_value_that_this_share_does_not_exceed() -> None:
    assert report.percentile(range(1, 101), 0.99) == 99
    assert report.percentile([3, 1, 2], 0.5) == 2
    assert report.percentile([7], 0.999) == 7


@given(st.lists(NUMBERS, min_size=1), st.floats(min_value=0, max_value=1))
def test_at_least_that_share_of_the_values_is_no_larger(values: list[float], share: float) -> None:
    found = report.percentile(values, share)
    assert found in values
    assert sum(each <= found for each in values) >= share * len(values) - 1e-9


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        report.percentile([], 0.5)


def test_points_on_a_line_have_its_slope_and_no_error() -> None:
    found, error = report.slope([(x, 3 * x + 7) for x in range(10)])
    assert found == pytest.approx(3)
    assert error == pytest.approx(0, abs=1e-9)


def test_noise_around_a_level_has_no_slope_beyond_its_error() -> None:
    found, error = report.slope([(x, 100 + (-1) ** x) for x in range(100)])
    assert abs(found) < 2 * error


@pytest.mark.parametrize("points", [[], [(0, 1), (1, 2)], [(1, 1), (1, 2), (1, 3)]])
def test_a_slope_needs_three_points_apart(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=r"slope needs|same x"):
        report.slope(points)


def test_a_ratio_is_taken_within_each_round() -> None:
    slow_machine, fast_machine = 0.5, 2.0
    ours = [40 * slow_machine, 40, 40 * fast_machine]
    theirs = [100 * slow_machine, 100, 100 * fast_machine]
    assert report.median_ratio(ours, theirs) == pytest.approx(0.4)


def test_rounds_that_do_not_pair_up_have_no_ratio() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        report.median_ratio([1, 2], [1])
    with pytest.raises(ValueError, match="no rounds"):
        report.median_ratio([], [])


def test_a_ratio_may_fall_to_its_share_of_the_recorded_one_but_not_below() -> None:
    recorded = {"throughput": 0.5, "streams": 0.8}
    assert report.regressions({"throughput": 0.4251, "streams": 2.0}, recorded) == []
    (said,) = report.regressions({"throughput": 0.4249, "streams": 0.8}, recorded)
    assert said == "throughput: 0.425 is under 0.85 of the recorded 0.500"


def test_a_ratio_that_was_not_measured_fails() -> None:
    assert report.regressions({}, {"streams": 0.8}) == ["streams: recorded, but not measured"]


def test_what_is_not_recorded_is_not_checked() -> None:
    assert report.regressions({"new": 0.01}, {}) == []


def test_figures_are_written_with_four_digits(tmp_path: Path) -> None:
    report.write(tmp_path / "out" / "f.json", {"a": {"b": [0.123456, 12345.6]}, "c": 3, "d": "x"})
    assert json.loads((tmp_path / "out" / "f.json").read_text()) == {"a": {"b": [0.1235, 12346]}, "c": 3, "d": "x"}


def test_a_table_has_its_columns_under_each_other() -> None:
    made = report.lines(["name", "per second"], [["nginx", 47_000.0], ["ours", None]])
    assert made == ["name   per second", "nginx      47,000", "ours             "]
