"""Wrong values fail before anything reaches a cluster, with their path; the schema, the values and the flags agree."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from chart.rendering import CHART, NAMESPACE, HelmError, arguments, template, with_values
from trunkline_gateway import main as gateway
from trunkline_operator import settings as operator
from trunkline_protocol import flags

VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

# What is set; where the message says it is; a part of what it says.
WRONG = [
    ("gatway.replicas=3", "at ''", "'gatway' not allowed"),
    ("gateway.replcas=3", "at '/gateway'", "'replcas' not allowed"),
    ("gateway.replicas=two", "at '/gateway/replicas'", "want integer"),
    ("image.registry=https://ghcr.io", "at '/image/registry'", "pattern"),
    ("image.registry=ghcr.io/", "at '/image/registry'", "pattern"),
    ("global.imageRegistry=ghcr.io/", "at '/global/imageRegistry'", "pattern"),
    ("operator.image.repository=Foo/Bar", "at '/operator/image/repository'", "pattern"),
    ("gateway.replicas=-1", "at '/gateway/replicas'", "minimum"),
    ("operator.replicas=1.5", "at '/operator/replicas'", "want integer"),
    ("operator.logLevel=loud", "at '/operator/logLevel'", "must be one of"),
    ("gateway.logFormat=xml", "at '/gateway/logFormat'", "must be one of"),
    ("gateway.drainDelay=5", "at '/gateway/drainDelay'", "want string"),
    ("gateway.drainDelay=5sec", "at '/gateway/drainDelay'", "pattern"),
    ("gateway.timeouts.conect=3s", "at '/gateway/timeouts'", "'conect' not allowed"),
    ("gateway.maxBodyBytes=64MB", "at '/gateway/maxBodyBytes'", "pattern"),
    ("gateway.fetchImageURLs=yes", "at '/gateway/fetchImageURLs'", "want boolean"),
    ("gateway.trustedProxies={everybody}", "at '/gateway/trustedProxies/0'", "pattern"),
    ("gateway.trustedProxies={10.0.0.256}", "at '/gateway/trustedProxies/0'", "pattern"),
    ("gateway.trustedProxies={10.0.0.0/33}", "at '/gateway/trustedProxies/0'", "pattern"),
    ("gateway.trustedProxies={fd00::/129}", "at '/gateway/trustedProxies/0'", "pattern"),
    ("gateway.timeouts.connect=0s", "at '/gateway/timeouts/connect'", "pattern"),
    ("gateway.timeouts.total=0h0ms", "at '/gateway/timeouts/total'", "pattern"),
    ("gateway.shutdownGrace=0s", "at '/gateway/shutdownGrace'", "pattern"),
    ("gateway.rollout.maxUnavailable=200%", "at '/gateway/rollout/maxUnavailable'", "pattern"),
    ("operator.pdb.maxUnavailable=101%", "at '/operator/pdb/maxUnavailable'", "pattern"),
    ("gateway.service.loadBalancerSourceRanges={10.0.0.1}", "at '/gateway/service/loadBalancerSourceRanges/0'", "patt"),
    ("gateway.podLabels.a=b c", "at '/gateway/podLabels/a'", "pattern"),
    ("commonLabels.a=-b", "at '/commonLabels/a'", "pattern"),
    ("tls.certManager.duration=0h", "at '/tls/certManager/duration'", "pattern"),
    ("redis.bundled.command=redis-server", "at '/redis/bundled/command'", "want array"),
    ("gateway.service.type=ExternalName", "at '/gateway/service/type'", "must be one of"),
    ("gateway.service.port=80000", "at '/gateway/service/port'", "maximum"),
    ("gateway.resources.limit.memory=1Gi", "at '/gateway/resources'", "'limit' not allowed"),
    ("gateway.resources.limits.memory=1GB", "at '/gateway/resources/limits/memory'", "pattern"),
    ("gateway.autoscaling.metric=requests", "at '/gateway/autoscaling/metric'", "must be one of"),
    ("gateway.image.digest=sha256:12", "at '/gateway/image/digest'", "pattern"),
    ("gateway.image.tag=a tag", "at '/gateway/image/tag'", "pattern"),
    ("gateway.tolerations[0].efect=NoSchedule", "at '/gateway/tolerations/0'", "'efect' not allowed"),
    ("gateway.extraArgs={port=1}", "at '/gateway/extraArgs/0'", "pattern"),
    ("gateway.extraEnv[0].nme=A", "at '/gateway/extraEnv/0'", "missing property 'name'"),
    ("gateway.podLabels.a=1", "at '/gateway/podLabels/a'", "want string"),
    ("gateway.serviceAccount.create=false", "at '/gateway/serviceAccount/name'", "minLength"),
    ("gateway.pdb.maxUnavailable=half", "at '/gateway/pdb/maxUnavailable'", "pattern"),
    ("gateway.hostUsers=perhaps", "at '/gateway/hostUsers'", "want null or boolean"),
    ("watch.namespaces={Team_A}", "at '/watch/namespaces/0'", "pattern"),
    ("watch.namespaces=team-a", "at '/watch/namespaces'", "want array"),
    ("watch.namespaces={a,a}", "at '/watch/namespaces'", "are equal"),
    ("tls.mode=certmanager", "at '/tls/mode'", "must be one of"),
    ("tls.mode=existingSecret", "at '/tls/existingSecret'", "minLength"),
    ("tls.certManager.issuer.name=a", "at '/tls/certManager'", "'issuer' not allowed"),
    ("redis.url=memcached://a", "at '/redis/url'", "pattern"),
    ("ingress.enabled=true", "at '/ingress/hosts'", "minItems"),
    ("httpRoute.enabled=true", "at '/httpRoute/parentRefs'", "minItems"),
    ("quickstart.enabled=true", "at '/quickstart/keySecret/name'", "minLength"),
    ("monitoring.enabled=sometimes", "at '/monitoring/enabled'", "must be one of"),
    ("networkPolicy.monitoringFrom[0].namespace=a", "at '/networkPolicy/monitoringFrom/0'", "'namespace' not allowed"),
    ("networkPolicy.apiServerPorts=null", "at '/networkPolicy'", "missing property 'apiServerPorts'"),
    ("gateway.drainDelay=null", "at '/gateway'", "missing property 'drainDelay'"),
    ("image.pullPolicy=Sometimes", "at '/image/pullPolicy'", "must be one of"),
    ("fullnameOverride=Trunkline", "at '/fullnameOverride'", "pattern"),
    ("extraObjects[0]=1", "at '/extraObjects/0'", "want string or object"),
    ("rbac.enabled=true", "at '/rbac'", "'enabled' not allowed"),
    ("crds.keep=false", "at '/crds'", "'keep' not allowed"),
    ("test.keySecret.name=A_B", "at '/test/keySecret/name'", "pattern"),
]


@pytest.mark.parametrize(("setting", "where", "what"), WRONG, ids=[each[0] for each in WRONG])
def test_a_wrong_value_fails_with_its_path(setting: str, where: str, what: str):
    with pytest.raises(HelmError) as refused:
        template(f"--set={setting}")
    assert where in str(refused.value)
    assert what in str(refused.value)


def test_a_password_in_the_url_of_redis_is_refused_and_not_repeated():
    with pytest.raises(HelmError) as refused:
        template("--set=redis.url=redis://:hunter2@redis:6379")
    assert "at '/redis/url'" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_there_is_one_redis():
    with pytest.raises(HelmError, match="at '/redis/url'"):
        template("--set=redis.bundled.enabled=true,redis.url=redis://a:6379")


def test_a_quickstart_where_nobody_watches_is_refused():
    with pytest.raises(HelmError, match=f"namespace {NAMESPACE}, which is not among watch.namespaces"):
        template("--set=quickstart.enabled=true,quickstart.keySecret.name=a,watch.namespaces={b}")


def test_a_parent_chart_may_share_globals_and_switch_it_off():
    assert template("--set=global.somethingElse=1,enabled=true")


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def schema_leaves(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, reference in schema["properties"].items():
        found = resolved(reference)
        if "properties" in found:
            yield from schema_leaves(found, f"{prefix}{name}.")
        else:
            yield prefix + name


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


# Kubernetes' own, which are empty by default or in fields that the schema does not name.
FREE = re.compile(r"podSecurityContext|securityContext|.*\.(resources|behavior|affinity|dnsConfig|timeouts)")


def closed(names: Iterator[str]) -> set[str]:
    return {next((name[: found.end()] for found in [FREE.match(name)] if found), name) for name in names}


def test_each_value_stands_in_the_schema_and_the_other_way_round():
    assert closed(leaves(VALUES)) == closed(schema_leaves(SCHEMA)) - {"enabled"}


def objects_of(schema: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(schema, list):
        for number, each in enumerate(schema):
            yield from objects_of(each, f"{where}/{number}")
    elif isinstance(schema, dict):
        if schema.get("type") == "object":
            yield where, schema
        for name, each in schema.items():
            if name not in ("if", "then"):
                yield from objects_of(each, f"{where}/{name}")


def test_whatever_has_fields_of_ours_takes_no_others():
    open_ones = {
        where for where, schema in objects_of(SCHEMA) if "properties" in schema and "additionalProperties" not in schema
    }
    # Of a volume and a DNS option Kubernetes knows more than a name; parent charts put more into global.
    assert open_ones == {"/properties/global", "/definitions/named/items"}


def given(of: str, *settings: str) -> list[str]:
    return arguments(with_values(*settings), f"trunkline-{of}")


def test_the_programs_take_the_arguments_that_the_chart_gives_them():
    given_operator = given("operator", "watch.namespaces={a,b}", "watch.platformNamespaces={a}")
    read = operator.read(given_operator, {})
    assert (read.namespaces, read.platform_namespaces) == (("a", "b"), ("a",))
    assert read.gateway_service_account == (NAMESPACE, "trunkline-gateway")
    given_gateway = given("gateway", "gateway.trustedProxies={10.0.0.0/8}", "gateway.fetchImageURLs=true")
    settings = gateway.settings(flags.parse(gateway.parser(), given_gateway, {}))
    assert (settings.operator, settings.fetch_image_urls) == (f"trunkline-operator.{NAMESPACE}.svc:8443", True)


def test_what_the_chart_says_by_default_is_what_the_programs_do_by_default():
    least = ["--operator=a:1", "--node-name=a"]
    default = gateway.settings(flags.parse(gateway.parser(), least, {}))
    said = [
        each
        for each in given("gateway")
        if not each.startswith(("--operator=", "--ca-file=", "--token-file=", "--state-dir=", "--node-name="))
    ]
    assert gateway.settings(flags.parse(gateway.parser(), [*least, *said], {})) == default


@pytest.mark.parametrize(
    ("version", "taken"), [("1.34.4", True), ("1.31.0", True), ("1.30.9", False), ("1.20.0", True)]
)
def test_clusters_that_are_too_old_are_refused(version: str, taken: bool):
    """1.20.0 is what a Helm without its release's flags says while it has no cluster to ask."""
    with contextlib.nullcontext() if taken else pytest.raises(HelmError, match="requires kubeVersion"):
        template(f"--kube-version={version}")
