"""A release of the charts on the cluster, as tests use it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.cluster import Cluster

CHARTS = Path(__file__).resolve().parents[2] / "charts"
NAME = "trunkline"
SELECTOR = "app.kubernetes.io/instance=trunkline,app.kubernetes.io/component="

# The machine's proxy settings are not for pods.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Release:
    """One release, named ``trunkline``, in a namespace of its own.

    Attributes:
        namespace: where it is; its objects of our kinds too.
    """

    def __init__(self, cluster: Cluster, namespace: str, values: Mapping[str, Any]) -> None:
        """Take the release in hand; nothing is installed before ``apply``."""
        self.cluster = cluster
        self.namespace = namespace
        self._values = dict(values)

    def apply(self, *settings: str) -> None:
        """Install or upgrade it, and wait until every pod of it is there.

        Args:
            settings: as ``--set`` takes them, on top of the values.
        """
        self.cluster.helm("upgrade", "--install", "trunkline-crds", str(CHARTS / "trunkline-crds"))
        registry, _, prefix = self.cluster.image_registry.partition("/")
        names = {part: f"{part}.image.repository={prefix}/trunkline-{part}" for part in ("operator", "gateway")}
        flags = [f"--set=image.registry={registry}", f"--set=image.tag={self.cluster.image_tag}"]
        flags += [f"--set={each}" for each in (*names.values(), *settings)]
        where = (f"--namespace={self.namespace}", "--wait", "--timeout=120s", "--values=-")
        args = ("upgrade", "--install", NAME, str(CHARTS / "trunkline"), *where, *flags)
        self.cluster.helm(*args, input=json.dumps(self._values), timeout_seconds=150)

    def kubectl(self, *args: str, input: str | None = None, timeout_seconds: float = 60) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl(
            f"--namespace={self.namespace}", *args, input=input, timeout_seconds=timeout_seconds
        )

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The pods of ``operator`` or ``gateway``, those that are about to go included."""
        return self.cluster.pods(self.namespace, SELECTOR + component)

    def ready(self, component: str) -> list[dict[str, Any]]:
        """Those that are ready and stay."""
        return [each for each in self.pods(component) if is_ready(each) and not is_going(each)]

    def settle(self, component: str, *, timeout_seconds: float = 120) -> None:
        """Wait until the Deployment is rolled out and the pods that it replaced are gone."""
        flags = (f"deployment/{NAME}-{component}", f"--timeout={timeout_seconds:.0f}s")
        self.kubectl("rollout", "status", *flags, timeout_seconds=timeout_seconds + 10)

        def settled() -> bool:
            replicas = self.cluster.get("deployment", f"{NAME}-{component}", self.namespace)["spec"]["replicas"]
            pods = self.pods(component)
            return len(pods) == replicas and all(is_ready(each) and not is_going(each) for each in pods)

        self.cluster.until(f"pods of the {component} do not go", settled, timeout_seconds=timeout_seconds)

    def address(self) -> tuple[str, int]:
        """The front door: the Service's address and port."""
        spec = self.cluster.get("service", f"{NAME}-gateway", self.namespace)["spec"]
        return spec["clusterIP"], spec["ports"][0]["port"]

    def admin(self, pod: Mapping[str, Any], path: str) -> tuple[int, str]:
        """Ask a pod's admin port; needs a machine that reaches pods. Status 0: no answer."""
        try:
            with _DIRECT.open(f"http://{pod['status']['podIP']}:9090{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError as error:
            return 0, str(error)


@contextmanager
def release(cluster: Cluster, values: Mapping[str, Any]) -> Iterator[Release]:
    """Install a release for a while, in a namespace that enforces the restricted Pod Security Standard."""
    with cluster.namespace("trunkline") as namespace:
        made = Release(cluster, namespace, values)
        try:
            made.apply()
            yield made
        except BaseException:
            print(_described(made))  # shown where the test failed
            raise
        finally:
            cluster.helm("uninstall", NAME, f"--namespace={namespace}", "--ignore-not-found")


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether its condition says so."""
    found = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
    return found.get("Ready") == "True"


def is_going(pod: Mapping[str, Any]) -> bool:
    """Whether it is about to go."""
    return "deletionTimestamp" in pod["metadata"]


def name_of(pod: Mapping[str, Any]) -> str:
    """Its name."""
    found: str = pod["metadata"]["name"]
    return found


def processes(pod: Mapping[str, Any], program: str) -> list[int]:
    """The processes of a pod of our own node whose command line names ``program``, as this machine numbers them."""
    uid = pod["metadata"]["uid"]
    wanted = (uid.encode(), uid.replace("-", "_").encode())
    found = []
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if program.encode() not in (path / "cmdline").read_bytes():
                continue
            groups = (path / "cgroup").read_bytes()
            if any(each in groups for each in wanted):
                found.append(int(path.name))
    return found


def kill(pod: Mapping[str, Any], program: str) -> None:
    """``kill -9`` to a program in a pod of our own node; the kubelet starts the container again."""
    found = processes(pod, program)
    assert found, f"no process of {name_of(pod)} is {program}"
    for each in found:
        os.kill(each, signal.SIGKILL)


@contextmanager
def frozen(pod: Mapping[str, Any], program: str) -> Iterator[None]:
    """Stop a program in a pod of our own node for a while: it is there and says nothing."""
    found = processes(pod, program)
    assert found, f"no process of {name_of(pod)} is {program}"
    for each in found:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


def key_hash(key: str) -> str:
    """As a VirtualKey has it."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def pass_time(seconds: float, *, since: float | None = None) -> None:
    """Let a scenario last: return ``seconds`` from now, or from ``since`` on the monotonic clock."""
    left = (time.monotonic() if since is None else since) + seconds - time.monotonic()
    if left > 0:
        time.sleep(left)


def _described(made: Release) -> str:
    said = [made.cluster.kubectl("get", "all,events", f"--namespace={made.namespace}", "-o", "wide", check=False)]
    for component in ("operator", "gateway"):
        flags = (f"--selector={SELECTOR}{component}", "--tail=40", "--prefix", "--ignore-errors")
        said.append(made.cluster.kubectl("logs", f"--namespace={made.namespace}", *flags, check=False))
    return "\n".join(said)
