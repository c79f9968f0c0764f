"""What a cluster or a program would refuse later fails at `helm template`, with a sentence; nothing is said twice."""

import os
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.rendering import CHART, SETS, HelmError, one, parse, pod_specs, rendered, template, with_values

VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

# What is set; what the sentence begins with; a part of what it says.
WRONG = [
    ("gateway.rollout.maxSurge=0,gateway.rollout.maxUnavailable=0%", "gateway.rollout", "both 0"),
    ("operator.rollout.maxSurge=0", "operator.rollout", "both 0"),
    ("gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=11", "gateway.autoscaling.minReplicas", "11"),
    ("gateway.service.nodePort=30080", "gateway.service.nodePort", "gateway.service.type is ClusterIP"),
    ("gateway.service.externalTrafficPolicy=Local", "gateway.service.externalTrafficPolicy", "is ClusterIP"),
    ("gateway.service.type=NodePort,gateway.service.loadBalancerClass=a", "gateway.service.loadBalancerClass", "NodeP"),
    ("gateway.service.loadBalancerSourceRanges={10.0.0.0/8}", "gateway.service.loadBalancerSourceRanges", "ClusterIP"),
    ("gateway.trustedProxies={10.0.0.1/8}", "gateway.trustedProxies", "10.0.0.1/8 has bits behind its prefix"),
    ("gateway.trustedProxies={192.0.2.1/0}", "gateway.trustedProxies", "192.0.2.1/0 has bits"),
    ("gateway.extraEnv[0].name=POD_NAME", "gateway.extraEnv", "POD_NAME is there already"),
    ("operator.extraEnv[0].name=POD_UID", "operator.extraEnv", "POD_UID is there already"),
    ("gateway.extraEnv[0].name=A,gateway.extraEnv[1].name=A", "gateway.extraEnv", "A is there already"),
    (
        "redis.url=redis://a:6379,gateway.extraEnv[0].name=TRUNKLINE_REDIS_URL",
        "gateway.extraEnv",
        "TRUNKLINE_REDIS_URL is there already",
    ),
    ("gateway.extraVolumes[0].name=state", "gateway.extraVolumes", "a volume state already"),
    ("operator.extraVolumes[0].name=tls", "operator.extraVolumes", "a volume tls already"),
    (
        "gateway.extraVolumeMounts[0].name=tmp,gateway.extraVolumeMounts[0].mountPath=/tmp/",
        "gateway.extraVolumeMounts",
        "mounted at /tmp/ already",
    ),
    (
        "gateway.extraVolumeMounts[0].name=a,gateway.extraVolumeMounts[0].mountPath=/a",
        "gateway.extraVolumeMounts",
        "no volume a",
    ),
    ("gateway.extraArgs={--port=80}", "gateway.extraArgs", "the chart sets --port"),
    ("operator.extraArgs={--lease=a/b}", "operator.extraArgs", "the chart sets --lease"),
    ("watch.namespaces={a},watch.platformNamespaces={a,b}", "watch.platformNamespaces", "b is not among"),
    ("tls.certManager.duration=720h", "tls.certManager.renewBefore", "shorter"),
    *(
        (f"{path}.app\\.kubernetes\\.io/component=a", path, "label app.kubernetes.io/component is the chart's own")
        for path in (
            "commonLabels",
            "gateway.podLabels",
            "operator.podLabels",
            "gateway.deploymentLabels",
            "gateway.service.labels",
            "monitoring.extraLabels",
        )
    ),
    ("commonLabels.app\\.kubernetes\\.io/managed-by=Argo", "commonLabels", "Helm go by it"),
]


@pytest.mark.parametrize(("setting", "path", "what"), WRONG, ids=[each[0] for each in WRONG])
def test_what_would_fail_later_fails_at_once_with_a_sentence(setting: str, path: str, what: str):
    with pytest.raises(HelmError) as refused:
        template(f"--set={setting}")
    assert f"{path}: " in str(refused.value)
    assert what in str(refused.value)


