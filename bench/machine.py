"""What a benchmark needs of the machine: tools, cores, free ports, a compiler; and what /proc knows of processes."""

import contextlib
import fcntl
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.children import Child

ROOT = Path(__file__).resolve().parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class MissingError(RuntimeError):
    """Something is not installed; the message says what to install."""


def need(program: str, *packages: str) -> str:
    """Where ``program`` is; root gets it by apt when it is missing.

    Raises:
        MissingError: it is not there and cannot be installed.
    """
    if found := shutil.which(program):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for argv in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", *argv], capture_output=True, check=False)
        if found := shutil.which(program):
            return found
    raise MissingError(
        f"{program} is missing; install it first (on Debian and Ubuntu: apt-get install {' '.join(packages)})"
    )


def native(directory: Path) -> Path:
    """Compile the load generator and the upstream double into ``directory``."""
    compiler = shutil.which("cc") or need("gcc", "gcc", "libc6-dev")
    for name in ("double", "load"):
        source = ROOT / "bench" / "native" / f"{name}.c"
        built = subprocess.run(
            [compiler, "-O2", "-o", str(directory / name), str(source)], capture_output=True, text=True, check=False
        )
        if built.returncode != 0:
            raise MissingError(f"cannot compile {source} (libc6-dev missing?): {built.stderr.strip()[:400]}")
    return directory


def pinned(core: int) -> list[str]:
    """What to put before a command so that it runs on ``core`` only (of those we may use); nothing on a single core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return []
    return [need("taskset", "util-linux"), "-c", str(cores[min(core, len(cores) - 1)])]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold a lock, so that two benchmarks of one user do not disturb each other; waits for the other one."""
    with (Path(tempfile.gettempdir()) / f"trunkline-bench-{os.getuid()}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another benchmark is running here; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


SERVER_CORE = 1
LOAD_CORE = 0


def raise_open_files() -> int:
    """Allow as many open files as the system lets us (children inherit it); returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (131_072, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        except (ValueError, OSError):
            continue
        return wanted
    return soft


def family(child: Child) -> list[int]:
    """The process and all that descend from it."""
    found, index = [child.pid], 0
    while index < len(found):
        try:
            for task in Path(f"/proc/{found[index]}/task").iterdir():
                found.extend(int(each) for each in (task / "children").read_text(encoding="ascii").split())
        except FileNotFoundError:
            pass
        index += 1
    return found


def cpu_seconds(child: Child) -> float:
    """User and system time of the process and its living descendants since they began."""
    total = 0.0
    for pid in family(child):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def resident_mb(child: Child) -> float:
    """Resident memory of the process and its descendants, in MB (10^6 bytes)."""
    total = 0
    for pid in family(child):
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
        except FileNotFoundError:
            continue
    return total / 1e6


def describe() -> dict[str, object]:
    """What the figures were measured on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": os.uname().release}
