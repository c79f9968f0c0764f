"""What holds whatever the values are."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from chart.rendering import (
    CHART,
    NAMESPACE,
    SETS,
    arguments,
    objects,
    one,
    parse,
    pod_specs,
    template,
    values_file,
    with_values,
)

OURS = {"operator", "gateway", "redis"}
LABELS = ("name", "instance", "version", "part-of", "managed-by")
CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


def made(name: str) -> list[Mapping[str, Any]]:
    """The chart's own objects: without what the values themselves bring."""
    return [each for each in objects(name) if (each["metadata"].get("labels") or {}).get("helm.sh/chart")]


@pytest.mark.parametrize("name", SETS)
def test_every_object_says_whose_it_is_and_where_it_goes(name: str):
    extra = yaml.safe_load(values_file(name).read_text(encoding="utf-8")).get("extraObjects", [])
    assert len(made(name)) == len(objects(name)) - len(extra)
    for each in made(name):
        labels = each["metadata"]["labels"]
        assert all(f"app.kubernetes.io/{label}" in labels for label in LABELS)
        assert ("namespace" in each["metadata"]) == (each["kind"] not in CLUSTER_SCOPED)


@pytest.mark.parametrize("name", SETS)
def test_no_two_objects_have_one_name(name: str):
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects(name)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", SETS)
def test_the_only_hook_is_the_test(name: str):
    hooks = [
        value
        for each in objects(name)
        for key, value in (each["metadata"].get("annotations") or {}).items()
        if key == "helm.sh/hook"
    ]
    assert hooks == ["test"]


@pytest.mark.parametrize("name", SETS)
def test_no_object_holds_a_secret(name: str):
    for each in objects(name):
        if each["kind"] == "Secret":
            assert not each.keys() & {"data", "stringData"}
        if each["kind"] == "ConfigMap" and each["metadata"]["name"].endswith("-operator-ca"):
            assert not each.keys() & {"data", "binaryData"}


