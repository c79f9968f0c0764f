"""The clients that tests run against Trunkline: pinned, each set in an environment of its own under the cache.

``python tests/clients/install.py`` installs what is missing (a minute or two and 1.3 GB, once), and after that nothing
needs the network. An environment is named by the hash of its lock file, so a new lock makes a new one.

    TRUNKLINE_CACHE   where they are kept; default ${XDG_CACHE_HOME:-$HOME/.cache}/trunkline
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
PYTHON_SETS = ("sdks", "frameworks")
NODE_SET = "node"
_DONE = ".complete"


class ClientsMissingError(RuntimeError):
    """A set of clients is not installed; the message says how to."""


def place(name: str) -> Path:
    """Where a set of clients is, or will be."""
    lock = _HERE / "node" / "package-lock.json" if name == NODE_SET else _HERE / f"{name}.txt"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    seed = lock.read_bytes() + (b"" if name == NODE_SET else python.encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trunkline"
    cache = Path(os.environ.get("TRUNKLINE_CACHE") or cache)
    return cache / "clients" / f"{name}-{hashlib.sha256(seed).hexdigest()[:12]}"


def locate(name: str) -> Path:
    """The directory of an installed set.

    Raises:
        ClientsMissingError: it is not there, or not whole.
    """
    found = place(name)
    if not (found / _DONE).exists():
        raise ClientsMissingError(f"the clients `{name}` are not installed: make test-clients")
    return found


def install(name: str) -> Path:
    """Install a set where it is missing, and remove those that it replaces.

    Raises:
        ClientsMissingError: npm is not here.
        subprocess.CalledProcessError: it failed; its output says why.
    """
    into = place(name)
    if (into / _DONE).exists():
        return into
    print(f"installing the clients `{name}` into {into}", file=sys.stderr, flush=True)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    if name == NODE_SET:
        _npm(into)
    else:
        _uv(into, _HERE / f"{name}.txt")
    (into / _DONE).touch()
    for old in into.parent.glob(f"{name}-*"):
        if old != into:
            shutil.rmtree(old, ignore_errors=True)
    return into


def _uv(into: Path, lock: Path) -> None:
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(into)], check=True)
    python = str(into / "bin" / "python")
    argv = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(lock)]
    subprocess.run(argv, check=True)


def _npm(into: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ClientsMissingError("no npm: install Node.js 20 or newer (https://nodejs.org)")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_HERE / "node" / name, into)
    # No scripts: what they would build is optional, and the programs are whole without.
    subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=into, check=True)


def main() -> None:
    """Install every set."""
    for name in (*PYTHON_SETS, NODE_SET):
        install(name)


if __name__ == "__main__":
    main()
