"""The harness itself, on a real API server: what other tests here take for granted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import kube

TESTS = Path(__file__).resolve().parents[1]
BUILD = TESTS / "apiserver" / "binaries" / "build.sh"

WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.harness.example"},
    "spec": {
        "group": "harness.example",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer"}},
                                "x-kubernetes-validations": [{"rule": "self.size > 0", "message": "size is positive"}],
                            }
                        },
                    }
                },
            }
        ],
    },
}


def widget(name: str, *, size: int) -> str:
    return json.dumps(
        {"apiVersion": "harness.example/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}}
    )


@pytest.fixture(scope="module")
def api() -> Iterator[kube.ApiServer]:
    with kube.ApiServer(kube.assets_or_skip()) as api:
        yield api


@pytest.fixture
def namespace(api: kube.ApiServer) -> str:
    return api.fresh_namespace("harness")


@pytest.fixture(scope="module")
def widgets(api: kube.ApiServer) -> None:
    api.kubectl("apply", "-f", "-", input=json.dumps(WIDGETS))
    api.kubectl("wait", "--for=condition=Established", "crd/widgets.harness.example", "--timeout=10s")


def test_server_and_kubectl_say_their_true_version(api: kube.ApiServer) -> None:
    versions = json.loads(api.kubectl("version", "-o", "json").stdout)
    said = {versions["serverVersion"]["gitVersion"], versions["clientVersion"]["gitVersion"]}
    assert len(said) == 1
    assert not said.pop().startswith("v0")


@pytest.mark.usefixtures("widgets")
def test_a_cel_rule_of_a_crd_refuses(api: kube.ApiServer, namespace: str) -> None:
    api.kubectl("apply", "-n", namespace, "-f", "-", input=widget("good", size=1))
    refused = api.kubectl("apply", "-n", namespace, "-f", "-", input=widget("bad", size=0), check=False)
    assert refused.returncode == 1
    assert "size is positive" in refused.stderr


def test_a_failure_of_kubectl_says_what_kubectl_said(api: kube.ApiServer, namespace: str) -> None:
    with pytest.raises(kube.KubectlError, match='"nobody" not found'):
        api.kubectl("get", "-n", namespace, "serviceaccount", "nobody")


def test_a_token_for_our_audience_passes_its_review(api: kube.ApiServer, namespace: str) -> None:
    api.kubectl("create", "-n", namespace, "serviceaccount", "gateway")
    token = api.create_token(namespace, "gateway", "trunkline")
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["trunkline"]},
    }
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    answer = json.loads(api.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(review)).stdout)
    assert answer["status"]["authenticated"] is True
    assert answer["status"]["audiences"] == ["trunkline"]
    assert answer["status"]["user"]["username"] == f"system:serviceaccount:{namespace}:gateway"

    review["spec"] = {"token": token, "audiences": ["somebody-else"]}
    assert "authenticated" not in api.request("POST", path, review)["status"]


def test_a_serviceaccounts_kubeconfig_is_bound_by_rbac(api: kube.ApiServer, namespace: str) -> None:
    api.kubectl("create", "-n", namespace, "serviceaccount", "reader")
    kubeconfig = f"--kubeconfig={api.kubeconfig_for(namespace, 'reader')}"
    refused = api.kubectl(kubeconfig, "get", "configmaps", check=False)
    assert refused.returncode == 1
    assert "Forbidden" in refused.stderr
    token = api.create_token(namespace, "reader")
    with pytest.raises(kube.ApiError) as without_right:
        api.request("GET", f"/api/v1/namespaces/{namespace}/configmaps", token=token)
    assert without_right.value.status == 403

    api.kubectl("create", "-n", namespace, "role", "reader", "--verb=list,get", "--resource=configmaps")
    account = f"--serviceaccount={namespace}:reader"
    api.kubectl("create", "-n", namespace, "rolebinding", "reader", "--role=reader", account)
    api.kubectl(kubeconfig, "get", "configmaps")


def test_fresh_namespaces_differ(api: kube.ApiServer) -> None:
    assert api.fresh_namespace("same") != api.fresh_namespace("same")


def test_a_killed_api_server_comes_back_where_it_was(api: kube.ApiServer, namespace: str) -> None:
    url = api.url
    api.kill_apiserver()
    with pytest.raises(OSError, match="refused"):
        api.request("GET", "/readyz")
    api.restart_apiserver()
    assert api.url == url
    api.request("GET", f"/api/v1/namespaces/{namespace}")


def test_a_killed_etcd_loses_nothing(api: kube.ApiServer, namespace: str) -> None:
    api.kubectl("create", "-n", namespace, "configmap", "kept", "--from-literal=a=b")
    api.kill_etcd()
    with pytest.raises((OSError, kube.ApiError)):
        api.request("GET", f"/api/v1/namespaces/{namespace}/configmaps", timeout_seconds=1)
    api.restart_etcd()
    kept = api.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/kept")
    assert kept["data"] == {"a": "b"}


async def test_it_can_be_used_from_a_coroutine_and_outlives_the_thread(api: kube.ApiServer) -> None:
    await asyncio.to_thread(api.restart_apiserver)
    await asyncio.get_running_loop().shutdown_default_executor()  # ends the thread that had started the server
    await asyncio.sleep(0.2)
    assert api.request("GET", "/readyz") == "ok"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_a_killed_test_run_leaves_no_server_behind(how: signal.Signals) -> None:
    kube.assets_or_skip()
    program = (
        "import time; from harness import kube; api = kube.ApiServer();"
        "print(api._etcd.pid, api._apiserver.pid, api.directory, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stdout is not None
        etcd, apiserver, directory = run.stdout.readline().split()
        assert running(int(etcd))
        assert running(int(apiserver))
        run.send_signal(how)
        run.wait(10)
    deadline = time.monotonic() + 5
    while running(int(etcd)) or running(int(apiserver)) or Path(directory).exists():
        assert time.monotonic() < deadline, "left behind"
        time.sleep(0.05)


def running(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet reaped by its new parent does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_server_that_cannot_start_shows_the_end_of_its_log() -> None:
    with pytest.raises(kube.StartError, match="unknown flag: --nonsense"):
        kube.ApiServer(kube.assets_or_skip(), apiserver_flags=["--nonsense"])


def test_ready_made_binaries_are_used_as_they_are(tmp_path: Path) -> None:
    environment = {**os.environ, "KUBEBUILDER_ASSETS": str(tmp_path)}
    assert subprocess.check_output([BUILD], env=environment, text=True).splitlines()[-1] == str(tmp_path)


def test_without_go_or_binaries_it_says_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "sed", "dirname"):
        (tools / name).symlink_to(next(p for p in (Path("/usr/bin") / name, Path("/bin") / name) if p.exists()))
    environment = {"PATH": str(tools), "TRUNKLINE_CACHE": str(tmp_path / "cache")}
    said = subprocess.run([BUILD], env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 3
    assert said.stdout == ""
    assert len(said.stderr.splitlines()) == 1
    assert "install Go" in said.stderr
    assert "KUBEBUILDER_ASSETS" in said.stderr


def test_missing_binaries_skip_or_fail_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.delenv("TRUNKLINE_REQUIRE_APISERVER", raising=False)
    kube.locate_assets.cache_clear()
    try:
        assert kube.find_assets() is None
        with pytest.raises(pytest.skip.Exception, match="has no etcd, kube-apiserver, kubectl"):
            kube.assets_or_skip()
        monkeypatch.setenv("TRUNKLINE_REQUIRE_APISERVER", "1")
        with pytest.raises(pytest.fail.Exception, match="has no etcd"):
            kube.assets_or_skip()
    finally:
        kube.locate_assets.cache_clear()
