"""kill -9 of everything, with traffic running: no request fails, and nothing unchanged is sent again."""

import time
from collections.abc import Iterator

import pytest

from harness.basic import KEY, basic, programmed_gateway
from harness.kube import ApiServer, assets_or_skip
from harness.relay import Relay
from harness.system import Gateway, System, install_crds, wait_for
from harness.traffic import Traffic
from harness.upstream import Upstream


@pytest.fixture
def own_api() -> Iterator[ApiServer]:
    """An API server to be killed."""
    with ApiServer(assets_or_skip()) as server:
        yield server


@pytest.fixture
def own_system(own_api: ApiServer) -> Iterator[System]:
    with System(own_api) as running:
        yield running


@pytest.fixture
def own_gateway(own_system: System, upstream: Upstream) -> Gateway:
    return programmed_gateway(own_system, upstream)


def received(gateway: Gateway) -> int:
    """How many resources the gateway was ever sent."""
    return int(gateway.admin("/debug/table").json["received"])


def test_a_killed_operator_costs_no_request_and_its_return_sends_nothing_twice(
    system: System, gateway: Gateway
) -> None:
    sent = received(gateway)
    with Traffic([gateway], KEY) as traffic:
        system.operator.kill()
        time.sleep(2)
        system.operator.start().wait_ready()
        wait_for(lambda: gateway.metric("trunkline_gateway_connected") == 1, 35, "the gateway to reconnect")
        time.sleep(1)
    assert traffic.failures == []
    assert traffic.answered > 20
    assert received(gateway) == sent


def test_config_age_grows_while_the_operator_is_away(system: System, gateway: Gateway) -> None:
    system.operator.kill()
    time.sleep(2.5)
    assert gateway.metric("trunkline_gateway_config_age_seconds") >= 2
    assert gateway.metric("trunkline_gateway_connected") == 0
    assert gateway.is_ready()


def test_a_restarted_gateway_serves_its_last_known_good_without_an_operator(system: System, gateway: Gateway) -> None:
    saved = gateway.state_dir
    wait_for(lambda: saved.is_dir() and any(saved.iterdir()), 5, "the last known good to be written")
    time.sleep(1.5)
    system.operator.kill()
    gateway.kill()
    begun = time.monotonic()
    gateway.start().wait_ready()
    took = time.monotonic() - begun
    assert gateway.chat("gpt-4o", key=KEY).status == 200
    assert took < 5, took
    assert all(path.stat().st_mode & 0o077 == 0 for path in saved.rglob("*"))


def test_a_key_that_was_revoked_stays_so_through_kill_9_with_the_operator_away(
    system: System, gateway: Gateway
) -> None:
    wait_for(lambda: gateway.state_dir.is_dir() and any(gateway.state_dir.iterdir()), 5, "the last known good")
    time.sleep(1.5)
    system.delete("VirtualKey", "alice")
    wait_for(lambda: gateway.chat("gpt-4o", key=KEY).status == 401, 1, "the key to be dead")
    gateway.kill()
    system.operator.kill()
    gateway.start().wait_ready()
    assert gateway.chat("gpt-4o", key=KEY).status == 401


def test_a_gateway_without_an_operator_or_a_table_is_live_and_says_why_it_is_not_ready(system: System) -> None:
    operator = system.operator
    operator.wait_ready()
    gateway = system.gateway("gw-new")
    gateway.wait_ready()
    operator.kill()
    gateway.kill()
    for path in gateway.state_dir.rglob("*"):
        path.unlink()
    gateway.start()

    def live() -> bool:
        try:
            return gateway.admin("/healthz").status == 200
        except OSError:
            return False

    wait_for(live, 5, "the gateway to be live")
    reply = gateway.admin("/readyz")
    assert reply.status == 503
    assert b"table" in reply.body
    assert gateway.chat("gpt-4o", key=KEY).status == 503
    operator.start()
    gateway.wait_ready(40)


@pytest.mark.parametrize("victim", ["apiserver", "etcd"])
def test_a_killed_control_plane_costs_no_request(
    own_api: ApiServer, own_system: System, own_gateway: Gateway, victim: str
) -> None:
    sent = received(own_gateway)
    with Traffic([own_gateway], KEY) as traffic:
        own_api.kill_apiserver() if victim == "apiserver" else own_api.kill_etcd()
        time.sleep(3)
        own_api.restart_apiserver() if victim == "apiserver" else own_api.restart_etcd()
        time.sleep(3)
    assert traffic.failures == []
    assert received(own_gateway) == sent
    # And it still listens: what changes now arrives.
    own_system.patch("ModelGroup", "gpt-4o", {"spec": {"models": ["gpt-4o", "after"]}})
    wait_for(lambda: own_gateway.chat("after", key=KEY).status == 200, 30, "a change after the outage")


