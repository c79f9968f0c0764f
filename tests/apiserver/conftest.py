"""One API server for the tests that leave it as they found it; those that stop it make their own."""

from collections.abc import Iterator

import pytest

from harness.kube import ApiServer, assets_or_skip


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    with ApiServer(assets_or_skip()) as server:
        yield server
