"""`trunkline run` serves, and ends when it is told to, whatever has become of its stdout and stderr."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness import ports
from harness.system import BIN, REPOSITORY, request, wait_for

STOP_SECONDS = 10
PLAIN = 'exec "$@"'


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # the test has closed it
            os.close(end)


@contextmanager
def running(
    directory: Path, *flags: str, become: str = PLAIN, stdout: int | None = None, stderr: int | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[], int]]]:
    """Run it until it is ready; gives the process, and what asks it for a list of models and returns the status."""
    port, admin_port = ports.free_ports(2)
    argv = [
        str(BIN / "trunkline"), "run", str(REPOSITORY / "manifests" / "quickstart"), f"--port={port}",
        f"--admin-port={admin_port}", f"--state-dir={directory}", "--log-level=info", *flags,
    ]  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    with (directory / "log").open("ab") as log:
        child = subprocess.Popen(
            ["/bin/sh", "-c", become, "sh", *argv],
            stdout=log if stdout is None else stdout,
            stderr=log if stderr is None else stderr,
            env=environ,
        )

    def ready() -> bool:
        assert child.poll() is None
        with suppress(OSError):
            return request(admin_port, "GET", "/readyz").status == 200
        return False

    def models() -> int:
        made = (directory / "env").read_text(encoding="ascii").rpartition("OPENAI_API_KEY=")[2].strip()
        return request(port, "GET", "/v1/models", key=made).status

    try:
        wait_for(ready, 30, "readiness")
        wait_for((directory / "env").exists, 10, "the key")
        yield child, models
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def stopped(child: "subprocess.Popen[bytes]") -> int:
    child.send_signal(signal.SIGTERM)
    return child.wait(STOP_SECONDS)


@pytest.mark.parametrize("flags", [(), ("--welcome",)])
def test_its_readers_are_gone(tmp_path: Path, pipe: tuple[int, int], flags: tuple[str, ...]) -> None:
    os.close(pipe[0])
    with running(tmp_path, *flags, stdout=pipe[1], stderr=pipe[1]) as (child, models):
        assert models() == 200
        assert stopped(child) == 0


def test_it_was_started_without_stdout_and_stderr(tmp_path: Path) -> None:
    with running(tmp_path, become='exec "$@" >&- 2>&-') as (child, models):
        assert models() == 200
        assert stopped(child) == 0


def test_stderr_is_a_full_pipe_that_nobody_reads(tmp_path: Path, pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe[1], b"x" * 4096)
    os.set_blocking(pipe[1], True)
    with running(tmp_path, stderr=pipe[1]) as (child, models):
        assert models() == 200
        assert stopped(child) == 0


def test_what_it_says_at_its_end_is_there(tmp_path: Path) -> None:
    with running(tmp_path) as (child, _):
        assert stopped(child) == 0
    said = (tmp_path / "log").read_text(encoding="utf-8")
    assert "stopping; running answers have 10 s" in said
    assert "ready http://127.0.0.1:" in said


def test_that_nothing_valid_is_there_is_said_before_it_ends(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("apiVersion: trunkline.dev/v1alpha1\nkind: ModelGroup\nspec: 1\n", "ascii")
    argv = [str(BIN / "trunkline"), "run", str(tmp_path)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "bad.yaml" in ended.stderr
    assert "nothing valid to serve" in ended.stderr
