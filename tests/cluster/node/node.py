"""The node as a whole: up, down, and what tests do to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cluster.node import dns, machine, memory, network, processes, requirements, runtime, teardown, worker
from cluster.node.commands import CommandError
from cluster.node.controlplane import ControlPlane
from cluster.node.layout import NODE_LINK, NODE_NAME, Layout, default_layout
from cluster.node.processes import Processes
from harness.kube import StartError


class Node:
    """A node in a directory. It keeps no state of its own, so that several programs may hold the same one.

    Attributes:
        layout: where it is.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        """Take the node in ``layout`` in hand, running or not; ``None`` is the machine's default place."""
        self.layout = layout or default_layout()
        self._processes = Processes(self.layout.pids, self.layout.logs)
        self._control_plane = ControlPlane(self.layout, self._processes)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig

    def is_up(self) -> bool:
        """Whether every process runs, and the API server and DNS answer."""
        names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet")
        if not all(self._processes.alive(name) for name in (*names, "kube-proxy")):
            return False
        try:
            self._control_plane.kubectl("get", "--raw", "/readyz", "--request-timeout=2s")
        except CommandError:
            return False
        return dns.answers()

    def up(self) -> None:
        """Bring the node up, clearing first what a crashed one left in the same directory; about 20 s.

        Raises:
            StartError: something died or was not ready in time, or another node is on this machine.
            AssetsMissingError: the machine lacks what a node needs; one sentence.
        """
        requirements.install()
        self.down()
        if NODE_LINK in network.links():
            raise StartError(
                f"another node is on this machine: the link {NODE_LINK} is there and not from {self.layout.directory};"
                " take it down with the TRUNKLINE_NODE_DIR that it was started with"
            )
        if network.rules():
            raise StartError("this machine is a Kubernetes node already, by its packet rules: set KUBECONFIG to use it")
        try:
            self._start()
        except BaseException as error:
            if isinstance(error, Exception):
                for name in self._processes.names():
                    error.add_note(self._processes.log_tail(name, lines=8))
            self.down()
            raise

    def down(self) -> None:
        """Take everything away; nothing is left, and nothing happens when nothing is there."""
        teardown.down(self.layout)

    def load(self, archive: Path) -> None:
        """Put the images of an archive (``docker save``'s format or OCI's) on the node.

        Raises:
            CommandError: containerd refused it.
        """
        runtime.import_image(self.layout, archive)

    def stop_apiserver(self) -> None:
        """Kill kube-apiserver; containers, Services and DNS go on."""
        self._control_plane.stop_apiserver()

    def start_apiserver(self) -> None:
        """Bring kube-apiserver back on its port and data, and wait until it is ready.

        The controllers begin anew with it: each of their watches backs off by itself, for a minute and more after a
        long absence, and what comes next would wait for a ServiceAccount, a CA or a pod.
        """
        self._control_plane.start_apiserver()
        self._control_plane.stop_controllers()
        self._control_plane.start_controllers()

    def stop_dns(self) -> None:
        """Take CoreDNS away and return when nobody answers any more. Needs the API server."""
        self._scale_dns(0)
        selector = ("--namespace=kube-system", "--selector=k8s-app=kube-dns")
        self._control_plane.kubectl("wait", "pods", *selector, "--for=delete", "--timeout=90s", timeout_seconds=100)
        self._wait("CoreDNS still answers", lambda: not dns.answers())

    def start_dns(self) -> None:
        """Bring CoreDNS back and return when it answers. Needs the API server."""
        self._scale_dns(1)
        dns.wait_until_answering()

    def kill_container(self, container: str) -> None:
        """``kill -9`` every process of a container, by its id, past the API server and the kubelet."""
        for pid in machine.pids_in(machine.container_cgroup(container)):
            processes.end(pid)

    def exhaust_memory(self, container: str) -> None:
        """Let the kernel kill a container, by its id, for want of memory; it must have a limit."""
        memory.exhaust(container)

    def _start(self) -> None:
        self.layout.make_directories()
        machine.prepare(self.layout)
        network.configure(self.layout)
        self._control_plane.write_credentials()
        self._control_plane.start_etcd()
        self._control_plane.start_apiserver()
        self._control_plane.start_controllers()
        runtime.start(self.layout, self._processes)
        runtime.import_own_images(self.layout)
        worker.start(self.layout, self._processes, self._control_plane)
        dns.apply(self._control_plane)
        self._kubectl_until("node is not there", "get", "node", NODE_NAME)
        self._control_plane.kubectl("wait", f"node/{NODE_NAME}", "--for=condition=Ready", "--timeout=40s")
        self._kubectl_until("no default ServiceAccount", "get", "serviceaccount", "default", "--namespace=default")
        dns.wait_until_answering()

    def _scale_dns(self, replicas: int) -> None:
        arguments = ("--namespace=kube-system", f"--replicas={replicas}", "deployment/coredns")
        self._control_plane.kubectl("scale", *arguments)

    def _kubectl_until(self, complaint: str, *args: str) -> None:
        def succeeds() -> bool:
            try:
                self._control_plane.kubectl(*args)
            except CommandError:
                return False
            return True

        self._wait(complaint, succeeds)

    def _wait(self, complaint: str, done: Callable[[], bool], *, timeout_seconds: float = 40) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not done():
            for name in self._processes.names():
                self._processes.check(name)
            if time.monotonic() > deadline:
                raise StartError(complaint)
            time.sleep(0.1)
