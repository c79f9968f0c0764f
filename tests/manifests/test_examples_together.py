"""All examples in one cluster, by the commands of their comments, typed into one shell."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.kube import ApiServer, assets_or_skip
from harness.system import REPOSITORY, System, wait_for
from manifests import examples
from trunkline_protocol.resources import KINDS

Shell = Callable[[str], "subprocess.CompletedProcess[str]"]

WITH_SECRETS = [path for path in examples.EXAMPLES if examples.secret_files(path)]
_GUARDED = re.compile(r'"\$\{(\w+):\?\}"')
_PLACEHOLDER = re.compile(r"(\w+)=…")


@pytest.fixture(scope="module")
def cluster() -> Iterator[System]:
    """An API server of its own, since public names and keys belong to one owner in all that an operator watches."""
    places = {path.name for path in examples.EXAMPLES}
    places |= {each["metadata"]["name"] for each in _all_documents() if each["kind"] == "Namespace"}
    with (
        ApiServer(assets_or_skip()) as api,
        System(api, operator_flags=[f"--namespace={name}" for name in sorted(places)]) as running,
    ):
        running.gateway("gw-1").wait_ready()
        yield running


@pytest.fixture(scope="module")
def shell(cluster: System, serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Runs a script where the comments suppose: in the repository, with a ``ca.crt``, kubectl and the Google CLI."""
    for tool in ("bash", "envsubst", "openssl"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not here")
    directory = tmp_path_factory.mktemp("repository")
    (directory / "manifests").symlink_to(REPOSITORY / "manifests")
    shutil.copy(serving.ca, directory / "ca.crt")
    environ = examples.clean_environment(
        {"KUBECONFIG": str(cluster.api.kubeconfig), "KUBECACHEDIR": str(directory / "kubectl-cache")}
    )
    environ["PATH"] = f"{assets_or_skip()}{os.pathsep}{environ['PATH']}"

    def run(script: str) -> subprocess.CompletedProcess[str]:
        script = f"gcloud() {{ echo a-token; }}\n{script}\n"
        argv = ["bash", "-c", script]
        return subprocess.run(
            argv, cwd=directory, env=environ, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture(scope="module")
def followed(shell: Shell) -> None:
    """Every example's commands have been typed, one example after the other."""
    typed = ["set -eo pipefail"]
    for path in examples.EXAMPLES:
        typed.append(
            _PLACEHOLDER.sub(lambda found: f"{found[1]}=sk-of-{found[1].lower()}", examples.export_commands(path))
        )
        typed.append(examples.cluster_commands(path))
    done = shell("\n".join(typed))
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_are_in_force_beside_each_other(cluster: System, followed: None) -> None:
    made = [each for each in _all_documents() if each["kind"] in examples.OUR_KINDS]
    own_key_of_the_quickstart = 1

    def settled() -> bool:
        found = _objects(cluster)
        return len(found) == len(made) + own_key_of_the_quickstart and not any(map(_lacks, found))

    try:
        wait_for(settled, 20, "everything to be in force")
    except TimeoutError:
        pytest.fail("\n".join(f"{_name(each)}: {_lacks(each)}" for each in _objects(cluster) if _lacks(each)))
    assert not [_name(each) for each in _objects(cluster) if "older" in str(each["status"]).lower()], "lost a name"


@pytest.mark.parametrize("example", [path.name for path in WITH_SECRETS], indirect=True, ids=lambda name: name)
def test_a_new_shell_overwrites_no_secret_with_nothing(
    example: Path, cluster: System, shell: Shell, followed: None
) -> None:
    before = _versions_of_secrets(cluster, example.name)
    assert before
    done = shell(examples.cluster_commands(example))
    assert done.returncode != 0
    assert re.search(r"\w+: parameter null or not set", done.stderr), done.stderr
    assert _versions_of_secrets(cluster, example.name) == before


@pytest.mark.parametrize("example", [path.name for path in WITH_SECRETS], indirect=True, ids=lambda name: name)
def test_each_variable_of_a_secret_is_asked_for_before_it_is_filled_in(example: Path) -> None:
    asked_for = set(_GUARDED.findall(examples.cluster_commands(example)))
    assert asked_for == set(examples.environment(example, "")) - {examples.AUTHORITIES}


def test_no_two_examples_share_a_client_key() -> None:
    made = [name for path in examples.EXAMPLES for name in re.findall(r"(\w+)=sk-tl-\$", _typed(path))]
    assert len(made) > len(WITH_SECRETS)
    assert len(made) == len(set(made))


def test_no_two_examples_share_a_public_name() -> None:
    """The older group would keep it, whatever the namespaces."""
    names = {path.name: _patterns(path) for path in examples.EXAMPLES}
    for (one, of_one), (other, of_other) in itertools.combinations(names.items(), 2):
        shared = [(a, b) for a in of_one for b in of_other if fnmatch.fnmatchcase(a, b) or fnmatch.fnmatchcase(b, a)]
        assert not shared, (one, other)


def _typed(path: Path) -> str:
    return f"{examples.export_commands(path)}\n{examples.cluster_commands(path)}"


def _all_documents() -> list[dict[str, Any]]:
    return [document for path in examples.EXAMPLES for document in examples.documents(examples.files(path))]


def _patterns(path: Path) -> list[str]:
    groups = [each for each in examples.documents(examples.files(path)) if each["kind"] == "ModelGroup"]
    return [name for each in groups for name in each["spec"].get("models", [each["metadata"]["name"]])]


def _objects(cluster: System) -> list[dict[str, Any]]:
    found = []
    for kind in examples.OUR_KINDS:
        listed = cluster.api.request("GET", f"/apis/trunkline.dev/v1alpha1/{KINDS[kind].plural}")["items"]
        found += [{"kind": kind, **each} for each in listed]
    return found


def _lacks(found: dict[str, Any]) -> list[dict[str, Any] | str]:
    said = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
    wanted = ("Accepted", "ResolvedRefs", "Programmed")
    return [said.get(name, name) for name in wanted if said.get(name, {}).get("status") != "True"]


def _name(found: dict[str, Any]) -> str:
    return f"{found['kind']} {found['metadata']['namespace']}/{found['metadata']['name']}"


def _versions_of_secrets(cluster: System, namespace: str) -> dict[str, str]:
    listed = cluster.api.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in listed}
