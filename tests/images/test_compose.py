"""compose.yaml: its settings, and the manifests that it mounts. What it runs is run in test_containers."""

import tomllib
from pathlib import Path

import pytest
import yaml

from images.compose import Service
from trunkline import validate

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose.yaml"
MANIFESTS = ROOT / "deploy/compose/manifests"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(params=["trunkline", "redis"])
def service(request: pytest.FixtureRequest) -> Service:
    return Service.read(COMPOSE, request.param)


def test_every_service_is_confined(service: Service) -> None:
    uid, gid = service.user.split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert service.given["read_only"] is True
    assert service.given["cap_drop"] == ["ALL"]
    assert service.given["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service.given
    assert "cap_add" not in service.given


def test_the_image_is_of_this_version() -> None:
    assert Service.read(COMPOSE, "trunkline").image == f"ghcr.io/trunkline/trunkline:{VERSION}"


def test_only_the_gateway_is_published_and_only_on_this_machine() -> None:
    assert Service.read(COMPOSE, "trunkline").ports == ("127.0.0.1:8080:8080",)
    assert Service.read(COMPOSE, "redis").ports == ()


def test_manifests_are_mounted_for_reading() -> None:
    given = Service.read(COMPOSE, "trunkline").given
    assert given["volumes"] == ["./deploy/compose/manifests:/etc/trunkline/manifests:ro"]
    assert MANIFESTS.is_dir()


def test_an_env_file_is_read_and_need_not_be_there() -> None:
    assert Service.read(COMPOSE, "trunkline").given["env_file"] == [{"path": ".env", "required": False}]


def test_the_example_of_the_env_file_changes_nothing_until_it_is_edited() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
    assert "# OPENAI_API_KEY=sk-…" in lines


def test_the_manifests_are_valid_with_a_provider_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-this-test")
    assert validate.main(str(MANIFESTS)) == 0, capsys.readouterr()


def test_without_a_provider_key_only_what_needs_it_is_wrong_and_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert validate.main(str(MANIFESTS)) == 1
    said = "".join(capsys.readouterr())
    assert "OPENAI_API_KEY is not set" in said
    assert {line.split(":")[0] for line in said.splitlines() if ".yaml:" in line} == {str(MANIFESTS / "openai.yaml")}


def test_no_manifest_holds_a_key() -> None:
    for path in MANIFESTS.glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            for value in document.get("stringData", {}).values():
                assert value.startswith("${"), path
            assert "data" not in document
