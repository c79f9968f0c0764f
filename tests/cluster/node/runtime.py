"""containerd: a daemon of our own, beside whatever other one the machine has, and the images in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from cluster.node import archive, requirements
from cluster.node.commands import CommandError, run
from cluster.node.layout import COREDNS_IMAGE, PAUSE_IMAGE, PROBE_IMAGE, Layout
from cluster.node.processes import Processes
from harness import binaries
from harness.kube import StartError

_PROGRAMS = Path(__file__).parent / "programs"
_NAMESPACE = "k8s.io"

# restrict_oom_score_adj: where CAP_SYS_RESOURCE is missing, as in many sandboxes, every container dies without it.
# runc's root and the network namespaces lie below our state, so that nothing is left in /run; the "opt" plugin would
# make /opt/containerd.
_CONFIG = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "{cni_config}"
    bin_dir = "{cni_plugins}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{state}/runc"
        SystemdCgroup = false
"""


def start(layout: Layout, processes: Processes) -> None:
    """Start containerd and return once it answers, since the kubelet exits without its socket.

    Raises:
        StartError: it died or did not answer within 20 s.
    """
    config = layout.config / "containerd.toml"
    config.write_text(
        _CONFIG.format(
            root=layout.directory / "containerd",
            state=layout.containerd_state,
            socket=layout.containerd_socket,
            pause=PAUSE_IMAGE,
            cni_config=layout.cni_config,
            cni_plugins=requirements.cni_directory(),
        ),
        encoding="utf-8",
    )
    processes.start("containerd", ["containerd", "--config", str(config)])
    deadline = time.monotonic() + 20
    while True:
        try:
            ctr(layout, "version", timeout_seconds=5)
        except CommandError as error:
            processes.check("containerd")
            if time.monotonic() > deadline:
                raise StartError(f"containerd does not answer: {error}\n{processes.log_tail('containerd')}") from None
            time.sleep(0.05)
        else:
            return


def ctr(layout: Layout, *args: str, timeout_seconds: float = 120) -> str:
    """Run containerd's own client in the namespace of the kubelet's images."""
    argv = ["ctr", "--address", str(layout.containerd_socket), "--namespace", _NAMESPACE, *args]
    return run(argv, timeout_seconds=timeout_seconds)


def import_image(layout: Layout, path: Path) -> None:
    """Put the images of an archive (docker's or OCI's) where the kubelet finds them; at once if they are there."""
    record = layout.images / "imported.json"
    imported = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    found = path.stat()
    version = [found.st_size, found.st_mtime_ns]
    if imported.get(str(path)) != version:
        ctr(layout, "images", "import", str(path))
        record.write_text(json.dumps({**imported, str(path): version}), encoding="utf-8")


def import_own_images(layout: Layout) -> None:
    """Make and import what the node needs: pause and CoreDNS, and the probe that its tests run."""
    for image, program in (
        (PAUSE_IMAGE, _build(layout, "pause")),
        (COREDNS_IMAGE, binaries.locate("coredns")),
        (PROBE_IMAGE, _build(layout, "probe")),
    ):
        path = layout.images / f"{program.name}.tar"
        archive.write_image(path, name=image, program=program)
        import_image(layout, path)


def shims(layout: Layout) -> list[int]:
    """Return the process ids of the shims of this containerd, told from others by the socket that they report to."""
    wanted = str(layout.containerd_socket).encode()
    found = []
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            argv = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argv[0].endswith(b"containerd-shim-runc-v2") and wanted in argv:
            found.append(int(path.name))
    return found


def shim_sockets(layout: Layout) -> list[Path]:
    """Return the sockets of the shims, which lie outside our directory whatever the configuration says."""
    addresses = (layout.containerd_state / "io.containerd.runtime.v2.task" / _NAMESPACE).glob("*/address")
    return [Path(path.read_text(encoding="utf-8").strip().removeprefix("unix://")) for path in addresses]


def _build(layout: Layout, name: str) -> Path:
    if shutil.which("go") is None:
        raise StartError(f"no {name}: install Go 1.24 or newer (https://go.dev/dl/), with which it is built")
    target = layout.images / name
    subprocess.run(
        ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(target), "."],
        cwd=_PROGRAMS / name,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"},
        check=True,
    )
    return target
