"""One API server, one operator and one gateway, on which every example is applied in turn and taken away again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import serving_certificate
from harness.kube import ApiError, ApiServer, assets_or_skip
from harness.system import REPOSITORY, Gateway, System, wait_for
from harness.upstream import Upstream
from manifests import examples
from manifests.applied import Applied
from manifests.doubles import any_provider
from manifests.examples import Doubles


@pytest.fixture(scope="session")
def api() -> Iterator[ApiServer]:
    with ApiServer(assets_or_skip()) as server:
        yield server


@pytest.fixture(scope="session")
def system(api: ApiServer) -> Iterator[System]:
    """Watches its own namespace, for the examples that name none, and those that the others name."""
    own = api.fresh_namespace("llm")
    declared = sorted(
        document["metadata"]["name"]
        for directory in examples.EXAMPLES
        for document in examples.everything(directory)
        if document["kind"] == "Namespace"
    )
    platform = [own, "llm-accounts", "llm-models"]
    flags = [f"--namespace={name}" for name in declared] + [f"--platform-namespace={name}" for name in platform]
    with System(api, own, operator_flags=flags) as running:
        yield running


@pytest.fixture(scope="session")
def gateway(system: System) -> Gateway:
    return system.gateway("gw-1").wait_ready()


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A certificate of an authority of its own."""
    return serving_certificate(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """The double of every provider; accounts are told apart by their keys and models."""
    with Upstream(any_provider) as double:
        yield double


@pytest.fixture
def tls_upstream(serving: Any) -> Iterator[Upstream]:
    with Upstream(tls_cert=serving.cert, tls_key=serving.key) as double:
        yield double


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Path:
    """The directory of the example; a test names it as an indirect parameter."""
    found: Path = REPOSITORY / "manifests" / str(request.param)
    return found


@pytest.fixture
def applied(
    example: Path,
    system: System,
    gateway: Gateway,
    upstream: Upstream,
    tls_upstream: Upstream,
    serving: Any,
    tmp_path: Path,
) -> Iterator[Applied]:
    """The example, applied with kubectl as its comment says, in force."""
    environ = examples.environment(example, serving.ca.read_text(encoding="ascii"))
    examples.with_doubles(example, tmp_path, Doubles(f"{upstream.url}/v1", f"{tls_upstream.url}/v1"))
    secrets = examples.secret_files(example)
    found = examples.documents([*secrets, *examples.files(tmp_path)])
    try:
        for path in secrets:
            _apply_secrets(system, path, environ)
        # Objects that name their namespace must not be given another one.
        place = () if any("namespace" in each["metadata"] for each in found) else ("-n", system.namespace)
        system.api.kubectl("apply", *place, "-f", str(tmp_path))
        ours = [each for each in found if each["kind"] in examples.OUR_KINDS]
        running = Applied(ours, system, gateway, upstream, examples.client_keys(example, environ), environ)
        running.wait_in_force()
        yield running
    finally:
        _delete(system, found)
        wait_for(lambda: _serves_nothing(gateway), 30, f"{example.name} to be gone")


def _apply_secrets(system: System, path: Path, environ: Mapping[str, str]) -> None:
    if path.stem == "from-environment":
        system.apply(examples.filled_in(path.read_text(encoding="utf-8"), environ))
        return
    # What has many lines goes the way that the example's comment names.
    for document in examples.documents([path]):
        name, place = document["metadata"]["name"], ("-n", system.namespace)
        literals = [f"--from-literal={k}={examples.filled_in(v, environ)}" for k, v in document["stringData"].items()]
        system.api.kubectl("create", "secret", "generic", *place, name, *literals)
        labels = [f"{label}={value}" for label, value in document["metadata"]["labels"].items()]
        system.api.kubectl("label", "secret", *place, name, *labels)


def _delete(system: System, found: list[dict[str, Any]]) -> None:
    # Not Namespaces: without a controller-manager they would never be gone.
    for document in found:
        if document["kind"] != "Namespace":
            try:
                system.api.request("DELETE", examples.path_of(document, system.namespace))
            except ApiError as refused:
                if refused.status != 404:
                    raise


def _serves_nothing(gateway: Gateway) -> bool:
    return bool(gateway.admin("/debug/table").json["resources"] == 0)
