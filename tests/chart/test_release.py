"""Releases on a real API server, made by Helm, with the programs run as the rendered Deployments say.

There is no node: the programs run here, with the arguments of the chart but for paths and ports, and with the rights of
their ServiceAccounts. tests/cluster runs them as pods.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chart.rendering import CHART, CRD_CHART, HelmError, arguments, helm, one, parse
from harness import ports
from harness.kube import ApiError, ApiServer, assets_or_skip
from harness.system import BIN, Gateway, Operator, Process, wait_for

KEY = "sk-tl-quickstart-0123456789abcdef"
CORE = "/api/v1/namespaces"


class Release:
    """A release of the chart in a namespace of its own, and the programs that stand for its pods."""

    def __init__(self, api: ApiServer, directory: Path, namespace: str) -> None:
        self.api = api
        self.directory = directory
        self.namespace = namespace
        self.processes: list[Process] = []

    def helm(self, *args: str) -> str:
        return helm(*args, f"--namespace={self.namespace}", home=self.directory, kubeconfig=self.api.kubeconfig)

    def install(self, *settings: str) -> str:
        """`helm upgrade --install`, and what its notes say."""
        return self.helm("upgrade", "--install", "trunkline", str(CHART), *(f"--set={each}" for each in settings))

    def rendered_arguments(self, component: str) -> dict[str, list[str]]:
        """The flags of a Deployment, as the cluster has them."""
        found = self.api.kubectl("get", f"deployment/trunkline-{component}", "-n", self.namespace, "-o", "json").stdout
        flags: dict[str, list[str]] = {}
        for each in arguments([json.loads(found)], f"trunkline-{component}"):
            name, _, value = each.removeprefix("--").partition("=")
            flags.setdefault(name, []).append(value)
        return flags

    def object(self, plural: str, name: str, root: str = CORE) -> dict[str, Any]:
        answer: dict[str, Any] = self.api.request("GET", f"{root}/{self.namespace}/{plural}/{name}")
        return answer

    def token(self, account: str) -> Path:
        path = self.directory / f"{account}.token"
        path.write_text(self.api.create_token(self.namespace, account, "trunkline"), encoding="ascii")
        return path

    def run(self, program: str, flags: Mapping[str, list[str]], admin_port: int) -> tuple[Path, list[str]]:
        argv = [f"--{name}={value}" for name, values in flags.items() for value in values]
        return self.directory / f"{program}.log", [
            str(BIN / f"trunkline-{program}"),
            f"--admin-port={admin_port}",
            *argv,
        ]

    def operator(self) -> Operator:
        grpc, admin = ports.free_ports(2)
        account = "trunkline-operator"
        flags = self.rendered_arguments("operator")
        del flags["admin-port"]
        flags |= {
            "tls-dir": [str(self.directory / "tls")],
            "grpc-port": [str(grpc)],
            "peer-token-file": [str(self.token(account))],
            "kubeconfig": [str(self.api.kubeconfig_for(self.namespace, account))],
        }
        log, argv = self.run("operator", flags, admin)
        operator = Operator("operator", admin, log, argv, grpc, self.directory / "tls").start()
        self.processes.append(operator)
        return operator

    def gateway(self, operator: Operator) -> Gateway:
        port, admin = ports.free_ports(2)
        trusted = self.directory / "ca.crt"
        trusted.write_text(self.object("configmaps", "trunkline-operator-ca")["data"]["ca.crt"], encoding="ascii")
        flags = self.rendered_arguments("gateway")
        del flags["admin-port"]
        flags |= {
            "operator": [f"127.0.0.1:{operator.grpc_port}"],
            "ca-file": [str(trusted)],
            "token-file": [str(self.token("trunkline-gateway"))],
            "state-dir": [str(self.directory / "state")],
            "node-name": ["gateway-1"],
            "port": [str(port)],
        }
        log, argv = self.run("gateway", flags, admin)
        gateway = Gateway("gateway", admin, log, argv, port, self.directory / "state").start()
        self.processes.append(gateway)
        return gateway

    def log_of(self, program: str) -> str:
        return (self.directory / f"{program}.log").read_text(encoding="utf-8")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()


@pytest.fixture
def release(api: ApiServer, tmp_path: Path) -> Iterator[Release]:
    made = Release(api, tmp_path, api.fresh_namespace("release"))
    yield made
    made.stop()
    made.helm("uninstall", "trunkline", "--ignore-not-found")


def first_key(release: Release) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "first-key", "labels": {"trunkline.dev/secret": "true"}},
        "stringData": {"key": KEY},
    }
    release.api.request("POST", f"{CORE}/{release.namespace}/secrets", body)


def front_door(gateway: Gateway, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run what the pod of `helm test` runs."""
    script = (CHART / "files" / "front_door.py").read_text(encoding="utf-8")
    env = {"GATEWAY": f"http://127.0.0.1:{gateway.port}", "PATH": os.environ["PATH"], **environment}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=30)


