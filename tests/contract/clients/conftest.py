"""One gateway for each dialect of the upstream, shared by all clients, which run one after another."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

import pytest

from harness.providers.front import ROUTES, Front

# `make test-clients` sets it. Ignored rather than skipped: who asks for `make test` has not asked for the minutes and
# the installation that real clients take. Their recordings run always.
if os.environ.get("TRUNKLINE_CLIENTS") != "1":
    collect_ignore = ["test_client_sdks.py", "test_client_programs.py"]


@pytest.fixture(scope="session")
def fronts() -> Iterator[Mapping[str, Front]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Front(name)) for name in ROUTES}