@pytest.mark.parametrize(
    "setting",
    [
        "gateway.trustedProxies={10.0.0.0/8,10.1.2.3,10.1.2.3/32,0.0.0.0/0,192.0.2.128/25,fd00::/8,::1}",
        "gateway.rollout.maxSurge=200%,gateway.rollout.maxUnavailable=0",
        "gateway.drainDelay=0s",
        "gateway.autoscaling.minReplicas=11",
        "gateway.service.type=NodePort,gateway.service.nodePort=30080,gateway.service.externalTrafficPolicy=Local",
        "gateway.extraEnv[0].name=TRUNKLINE_REDIS_URL,gateway.extraEnv[0].value=redis://a:6379",
        "gateway.extraArgs={--host=::}",
        "operator.extraArgs={--tls-name=operators.example.com},fullnameOverride=llm",
        "gateway.extraVolumeMounts[0].name=state,gateway.extraVolumeMounts[0].mountPath=/state",
        "watch.platformNamespaces={a}",
    ],
)
def test_what_a_cluster_takes_is_taken(setting: str):
    assert template(f"--set={setting}")


@pytest.mark.parametrize("release", ["llm.prod", "1llm"])
def test_a_release_whose_name_no_service_can_have_is_refused(release: str):
    with pytest.raises(HelmError, match=f"fullnameOverride: objects of the release {release} would be called"):
        template(release=release)
    assert one(parse(template("--set=fullnameOverride=llm", release=release)), "Service", "llm-gateway")


def test_a_name_that_is_cut_at_a_dot_or_a_dash_ends_before_it():
    found = parse(template("--set=nameOverride=a", release=f"{'r' * 38}--aa"))
    assert one(found, "Service", f"{'r' * 38}-gateway")


NUMBERS = """
watch: {namespaces: ["12300", "45600"], platformNamespaces: ["12300"]}
namespaceOverride: "12300"
fullnameOverride: llm
commonLabels: {a: "12300", b: "true"}
operator: {serviceAccount: {name: "1e3"}, priorityClassName: "45600"}
gateway: {serviceAccount: {name: "0x1f"}, runtimeClassName: "45600", extraEnv: [{name: A, value: "12300"}]}
redis: {bundled: {enabled: true, maxMemory: "45600", passwordSecret: {name: "12300", key: "1e3"}}}
quickstart: {enabled: true, keySecret: {name: "12300", key: "1e3"}}
imagePullSecrets: ["45600"]
tls: {mode: existingSecret, existingSecret: "12300"}
ingress: {enabled: true, className: "45600", hosts: [{host: a, paths: [{path: "/a #b"}]}]}
networkPolicy: {enabled: true}
monitoring: {enabled: true}
"""


