"""The programs that run beside Trunkline in tests: built from source once, or ready-made; see build.sh."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

from harness.assets import AssetsMissingError

_BUILD = Path(__file__).resolve().parents[1] / "apiserver" / "binaries" / "build.sh"


@functools.cache
def locate(name: str) -> Path:
    """Return the path of one program, building it where it is missing (minutes, once).

    Args:
        name: one that ``build.sh`` knows, such as ``helm``.

    Raises:
        AssetsMissingError: neither it nor Go is here, or the build failed; one sentence.
    """
    built = subprocess.run([str(_BUILD), name], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        said = built.stderr.strip().splitlines() or [f"exit code {built.returncode}"]
        raise AssetsMissingError(said[-1] if built.returncode == 3 else f"{_BUILD.name} {name} failed: {said[-1]}")
    return Path(built.stdout.splitlines()[-1])


def build(*names: str) -> None:
    """Build what is missing of several programs, and say so on stderr while it goes on.

    Raises:
        AssetsMissingError: it failed; stderr says why.
    """
    built = subprocess.run([str(_BUILD), *names], stdout=subprocess.DEVNULL, check=False)
    if built.returncode != 0:
        raise AssetsMissingError(f"{_BUILD.name} {' '.join(names)} failed with exit code {built.returncode}")
