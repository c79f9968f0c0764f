"""An earlier commit's gateway beside the one in the work tree, with the same load, taking turns."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.machine import ROOT, MissingError


@dataclass(frozen=True, slots=True)
class Checkout:
    """The source tree of a commit, and a Python that has its dependencies."""

    name: str
    tree: Path
    python: str


def checkout(revision: str, directory: Path, python: str) -> Checkout:
    """Unpack ``revision`` into ``directory``; where it locks other dependencies, they go into a cached environment.

    The files come from `git archive`, so that nothing is left in the repository when a run is killed.

    Raises:
        MissingError: there is no such revision, or its dependencies cannot be installed.
    """
    found = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short=10", "--verify", f"{revision}^{{commit}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode != 0:
        raise MissingError(f"{revision} is no revision of this repository")
    commit = found.stdout.strip()
    tree = directory / f"tree-{commit}"
    tree.mkdir()
    with subprocess.Popen(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", str(tree)], stdin=archive.stdout, check=True)
    if (tree / "uv.lock").read_bytes() != (ROOT / "uv.lock").read_bytes():
        python = _environment(tree, commit, Path(python).parent / "uv")
    return Checkout(commit, tree, python)


def _environment(tree: Path, commit: str, uv: Path) -> str:
    place = Path.home() / ".cache" / "trunkline" / "bench" / commit
    done = subprocess.run(
        [str(uv), "sync", "--quiet", "--frozen", "--all-extras", "--no-default-groups", "--project", str(tree)],
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MissingError(f"cannot install what {commit} locks: {done.stderr.strip()[-400:]}")
    return str(place / "bin" / "python")
