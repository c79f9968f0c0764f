"""The node of the tests behaves as nodes elsewhere do, in what the other tests here take for granted."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from harness.cluster import PROBE_IMAGE, Cluster, CommandError

# The machine's proxy settings are not for bridge addresses.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(autouse=True)
def only_on_our_node(cluster: Cluster) -> None:
    if not cluster.is_ours:
        pytest.skip("these are tests of our own node, and KUBECONFIG names another cluster")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace("node") as name:
        yield name


def container(*args: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "probe",
        "image": PROBE_IMAGE,
        "imagePullPolicy": "Never",
        "args": list(args),
        "securityContext": RESTRICTED,
        **more,
    }


def pod(name: str, *args: str, volumes: list[dict[str, Any]] | None = None, **more: Any) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "containers": [container(*args, **more)],
                "volumes": volumes or [],
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
            },
        }
    )


def deployment_and_service(name: str, replicas: int) -> str:
    labels = {"app": name}
    ready = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    spec = {"containers": [container("serve", readinessProbe=ready)], "terminationGracePeriodSeconds": 1}
    items = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def serve(cluster: Cluster, namespace: str, replicas: int) -> set[str]:
    """Roll a Service called ``web`` out and return the names of its pods."""
    cluster.apply(deployment_and_service("web", replicas), namespace)
    cluster.wait("deployment/web", f"jsonpath={{.status.readyReplicas}}={replicas}", namespace)
    return {each["metadata"]["name"] for each in cluster.pods(namespace, "app=web")}


def start_probe(cluster: Cluster, namespace: str) -> None:
    """Start a pod to exec in."""
    cluster.apply(pod("probe", "serve"), namespace)
    cluster.wait("pod/probe", "condition=Ready", namespace)


def test_a_restricted_pod_runs_and_its_log_and_programs_are_within_reach(cluster: Cluster, namespace: str) -> None:
    start_probe(cluster, namespace)

    assert "serving as probe" in cluster.logs("probe", namespace)
    assert "65532" in cluster.exec("probe", namespace, "/probe", "cat", "/proc/self/status")


def test_a_privileged_pod_is_refused_in_a_restricted_namespace(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(CommandError, match="violates PodSecurity"):
        cluster.apply(pod("greedy", "serve", securityContext={"privileged": True}), namespace)


def test_a_service_spreads_requests_over_its_pods_by_its_name(cluster: Cluster, namespace: str) -> None:
    pods = serve(cluster, namespace, replicas=2)
    start_probe(cluster, namespace)
    answered: set[str] = set()

    def all_answered() -> bool:
        answered.add(cluster.exec("probe", namespace, "/probe", "get", "http://web/").strip())
        return answered == pods

    cluster.until(f"not every one of {pods} answered", all_answered)


def test_dns_knows_services_and_knows_that_others_do_not_exist(cluster: Cluster, namespace: str) -> None:
    start_probe(cluster, namespace)

    assert "10.96.0.1" in cluster.exec("probe", namespace, "/probe", "resolve", "kubernetes.default")
    with pytest.raises(CommandError, match="no such host"):
        cluster.exec("probe", namespace, "/probe", "resolve", "nowhere.example.com")


def test_pods_reach_a_server_of_the_test_at_the_nodes_address(cluster: Cluster, namespace: str) -> None:
    class Greeter(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

    start_probe(cluster, namespace)
    with http.server.ThreadingHTTPServer((cluster.node_address, 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://{cluster.node_address}:{server.server_port}/"
            assert cluster.exec("probe", namespace, "/probe", "get", url) == "hello"
        finally:
            server.shutdown()
            thread.join()


def test_a_projected_token_is_for_its_audience_and_its_pod(cluster: Cluster, namespace: str) -> None:
    token = {"serviceAccountToken": {"path": "token", "audience": "trunkline", "expirationSeconds": 3600}}
    volumes = [{"name": "token", "projected": {"sources": [token]}}]
    mounts = [{"name": "token", "mountPath": "/var/run/secrets/trunkline"}]
    cluster.apply(pod("probe", "serve", volumes=volumes, volumeMounts=mounts), namespace)
    cluster.wait("pod/probe", "condition=Ready", namespace)
    projected = cluster.exec("probe", namespace, "/probe", "cat", "/var/run/secrets/trunkline/token")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}

    def reviewed(audience: str) -> dict[str, Any]:
        body = json.dumps({**review, "spec": {"token": projected, "audiences": [audience]}})
        status: dict[str, Any] = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", input=body))["status"]
        return status

    accepted = reviewed("trunkline")

    assert accepted["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert accepted["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["probe"]
    assert not reviewed("somebody-else").get("authenticated", False)


def test_what_takes_more_memory_than_its_limit_is_killed_for_it(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("eater", "eat", "200", resources={"limits": {"memory": "64Mi"}}), namespace)
    cluster.wait("pod/eater", "jsonpath={.status.phase}=Failed", namespace)

    state = cluster.get("pod", "eater", namespace)["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["reason"], state["exitCode"]) == ("OOMKilled", 137)


def test_a_container_can_be_made_to_run_out_of_memory_and_comes_back(cluster: Cluster, namespace: str) -> None:
    limited = json.loads(pod("probe", "serve", resources={"limits": {"memory": "64Mi"}}))
    limited["spec"]["restartPolicy"] = "Always"
    cluster.apply(json.dumps(limited), namespace)
    cluster.wait("pod/probe", "condition=Ready", namespace)

    cluster.exhaust_memory("probe", namespace)

    cluster.wait("pod/probe", "jsonpath={.status.containerStatuses[0].restartCount}=1", namespace)
    status = cluster.get("pod", "probe", namespace)["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["reason"] == "OOMKilled"


def test_a_container_without_a_memory_limit_is_left_alone(cluster: Cluster, namespace: str) -> None:
    start_probe(cluster, namespace)

    with pytest.raises(RuntimeError, match="no memory limit"):
        cluster.exhaust_memory("probe", namespace)


def test_an_eviction_honours_a_disruption_budget(cluster: Cluster, namespace: str) -> None:
    pods = sorted(serve(cluster, namespace, replicas=2))
    budget = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": budget}
    cluster.apply(json.dumps(body), namespace)
    path = f"/api/v1/namespaces/{namespace}/pods/{pods[0]}/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pods[0]}}

    with pytest.raises(CommandError, match="disruption budget"):
        cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    cluster.kubectl("delete", "poddisruptionbudget", "web", f"--namespace={namespace}")
    cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))

    cluster.until("the pod is still there", lambda: pods[0] not in names(cluster, namespace))


def test_a_container_killed_while_the_api_server_is_away_is_started_again(cluster: Cluster, namespace: str) -> None:
    (only,) = serve(cluster, namespace, replicas=1)
    address = cluster.get("service", "web", namespace)["spec"]["clusterIP"]
    cluster.until("the Service does not answer", lambda: ask(address) == only)
    container = cluster.container_of(only, namespace)
    cluster.stop_apiserver()
    try:
        cluster.kill_container(container)
        assert ask(address) == ""
        cluster.until("the container does not come back", lambda: ask(address) == only)
    finally:
        cluster.start_apiserver()

    cluster.until("it is the same container", lambda: cluster.container_of(only, namespace) != container)


def ask(address: str) -> str:
    """Return the answer of a Service to this machine, empty when there is none."""
    try:
        with DIRECT.open(f"http://{address}/", timeout=5) as answer:
            return str(answer.read().decode().strip())
    except OSError:
        return ""


def names(cluster: Cluster, namespace: str) -> set[str]:
    return {each["metadata"]["name"] for each in cluster.pods(namespace, "app=web")}


def test_pods_go_on_without_the_api_server_and_are_the_same_when_it_is_back(cluster: Cluster, namespace: str) -> None:
    pods = serve(cluster, namespace, replicas=2)
    address = cluster.get("service", "web", namespace)["spec"]["clusterIP"]
    # Ready pods are not yet a Service that answers: kube-proxy comes after.
    cluster.until("the Service does not answer", lambda: ask(address) in pods)
    cluster.stop_apiserver()
    try:
        with pytest.raises(CommandError, match="refused"):
            cluster.kubectl("get", "--raw", "/readyz")
        assert ask(address) in pods
    finally:
        cluster.start_apiserver()

    assert names(cluster, namespace) == pods
    cluster.kubectl("scale", "deployment/web", "--replicas=3", f"--namespace={namespace}")
    cluster.wait("deployment/web", "jsonpath={.status.readyReplicas}=3", namespace)


def test_names_resolve_to_nothing_without_dns_and_resolve_again_with_it(cluster: Cluster, namespace: str) -> None:
    start_probe(cluster, namespace)
    try:
        cluster.stop_dns()  # within: half of it done would leave the others without names
        with pytest.raises(CommandError, match="lookup kubernetes"):
            cluster.exec("probe", namespace, "/probe", "resolve", "kubernetes.default")
    finally:
        cluster.start_dns()

    assert "10.96.0.1" in cluster.exec("probe", namespace, "/probe", "resolve", "kubernetes.default")