QUICKSTART = ("quickstart.enabled=true", "quickstart.keySecret.name=first-key")


@pytest.mark.parametrize("watched", ["the whole cluster", "its own namespace"])
def test_a_release_answers_through_its_front_door_with_no_other_rights(release: Release, watched: str):
    first_key(release)
    alone = [f"watch.namespaces={{{release.namespace}}}"] if watched == "its own namespace" else []
    release.install(*QUICKSTART, *alone)
    operator = release.operator().wait_ready()
    gateway = release.gateway(operator).wait_ready()
    done = front_door(gateway, KEY=KEY)
    assert (done.returncode, "echo answered: 'Is anybody there?'" in done.stdout) == (0, True), done.stderr
    done = front_door(gateway)
    assert done.returncode == 0
    assert "the gateway answers, and lets in nobody without a key" in done.stdout
    assert "NO MODEL WAS ASKED" in done.stdout
    assert "test.keySecret.name, or quickstart.enabled" in done.stdout
    ours = "/apis/trunkline.dev/v1alpha1/namespaces"

    def programmed() -> bool:
        conditions = release.object("modelgroups", "echo", ours).get("status", {}).get("conditions", [])
        return any(each["type"] == "Programmed" and each["status"] == "True" for each in conditions)

    wait_for(programmed, 20, "the status that the operator writes")
    lease = release.object("leases", "trunkline-operator", "/apis/coordination.k8s.io/v1/namespaces")
    assert lease["spec"]["holderIdentity"]
    said = release.log_of("operator")
    missing = [line for line in said.splitlines() if " may not " in line or "orbidden" in line]
    # There it asks for its namespaces by name.
    assert [line for line in missing if not (alone and " namespaces " in line)] == []


def test_neither_an_upgrade_nor_a_gitops_tool_touches_what_the_operators_have_written(release: Release):
    release.install()
    release.operator().wait_ready()
    secret = release.object("secrets", "trunkline-operator-tls")
    bundle = release.object("configmaps", "trunkline-operator-ca")
    assert base64.b64decode(secret["data"]["ca.key"])
    assert "BEGIN CERTIFICATE" in bundle["data"]["ca.crt"]

    release.install("gateway.replicas=5", "commonLabels.a=b")

    for plural, before in (("secrets", secret), ("configmaps", bundle)):
        after = release.object(plural, before["metadata"]["name"])
        assert after["data"] == before["data"]
        assert after["metadata"]["labels"]["a"] == "b"
        assert after["metadata"]["annotations"] == before["metadata"]["annotations"]

    # So does a GitOps tool that applies the same manifest on the server.
    text = release.helm("get", "manifest", "trunkline")
    release.api.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-", input=text)
    assert release.object("secrets", "trunkline-operator-tls")["data"] == secret["data"]
    assert release.object("configmaps", "trunkline-operator-ca")["data"] == bundle["data"]


def gateways(release: Release) -> int:
    return int(release.object("deployments", "trunkline-gateway", "/apis/apps/v1/namespaces")["spec"]["replicas"])


def test_no_upgrade_takes_gateways_away_from_an_autoscaler(release: Release):
    release.install("gateway.replicas=5")
    assert gateways(release) == 5
    scaling = ("gateway.autoscaling.enabled=true", "gateway.autoscaling.minReplicas=3")
    release.install(*scaling)
    assert gateways(release) == 5
    # What an autoscaler does.
    release.api.kubectl("scale", "deployment/trunkline-gateway", "--replicas=8", "-n", release.namespace)
    release.install(*scaling, "commonLabels.a=b")
    assert gateways(release) == 8
    release.install("gateway.autoscaling.enabled=true", "gateway.autoscaling.minReplicas=9")
    assert gateways(release) == 9
    release.install("gateway.replicas=4")
    assert gateways(release) == 4


