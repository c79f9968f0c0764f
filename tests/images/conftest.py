"""The images of build/images, as containers.

They need root, runc and buildah, and images that `make images` has built. TRUNKLINE_CLUSTER=1 asks for them: then, for
root, what is missing is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.container import Container, Image, read_config

ROOT = Path(__file__).parents[2]
TARGETS = ("operator", "gateway", "all-in-one")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the containers out of plain `make test`: the images take minutes to build."""
    if os.environ.get("TRUNKLINE_CLUSTER") == "1":
        return
    for item in items:
        if item.path.parent == Path(__file__).parent and "unpacked" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="set TRUNKLINE_CLUSTER=1, after `make images`, to run the images"))


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Image]]:
    """Every image, mounted by buildah in a store of this run."""
    if os.geteuid() != 0:
        pytest.skip("runc runs these containers as root only")
    for program in ("runc", "buildah"):
        assert shutil.which(program), f"{program} is not installed"
    archives = {target: ROOT / "build" / "images" / f"{target}.tar" for target in TARGETS}
    missing = [str(each) for each in archives.values() if not each.exists()]
    assert not missing, f"run `make images` first: no {', '.join(missing)}"
    store = tmp_path_factory.mktemp("store")
    buildah = ["buildah", "--root", str(store / "root"), "--runroot", str(store / "run")]
    if _prints([*buildah, "--storage-driver", "overlay", "info"], fine=True) is None:
        buildah += ["--storage-driver", "vfs"]
    else:
        buildah += ["--storage-driver", "overlay"]
    made: dict[str, str] = {}
    try:
        images: dict[str, Image] = {}
        for target, archive in archives.items():
            made[target] = _prints([*buildah, "from", "--quiet", f"docker-archive:{archive}"]) or ""
            root = Path(_prints([*buildah, "mount", made[target]]) or "")
            images[target] = Image(target, archive, root, read_config(archive))
        yield images
    finally:
        for container in made.values():
            subprocess.run([*buildah, "umount", container], capture_output=True)
            subprocess.run([*buildah, "rm", container], capture_output=True)
        # overlay's folder is a mount of itself.
        subprocess.run(["umount", str(store / "root" / "overlay")], capture_output=True)
        shutil.rmtree(store, ignore_errors=True)


@pytest.fixture(params=TARGETS)
def image(request: pytest.FixtureRequest, unpacked: dict[str, Image]) -> Image:
    """Each image in turn."""
    return unpacked[request.param]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Container]]:
    """Start a container that ends with the test: ``start(image, *args, …)``."""
    started: list[Container] = []

    def run(image: Image, *args: str, **how: object) -> Container:
        scratch = tmp_path / f"container-{len(started)}"
        container = Container(image, scratch, *args, **how)  # type: ignore[arg-type]  # checked where it is called
        started.append(container)
        return container

    yield run
    for container in started:
        container.close()


def _prints(command: list[str], *, fine: bool = False) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode and not fine:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
    return None if done.returncode else done.stdout.strip()
