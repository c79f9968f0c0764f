"""One API server in which the charts' objects are tried."""

from collections.abc import Iterator

import pytest

from harness.kube import ApiServer, assets_or_skip
from harness.system import install_crds


@pytest.fixture(scope="session")
def api() -> Iterator[ApiServer]:
    """An API server with the CRDs, which the tests here fill with releases of their own."""
    with ApiServer(assets_or_skip()) as server:
        install_crds(server)
        yield server
