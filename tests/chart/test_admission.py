"""A real API server takes every object of every set of values, and every pod in a namespace that is `restricted`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart import schemas
from chart.rendering import SETS, objects, pod_specs, program
from harness.kube import ApiError, ApiServer

# Kinds of other projects, whose CRDs are not here.
FOREIGN = {"cert-manager.io", "monitoring.coreos.com", "gateway.networking.k8s.io"}
NAMESPACES = ("trunkline-system", "ai", "platform", "team-a", "team-b")


@pytest.fixture(scope="module")
def cluster(api: ApiServer) -> ApiServer:
    """The API server with the namespaces that the values name; pods must be restricted in the first."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    for name in NAMESPACES:
        api.kubectl("create", "namespace", name)
    api.request("PATCH", "/api/v1/namespaces/trunkline-system", {"metadata": {"labels": labels}})
    return api


def group(each: Mapping[str, Any]) -> str:
    api_version: str = each["apiVersion"]
    return api_version.partition("/")[0] if "/" in api_version else ""


@pytest.mark.parametrize("name", SETS)
def test_the_api_server_takes_every_object_and_knows_every_field(cluster: ApiServer, name: str):
    known = [each for each in objects(name) if group(each) not in FOREIGN]
    documents = "\n---\n".join(json.dumps(each) for each in known)
    said = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", input=documents
    )
    assert len(said.stdout.splitlines()) == len(known)
    assert "Warning" not in said.stderr


def test_the_api_server_refuses_a_field_that_it_does_not_know(cluster: ApiServer):
    misspelt = json.loads(json.dumps(next(each for each in objects("default") if each["kind"] == "Deployment")))
    misspelt["spec"]["template"]["spec"]["terminationGracePeriod"] = 5
    said = cluster.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        input=json.dumps(misspelt),
        check=False,
    )
    assert said.returncode != 0
    assert "terminationGracePeriod" in said.stderr


def create_pod(cluster: ApiServer, spec: Mapping[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "pod-"}, "spec": dict(spec)}
    # Classes that a cluster's administrator makes.
    pod["spec"] = {name: value for name, value in spec.items() if not name.endswith("ClassName")}
    cluster.request("POST", "/api/v1/namespaces/trunkline-system/pods?dryRun=All&fieldValidation=Strict", pod)


@pytest.mark.parametrize("name", SETS)
def test_every_pod_is_admitted_where_pods_must_be_restricted(cluster: ApiServer, name: str):
    found = list(pod_specs(objects(name)))
    assert len(found) >= 3
    for _, _, spec in found:
        create_pod(cluster, spec)


def test_a_pod_with_more_is_not_admitted_there(cluster: ApiServer):
    _, _, spec = next(pod_specs(objects("default")))
    with pytest.raises(ApiError, match="violates PodSecurity"):
        create_pod(cluster, {**spec, "securityContext": {}})


@pytest.fixture(scope="module")
def schema_directory(api: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("schemas")
    every = [each for name in SETS for each in objects(name) if group(each) not in FOREIGN]
    schemas.write(api, directory, {(each["apiVersion"], each["kind"]) for each in every})
    return directory


@pytest.mark.parametrize("name", SETS)
def test_kubeconform_finds_nothing(schema_directory: Path, name: str, tmp_path: Path):
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(yaml.safe_dump_all(objects(name)), encoding="utf-8")
    foreign = {each["kind"] for each in objects(name) if group(each) in FOREIGN}
    found = schemas.kubeconform(program("kubeconform"), schema_directory, manifest, skip=foreign)
    assert found["summary"] == {
        "valid": len(objects(name)) - found["summary"]["skipped"],
        "invalid": 0,
        "errors": 0,
        "skipped": sum(group(each) in FOREIGN for each in objects(name)),
    }


def test_kubeconform_finds_what_is_wrong(schema_directory: Path, tmp_path: Path):
    manifest = tmp_path / "manifest.yaml"
    wrong = {"apiVersion": "trunkline.dev/v1alpha1", "kind": "ModelGroup", "metadata": {"name": "a"}}
    manifest.write_text(json.dumps({**wrong, "spec": {"targets": "none"}}), encoding="utf-8")
    found = schemas.kubeconform(program("kubeconform"), schema_directory, manifest)
    assert found["summary"]["invalid"] == 1
    assert "targets" in found["resources"][0]["msg"]
