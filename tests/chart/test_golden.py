"""What each set of values renders to. `make golden` rewrites the files, and the diff is reviewed like code."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chart.rendering import SETS, TESTDATA, rendered


@pytest.mark.parametrize("name", SETS)
def test_a_set_of_values_renders_to_its_golden_manifest(name: str, golden: Callable[[Path, str], None]):
    # Comments of templates are for those who read the templates; Helm's line says which one it was.
    lines = [line.rstrip() for line in rendered(name).splitlines()]
    kept = [line for line in lines if line and not (line.lstrip().startswith("# ") and "# Source: " not in line)]
    golden(TESTDATA / f"{name}.golden.yaml", "\n".join(kept) + "\n")


def test_no_golden_manifest_is_left_without_its_values():
    assert {path.name.partition(".")[0] for path in TESTDATA.glob("*.golden.yaml")} == set(SETS)
