"""One cluster for all tests here. They take minutes and root, so plain ``make test`` does not see them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from harness.assets import AssetsMissingError
from harness.cluster import Cluster, cluster_for_tests
from harness.kube import StartError

# `make test-cluster` sets it. Ignored rather than skipped: who asks for `make test` has not asked for a cluster.
if os.environ.get("TRUNKLINE_CLUSTER") != "1":
    collect_ignore_glob = ["*"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(cluster_for_tests())
        except (AssetsMissingError, StartError) as error:
            pytest.fail("\n".join([str(error), *getattr(error, "__notes__", [])]), pytrace=False)
        yield running


@pytest.fixture(scope="session")
def trunkline_images(cluster: Cluster) -> Cluster:
    """The cluster with the operator's and the gateway's images on it."""
    if cluster.missing_images:
        missing = " and no ".join(map(str, cluster.missing_images))
        pytest.fail(f"no {missing}: run `make images`", pytrace=False)
    return cluster
