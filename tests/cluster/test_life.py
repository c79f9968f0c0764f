"""The life of a release under load: whatever is done to it, no request fails that has a healthy way to go.

One release, one load from the first test to the last: 64 streams of 5 to 40 seconds at all times, and 50 whole requests
a second, every second one on a new connection. Nothing is tried again, but where a process is killed and cannot speak.
The report is in build/reports/life-of-a-pod.md.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.release import (
    NAME,
    Release,
    frozen,
    is_going,
    key_hash,
    kill,
    name_of,
    pass_time,
    release,
)
from harness import outcomes
from harness.answers import Answer
from harness.cluster import Cluster, CommandError
from harness.load import Load
from harness.outcomes import Phase
from harness.upstream import Request, Upstream

REPORT = Path(__file__).resolve().parents[2] / "build" / "reports" / "life-of-a-pod"
KEY = "sk-tl-life-of-a-pod-4711"

STREAMS = 64
PER_SECOND = 50
DOWN_SECONDS = 180.0
DNS_SECONDS = 30.0

VALUES: dict[str, Any] = {
    "operator": {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}},
    "gateway": {
        # Shorter than the longest streams, so that some of them outlast it and have to be told.
        "shutdownGrace": "15s",
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    },
}

# Eats memory in pieces smaller than the gateway, so that the gateway is what the system takes: on cgroup v1 it takes
# the largest process, on v2 the whole container.
HOG = """
import os, time
for _ in range(30):
    if os.fork() == 0:
        held = bytearray(12 << 20)
        for at in range(0, len(held), 4096):
            held[at] = 1
        time.sleep(60)
        os._exit(0)
    time.sleep(0.02)
