"""One system for the tests that do no harm to it; those that kill things make their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.basic import KEY, programmed_gateway
from harness.kube import ApiServer, assets_or_skip
from harness.system import REPOSITORY, Gateway, System
from harness.upstream import Upstream


@pytest.fixture(scope="session")
def api() -> Iterator[ApiServer]:
    with ApiServer(assets_or_skip()) as server:
        yield server


@pytest.fixture
def system(api: ApiServer) -> Iterator[System]:
    with System(api) as running:
        yield running


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as double:
        yield double


@pytest.fixture
def shared() -> Path:
    """Third-party material beside the repository."""
    directory = Path(os.environ.get("TRUNKLINE_SHARED", REPOSITORY.parent / "shared"))
    if not directory.is_dir():
        pytest.skip(f"{directory} is not here (TRUNKLINE_SHARED says where it is)")
    return directory


@pytest.fixture
def key() -> str:
    """The key of `basic`."""
    return KEY


@pytest.fixture
def gateway(system: System, upstream: Upstream) -> Gateway:
    """A ready gateway that serves `basic`, programmed."""
    return programmed_gateway(system, upstream)
