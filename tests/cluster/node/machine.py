"""What the node changes of the machine itself: kernel settings, directories at fixed paths, cgroups.

It is written down before it is changed, so that ``restore`` can put it back, in another process too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from cluster.node import processes
from cluster.node.layout import CGROUP, NETWORK_NAME, Layout
from harness.kube import StartError

_SYSCTL = Path("/proc/sys")
_NEEDED = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}
# The kubelet and kube-proxy set these: https://kubernetes.io/docs/reference/command-line-tools-reference/kubelet/
_SET_BY_OTHERS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/conf/all/route_localnet",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
)
# Paths that the kubelet, containerd and CNI do not let anybody choose; the last two are Docker's and Podman's, too.
_PLUGINS = Path("/var/lib/kubelet/device-plugins")
_LOG_LINKS = Path("/var/log/containers")
_NETWORK_RESULTS = Path("/var/lib/cni/results")
_SHIM_SOCKETS = Path("/run/containerd/s")
_FIXED_DIRECTORIES = tuple(
    directory for path in (_PLUGINS, _LOG_LINKS, _NETWORK_RESULTS, _SHIM_SOCKETS) for directory in (path, path.parent)
)
_CGROUPS = Path("/sys/fs/cgroup")
# What the kubelet wants below its cgroup root: https://kubernetes.io/docs/concepts/architecture/cgroups/
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "hugetlb")
_MODULES = ("br_netfilter", "overlay", "nf_conntrack")


def prepare(layout: Layout) -> None:
    """Write down what will change, then make the cgroups and set the kernel up.

    Raises:
        StartError: the kernel lacks something; one sentence.
    """
    for module in _MODULES:
        if shutil.which("modprobe"):
            # Built in here, a module there; the settings below tell whether it is in.
            subprocess.run(["modprobe", module], capture_output=True, check=False)
    settings = {name: value for name in (*_NEEDED, *_SET_BY_OTHERS) if (value := _read(name)) is not None}
    if missing := [name for name in _NEEDED if name not in settings]:
        raise StartError(f"this kernel has no {' and no '.join(missing)}: a node needs the module br_netfilter")
    absent = [str(path) for path in _FIXED_DIRECTORIES if not path.exists()]
    controllers = _controllers_to_enable()
    before = {"settings": settings, "absent": absent, "controllers": controllers}
    layout.before.write_text(json.dumps(before), encoding="utf-8")
    _set_controllers("+", controllers)
    for name, value in _NEEDED.items():
        (_SYSCTL / name).write_text(value, encoding="ascii")
    for parent in _cgroup_parents():
        (parent / CGROUP).mkdir(exist_ok=True)


def restore(layout: Layout) -> None:
    """Put the kernel's settings back, and remove the directories that were not there. No-op without a record."""
    try:
        before = json.loads(layout.before.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    # With defaults: an earlier version of this file may have written it.
    for name, value in before.get("settings", {}).items():
        if _read(name) != value:
            (_SYSCTL / name).write_text(value, encoding="ascii")
    # Somebody else may count on them by now.
    with contextlib.suppress(OSError):
        _set_controllers("-", before.get("controllers", []))
    absent = before.get("absent", [])
    if str(_PLUGINS) in absent:
        shutil.rmtree(_PLUGINS, ignore_errors=True)
    for link in _LOG_LINKS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{layout.directory}/"):
            link.unlink()
    for result in _NETWORK_RESULTS.glob(f"{NETWORK_NAME}-*-eth0"):
        container = result.name.removeprefix(f"{NETWORK_NAME}-").removesuffix("-eth0")
        result.unlink()
        (_NETWORK_RESULTS / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
    for path in absent:
        # Whoever else has come to use it meanwhile keeps it.
        with contextlib.suppress(OSError):
            os.rmdir(path)


def kill_containers(timeout_seconds: float = 10) -> None:
    """Kill every process in the node's cgroups, which is every container's, until there is none.

    Raises:
        TimeoutError: some did not die.
    """
    deadline = time.monotonic() + timeout_seconds
    while pids := _container_pids():
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of containers do not die: {sorted(pids)}")
        for pid in pids:
            processes.end(pid, timeout_seconds=1)


def remove_cgroups(timeout_seconds: float = 5) -> None:
    """Remove the node's cgroups.

    Raises:
        TimeoutError: the kernel does not let go of some.
    """
    deadline = time.monotonic() + timeout_seconds
    while left := [path for path in _cgroup_directories() if not _removed(path)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"cgroups are still in use: {', '.join(left)}")
        time.sleep(0.05)


def container_cgroup(container: str) -> Path:
    """Return the cgroup that counts a container's memory.

    Raises:
        LookupError: there is none; perhaps it has ended.
    """
    for directory in _cgroup_directories():
        path = Path(directory)
        if path.name == container and any((path / name).exists() for name in ("memory.stat", "memory.max")):
            return path
    raise LookupError(f"no cgroup of container {container}")


def pids_in(cgroup: Path) -> set[int]:
    """Return the living processes in one cgroup; none when it is gone."""
    try:
        listed = (cgroup / "cgroup.procs").read_text(encoding="ascii").split()
    except OSError:
        return set()
    return {pid for pid in map(int, listed) if processes.start_tick(pid) is not None}


def cgroups() -> list[str]:
    """Return the node's cgroups that there are."""
    return [str(parent / CGROUP) for parent in _cgroup_parents() if (parent / CGROUP).exists()]


def _controllers_to_enable() -> list[str]:
    """Return the controllers that version 2 has and does not give to top-level cgroups; none in version 1."""
    root = _CGROUPS / "cgroup.controllers"
    if not root.exists():
        return []
    enabled = (_CGROUPS / "cgroup.subtree_control").read_text(encoding="ascii").split()
    available = root.read_text(encoding="ascii").split()
    return [name for name in _CONTROLLERS if name in available and name not in enabled]


def _set_controllers(sign: str, controllers: list[str]) -> None:
    if controllers:
        change = " ".join(f"{sign}{name}" for name in controllers)
        (_CGROUPS / "cgroup.subtree_control").write_text(change, encoding="ascii")


def _cgroup_parents() -> list[Path]:
    """Return where top-level cgroups are: one place in version 2, one per controller in version 1.

    Beside version 1 there may be a mount of version 2 without controllers, "unified", that runc mirrors its cgroups in.
    """
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    # Links are aliases, such as cpu -> cpu,cpuacct.
    return [path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _cgroup_directories() -> list[str]:
    """Return the node's cgroups, inner ones first. They may vanish while one looks; os.walk does not mind."""
    return [path for parent in _cgroup_parents() for path, _, _ in os.walk(parent / CGROUP, topdown=False)]


def _container_pids() -> set[int]:
    return {pid for directory in _cgroup_directories() for pid in pids_in(Path(directory))}


def _removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _read(name: str) -> str | None:
    try:
        return (_SYSCTL / name).read_text(encoding="ascii").strip()
    except OSError:
        return None