time.sleep(20)
"""

pytestmark = pytest.mark.timeout(360)


def echo(request: Request) -> Answer:
    """A provider that says what it was told."""
    return Answer.openai_chat(request.json()["messages"][-1]["content"])


def manifests(address: str, port: int) -> list[dict[str, Any]]:
    """An account that is reached by an address, one by a name, and groups that use them."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "provider"}}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "provider", "labels": {"kubernetes.io/service-name": "provider"}},
        "addressType": "IPv4",
        "ports": [{"port": port}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }

    def ours(kind: str, name: str, **spec: Any) -> dict[str, Any]:
        return {"apiVersion": "trunkline.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    def account(name: str, host: str) -> dict[str, Any]:
        endpoint = {"baseURL": f"http://{host}:{port}/v1"}
        return ours("ProviderCredential", name, provider="openai-compatible", endpoint=endpoint, auth={"type": "None"})

    def group(name: str, *targets: tuple[str, str]) -> dict[str, Any]:
        listed = [
            {"name": credential, "credentialRef": {"name": credential}, "model": model, "priority": priority}
            for priority, (credential, model) in enumerate(targets)
        ]
        return ours("ModelGroup", name, targets=listed)

    return [
        {**service, "spec": {"clusterIP": "None", "ports": [{"port": port}]}},
        endpoints,
        ours("ProviderCredential", "echo", provider="echo"),
        account("by-address", address),
        account("by-name", "provider"),
        group("stream", ("echo", "echo-100ms")),
        group("by-address", ("by-address", "m")),
        group("by-name", ("by-name", "m")),
        group("either", ("by-name", "m"), ("by-address", "m")),
        ours("VirtualKey", "load", keyHash=key_hash(KEY), models=["*"]),
    ]


class Life:
    """The release and its load."""

    def __init__(self, release: Release, load: Load) -> None:
        self.release = release
        self.load = load

    @property
    def cluster(self) -> Cluster:
        return self.release.cluster

    def kubectl(self, *args: str, timeout_seconds: float = 60) -> str:
        return self.release.kubectl(*args, timeout_seconds=timeout_seconds)


@pytest.fixture(scope="module")
def life(trunkline_images: Cluster) -> Iterator[Life]:
    cluster = trunkline_images
    address = cluster.node_address
    with Upstream(echo, host=address, record=False) as provider, release(cluster, VALUES) as made:
        objects = manifests(address, provider.port)
        made.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        for kind in ("modelgroup", "virtualkey"):
            made.kubectl("wait", kind, "--all", "--for=condition=Programmed", "--timeout=30s")
        door = made.address()
        load = Load(
            lambda: [door],
            key=KEY,
            models=("by-address", "by-name", "either"),
            stream_model="stream",
            words=(50, 400),
            streams=STREAMS,
            rate=PER_SECOND,
        )
        try:
            with load:
                cluster.until("the streams do not begin", lambda: load.open_streams >= STREAMS * 0.9)
                yield Life(made, load)
        finally:
            outcomes.write(
                [*load.phases, load.between],
                REPORT,
                title="The life of a release under load",
                about=f"{STREAMS} streams of 5 to 40 s at all times and {PER_SECOND} whole requests a second through "
                "the Service, from this machine. Nothing is tried again unless it is said.",
            )


def broken(phase: Phase, *, most_refused: float = 5) -> list[outcomes.Outcome]:
    """What failed in a phase in which a gateway's process was killed, beside what nobody could have prevented.

    A process that is killed cannot end its streams. Until it is back, or the endpoints have changed, the Service sends
    every second new connection to it; of the requests that come long enough before that, an eighth is refused three
    times although the other gateway is well. The report counts these as failed.
    """
    refused = [each for each in phase.failures() if each.result == "refused"]
    phase.notes["refused three times"] = len(refused)
    cut = [each for each in phase.failures() if each.kind == "stream" and each.result == "truncated"]
    phase.notes["streams cut"] = len(cut)
    return [each for each in phase.failures() if each not in cut and each not in refused[: int(most_refused)]]


def test_nothing_fails_while_nothing_happens(life: Life) -> None:
    with life.load.phase("nothing") as phase:
        pass_time(10)
    assert phase.failures(told=True) == []
    assert phase.count("whole", "ok") > PER_SECOND * 10 * 0.8


def test_gateways_are_replaced_without_a_failed_request(life: Life) -> None:
    with life.load.phase("rollout restart of the gateways") as phase:
        life.kubectl("rollout", "restart", f"deployment/{NAME}-gateway")
        life.release.settle("gateway")
    assert phase.failures() == []


def test_operators_are_replaced_without_anybody_noticing(life: Life) -> None:
    with life.load.phase("rollout restart of the operators") as phase:
        life.kubectl("rollout", "restart", f"deployment/{NAME}-operator")
        life.release.settle("operator")
    assert phase.failures(told=True) == []


def test_an_upgrade_with_other_values_fails_no_request(life: Life) -> None:
    with life.load.phase("helm upgrade with other values") as phase:
        life.release.apply("gateway.logLevel=warning", "operator.logLevel=warning")
        life.release.settle("gateway")
        life.release.settle("operator")
    assert phase.failures() == []


def test_a_new_authority_is_made_and_published_where_the_old_one_is_taken_away(life: Life) -> None:
    """The streams between operators and gateways go on; the new leaves are for a test further down."""
    before = authorities(life)
    with life.load.phase("the operators' CA is taken away") as phase:
        life.kubectl("patch", "secret", f"{NAME}-operator-tls", "--type=merge", "--patch", '{"data":null}')
        life.cluster.until("no other CA is published", lambda: len(authorities(life)) > len(before), timeout_seconds=60)
    assert set(before) < set(authorities(life))
    assert phase.failures(told=True) == []


def test_an_eviction_is_granted_once_and_fails_no_request(life: Life) -> None:
    first, second = life.release.ready("gateway")
    with life.load.phase("eviction of a gateway") as phase:
        evict(life, first)
        with pytest.raises(CommandError, match="disruption budget"):
            evict(life, second)
        life.cluster.until("it does not go", lambda: name_of(first) not in map(name_of, life.release.pods("gateway")))
        life.release.settle("gateway")
    assert phase.failures() == []


def test_of_a_gateway_that_runs_out_of_memory_only_its_streams_break(life: Life) -> None:
    pod = life.release.ready("gateway")[0]
    with life.load.phase("a gateway is killed for its memory; 2 retries", retries=2) as phase:
        life.cluster.kubectl(
            "exec", name_of(pod), f"--namespace={life.release.namespace}", "--", "python3", "-c", HOG, check=False
        )
        life.cluster.until("it was not killed", lambda: last_end(life, pod) == "OOMKilled", timeout_seconds=40)
        life.release.settle("gateway")
        pass_time(5)
    assert broken(phase) == []
    assert phase.count("stream", "truncated") <= STREAMS


def test_more_and_fewer_gateways_fail_no_request(life: Life) -> None:
    with life.load.phase("scale 2 to 6 to 2") as phase:
        for replicas in (6, 2):
            life.kubectl("scale", f"deployment/{NAME}-gateway", f"--replicas={replicas}")
            life.release.settle("gateway")
    assert phase.failures() == []


def test_names_gone_altogether_are_not_missed(life: Life) -> None:
    with life.load.phase("no DNS at all") as phase:
        try:
            life.cluster.stop_dns()
            pass_time(DNS_SECONDS)
        finally:
            life.cluster.start_dns()
    assert phase.failures(told=True) == []


def test_without_api_server_operators_and_names_everything_is_served(life: Life) -> None:
    """For three minutes; a gateway's container dies meanwhile, and serves what it had."""
    release, cluster, load = life.release, life.cluster, life.load
    # Which has not been restarted before: the kubelet lets the next restart wait.
    gateway = min(release.ready("gateway"), key=restarts)
    operators = release.ready("operator")
    (dns,) = cluster.pods("kube-system", "k8s-app=kube-dns")
    begun = time.monotonic()
    with load.phase("API server down, operators killed") as without_operators:
        cluster.stop_apiserver()
        for each in operators:
            kill(each, "trunkline-operator")
        pass_time(30)
    with load.phase("then a gateway's container is killed; 2 retries", retries=2) as killed:
        kill(gateway, "trunkline-gateway")
        died = time.monotonic()
        cluster.until("it does not serve again", lambda: release.admin(gateway, "/readyz")[0] == 200)
        dead = time.monotonic() - died
        killed.notes["serves again after"] = f"{dead:.1f} s"
        pass_time(20)
    with load.phase("then DNS is silent") as nameless, frozen(dns, "coredns"):
        pass_time(DNS_SECONDS)
    with load.phase("then nothing else") as rest:
        pass_time(DOWN_SECONDS, since=begun)
    with load.phase("API server back") as back:
        cluster.start_apiserver()
        release.settle("operator")
        release.settle("gateway")
        cluster.until(
            "a gateway does not find an operator",
            lambda: all(
                json.loads(release.admin(each, "/debug/table")[1])["connected"] for each in release.ready("gateway")
            ),
        )
    # Without the API server the endpoints cannot change. New connections: half of the requests, and each cut stream's
    # next one; twice what is to be expected of them.
    assert broken(killed, most_refused=2 * (PER_SECOND / 2 * dead + STREAMS) / 8) == []
    for phase in (without_operators, nameless, rest, back):
        assert phase.failures(told=True) == [], phase.name


def test_operators_serve_with_leaves_of_the_new_authority_and_gateways_follow(life: Life) -> None:
    release, cluster = life.release, life.cluster
    secret = cluster.get("secret", f"{NAME}-operator-tls", release.namespace)
    new = base64.b64decode(secret["data"]["ca.crt"]).decode()
    with life.load.phase("leaves of the new CA") as phase:
        cluster.until(
            "an operator serves with another CA's leaf",
            lambda: all(trusts(new, each["status"]["podIP"]) for each in release.ready("operator")),
            timeout_seconds=180,
        )
        life.kubectl("rollout", "restart", f"deployment/{NAME}-operator")
        release.settle("operator")
        cluster.until(
            "a gateway does not follow",
            lambda: all(
                json.loads(release.admin(each, "/debug/table")[1])["connected"] for each in release.ready("gateway")
            ),
        )
    assert phase.failures(told=True) == []


def test_nothing_has_failed_between_the_scenarios(life: Life) -> None:
    assert life.load.between.failures() == []
    assert not [each for each in life.release.pods("gateway") if is_going(each)]


def authorities(life: Life) -> list[str]:
    """The certificates that gateways trust."""
    config = life.cluster.get("configmap", f"{NAME}-operator-ca", life.release.namespace)
    bundle = config.get("data", {}).get("ca.crt", "")
    end = "-----END CERTIFICATE-----"
    return [part.strip() for part in bundle.split(end) if part.strip()]


def trusts(authority: str, address: str) -> bool:
    """Whether what listens at an operator's port shows a certificate of this authority."""
    context = ssl.create_default_context(cadata=authority)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((address, 8443), timeout=3) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


def evict(life: Life, pod: dict[str, Any]) -> None:
    """As `kubectl drain` does it."""
    metadata = {"name": name_of(pod), "namespace": life.release.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{life.release.namespace}/pods/{name_of(pod)}/eviction"
    life.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))


def restarts(pod: dict[str, Any]) -> int:
    """How often its container was started again."""
    return sum(each["restartCount"] for each in pod["status"]["containerStatuses"])


def last_end(life: Life, pod: dict[str, Any]) -> str:
    """Why the container of a pod ended the last time."""
    found = life.cluster.get("pod", name_of(pod), life.release.namespace)["status"]["containerStatuses"][0]
    ended = found.get("lastState", {}).get("terminated") or found.get("state", {}).get("terminated") or {}
    return str(ended.get("reason", ""))
