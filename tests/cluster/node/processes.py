"""Processes that outlive the program that started them, and that a later one finds by what was recorded."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.kube import StartError

_POLL_SECONDS = 0.02
_PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


def direct_environment() -> dict[str, str]:
    """Return our environment without the machine's proxy settings: they are not for bridge addresses."""
    return {name: value for name, value in os.environ.items() if name.lower() not in _PROXY_VARIABLES}


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of one node, by name.

    Attributes:
        records: directory of one JSON file per process: its id, and the tick of its start, since ids are used again.
        logs: directory of one log per process, appended to.
    """

    records: Path
    logs: Path

    def start(self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        """Start a program in a session of its own; stopped first when it runs already."""
        self.stop(name, timeout_seconds=5)
        log = str(self.logs / f"{name}.log")
        pid = os.posix_spawnp(
            argv[0],
            argv,
            {**direct_environment(), **(env or {})},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self._record(name).write_text(json.dumps({"pid": pid, "start": start_tick(pid)}), encoding="utf-8")

    def alive(self, name: str) -> bool:
        """Whether the recorded process still runs."""
        return self._pid(name) is not None

    def names(self) -> list[str]:
        """Return what was ever started and not stopped, running or not."""
        return sorted(path.stem for path in self.records.glob("*.json"))

    def stop(self, name: str, *, sig: int = signal.SIGTERM, timeout_seconds: float = 10) -> None:
        """Signal a process and wait until it is gone; killed after ``timeout_seconds``. No-op if it is not there."""
        pid = self._pid(name)
        if pid is not None:
            end(pid, sig=sig, timeout_seconds=timeout_seconds)
        self._record(name).unlink(missing_ok=True)

    def check(self, name: str) -> None:
        """Raise ``StartError`` with the end of the log when a process has died."""
        if not self.alive(name):
            raise StartError(f"{name} is not running\n{self.log_tail(name)}")

    def log_tail(self, name: str, lines: int = 25) -> str:
        """Return the last lines of a log under a heading, for an error message."""
        log = self.logs / f"{name}.log"
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        return "\n".join([f"--- {name}: {log}", *text.splitlines()[-lines:]])

    def _record(self, name: str) -> Path:
        return self.records / f"{name}.json"

    def _pid(self, name: str) -> int | None:
        try:
            record = json.loads(self._record(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        pid, start = record["pid"], record["start"]
        return pid if start is not None and start_tick(pid) == start else None


def start_tick(pid: int) -> int | None:
    """Return the kernel's tick of a process's start, ``None`` when it is gone or only waits to be buried.

    See proc(5), /proc/PID/stat, fields 3 and 22.
    """
    _bury(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def end(pid: int, *, sig: int = signal.SIGKILL, timeout_seconds: float = 10) -> None:
    """Signal one process and wait until it is gone; after ``timeout_seconds`` it is killed."""
    start = start_tick(pid)
    for each in (sig, signal.SIGKILL):
        if start is None or start_tick(pid) != start:
            return
        try:
            os.kill(pid, each)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + timeout_seconds
        while start_tick(pid) == start and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _bury(pid: int) -> None:
    # Not our child where another program started it, such as an earlier `up`.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
