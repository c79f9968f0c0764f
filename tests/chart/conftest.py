"""Golden files, and one API server in which the charts' objects are tried."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.kube import ApiServer, assets_or_skip
from harness.system import install_crds


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # tests/operator may have added it
        parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare a text with a golden file, or write it there."""
    update = request.config.getoption("--update-golden", default=False)

    def compare(path: Path, text: str) -> None:
        if update:
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path.name} is missing: make golden"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def api() -> Iterator[ApiServer]:
    """An API server with the CRDs, which the tests here fill with releases of their own."""
    with ApiServer(assets_or_skip()) as server:
        install_crds(server)
        yield server
