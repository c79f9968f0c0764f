"""Child processes that cannot outlive the test run, however it ends.

Linux's parent-death signal is tied to the *thread* that forked, so a server started from a worker thread would die
with that thread. Instead each child has a watchdog: a shell blocked on a pipe whose other end only this process
holds. When this process goes, even by ``kill -9``, the pipe closes and the watchdog kills the child.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# The child tells the watchdog its own process id before it becomes the real program, so that there is no moment at
# which it runs unwatched. Its stdout is the pipe until then, and its log afterwards.
_WATCHDOG = 'read -r pid || exit 0; read -r _; kill -9 "$pid"; [ -z "$1" ] || rm -rf -- "$1"'
_REGISTER_AND_BECOME = 'echo "$$"; exec "$@" >&2'


class Child:
    """A running program with its output in a log file. Not thread-safe; one owner starts and kills it."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        scratch: Path | None = None,
    ) -> None:
        """Start ``argv`` in a session of its own (Ctrl-C at the terminal does not reach it).

        Args:
            name: what error messages call it.
            argv: program and arguments.
            log: file that stdout and stderr are appended to.
            env: the whole environment; ``None`` inherits ours.
            scratch: directory that the watchdog removes too, when this process dies without having cleaned up.
        """
        self.name = name
        self._log = log
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, f"{name} watchdog", str(scratch or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._watchdog.stdin is not None
        self._lifeline = self._watchdog.stdin
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _REGISTER_AND_BECOME, name, *argv],
                stdin=subprocess.DEVNULL,
                stdout=self._lifeline,
                stderr=output,
                env=None if env is None else dict(env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the program itself."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the program is still running."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill at once (``SIGKILL``) and wait until it is gone. Killing twice is fine."""
        self.end(signal.SIGKILL, timeout_seconds=30)

    def end(self, sig: int, *, timeout_seconds: float) -> None:
        """Send a signal and wait for the exit; after ``timeout_seconds`` it is killed."""
        if self.alive:
            self._process.send_signal(sig)
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout_seconds)
        # The watchdog goes before its pipe closes: the process id may already be somebody else's.
        self._watchdog.kill()
        self._watchdog.wait()
        self._lifeline.close()

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines of the log under a heading, for an error message."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return "\n".join([f"--- {self.name}: {self._log}", *text.splitlines()[-lines:]])
