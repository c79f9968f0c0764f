"""Where the binaries of the API server come from: ready-made, cached, or built from source."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

_BUILD = Path(__file__).resolve().parents[1] / "apiserver" / "binaries" / "build.sh"
_BINARIES = ("etcd", "kube-apiserver", "kubectl")


class AssetsMissingError(RuntimeError):
    """There are no API-server binaries and none can be built; the message says in one line what to install."""


@functools.cache
def locate_assets() -> Path:
    """Return the directory with etcd, kube-apiserver and kubectl, building what is missing (minutes, once).

    Raises:
        AssetsMissingError: neither ready-made binaries nor Go are here, or the build failed.
    """
    built = subprocess.run([str(_BUILD)], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        said = built.stderr.strip().splitlines() or [f"exit code {built.returncode}"]
        raise AssetsMissingError(said[-1] if built.returncode == 3 else f"{_BUILD.name} failed: {said[-1]}")
    assets = Path(built.stdout.splitlines()[-1])
    missing = [name for name in _BINARIES if not os.access(assets / name, os.X_OK)]
    if missing:
        raise AssetsMissingError(f"{assets} (KUBEBUILDER_ASSETS) has no {', '.join(missing)}")
    return assets


def find_assets() -> Path | None:
    """Return the binaries' directory as ``locate_assets`` does, or ``None`` where there is no way to have them."""
    try:
        return locate_assets()
    except AssetsMissingError:
        return None


def assets_or_skip() -> Path:
    """Return the binaries' directory, or skip the calling test, fixture or module.

    With ``TRUNKLINE_REQUIRE_APISERVER=1`` in the environment, as in CI, it fails instead of skipping.
    """
    try:
        return locate_assets()
    except AssetsMissingError as missing:
        if os.environ.get("TRUNKLINE_REQUIRE_APISERVER") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing), allow_module_level=True)