def scalars(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for each in value.values():
            yield from scalars(each)
    elif isinstance(value, list):
        for each in value:
            yield from scalars(each)
    else:
        yield value


def test_names_that_look_like_numbers_are_still_texts(tmp_path: Path):
    values = tmp_path / "values.yaml"
    values.write_text(NUMBERS, encoding="utf-8")
    found = list(scalars(parse(template("-f", str(values), release="12300", namespace="12300"))))
    assert [each for each in found if not isinstance(each, str) and each in (12300, 45600, 1000, 31)] == []
    assert {"12300", "45600", "1e3", "0x1f", "/a #b"} <= {each for each in found if isinstance(each, str)}


class Strict(yaml.SafeLoader):
    """Refuses a mapping that has a key twice, as strict readers of YAML do."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.constructor.ConstructorError(None, None, f"a key stands twice: {keys}", node.start_mark)
        return super().construct_mapping(node, deep)


def strictly(text: str) -> list[Mapping[str, Any]]:
    return [each for each in yaml.load_all(text, Loader=Strict) if each]


def test_the_strict_reader_is_one():
    with pytest.raises(yaml.YAMLError, match="stands twice"):
        strictly("a: {b: 1, b: 2}")


@pytest.mark.parametrize("name", SETS)
def test_no_key_stands_twice(name: str):
    assert strictly(rendered(name)) == parse(rendered(name))


def test_labels_and_annotations_that_meet_become_one_and_the_nearest_wins(tmp_path: Path):
    part, version = "app.kubernetes.io/part-of", "app.kubernetes.io/version"
    into = "rbac.authorization.k8s.io/aggregate-to-view"
    meeting = {
        "commonLabels": {part: "models", version: "7", into: "false", "trunkline.dev/metrics": "false", "team": "a"},
        "gateway": {
            "podLabels": {part: "pods", "team": "b"},
            "deploymentLabels": {part: "deployments", "team": "c"},
            "podAnnotations": {"kubectl.kubernetes.io/default-container": "sidecar"},
            "service": {"labels": {part: "services", "team": "d"}},
        },
        "monitoring": {"enabled": True, "kind": "ServiceMonitor", "extraLabels": {part: "monitors", "team": "e"}},
        "redis": {"bundled": {"enabled": True}},
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(meeting), encoding="utf-8")
    found = strictly(template("-f", str(values)))

    def said(labels: Mapping[str, str]) -> tuple[str, str, str]:
        return labels[part], labels[version], labels["team"]

    deployment = one(found, "Deployment", "trunkline-gateway")
    assert said(deployment["metadata"]["labels"]) == ("deployments", "7", "c")
    assert said(deployment["spec"]["template"]["metadata"]["labels"]) == ("pods", "7", "b")
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["kubectl.kubernetes.io/default-container"] == "sidecar"
    assert said(one(found, "Service", "trunkline-gateway")["metadata"]["labels"]) == ("services", "7", "d")
    assert said(one(found, "ServiceMonitor", "trunkline-gateway")["metadata"]["labels"]) == ("monitors", "7", "e")
    assert said(one(found, "Service", "trunkline-redis")["metadata"]["labels"]) == ("models", "7", "a")
    # What the chart's objects are found by is not to be lost.
    metrics = one(found, "Service", "trunkline-gateway-metrics")["metadata"]["labels"]
    assert metrics["trunkline.dev/metrics"] == "true"
    (view,) = [each for each in found if each["metadata"]["name"].endswith("-view")]
    assert view["metadata"]["labels"][into] == "true"


EVERYTHING = """
tls: {mode: certManager}
gateway: {autoscaling: {enabled: true}, service: {type: LoadBalancer}}
redis: {bundled: {enabled: true, passwordSecret: {name: a}}}
networkPolicy: {enabled: true}
ingress: {enabled: true, hosts: [{host: a}]}
httpRoute: {enabled: true, parentRefs: [{name: a}]}
monitoring: {enabled: true}
quickstart: {enabled: true, keySecret: {name: a}}
crds: {enabled: true}
"""


def paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{name}.")


def has_null(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(has_null, value.values()))
    if isinstance(value, list):
        return any(map(has_null, value))
    return value is None or (isinstance(value, str) and ("<nil>" in value or "<no value>" in value))


def test_whatever_is_null_is_either_empty_or_named(tmp_path: Path):
    """As a file has it whose section lost what stood in it."""
    values = tmp_path / "values.yaml"
    values.write_text(EVERYTHING, encoding="utf-8")

    def outcome(path: str) -> str:
        try:
            made = parse(template("-f", str(values), f"--set={path}=null"))
        except HelmError as refused:
            parent, _, name = path.rpartition(".")
            where = "".join(f"/{each}" for each in parent.split(".") if each)
            return "" if f"at '{where}': missing property '{name}'" in str(refused) else f"{path}: {refused}"
        return f"{path}: renders nothing where something must be" if any(map(has_null, made)) else ""

    every = list(paths(VALUES))
    assert len(every) > 200
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        assert [each for each in pool.map(outcome, every) if each] == []


@pytest.mark.parametrize("section", sorted(name for name, value in VALUES.items() if isinstance(value, dict) and value))
def test_a_file_with_nothing_but_the_name_of_a_section_is_told_so(section: str, tmp_path: Path):
    values = tmp_path / "values.yaml"
    values.write_text(f"{section}:\n", encoding="utf-8")
    if section in ("podSecurityContext", "securityContext"):
        assert template("-f", str(values))
        return
    with pytest.raises(HelmError, match=f"missing property '{section}'"):
        template("-f", str(values))


def test_the_server_of_the_bundled_redis_is_what_its_image_has():
    found = with_values(
        "redis.bundled.enabled=true", "redis.bundled.image.repository=redis", "redis.bundled.command={redis-server}"
    )
    (spec,) = [spec for pod, _, spec in pod_specs(found) if pod == "trunkline-redis"]
    assert spec["containers"][0]["command"] == ["redis-server"]
