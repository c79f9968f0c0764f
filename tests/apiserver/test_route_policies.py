"""RoutePolicies on a real API server: what they are for, what they say, and what an edit costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apiserver.simulated import SimulatedGateway
from harness.kube import ApiServer
from harness.system import GATEWAY_ACCOUNT, GATEWAY_NAMESPACE, System, our_object, wait_for
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

ROUTES = 1000


@pytest.fixture(scope="module")
def service_account(api_server: ApiServer) -> Path:
    """A kubeconfig that may do what operator-rbac.yaml says and nothing else."""
    api_server.kubectl("apply", "-f", str(Path(__file__).with_name("operator-rbac.yaml")))
    namespace = api_server.fresh_namespace("policies")
    api_server.kubectl("create", "-n", namespace, "serviceaccount", "operator")
    binding = f"--serviceaccount={namespace}:operator"
    api_server.kubectl("create", "clusterrolebinding", namespace, "--clusterrole=trunkline-operator", binding)
    return api_server.kubeconfig_for(namespace, "operator")


@pytest.fixture
def system(api_server: ApiServer, service_account: Path) -> Iterator[System]:
    with System(api_server, operator_flags=[f"--kubeconfig={service_account}"]) as running:
        running.operator.wait_ready()
        running.create("ProviderCredential", "main", {"provider": "echo"})
        yield running


@pytest.fixture
def gateway(system: System) -> Iterator[SimulatedGateway]:
    operator = system.operator
    token = system.api.create_token(GATEWAY_NAMESPACE, GATEWAY_ACCOUNT, "trunkline")
    ca_file = operator.tls_dir / "ca.crt"
    with SimulatedGateway("gw-1", port=operator.grpc_port, ca_file=ca_file, token=token) as connected:
        yield connected


def group(*targets: str) -> dict:
    return {
        "targets": [
            {"name": target, "credentialRef": {"name": "main"}, "model": "m"} for target in targets or ("main",)
        ]
    }


def named(group: str, **more: str) -> dict[str, str]:
    return {"group": "trunkline.dev", "kind": "ModelGroup", "name": group, **more}


def create_group(system: System, name: str, **labels: str) -> None:
    body = our_object("ModelGroup", name, group())
    body["metadata"]["labels"] = labels
    path = f"/apis/trunkline.dev/v1alpha1/namespaces/{system.namespace}/modelgroups"
    system.api.request("POST", path, body)


def route(system: System, gateway: SimulatedGateway, name: str) -> pb.Route:
    held = gateway.held.get(Name(pb.TYPE_ROUTE, f"{system.namespace}/{name}"))
    return pb.Route.FromString(held.body) if held is not None else pb.Route()


def policy(system: System, gateway: SimulatedGateway, name: str) -> pb.Policy | None:
    held = gateway.held.get(Name(pb.TYPE_POLICY, f"{system.namespace}/{name}"))
    return pb.Policy.FromString(held.body) if held is not None else None


def shown(system: System, name: str) -> tuple[str, str]:
    """``effectivePolicy`` and the column POLICY."""
    status = system.get("ModelGroup", name).get("status", {})
    return status.get("effectivePolicy", ""), status.get("display", {}).get("policy", "")


def wait_policy(system: System, gateway: SimulatedGateway, group: str, wanted: str) -> None:
    """Until a group has this policy (empty: the defaults), at the gateway and in its status."""
    name = f"{system.namespace}/{wanted}" if wanted else ""
    wait_for(
        lambda: (
            gateway.holds(pb.TYPE_ROUTE, f"{system.namespace}/{group}")
            and route(system, gateway, group).policy == name
            and shown(system, group) == (wanted, wanted or "default")
        ),
        5,
        f"{group} to have the policy {wanted or 'default'}",
    )


def test_a_policy_is_attached_by_name_by_label_and_by_default_and_detached_again(
    system: System, gateway: SimulatedGateway
) -> None:
    create_group(system, "search", team="search")
    wait_policy(system, gateway, "search", "")

    system.create("RoutePolicy", "default", {"default": True, "lossy": "Allow"})
    system.wait_condition("RoutePolicy", "default", "Programmed", "True")
    wait_policy(system, gateway, "search", "default")
    system.create("RoutePolicy", "team", {"targetSelector": {"matchLabels": {"team": "search"}}})
    wait_policy(system, gateway, "search", "team")
    system.create("RoutePolicy", "strict", {"targetRefs": [named("search")], "lossy": "Reject"})
    wait_policy(system, gateway, "search", "strict")
    assert policy(system, gateway, "strict") == pb.Policy(lossy=pb.LOSSY_REJECT)
    assert system.get("RoutePolicy", "strict")["status"]["display"] == {"applies": "search", "groups": "1"}

    system.delete("RoutePolicy", "strict")
    wait_policy(system, gateway, "search", "team")
    wait_for(lambda: policy(system, gateway, "strict") is None, 5, "the policy to be gone")
    system.patch("ModelGroup", "search", {"metadata": {"labels": {"team": None}}})
    wait_policy(system, gateway, "search", "default")
    system.patch("ModelGroup", "search", {"metadata": {"labels": {"team": "search"}}})
    wait_policy(system, gateway, "search", "team")
    system.delete("RoutePolicy", "team")
    system.delete("RoutePolicy", "default")
    wait_policy(system, gateway, "search", "")


def test_a_target_may_have_a_policy_of_its_own(system: System, gateway: SimulatedGateway) -> None:
    system.create("ModelGroup", "two", group("first", "second"))
    system.create("RoutePolicy", "second", {"targetRefs": [named("two", sectionName="second")], "lossy": "Allow"})
    wait_for(
        lambda: [each.policy for each in route(system, gateway, "two").targets] == ["", f"{system.namespace}/second"],
        5,
        "the policy of one target",
    )
    assert route(system, gateway, "two").policy == ""


def test_of_two_policies_for_the_same_the_older_is_in_force(system: System, gateway: SimulatedGateway) -> None:
    create_group(system, "g")
    system.create("RoutePolicy", "z-older", {"targetRefs": [named("g")]})
    wait_policy(system, gateway, "g", "z-older")
    time.sleep(1.1)  # creationTimestamps are whole seconds
    system.create("RoutePolicy", "a-younger", {"targetRefs": [named("g")], "lossy": "Reject"})
    said = system.wait_condition("RoutePolicy", "a-younger", "Accepted", "False", reason="Conflicted")
    assert f"RoutePolicy {system.namespace}/z-older is for g" in said["message"]
    system.wait_condition("RoutePolicy", "a-younger", "Programmed", "False", reason="NotAccepted")
    assert route(system, gateway, "g").policy == f"{system.namespace}/z-older"
    system.delete("RoutePolicy", "z-older")
    wait_policy(system, gateway, "g", "a-younger")
    system.wait_condition("RoutePolicy", "a-younger", "Programmed", "True")


def test_what_a_policy_names_has_to_be_there(system: System, gateway: SimulatedGateway) -> None:
    system.create("RoutePolicy", "early", {"targetRefs": [named("later")]})
    said = system.wait_condition("RoutePolicy", "early", "ResolvedRefs", "False", reason="ModelGroupNotFound")
    assert f"ModelGroup {system.namespace}/later not found" in said["message"]
    system.wait_condition("RoutePolicy", "early", "Accepted", "True")
    create_group(system, "later")
    system.wait_condition("RoutePolicy", "early", "ResolvedRefs", "True")
    wait_policy(system, gateway, "later", "early")


@pytest.mark.timeout(240)
def test_an_edit_of_the_default_policy_touches_none_of_a_thousand_routes(
    system: System, gateway: SimulatedGateway
) -> None:
    system.create("RoutePolicy", "default", {"default": True})
    for n in range(ROUTES):
        create_group(system, f"g{n}")

    def routes() -> dict[Name, bytes]:
        return {name: each.version for name, each in gateway.held.items() if name.type == pb.TYPE_ROUTE}

    default = f"{system.namespace}/default"
    wait_for(
        lambda: (
            len(routes()) == ROUTES
            and all(route(system, gateway, f"g{n}").policy == default for n in (0, ROUTES // 2, ROUTES - 1))
        ),
        60,
        "all routes to have the policy",
    )
    before, pushed = routes(), system.operator.metric("trunkline_operator_pushed_resources_total")
    started = time.monotonic()
    system.patch("RoutePolicy", "default", {"spec": {"lossy": "Reject"}})
    wait_for(lambda: policy(system, gateway, "default") == pb.Policy(lossy=pb.LOSSY_REJECT), 5, "the policy to change")
    took = time.monotonic() - started
    print(f"an edited default policy for {ROUTES} routes: {took:.3f} s")
    time.sleep(1)
    assert routes() == before
    assert system.operator.metric("trunkline_operator_pushed_resources_total") == pushed + 1
    assert took < 2
