"""What the operator says, on a real API server, where rights or CRDs are missing; and what it does all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.wire_ends import until
from harness.kube import ApiServer, assets_or_skip
from harness.system import REPOSITORY, Operator, System, install_crds, wait_for
from trunkline_operator import kube
from trunkline_operator.rights import Rights, needed
from trunkline_protocol.resources import KINDS

WATCH = "--verb=get,list,watch"
OURS = "--resource=" + ",".join(f"{kind.plural}.trunkline.dev" for kind in KINDS.values())


@pytest.fixture
def account(api_server: ApiServer) -> str:
    """A ServiceAccount without any right, in a namespace of its own; its ``namespace:name``."""
    namespace = api_server.fresh_namespace("powerless")
    api_server.kubectl("create", "-n", namespace, "serviceaccount", "operator")
    return f"{namespace}:operator"


@pytest.fixture
def system(api_server: ApiServer, account: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    namespace, _, name = account.partition(":")
    # As the downward API would tell.
    monkeypatch.setenv("POD_NAMESPACE", namespace)
    monkeypatch.setenv("POD_NAME", "trunkline-operator-0")
    monkeypatch.setenv("POD_UID", "0d1c0a4e-0000-4000-8000-000000000000")
    kubeconfig = api_server.kubeconfig_for(namespace, name)
    with System(api_server, operator_flags=[f"--kubeconfig={kubeconfig}"]) as running:
        yield running


def allow(system: System, account: str, name: str, namespace: str, *rights: str) -> None:
    system.api.kubectl("create", "-n", namespace, "role", name, *rights)
    system.api.kubectl("create", "-n", namespace, "rolebinding", name, f"--role={name}", f"--serviceaccount={account}")


def warnings(operator: Operator) -> list[str]:
    lines = [json.loads(line) for line in operator.log.read_text(encoding="utf-8").splitlines()]
    return [each["msg"] for each in lines if each["level"] in ("warning", "error")]


def readyz(operator: Operator) -> str:
    try:
        return operator.admin("/readyz").body.decode()
    except OSError:
        return ""


def events(system: System, namespace: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = system.api.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")[
        "items"
    ]
    return items


def test_missing_rights_are_named_with_the_account_the_resource_and_the_namespace(system: System, account: str) -> None:
    own = account.partition(":")[0]
    allow(system, account, "events", own, "--verb=create", "--resource=events.events.k8s.io")
    operator = system.start_operator()
    who = f"ServiceAccount {own}/operator may not get, list, watch"
    wanted = [
        f"{who} {resource} in namespace {system.namespace}: install the chart's RBAC"
        for resource in (
            "modelgroups.trunkline.dev",
            "providercredentials.trunkline.dev",
            "routepolicies.trunkline.dev",
            "virtualkeys.trunkline.dev",
            "secrets",
        )
    ]
    wait_for(lambda: all(each in readyz(operator) for each in wanted), 15, "all of them on /readyz")
    assert operator.admin("/readyz").status == 503
    assert operator.admin("/healthz").status == 200
    wait_for(lambda: all(any(each in said for said in warnings(operator)) for each in wanted), 5, "all in the log")
    wait_for(lambda: len(events(system, own)) >= len(wanted), 10, "Events of the Pod")
    assert {each["regarding"]["name"] for each in events(system, own)} == {"trunkline-operator-0"}
    assert all(any(each in event["note"] for event in events(system, own)) for each in wanted)

    allow(system, account, "ours", system.namespace, WATCH, "--resource=modelgroups,providercredentials.trunkline.dev")
    rest = "--resource=virtualkeys.trunkline.dev,routepolicies.trunkline.dev,secrets"
    allow(system, account, "rest", system.namespace, WATCH, rest)
    operator.wait_ready(20)
    for each in wanted:
        assert len([said for said in warnings(operator) if each in said]) == 1, each


def test_what_is_only_useful_is_missed_with_one_warning_each(system: System, account: str) -> None:
    allow(system, account, "ours", system.namespace, WATCH, OURS)
    allow(system, account, "secrets", system.namespace, WATCH, "--resource=secrets")
    operator = system.start_operator().wait_ready(20)
    for missing in (
        "may not create tokenreviews.authentication.k8s.io in the whole cluster",
        "may not patch modelgroups/status.trunkline.dev",
        f"may not create events.events.k8s.io in namespace {system.namespace}",
        f"may not get namespaces {system.namespace} in namespace {system.namespace}",
    ):
        said = wait_for(lambda what=missing: [each for each in warnings(operator) if what in each], 10, missing)
        assert len(said) == 1
        assert "without it" in said[0]
    before = operator.metric("trunkline_operator_resources", kind="VirtualKey")
    system.secret("alice", key="sk-1234567890abcdef")
    system.create("VirtualKey", "alice", {"secretRef": {"name": "alice", "key": "key"}, "models": ["*"]})
    wait_for(
        lambda: operator.metric("trunkline_operator_resources", kind="VirtualKey") == before + 1,
        10,
        "it to compile a key all the same",
    )


@pytest.fixture
def own_api() -> Iterator[ApiServer]:
    """An API server from which the CRDs may go."""
    with ApiServer(assets_or_skip()) as server:
        yield server


def test_missing_crds_are_named_and_waited_for(own_api: ApiServer) -> None:
    with System(own_api) as system:
        own_api.kubectl("delete", "--wait", "-f", str(REPOSITORY / "crds" / "trunkline.dev_modelgroups.yaml"))
        operator = system.start_operator()
        missing = "the CustomResourceDefinition modelgroups.trunkline.dev is not installed"
        wait_for(lambda: missing in readyz(operator), 15, "it to say so")
        assert "virtualkeys" not in readyz(operator)
        install_crds(own_api)
        operator.wait_ready(20)
        assert len([said for said in warnings(operator) if missing[4:] in said]) == 1


def test_the_rights_that_are_asked_for_are_those_of_the_chart(api_server: ApiServer) -> None:
    """Nothing is missing with the rules that the other tests give to an operator."""
    api_server.kubectl("apply", "-f", str(Path(__file__).with_name("operator-rbac.yaml")))
    namespace = api_server.fresh_namespace("able")
    api_server.kubectl("create", "-n", namespace, "serviceaccount", "operator")
    binding = f"--serviceaccount={namespace}:operator"
    api_server.kubectl("create", "clusterrolebinding", namespace, "--clusterrole=trunkline-operator", binding)
    with System(api_server, operator_flags=[f"--kubeconfig={api_server.kubeconfig_for(namespace, 'operator')}"]) as one:
        operator = one.start_operator().wait_ready()
        assert not [said for said in warnings(operator) if "may not" in said and "leases" not in said]


def test_an_operator_that_may_list_and_not_watch_is_not_ready(system: System, account: str) -> None:
    allow(system, account, "ours", system.namespace, WATCH, OURS)
    allow(system, account, "secrets", system.namespace, "--verb=get,list", "--resource=secrets")
    operator = system.start_operator()
    missing = f"may not watch secrets in namespace {system.namespace}: install the chart's RBAC"
    wait_for(lambda: missing in readyz(operator), 15, "it to say so")
    assert operator.admin("/readyz").status == 503
    wait_for(lambda: operator.metric("trunkline_operator_watch_restarts_total") >= 3, 15, "it to try again and again")
    assert len([said for said in warnings(operator) if missing in said]) == 1
    assert len([said for said in warnings(operator) if "Watching stopped" in said]) == 1


async def test_the_rights_in_many_namespaces_are_one_review_each(api_server: ApiServer, account: str) -> None:
    own, _, name = account.partition(":")
    namespaces = [api_server.fresh_namespace("reviewed") for _ in range(12)]
    for each in namespaces:
        rights = ("--verb=get,list", "--resource=virtualkeys.trunkline.dev,secrets")
        api_server.kubectl("create", "-n", each, "role", "some", *rights)
        api_server.kubectl("create", "-n", each, "rolebinding", "some", "--role=some", f"--serviceaccount={account}")
    told: dict[str, str] = {}

    def tell(topic: str, sentence: str, *, reason: str) -> None:
        told[topic] = f"{reason}: {sentence}"

    client = await kube.Kube.connect(api_server.kubeconfig_for(own, name))
    try:
        rights = Rights(client, list(needed(namespaces)), tell)
        before = reviews(api_server)
        asking = asyncio.create_task(rights.run())
        await until(lambda: rights.asked, 20)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    finally:
        await client.close()
    where = f"in namespaces {', '.join(namespaces[:8])} and 4 more"
    who = f"ServiceAccount {own}/operator may not"
    assert any(f"{who} watch virtualkeys.trunkline.dev {where}: " in each for each in rights.missing)
    assert any(f"{who} watch secrets {where}: " in each for each in rights.missing)
    assert any(each.startswith(f"RightsMissing: {who} create events.events.k8s.io {where} ") for each in told.values())
    assert len(told) < 15
    assert reviews(api_server) - before == len(namespaces) + 1  # tokenreviews, of the cluster


def reviews(api: ApiServer) -> int:
    """How often somebody has asked the API server what he may do."""
    lines = [each for each in api.request("GET", "/metrics").splitlines() if each.startswith("apiserver_request_total")]
    asked = ('resource="selfsubjectaccessreviews"', 'resource="selfsubjectrulesreviews"')
    return sum(int(float(each.rpartition(" ")[2])) for each in lines if any(what in each for what in asked))
