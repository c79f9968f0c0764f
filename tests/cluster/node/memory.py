"""Run a container out of memory on purpose, so that the kernel kills what is in it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from cluster.node import machine

_HIGHEST_LIMIT = 4 << 30
_EATERS = 4
_POLL_SECONDS = 0.02
# It joins the container's cgroup first and takes memory second, so that all of it is counted there.
_EATER = """\
import sys
with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
    procs.write("0")
held = b"x" * int(sys.argv[2])
sys.stdin.read()
"""


def exhaust(container: str, *, timeout_seconds: float = 20) -> None:
    """Take more memory in a container's cgroup than its limit allows, until the kernel has killed its processes.

    Those that take it are ours and not in the container's files or namespaces; the kernel prefers the container's own
    processes, since their score is raised. See https://docs.kernel.org/filesystems/proc.html, section 3.1.

    Args:
        container: its id, without ``containerd://``.
        timeout_seconds: how long the kernel may take.

    Raises:
        RuntimeError: it has no memory limit, so the whole machine would run out instead; or nothing was killed.
    """
    cgroup = machine.container_cgroup(container)
    limit = _limit(cgroup)
    if limit > _HIGHEST_LIMIT:
        raise RuntimeError(f"container {container} has no memory limit below {_HIGHEST_LIMIT >> 20} MiB")
    victims = machine.pids_in(cgroup)
    for pid in victims:
        # Everybody may raise a score; lowering the eaters' own would need a capability that sandboxes do not have.
        # The highest is worth the whole limit, so each eater must stay well below that: there are several.
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000", encoding="ascii")
    argv = [sys.executable, "-c", _EATER, str(cgroup), str(limit // _EATERS)]
    with contextlib.ExitStack() as eaters:
        for _ in range(_EATERS):
            eater = eaters.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL))
            eaters.callback(eater.kill)
        deadline = time.monotonic() + timeout_seconds
        while left := victims & machine.pids_in(cgroup):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the kernel did not kill {sorted(left)} of container {container}")
            time.sleep(_POLL_SECONDS)


def _limit(cgroup: Path) -> int:
    for name in ("memory.max", "memory.limit_in_bytes"):
        file = cgroup / name
        if file.exists():
            text = file.read_text(encoding="ascii").strip()
            return sys.maxsize if text == "max" else int(text)
    raise RuntimeError(f"{cgroup} has no memory controller")
