"""A container of a built image, run as a kubelet would run it under the `restricted` Pod Security Standard.

runc, which needs no daemon: processes, mounts, IPC and host name of its own, a read-only root, no capability, no way to
gain any. The network is the machine's, so that nothing is set up there; whoever starts one chooses free ports.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Image:
    """An image of ``build/images``, unpacked."""

    name: str
    archive: Path
    root: Path
    config: Mapping[str, Any]
    """What the image says: ``Env``, ``Entrypoint``, ``Cmd``, ``User``, ``Labels``, …; and ``Layers``, how many."""

    @property
    def megabytes(self) -> int:
        """What it takes, uncompressed."""
        return self.archive.stat().st_size >> 20

    def find(self, *names: str) -> list[str]:
        """Paths of the files, or folders, that have one of these names."""
        found: list[str] = []
        for folder, folders, files in os.walk(self.root):
            found += (os.path.join(folder, each) for each in (*folders, *files) if each in names)
        return found

    def packages(self) -> set[str]:
        """The importable packages beside ours, as folders of site-packages."""
        (site,) = self.root.glob("opt/trunkline/lib/python3.*/site-packages")
        return {each.name for each in site.iterdir() if each.is_dir() and "-" not in each.name}


def read_config(archive: Path) -> Mapping[str, Any]:
    """The configuration in a docker-archive.

    https://github.com/opencontainers/image-spec/blob/main/config.md
    """
    with tarfile.open(archive) as tar:
        (manifest,) = _json(tar, "manifest.json")
        return {**_json(tar, manifest["Config"])["config"], "Tags": manifest["RepoTags"]}


def _json(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.extractfile(name)
    assert member is not None
    return json.load(member)


class Container:
    """One run of an image. Ends with ``close``, however far it got."""

    def __init__(
        self,
        image: Image,
        scratch: Path,
        *args: str,
        entrypoint: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        mounts: Mapping[str, Path] | None = None,
        tmpfs: Sequence[str] = ("/tmp",),
        user: str = "",
    ) -> None:
        """Start it.

        Args:
            image: what to run.
            scratch: an empty folder for the bundle and the log.
            args: what follows the entry point; the image's ``Cmd`` where none is given.
            entrypoint: instead of the image's.
            env: beside the image's own.
            mounts: folder in the container → folder here, read-only.
            tmpfs: where something can be written, in memory.
            user: ``UID:GID``, instead of the image's.
        """
        self.image = image
        self.log = scratch / "log"
        self._id = f"trunkline-images-{uuid.uuid4().hex[:12]}"
        self._state = scratch / "state"
        self._bundle = scratch / "bundle"
        self._bundle.mkdir(parents=True)
        self._environment = {**dict(each.split("=", 1) for each in image.config["Env"]), **(env or {})}
        uid, gid = (int(each) for each in (user or image.config["User"]).split(":"))
        self._spec(
            image.root,
            [*(image.config["Entrypoint"] if entrypoint is None else entrypoint), *(args or image.config["Cmd"] or ())],
            (uid, gid),
            mounts or {},
            tmpfs,
        )
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._runc, "run", "--bundle", str(self._bundle), self._id],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def _runc(self) -> list[str]:
        return ["runc", "--root", str(self._state)]

    @property
    def said(self) -> str:
        """What it has written to stdout and stderr."""
        return self.log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether it runs still."""
        return self._process.poll() is None

    def wait(self, seconds: float = 30) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait(seconds)

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM to its process 1, as the kubelet sends it; the exit code."""
        subprocess.run([*self._runc, "kill", self._id, "TERM"], check=True, timeout=10)
        return self.wait(seconds)

    def run(self, *argv: str, user: str = "65532:65532") -> subprocess.CompletedProcess[str]:
        """Run a command inside, with the environment of its process 1."""
        environment = [part for name, value in self._environment.items() for part in ("--env", f"{name}={value}")]
        return subprocess.run(
            [*self._runc, "exec", "--user", user, *environment, self._id, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def close(self) -> None:
        """Kill what is left of it."""
        subprocess.run([*self._runc, "delete", "--force", self._id], capture_output=True, timeout=30)
        if self.alive:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def _spec(
        self,
        root: Path,
        argv: list[str],
        user: tuple[int, int],
        mounts: Mapping[str, Path],
        tmpfs: Sequence[str],
    ) -> None:
        """Write the runtime's configuration. https://github.com/opencontainers/runtime-spec/blob/main/config.md"""
        subprocess.run(["runc", "spec", "--bundle", str(self._bundle)], check=True, timeout=10)
        path = self._bundle / "config.json"
        spec = json.loads(path.read_text())
        spec["root"] = {"path": str(root), "readonly": True}
        spec["process"] |= {
            "terminal": False,
            "args": argv,
            "env": [f"{name}={value}" for name, value in self._environment.items()],
            "user": {"uid": user[0], "gid": user[1]},
            "capabilities": {name: [] for name in spec["process"]["capabilities"]},
            "noNewPrivileges": True,
        }
        spec["mounts"] += [
            {"destination": at, "type": "tmpfs", "source": "tmpfs", "options": _options(rest)}
            for at, _, rest in (each.partition(":") for each in tmpfs)
        ]
        spec["mounts"] += [
            {"destination": at, "type": "bind", "source": str(here), "options": ["rbind", "ro"]}
            for at, here in mounts.items()
        ]
        linux = spec["linux"]
        linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != "network"]
        path.write_text(json.dumps(spec))


def _options(given: str) -> list[str]:
    return ["nosuid", "nodev", *(given.split(",") if given else ("mode=1777",))]
