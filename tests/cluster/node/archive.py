"""Images of one static program each, as archives that ``ctr images import`` takes; no builder, no base image.

The format: https://github.com/moby/docker-image-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path


def write_image(path: Path, *, name: str, program: Path, user: str = "65532:65532") -> None:
    """Write an image whose entry point, and only file, is ``program`` at ``/NAME-OF-PROGRAM``."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo(program.name)
        entry.mode, entry.size = 0o755, program.stat().st_size
        with program.open("rb") as content:
            tar.addfile(entry, content)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": _architecture(program),
        "os": "linux",
        "config": {"User": user, "Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, mode="w") as tar:
        for file_name, content in (
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", layer.getvalue()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(file_name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _architecture(program: Path) -> str:
    """Return Go's name of the machine that a program is for, from its ELF header (offset 18)."""
    with program.open("rb") as binary:
        machine = int.from_bytes(binary.read(20)[18:20], "little")
    return {0x3E: "amd64", 0xB7: "arm64"}[machine]
