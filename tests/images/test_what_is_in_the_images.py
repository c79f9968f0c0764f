"""What the images hold, what they do not, and what they say about themselves."""

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from images.container import Image

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

TITLES = {"operator": "trunkline-operator", "gateway": "trunkline-gateway", "all-in-one": "trunkline"}
PORTS = {
    "operator": {"8443/tcp", "9090/tcp"},
    "gateway": {"8080/tcp", "9090/tcp"},
    "all-in-one": {"8080/tcp", "9090/tcp"},
}
MOST_MEGABYTES = {"operator": 350, "gateway": 240, "all-in-one": 360}


def test_labels_say_what_it_is_and_what_it_was_made_of(image: Image) -> None:
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in image.config["Labels"].items()
        if name.startswith("org.opencontainers.image.")
    }
    assert labels["title"] == TITLES[image.name]
    assert labels["version"] == PROJECT["version"]
    assert labels["licenses"] == PROJECT["license"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["revision"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["created"])
    assert labels["source"].startswith("https://")
    assert labels["description"]


def test_the_tag_is_the_version(image: Image) -> None:
    assert image.config["Tags"] == [f"ghcr.io/trunkline/{TITLES[image.name]}:{PROJECT['version']}"]


def test_the_configuration_is_what_the_design_says(image: Image) -> None:
    config = image.config
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == [TITLES[image.name]]
    assert set(config["ExposedPorts"]) == PORTS[image.name]
    assert config.get("StopSignal", "SIGTERM") == "SIGTERM"
    assert {"PYTHONSAFEPATH=1", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"} <= set(config["Env"])
    # Kubernetes has probes of its own; a CMD would hide that a plane takes flags only.
    planes_alone = image.name != "all-in-one"
    assert ("Healthcheck" in config) is not planes_alone
    assert (not config.get("Cmd")) is planes_alone


def test_it_holds_the_packages_of_its_plane_only(unpacked: dict[str, Image]) -> None:
    operator, gateway, both = (unpacked[target].packages() for target in ("operator", "gateway", "all-in-one"))
    assert {"trunkline_operator", "trunkline_protocol", "kopf", "kubernetes"} <= operator
    assert operator.isdisjoint({"trunkline", "trunkline_gateway", "fastapi", "uvicorn", "httptools", "httpx"})
    assert {"trunkline_gateway", "trunkline_protocol", "fastapi", "uvicorn"} <= gateway
    assert gateway.isdisjoint({"trunkline", "trunkline_operator", "kopf", "kubernetes", "aiohttp", "httpx"})
    assert {"trunkline", "trunkline_operator", "trunkline_gateway", "kopf", "fastapi", "httpx"} <= both
    development = {"pytest", "mypy", "ruff", "hypothesis", "openai", "hatchling", "grpc_tools", "uv"}
    assert not (operator | gateway | both) & development


def test_nothing_in_it_installs_packages_of_python_or_compiles(image: Image) -> None:
    programs = image.find("pip", "pip3", "uv", "uvx", "gcc", "cc", "make", "g++", "ld", "git", "curl")
    assert [each for each in programs if "/bin/" in each] == []
    assert image.find("ensurepip", "hatchling") == []
    assert [each for each in image.find("pip", "setuptools") if "-packages/" in each] == []
    assert list(image.root.glob("usr/share/python-wheels/*")) == []


def test_only_its_own_command_is_beside_python(image: Image) -> None:
    commands = {
        "operator": {"trunkline-operator"},
        "gateway": {"trunkline-gateway"},
        "all-in-one": {"trunkline", "trunkline-operator", "trunkline-gateway"},
    }
    found = {each.name for each in (image.root / "opt/trunkline/bin").iterdir() if not each.name.startswith("python")}
    assert found == commands[image.name]


def test_the_user_owns_nothing_but_its_state_directory(image: Image) -> None:
    owned = []
    for folder, folders, files in os.walk(image.root):
        owned += [
            os.path.join(folder, each)
            for each in (*folders, *files)
            if os.lstat(os.path.join(folder, each)).st_uid == 65532
        ]
    assert owned == [str(image.root / "var/lib/trunkline")]
    assert stat.S_IMODE((image.root / "var/lib/trunkline").stat().st_mode) == 0o700


def test_what_is_ours_and_what_we_import_is_compiled(image: Image) -> None:
    (site,) = image.root.glob("opt/trunkline/lib/python3.*/site-packages")
    (version,) = (each.name.removeprefix("python") for each in (image.root / "opt/trunkline/lib").iterdir())
    tag = f"cpython-{version.replace('.', '')}"
    without = [
        str(module)
        for package in ("trunkline_protocol", "pydantic", "grpc", "prometheus_client", "google/protobuf")
        for module in (site / package).rglob("*.py")
        if not (module.parent / "__pycache__" / f"{module.stem}.{tag}.pyc").exists()
    ]
    assert without == []
    standard = next(each for each in image.root.glob("usr/**/asyncio") if each.is_dir())
    assert (standard / "__pycache__" / f"base_events.{tag}.pyc").exists()


def test_no_file_of_the_checkout_is_in_it_but_packages(image: Image) -> None:
    assert image.find("Dockerfile", "uv.lock", "bootstrap.txt", "build.txt", ".git", ".env", "conftest.py") == []


def test_it_is_no_larger_than_the_page_says(image: Image) -> None:
    assert image.megabytes < MOST_MEGABYTES[image.name]


@pytest.mark.skipif(
    subprocess.run(["git", "-C", str(ROOT), "rev-parse"], capture_output=True).returncode != 0, reason="not a checkout"
)
def test_built_images_are_not_taken_into_the_repository() -> None:
    # By the checked-in rules alone: what a build leaves in build/ need not be there.
    rules = ["-c", "core.excludesFile=/dev/null", "check-ignore", "-v", "--no-index", "build/images/gateway.tar"]
    said = subprocess.run(["git", "-C", str(ROOT), *rules], capture_output=True, text=True, check=True).stdout
    assert said.startswith((".gitignore:", "build/.gitignore:"))
    assert "/build/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
