"""The charts as Helm renders them: the value sets of ``testdata/`` and what comes out."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import binaries
from harness.assets import AssetsMissingError

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "trunkline"
CRD_CHART = REPOSITORY / "charts" / "trunkline-crds"
TESTDATA = Path(__file__).parent / "testdata"
SETS = sorted(path.name.partition(".")[0] for path in TESTDATA.glob("*.values.yaml"))

NAMESPACE = "trunkline-system"
RELEASE = "trunkline"
# A helm that was built without its release's flags takes clusters that it does not know for 1.20.
KUBE_VERSION = "1.34.0"

Object = Mapping[str, Any]


class HelmError(RuntimeError):
    """Helm failed; the message is what it said."""


def program(name: str) -> Path:
    """``helm`` or ``kubeconform``: from the variable of that name (``HELM``), else built; or skip the test.

    With ``TRUNKLINE_REQUIRE_APISERVER=1`` in the environment, as in CI, it fails instead of skipping.
    """
    if given := os.environ.get(name.upper()):
        return Path(given)
    try:
        return binaries.locate(name)
    except AssetsMissingError as missing:
        if os.environ.get("TRUNKLINE_REQUIRE_APISERVER") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


def helm(*args: str, home: Path | None = None, kubeconfig: Path | None = None) -> str:
    """Run Helm and return its stdout.

    Args:
        args: its arguments.
        home: where it may write; nothing of the user's own is read or written.
        kubeconfig: the cluster, for those commands that need one.

    Raises:
        HelmError: it failed.
    """
    where = str(home or "/nonexistent")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": where,
        "HELM_CACHE_HOME": where,
        "HELM_CONFIG_HOME": where,
        "HELM_DATA_HOME": where,
        "KUBECONFIG": str(kubeconfig or "/nonexistent"),
    }
    done = subprocess.run([str(program("helm")), *args], capture_output=True, text=True, env=env, timeout=60)
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return done.stdout


def template(*args: str, chart: Path = CHART, release: str = RELEASE, namespace: str = NAMESPACE) -> str:
    """``helm template``, without any cluster.

    Raises:
        HelmError: it failed.
    """
    return helm("template", release, str(chart), f"--namespace={namespace}", f"--kube-version={KUBE_VERSION}", *args)


def values_file(name: str) -> Path:
    """The values of a set."""
    return TESTDATA / f"{name}.values.yaml"


@functools.cache
def rendered(name: str) -> str:
    """What a set renders to."""
    return template("-f", str(values_file(name)))


def parse(text: str) -> list[Object]:
    """The objects of a rendered text."""
    return [each for each in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each]


def objects(name: str) -> list[Object]:
    """The objects that a set renders to."""
    return parse(rendered(name))


def with_values(*settings: str) -> list[Object]:
    """The objects with some ``--set`` settings."""
    return parse(template(*(f"--set={each}" for each in settings)))


def one(found: Sequence[Object], kind: str, name: str) -> Object:
    """The one object of that kind and name."""
    (single,) = [each for each in found if each["kind"] == kind and each["metadata"]["name"] == name]
    return single


def pod_specs(found: Sequence[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Name, metadata and spec of each pod and pod template."""
    for each in found:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["metadata"], each["spec"]
        elif each["kind"] == "Deployment":
            yield each["metadata"]["name"], each["spec"]["template"]["metadata"], each["spec"]["template"]["spec"]


def arguments(found: Sequence[Object], deployment: str) -> list[str]:
    """The arguments of a Deployment's container."""
    (container,) = one(found, "Deployment", deployment)["spec"]["template"]["spec"]["containers"]
    return list(container["args"])