def test_a_gateway_that_reconnects_while_the_api_server_is_away_is_let_in_by_its_token(
    own_api: ApiServer, own_system: System, own_gateway: Gateway
) -> None:
    own_api.kill_apiserver()
    for path in own_gateway.state_dir.rglob("*"):
        path.unlink()
    own_gateway.kill()
    own_gateway.start().wait_ready(30)
    assert own_gateway.chat("gpt-4o", key=KEY).status == 200


def test_a_key_deleted_while_nobody_watched_is_dead_when_the_operator_is_back(system: System, gateway: Gateway) -> None:
    system.operator.kill()
    system.delete("VirtualKey", "alice")
    assert gateway.chat("gpt-4o", key=KEY).status == 200
    system.operator.start().wait_ready()
    wait_for(lambda: gateway.chat("gpt-4o", key=KEY).status == 401, 35, "the key to be dead")


def test_a_gateway_that_reconnects_to_a_lagging_replica_keeps_a_revoked_key_revoked(
    system: System, upstream: Upstream
) -> None:
    with Relay(int(system.api.url.rpartition(":")[2])) as to_api, Relay(0) as to_operator:
        ahead = system.operator
        to_operator.target = ahead.grpc_port
        basic(system, upstream)
        gateway = system.gateway("gw-1", operator_port=to_operator.port).wait_ready()
        system.wait_condition("VirtualKey", "alice", "Programmed", "True")
        lagging = system.start_operator(f"https://127.0.0.1:{to_api.port}").wait_ready()
        to_api.freeze()
        system.delete("VirtualKey", "alice")
        wait_for(lambda: gateway.chat("gpt-4o", key=KEY).status == 401, 1, "the key to be dead")
        to_operator.target = lagging.grpc_port
        ahead.kill()
        to_operator.cut()

        def connected() -> bool:
            return bool(lagging.admin("/debug/gateways").json)

        wait_for(connected, 40, "the gateway to reach the lagging replica")
        time.sleep(1)
        assert gateway.chat("gpt-4o", key=KEY).status == 401
        # Once it has caught up, it leads on.
        to_api.thaw()
        system.create("VirtualKey", "alice", {"secretRef": {"name": "alice-key", "key": "key"}, "models": ["*"]})
        wait_for(lambda: gateway.chat("gpt-4o", key=KEY).status == 200, 30, "the new key of the same name")


def test_a_key_deleted_while_the_watch_was_down_is_dead_when_it_is_back(system: System, upstream: Upstream) -> None:
    with Relay(int(system.api.url.rpartition(":")[2])) as to_api:
        operator = system.start_operator(f"https://127.0.0.1:{to_api.port}")
        gateway = programmed_gateway(system, upstream)
        to_api.refuse()
        to_api.cut()
        system.delete("VirtualKey", "alice")
        time.sleep(2)
        assert gateway.chat("gpt-4o", key=KEY).status == 200
        to_api.refuse(False)
        wait_for(lambda: gateway.chat("gpt-4o", key=KEY).status == 401, 20, "the key to be dead")
        assert operator.is_ready()


@pytest.mark.parametrize("seconds", [2, 6, 9])
def test_a_key_deleted_right_after_an_outage_of_the_api_server_is_dead_soon(
    own_api: ApiServer, own_system: System, own_gateway: Gateway, seconds: float
) -> None:
    own_api.kill_apiserver()
    time.sleep(seconds)
    # While it starts, the API server answers 404 for what it has not installed yet; kopf takes that for final.
    own_api.restart_apiserver()
    own_system.delete("VirtualKey", "alice")
    wait_for(lambda: own_gateway.chat("gpt-4o", key=KEY).status == 401, 2, "the key to be dead")


def test_a_crd_that_goes_and_comes_back_blinds_nobody(
    own_api: ApiServer, own_system: System, own_gateway: Gateway
) -> None:
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/virtualkeys.trunkline.dev"
    own_api.request("DELETE", crd)
    time.sleep(3)
    own_system.patch("ModelGroup", "gpt-4o", {"spec": {"models": ["gpt-4o", "meanwhile"]}})
    own_system.wait_condition("ModelGroup", "gpt-4o", "Programmed", "True", timeout_seconds=5)
    install_crds(own_api)
    own_system.create("VirtualKey", "new", {"secretRef": {"name": "alice-key", "key": "key"}, "models": ["*"]})
    wait_for(lambda: own_gateway.chat("meanwhile", key=KEY).status == 200, 15, "the new key")
    own_system.delete("VirtualKey", "new")
    wait_for(lambda: own_gateway.chat("meanwhile", key=KEY).status == 401, 15, "the new key to be dead")