def test_an_uninstalled_chart_of_crds_leaves_them_and_their_objects(api: ApiServer, tmp_path: Path):
    def run(*args: str) -> str:
        return helm(*args, "--namespace=default", home=tmp_path, kubeconfig=api.kubeconfig)

    with pytest.raises(HelmError, match="invalid ownership metadata"):
        run("install", "trunkline-crds", str(CRD_CHART))
    run("install", "trunkline-crds", str(CRD_CHART), "--take-ownership")
    said = run("uninstall", "trunkline-crds")
    assert "kept due to the resource policy" in said
    found = api.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
    ours = [each for each in found if each["spec"]["group"] == "trunkline.dev"]
    assert len(ours) == 4
    assert not any("deletionTimestamp" in each["metadata"] for each in ours)


def test_the_notes_say_the_next_commands(release: Release):
    first_key(release)
    said = release.install(*QUICKSTART)
    assert "NOT INSTALLED" not in said
    assert f"helm test -n {release.namespace} trunkline --logs" in said
    assert f"http://trunkline-gateway.{release.namespace}.svc:8080/v1" in said
    assert [line.strip()[:2] for line in said.splitlines() if line.strip()[:2] in {"1.", "2.", "3."}] == [
        "1.",
        "2.",
        "3.",
    ]
    platform, team = release.api.fresh_namespace("platform"), release.api.fresh_namespace("team")
    again = release.install(f"watch.namespaces={{{platform},{team}}}", f"watch.platformNamespaces={{{platform}}}")
    assert f"it serves the namespaces {platform}, {team}." in again
    assert f"kubectl apply -n {platform} -f manifests/quickstart" in again
    # Without a client's key nothing can be asked.
    assert "Ask for an answer" not in again
    assert "3. See that the front door answers" in again
    assert "about 1.5 MB each" not in again
    with_key = release.install("test.keySecret.name=first-key")
    assert "3. Ask for an answer through the front door, with the key in the Secret first-key" in with_key
    many = ",".join([release.namespace, *(f"team-{number}" for number in range(100))])
    noted = release.helm(
        "upgrade", "trunkline", str(CHART), "--dry-run=client", f"--set=watch.namespaces={{{many}}},rbac.create=false"
    )
    assert "It watches 101 namespaces one by one, which takes about 1.5 MB each" in noted


def test_the_test_pod_is_told_which_key_and_model(release: Release):
    first_key(release)
    text = release.helm(
        "template",
        "trunkline",
        str(CHART),
        "--kube-version=1.34",
        "--set=test.model=echo",
        *(f"--set={each}" for each in QUICKSTART),
    )
    pod = one(parse(text), "Pod", "trunkline-test-front-door")
    (container,) = pod["spec"]["containers"]
    assert container["env"] == [
        {"name": "GATEWAY", "value": f"http://trunkline-gateway.{release.namespace}.svc:8080"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "first-key", "key": "key"}}},
        {"name": "MODEL", "value": "echo"},
    ]
    assert compile(container["args"][0], "front_door.py", "exec")


def test_a_release_without_the_crds_says_so(tmp_path: Path):
    with ApiServer(assets_or_skip()) as bare:
        said = helm(
            "install", "trunkline", str(CHART), "--namespace=default", home=tmp_path, kubeconfig=bare.kubeconfig
        )
        assert "THE CUSTOMRESOURCEDEFINITIONS ARE NOT INSTALLED" in said
        with pytest.raises(ApiError, match="404"):
            bare.request("GET", "/apis/trunkline.dev/v1alpha1/modelgroups")
        # One release may bring them, and they are there for the next.
        said = helm(
            "upgrade",
            "trunkline",
            str(CHART),
            "--namespace=default",
            "--set=crds.enabled=true",
            home=tmp_path,
            kubeconfig=bare.kubeconfig,
        )
        assert "NOT INSTALLED" not in said
        bare.kubectl("wait", "--for=condition=Established", "crd/modelgroups.trunkline.dev")
