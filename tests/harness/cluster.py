"""The cluster that tests/cluster runs on: a node of our own on this machine, or whatever KUBECONFIG names."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.node import requirements, teardown
from cluster.node.claim import claim
from cluster.node.commands import CommandError, run
from cluster.node.layout import NODE_ADDRESS, PROBE_IMAGE
from cluster.node.node import Node
from cluster.node.processes import direct_environment
from harness import binaries

__all__ = ["PROBE_IMAGE", "Cluster", "CommandError", "cluster_for_tests"]

_ROOT = Path(__file__).resolve().parents[2]
_IMAGES = _ROOT / "build" / "images"
_REGISTRY = "ghcr.io/trunkline"
_POLL_SECONDS = 0.2


class Cluster:
    """A running cluster, as its administrator. Synchronous; from a coroutine call it through ``asyncio.to_thread``.

    Attributes:
        kubeconfig: the administrator's kubeconfig: a path, or several as KUBECONFIG takes them.
        is_ours: whether it is a node that we brought up, so that its API server and DNS may be stopped.
        image_registry: what stands before ``/trunkline-operator`` in the images' names.
        image_tag: the images' tag.
        missing_images: archives that ``make images`` has not made, so that nobody waits for their pods; empty on a
            cluster of somebody else's, which pulls.
    """

    def __init__(self, kubeconfig: str, node: Node | None = None) -> None:
        """Take a running cluster; ``node`` when it is ours."""
        self.kubeconfig = kubeconfig
        self.is_ours = node is not None
        self.image_registry = os.environ.get("TRUNKLINE_IMAGE_REGISTRY") or _REGISTRY
        self.image_tag = os.environ.get("TRUNKLINE_IMAGE_TAG") or _version()
        self.missing_images: list[Path] = []
        self._node = node
        self._state = Path(tempfile.mkdtemp(prefix="trunkline-cluster-"))

    def close(self) -> None:
        """Remove what kubectl and Helm remember. The cluster stays."""
        shutil.rmtree(self._state, ignore_errors=True)

    @property
    def node_address(self) -> str:
        """An address of this machine that pods reach, for servers that a test runs; they listen on it.

        Skips the calling test where there is none that we know: on a cluster of somebody else's that is what
        ``TRUNKLINE_HOST_ADDRESS`` says.
        """
        address = NODE_ADDRESS if self.is_ours else os.environ.get("TRUNKLINE_HOST_ADDRESS", "")
        if not address:
            pytest.skip("TRUNKLINE_HOST_ADDRESS does not say at which address pods reach this machine")
        return address

    def kubectl(self, *args: str, input: str | None = None, check: bool = True, timeout_seconds: float = 60) -> str:
        """Run kubectl and return its stdout.

        Raises:
            CommandError: it failed and ``check`` is true, or time was up; the message says what it said.
        """
        argv = [str(binaries.locate("kubectl")), *args]
        return run(argv, input=input, check=check, timeout_seconds=timeout_seconds, env=self.environment())

    def helm(self, *args: str, input: str | None = None, timeout_seconds: float = 240) -> str:
        """Run Helm and return its stdout.

        Raises:
            CommandError: it failed, or time was up.
        """
        argv = [str(binaries.locate("helm")), *args]
        return run(argv, input=input, timeout_seconds=timeout_seconds, env=self.environment())

    def environment(self) -> dict[str, str]:
        """Return the environment of programs that talk to the cluster, with caches that no other run had."""
        return {
            **(direct_environment() if self.is_ours else os.environ),
            "KUBECONFIG": self.kubeconfig,
            # The discovery cache is keyed by address and lives for minutes: another node may have had it.
            "KUBECACHEDIR": str(self._state / "kube"),
            "HELM_CACHE_HOME": str(self._state / "helm-cache"),
            "HELM_CONFIG_HOME": str(self._state / "helm-config"),
            "HELM_DATA_HOME": str(self._state / "helm-data"),
        }

    def apply(self, text: str, namespace: str = "default") -> str:
        """Apply manifests from a text of YAML or JSON."""
        return self.kubectl("apply", f"--namespace={namespace}", "-f", "-", input=text)

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """Return one object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, f"--namespace={namespace}", "-o", "json"))
        return found

    def pods(self, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the pods that a label selector finds, those that are about to go included."""
        args = ("get", "pods", f"--namespace={namespace}", f"--selector={selector}", "-o", "json")
        found: list[dict[str, Any]] = json.loads(self.kubectl(*args))["items"]
        return found

    def wait(self, what: str, condition: str, namespace: str = "default", *, timeout_seconds: float = 120) -> None:
        """Wait until an object says so.

        Args:
            what: such as ``deployment/trunkline-operator``.
            condition: what ``kubectl wait --for`` takes, such as ``condition=Available`` or ``delete``.
            namespace: where it is.
            timeout_seconds: how long.

        Raises:
            CommandError: time is up, or there is no such object.
        """
        flags = (f"--namespace={namespace}", f"--for={condition}", f"--timeout={timeout_seconds:.0f}s")
        self.kubectl("wait", what, *flags, timeout_seconds=timeout_seconds + 10)

    def until(self, complaint: str, holds: Callable[[], bool], *, timeout_seconds: float = 120) -> None:
        """Poll until ``holds()``; a failed command, as while the API server is away, counts as not yet.

        Raises:
            AssertionError: time is up; ``complaint`` is the message, with the last command's failure.
        """
        deadline = time.monotonic() + timeout_seconds
        failure = ""
        while True:
            try:
                if holds():
                    return
                failure = ""
            except CommandError as error:
                failure = f": {error}"
            assert time.monotonic() < deadline, f"{complaint} (after {timeout_seconds:.0f} s){failure}"
            time.sleep(_POLL_SECONDS)

    def logs(self, pod: str, namespace: str, *args: str) -> str:
        """Return what a pod has printed."""
        return self.kubectl("logs", pod, f"--namespace={namespace}", *args)

    def exec(self, pod: str, namespace: str, *argv: str) -> str:
        """Run a program in a pod and return its stdout."""
        return self.kubectl("exec", pod, f"--namespace={namespace}", "--", *argv)

    @contextmanager
    def namespace(self, prefix: str = "test", *, restricted: bool = True) -> Iterator[str]:
        """Make a namespace that nobody else uses, with the restricted Pod Security Standard; deleted at the end."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"} if restricted else {}
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"generateName": f"{prefix}-", "labels": labels},
        }
        name = self.kubectl("create", "-f", "-", "-o", "jsonpath={.metadata.name}", input=json.dumps(body))
        try:
            yield name
        finally:
            # Pods that do not end by themselves would keep it for their whole grace.
            self.kubectl("delete", "pods", "--all", f"--namespace={name}", "--grace-period=1", "--wait=false")
            self.kubectl("delete", "namespace", name, "--wait=false")

    def load(self, archive: Path) -> None:
        """Put the images of an archive on our node; no-op elsewhere, where they are pulled or loaded beforehand."""
        if self._node is not None:
            self._node.load(archive)

    def stop_apiserver(self) -> None:
        """Kill kube-apiserver until ``start_apiserver``; skips the calling test on a cluster of somebody else's."""
        self._ours().stop_apiserver()

    def start_apiserver(self) -> None:
        """Bring kube-apiserver back on its port and data, and wait until it is ready."""
        self._ours().start_apiserver()

    def stop_dns(self) -> None:
        """Take the cluster's DNS away until ``start_dns``; skips the calling test elsewhere. Needs the API server."""
        self._ours().stop_dns()

    def start_dns(self) -> None:
        """Bring DNS back and wait until it answers."""
        self._ours().start_dns()

    def exhaust_memory(self, pod: str, namespace: str) -> None:
        """Let the kernel kill a pod's first container for want of memory, as if it had taken too much.

        Skips the calling test on a cluster of somebody else's. The container must have a memory limit.

        Raises:
            RuntimeError: it has none, or nothing was killed.
        """
        node = self._ours()
        node.exhaust_memory(self.container_of(pod, namespace))

    def kill_container(self, container: str) -> None:
        """``kill -9`` a container on the node itself, so that it works while the API server is away.

        Skips the calling test on a cluster of somebody else's. The kubelet starts the container again.

        Args:
            container: what ``container_of`` said while the API server was there.
        """
        self._ours().kill_container(container)

    def container_of(self, pod: str, namespace: str) -> str:
        """Return the id of a pod's first container, without ``containerd://``."""
        containers = self.get("pod", pod, namespace)["status"]["containerStatuses"]
        return str(containers[0]["containerID"]).removeprefix("containerd://")

    def _ours(self) -> Node:
        if self._node is None:
            pytest.skip("KUBECONFIG names a cluster of somebody else's: its API server and DNS are not ours to stop")
        return self._node


@contextmanager
def cluster_for_tests() -> Iterator[Cluster]:
    """Yield the cluster of ``KUBECONFIG``, else a node of our own with the images of ``make images``.

    A node that was up already (``python -m cluster.node up``) is used and stays up; else it is taken down at the end,
    and something left behind is a failure. Where neither can be had, the calling test fails in one sentence.
    """
    if kubeconfig := os.environ.get("KUBECONFIG"):
        cluster = Cluster(kubeconfig)
        try:
            yield cluster
        finally:
            cluster.close()
        return
    if sentence := requirements.why_not_here():
        pytest.fail(sentence, pytrace=False)
    node = Node()
    with claim():
        was_up = node.is_up()
        if not was_up:
            node.up()
        cluster = Cluster(str(node.kubeconfig), node)
        try:
            for name in ("operator", "gateway"):
                archive = _IMAGES / f"{name}.tar"
                if archive.exists():
                    cluster.load(archive)
                else:
                    cluster.missing_images.append(archive)
            yield cluster
        finally:
            cluster.close()
            if not was_up:
                node.down()
                left = teardown.leftovers(node.layout)
                assert not left, "left behind by the node:\n" + "\n".join(left)


def _version() -> str:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version: str = project["version"]
    return version
