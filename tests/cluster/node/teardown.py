"""Take a node away, whoever started it and however that ended; nothing of it is left."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from cluster.node import machine, network, processes, runtime, worker
from cluster.node.controlplane import ControlPlane
from cluster.node.layout import NODE_LINK, POD_LINK, Layout


def down(layout: Layout) -> None:
    """Stop and remove everything of a node, from what is recorded in its directory. No-op where nothing is.

    The order matters: nobody may bring back what is killed, and mounts are held by the processes in them. A step that
    fails does not keep the next ones from being done, and the directory stays, so that it can be tried again.

    Raises:
        ExceptionGroup: steps failed.
    """
    if not layout.directory.exists():
        return
    recorded = processes.Processes(layout.pids, layout.logs)
    steps: tuple[Callable[[], object], ...] = (
        lambda: worker.stop_kubelet(recorded),
        machine.kill_containers,
        lambda: _stop_containerd(layout, recorded),
        lambda: worker.stop_proxy(layout, recorded),
        lambda: ControlPlane(layout, recorded).stop(),
        lambda: _unmount(layout),
        network.remove,
        machine.remove_cgroups,
        lambda: machine.restore(layout),
    )
    failures = []
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other steps are to be done
            failures.append(error)
    if failures:
        raise ExceptionGroup(f"the node in {layout.directory} is not down", failures)
    shutil.rmtree(layout.directory)


def _stop_containerd(layout: Layout, recorded: processes.Processes) -> None:
    sockets = runtime.shim_sockets(layout)
    recorded.stop("containerd", timeout_seconds=5)
    for pid in runtime.shims(layout):
        processes.end(pid)
    for socket in sockets:
        socket.unlink(missing_ok=True)


def _unmount(layout: Layout) -> None:
    for path in reversed(mounts(layout)):
        # Lazily: what a dying process still holds goes with it.
        subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)


def mounts(layout: Layout) -> list[str]:
    """Return the mount points below a node's directory, outer ones first. See proc(5), /proc/PID/mountinfo."""
    below = f"{layout.directory}/"
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    return [point for each in points if (point := each.encode().decode("unicode_escape")).startswith(below)]


def leftovers(layout: Layout) -> list[str]:
    """Return what there still is of a node, one line each; empty after ``down``."""
    found = [f"mount {point}" for point in mounts(layout)]
    found += [f"link {name}" for name in network.links() if name in (NODE_LINK, POD_LINK)]
    found += [f"cgroup {path}" for path in machine.cgroups()]
    found += [f"process {pid}: {command}" for pid, command in _processes(layout)]
    found += [f"rule {rule}" for rule in network.rules()]
    if layout.directory.exists():
        found.append(f"directory {layout.directory}")
    return found


def _processes(layout: Layout) -> list[tuple[int, str]]:
    """Return (id, command line) of the processes that were started with a path in a node's directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if f"{layout.directory}/" in command:
            found.append((int(path.name), command))
    return found