@pytest.mark.parametrize("name", SETS)
def test_every_selector_finds_the_pods_that_it_is_meant_for(name: str):
    found = objects(name)
    labels = {
        metadata["labels"]["app.kubernetes.io/component"]: metadata["labels"] for _, metadata, _ in pod_specs(found)
    }
    for each in made(name):
        selector = each.get("spec", {}).get("selector") or each.get("spec", {}).get("podSelector") or {}
        wanted = selector.get("matchLabels", selector)
        if each["kind"] in {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"}:
            component = each["metadata"]["labels"]["app.kubernetes.io/component"]
            assert {c for c, of in labels.items() if wanted.items() <= of.items()} == {component}
        # A Deployment's is immutable: nothing that changes with the version may be in it.
        if each["kind"] == "Deployment":
            assert wanted.keys() == {f"app.kubernetes.io/{part}" for part in ("name", "instance", "component")}


@pytest.mark.parametrize("name", SETS)
def test_every_container_is_bounded_and_pinned(name: str):
    for pod, _, spec in pod_specs(objects(name)):
        for container in spec["containers"]:
            assert container["resources"]["limits"]["memory"], pod
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, pod
            assert re.search(r"(:[0-9][^:/]*|@sha256:[0-9a-f]{64})$", container["image"]), pod
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, pod
            if pod.rpartition("-")[2] in OURS:
                assert container.keys() >= {"startupProbe", "readinessProbe", "livenessProbe"}, pod
        assert spec["enableServiceLinks"] is False
        # Whatever has no rights has no token of the API server.
        assert spec["automountServiceAccountToken"] is pod.endswith("-operator")
        for volume in spec.get("volumes", []):
            if "emptyDir" in volume:
                assert volume["emptyDir"]["sizeLimit"]


@pytest.mark.parametrize("name", SETS)
def test_every_mount_has_its_volume(name: str):
    for _, _, spec in pod_specs(objects(name)):
        volumes = {each["name"] for each in spec.get("volumes", [])}
        mounts = {each["name"] for container in spec["containers"] for each in container.get("volumeMounts", [])}
        assert mounts == volumes


@pytest.mark.parametrize("name", SETS)
def test_nobody_but_the_operator_sees_the_private_key(name: str):
    for pod, _, spec in pod_specs(objects(name)):
        for volume in spec.get("volumes", []):
            if "secret" in volume and not pod.endswith("-operator"):
                assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


@pytest.mark.parametrize("name", SETS)
def test_a_pod_has_time_for_what_it_is_told_to_finish(name: str):
    found = objects(name)
    (gateway,) = [spec for pod, _, spec in pod_specs(found) if pod.endswith("-gateway")]
    given = dict(each.removeprefix("--").split("=", 1) for each in gateway["containers"][0]["args"])
    seconds = {"5s": 5, "30s": 30, "1500ms": 1.5, "10m30s": 630}
    needed = seconds[given["drain-delay"]] + seconds[given["shutdown-grace"]] + 5
    assert needed <= gateway["terminationGracePeriodSeconds"] < needed + 1


@pytest.mark.parametrize("name", SETS)
def test_rights_are_what_they_must_be_and_no_more(name: str):
    for each in made(name):
        if each["kind"] not in {"Role", "ClusterRole"} or not each["metadata"]["labels"].get(
            "app.kubernetes.io/component"
        ):
            continue
        for rule in each["rules"]:
            assert "*" not in [*rule["verbs"], *rule.get("resources", []), *rule.get("apiGroups", [])]
            if "secrets" in rule.get("resources", []) and not rule.get("resourceNames"):
                assert rule["verbs"] == ["get", "list", "watch"]


@pytest.mark.parametrize("name", SETS)
def test_a_render_is_the_same_every_time(name: str):
    assert parse(template("-f", str(values_file(name)))) == objects(name)


def test_templates_throw_no_dice_and_look_into_the_cluster_for_the_number_of_gateways_only():
    text = "\n".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").rglob("*") if path.is_file())
    code = "\n".join(re.findall(r"\{\{-? *(?!/\*).*?\}\}", text))
    assert not re.findall(r"\b(rand\w+|genCA|genSigned\w*|genSelf\w*|genPrivateKey|uuidv4|now|derivePassword)\b", code)
    assert re.findall(r'lookup "(\S+)" "(\S+)"', code) == [("apps/v1", "Deployment")]
    assert len(re.findall(r"\blookup\b", code)) == 1


def test_every_value_is_used():
    text = "\n".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").rglob("*") if path.is_file())
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    unused = [key for key in keys_of(values) if not re.search(rf"\.{key}\b", text)]
    assert unused == []


def keys_of(values: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for name, value in values.items():
        # What is below these is Kubernetes' own and goes through as it is.
        free = name in {"resources", "podSecurityContext", "securityContext", "issuerRef"} or not isinstance(
            value, dict
        )
        found |= {name} | (set() if free else keys_of(value))
    return found


def test_an_autoscaler_has_the_replicas_to_itself():
    found = with_values("gateway.autoscaling.enabled=true")
    assert "replicas" not in one(found, "Deployment", "trunkline-gateway")["spec"]
    assert one(found, "Deployment", "trunkline-operator")["spec"]["replicas"] == 2
    assert [each["kind"] for each in with_values() if each["kind"] == "HorizontalPodAutoscaler"] == []


def test_monitors_come_where_the_cluster_has_the_kind():
    def kinds(*settings: str) -> set[str]:
        return {each["kind"] for each in parse(template(*settings))} & {"PodMonitor", "ServiceMonitor"}

    known = "--api-versions=monitoring.coreos.com/v1"
    assert kinds() == set()
    assert kinds(known) == {"PodMonitor"}
    assert kinds(known, "--set=monitoring.kind=ServiceMonitor") == {"ServiceMonitor"}
    assert kinds(known, "--set=monitoring.enabled=false") == set()
    assert kinds("--set=monitoring.enabled=true") == {"PodMonitor"}


def test_a_release_of_another_name_serves_with_a_certificate_for_it():
    found = parse(template(release="llm"))
    host = f"llm-trunkline-operator.{NAMESPACE}.svc"
    assert f"--operator={host}:8443" in arguments(found, "llm-trunkline-gateway")
    assert f"--tls-name={host}" in arguments(found, "llm-trunkline-operator")
    assert one(found, "Service", "llm-trunkline-operator")


def test_two_releases_of_one_name_share_nothing_of_the_cluster():
    def of_the_cluster(namespace: str) -> set[str]:
        return {
            each["metadata"]["name"] for each in parse(template(namespace=namespace)) if each["kind"] in CLUSTER_SCOPED
        }

    assert of_the_cluster("a")
    assert not of_the_cluster("a") & of_the_cluster("b")


@pytest.mark.parametrize("name", SETS)
def test_replicas_know_each_other_by_the_name_that_gateways_know_them_by(name: str):
    found = objects(name)
    (operator,) = [spec["containers"][0] for pod, _, spec in pod_specs(found) if pod.endswith("-operator")]
    (gateway,) = [spec["containers"][0] for pod, _, spec in pod_specs(found) if pod.endswith("-gateway")]
    (host,) = [each.removeprefix("--operator=") for each in gateway["args"] if each.startswith("--operator=")]
    assert f"--peer-tls-name={host.removesuffix(':8443')}" in operator["args"]
    for each in found:
        if each["kind"] == "Certificate" and not each["spec"].get("isCA"):
            assert each["spec"]["dnsNames"] == [host.removesuffix(":8443")]


def test_the_test_goes_where_gateways_go_and_redis_where_it_is_told():
    found = with_values(
        "redis.bundled.enabled=true",
        *(
            f"{of}.{setting}"
            for of in ("gateway", "redis.bundled")
            for setting in (f"nodeSelector.pool={of}", "tolerations[0].key=dedicated", f"priorityClassName={of}")
        ),
    )
    placed = {
        pod: (spec["nodeSelector"]["pool"], spec["tolerations"], spec["priorityClassName"])
        for pod, _, spec in pod_specs(found)
        if not pod.endswith("-operator")
    }
    tolerated = [{"key": "dedicated"}]
    assert placed == {
        "trunkline-gateway": ("gateway", tolerated, "gateway"),
        "trunkline-test-front-door": ("gateway", tolerated, "gateway"),
        "trunkline-redis": ("redis.bundled", tolerated, "redis.bundled"),
    }


def test_an_upgrade_of_the_chart_alone_rolls_no_pod():
    for _, metadata, _ in pod_specs([each for each in with_values() if each["kind"] == "Deployment"]):
        assert "helm.sh/chart" not in metadata["labels"]


def test_the_bundled_redis_lets_in_gateways_only_whatever_the_policies():
    found = with_values("redis.bundled.enabled=true")
    policy = one(found, "NetworkPolicy", "trunkline-redis")["spec"]
    (rule,) = policy["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    assert policy["egress"] == []
    (gateway,) = one(found, "Deployment", "trunkline-gateway")["spec"]["template"]["spec"]["containers"]
    assert {"name": "TRUNKLINE_REDIS_URL", "value": "redis://trunkline-redis:6379/0"} in gateway["env"]
