"""Other programs, run to their end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from cluster.node.processes import direct_environment


class CommandError(RuntimeError):
    """A program failed; the message says which one and what it said."""


def run(
    argv: Sequence[str],
    *,
    input: str | None = None,
    check: bool = True,
    timeout_seconds: float = 60,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return its stdout.

    Args:
        argv: program and arguments; they stand in error messages, so no secret may.
        input: text for its stdin.
        check: whether a failure raises.
        timeout_seconds: after which it is killed.
        env: the whole environment; ``None`` is ours without the machine's proxy settings.

    Raises:
        CommandError: it failed and ``check`` is true, or time was up.
    """
    try:
        done = subprocess.run(
            argv,
            input=input or "",
            capture_output=True,
            text=True,
            env=direct_environment() if env is None else dict(env),
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandError(f"{' '.join(argv)}: not done after {timeout_seconds:.0f} s") from None
    if check and done.returncode != 0:
        raise CommandError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stderr.strip()}")
    return done.stdout
