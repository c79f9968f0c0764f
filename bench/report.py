"""Figures of interleaved runs: medians, ratios, tables, JSON, and the check against what is recorded."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

TOLERANCE = 0.85
"""A ratio may fall to this share of the recorded one before the check fails: noise between machines is less."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of ``values`` do not exceed: the nearest rank, no interpolation.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Least-squares slope of ``(x, y)`` points, and its standard error.

    Raises:
        ValueError: there are fewer than three points, or all have the same x.
    """
    if len(points) < 3:
        raise ValueError("a slope needs three points")
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        raise ValueError("all points have the same x")
    found = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    residuals = sum((y - mean_y - found * (x - mean_x)) ** 2 for x, y in points)
    return found, math.sqrt(residuals / (len(points) - 2) / spread)


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the rounds of ours / theirs of the same round: noise that hits a whole round cancels out.

    Raises:
        ValueError: the rounds do not pair up, or there are none.
    """
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True) if b) if ours else _none()


def _none() -> float:
    raise ValueError("no rounds")


def regressions(ratios: Mapping[str, float], recorded: Mapping[str, float]) -> list[str]:
    """One sentence for each ratio that fell below its share of the recorded one, or is missing. More is better."""
    said = []
    for name, before in recorded.items():
        now = ratios.get(name)
        if now is None:
            said.append(f"{name}: recorded, but not measured")
        elif now < TOLERANCE * before:
            said.append(f"{name}: {now:.3f} is under {TOLERANCE} of the recorded {before:.3f}")
    return said


def rounded(value: object) -> object:
    """Figures with four significant digits, through all levels."""
    match value:
        case float():
            return float(f"{value:.4g}") if abs(value) < 10_000 else round(value)
        case Mapping():
            return {name: rounded(each) for name, each in value.items()}
        case list() | tuple():
            return [rounded(each) for each in value]
        case _:
            return value


def write(path: Path, figures: Mapping[str, object]) -> None:
    """Write figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(figures), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def lines(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A table in columns: the first to the left, the others to the right."""
    cells = [[*map(str, heading)], *([_shown(each) for each in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heading))]
    return [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _shown(value: object) -> str:
    if isinstance(value, float):
        if abs(value) >= 1000:
            return f"{value:,.0f}"
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"
    return "" if value is None else str(value)
