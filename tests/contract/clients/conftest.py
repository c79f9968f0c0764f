"""One gateway for each dialect of the upstream, shared by all clients, which run one after another."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

import pytest

from harness.providers.front import ROUTES, Front


@pytest.fixture(scope="session")
def fronts() -> Iterator[Mapping[str, Front]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Front(name)) for name in ROUTES}


@pytest.fixture(scope="session")
def clients_wanted() -> None:
    """Real clients take minutes and a big installation, so plain ``make test`` skips what needs them."""
    if os.environ.get("TRUNKLINE_CLIENTS") != "1":
        pytest.skip("real clients run with `make test-clients`")
