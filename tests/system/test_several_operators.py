"""Two operators: both serve, one writes, and what it writes is true of all gateways; whatever happens to either."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise

import grpc
import pytest

from harness.basic import KEY, basic
from harness.history import History, Seen
from harness.kube import ApiError, ApiServer, assets_or_skip
from harness.relay import Relay
from harness.system import GATEWAY_ACCOUNT, GATEWAY_NAMESPACE, OPERATOR_ACCOUNT, Operator, System, wait_for
from harness.upstream import Answer, Upstream
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1.routing_pb2_grpc import PeersStub

OBJECTS = (("ModelGroup", "gpt-4o"), ("VirtualKey", "alice"), ("ProviderCredential", "main"))


def replicas(system: System, operator: Operator) -> dict:
    return operator.admin("/debug/replicas").json


def is_writer(operator: Operator) -> bool:
    try:
        return operator.metric("trunkline_operator_is_writer") == 1
    except OSError:
        return False


def lease(system: System) -> dict:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{system.namespace}/leases/trunkline-operator"
    try:
        return system.api.request("GET", path)["spec"]
    except ApiError:
        return {}


def programmed(system: System) -> None:
    for kind, name in OBJECTS:
        system.wait_condition(kind, name, "Programmed", "True")


def spread(system: System, upstream: Upstream, *, relays: Callable[[int], int] = lambda port: port) -> None:
    """A writer, another replica, and one gateway at each; `basic` is programmed."""
    first = system.operator.wait_ready()
    wait_for(lambda: is_writer(first), 5, "the first operator to write")
    second = system.start_operator().wait_ready()
    wait_for(lambda: replicas(system, second)["reporting"], 10, "the second to report")
    basic(system, upstream)
    system.gateway("gw-1", operator_port=relays(first.grpc_port))
    system.gateway("gw-2", operator_port=relays(second.grpc_port))
    for gateway in system.gateways:
        gateway.wait_ready()
    programmed(system)
    both = {"gw-1", "gw-2"}
    wait_for(lambda: set(counted(first)) == both, 5, "both gateways to be known to the writer")


def counted(writer: Operator) -> list[str]:
    own = [each["node"] for each in writer.admin("/debug/gateways").json if each["counts"]]
    return own + [node for peer in writer.admin("/debug/replicas").json["peers"] for node in peer["gateways"]]


def events(system: System) -> list[tuple]:
    answer = system.api.request("GET", f"/apis/events.k8s.io/v1/namespaces/{system.namespace}/events")
    return [(each["regarding"]["name"], each["reason"], each["note"]) for each in answer["items"]]


def observed(seen: Seen | None) -> list[int]:
    """The generations that its status and its conditions speak of."""
    if seen is None or not seen.status:
        return []
    return [seen.status["observedGeneration"], *(each["observedGeneration"] for each in seen.status["conditions"])]


def assert_true_throughout(seen: list[Seen]) -> None:
    """No status was written that took something back, and none that said what stood there already."""
    assert [each for each in seen if each.condition("Programmed")[1] in ("NoGateways", "Pending")] == []
    last: dict[tuple[str, str], Seen] = {}
    for each in seen:
        assert observed(each) >= observed(last.get((each.kind, each.name))), f"{each.name} went back"
        before = last.get((each.kind, each.name))
        if before is not None and before.generation == each.generation:
            assert before.status != each.status, f"{each.kind} {each.name} was written twice"
        last[each.kind, each.name] = each


@pytest.fixture
def own_api() -> Iterator[ApiServer]:
    with ApiServer(assets_or_skip()) as server:
        yield server


def test_programmed_speaks_of_the_gateways_of_all_replicas(system: System, upstream: Upstream) -> None:
    spread(system, upstream)
    first, second = system.operators
    assert (is_writer(first), is_writer(second)) == (True, False)
    assert replicas(system, second)["holder"] == replicas(system, first)["identity"] == lease(system)["holderIdentity"]
    assert first.metric("trunkline_operator_connected_gateways") == 1
    assert first.metric("trunkline_operator_peers_connected") == 1
    # A change shows in one go, and a gateway at the other replica that cannot follow is named by the writer.
    with History(system.api, system.namespace) as history:
        system.patch("ModelGroup", "gpt-4o", {"spec": {"models": ["gpt-4o", "more"]}})
        system.wait_condition("ModelGroup", "gpt-4o", "Programmed", "True", timeout_seconds=3)
        assert all(each.chat("more", key=KEY).status == 200 for each in system.gateways)
        assert_true_throughout(history.seen())

    # The health of keys, too.
    def refuse(request: object) -> Answer:
        return Answer.openai_error(401, "no") if request.key == "sk-upstream-1" else Answer.openai_chat()  # type: ignore[attr-defined]

    upstream.handler = refuse  # type: ignore[assignment]
    for _ in range(5):
        assert system.gateways[1].chat("gpt-4o", key=KEY).status == 200

    def rejected() -> bool:
        keys = {each["name"]: each["state"] for each in system.get("ProviderCredential", "main")["status"]["keys"]}
        return keys["primary"] == "Rejected"

    wait_for(rejected, 12, "the key that a gateway of the other replica found dead")


def test_the_writer_is_killed_and_the_next_one_takes_over_without_a_flap(system: System, upstream: Upstream) -> None:
    spread(system, upstream)
    first, second = system.operators
    system.create("ProviderCredential", "odd", {"provider": "no-such-provider", "auth": {"type": "None"}})
    system.wait_condition("ProviderCredential", "odd", "Accepted", "False", reason="UnknownProvider")
    wait_for(lambda: events(system), 5, "the Event")
    told = events(system)
    with History(system.api, system.namespace) as history:
        killed = time.monotonic()
        first.kill()
        wait_for(lambda: is_writer(second), 20, "the second operator to hold the Lease")
        took = time.monotonic() - killed
        assert took < 20, took
        wait_for(lambda: replicas(system, second)["writes"], 5, "the second operator to write")
        time.sleep(5)  # longer than it takes to write that there is no gateway
        assert history.seen() == [], "what was true was written over"
        # It writes: the gateway that lost its operator is behind, and that is said; its peer's still serves.
        system.patch("VirtualKey", "alice", {"spec": {"owner": {"team": "b"}}})
        system.wait_condition("VirtualKey", "alice", "Programmed", "True")
        first.start().wait_ready()
        assert not is_writer(first)
        assert_true_throughout(history.seen())
    assert events(system) == told
    assert lease(system)["leaseTransitions"] == 1


def test_a_writer_that_was_stopped_for_a_while_writes_nothing_when_it_goes_on(
    system: System, upstream: Upstream
) -> None:
    spread(system, upstream)
    first, second = system.operators
    assert first.child is not None
    with History(system.api, system.namespace) as history:
        os.kill(first.child.pid, signal.SIGSTOP)
        wait_for(lambda: replicas(system, second)["writes"], 25, "the second operator to write")
        system.patch("VirtualKey", "alice", {"spec": {"owner": {"team": "b"}}})
        system.wait_condition("VirtualKey", "alice", "Programmed", "True")
        before = len(history.seen())
        os.kill(first.child.pid, signal.SIGCONT)
        wait_for(lambda: replicas(system, first)["reporting"], 10, "the first operator to report")
        wait_for(lambda: set(counted(second)) == {"gw-1", "gw-2"}, 10, "both gateways to be known to the writer")
        assert not is_writer(first)
        assert len(history.seen()) == before
        assert_true_throughout(history.seen())


def test_a_writer_that_is_told_to_stop_hands_over_at_once(system: System, upstream: Upstream) -> None:
    spread(system, upstream)
    first, second = system.operators
    with History(system.api, system.namespace) as history:
        begun = time.monotonic()
        first.terminate()
        wait_for(lambda: is_writer(second), 3, "the second operator to hold the Lease")
        took = time.monotonic() - begun
        assert took < 3, took
        wait_for(lambda: replicas(system, second)["writes"], 5, "the second operator to write")
        time.sleep(5)
        assert history.seen() == []
    assert "Traceback" not in system.logs()


def test_while_the_api_server_is_away_nobody_writes_and_afterwards_one_does(
    own_api: ApiServer, upstream: Upstream
) -> None:
    with System(own_api) as system:
        spread(system, upstream)
        first, second = system.operators
        with History(own_api, system.namespace) as history:
            own_api.kill_apiserver()
            wait_for(lambda: not is_writer(first), 15, "the writer to stop")
            away = time.monotonic()
            while time.monotonic() - away < 18:
                assert not is_writer(first)
                assert not is_writer(second)
                time.sleep(0.2)
            own_api.restart_apiserver()
            wait_for(lambda: is_writer(first) or is_writer(second), 20, "a writer")
            begun = time.monotonic()
            while time.monotonic() - begun < 6:
                assert is_writer(first) + is_writer(second) <= 1
                time.sleep(0.1)
            system.patch("VirtualKey", "alice", {"spec": {"owner": {"team": "b"}}})
            system.wait_condition("VirtualKey", "alice", "Programmed", "True")
            assert_true_throughout(history.seen())
            assert is_writer(first) + is_writer(second) == 1


def test_a_writer_that_is_cut_off_from_the_api_server_goes_on_reporting_what_its_gateways_serve(
    system: System, upstream: Upstream
) -> None:
    with Relay(int(system.api.url.rpartition(":")[2])) as to_api:
        first = system.start_operator(f"https://127.0.0.1:{to_api.port}").wait_ready()
        wait_for(lambda: is_writer(first), 5, "the first operator to write")
        second = system.start_operator().wait_ready()
        wait_for(lambda: replicas(system, second)["reporting"], 10, "the second to report")
        basic(system, upstream)
        system.gateway("gw-1", operator_port=first.grpc_port).wait_ready()
        system.gateway("gw-2", operator_port=second.grpc_port).wait_ready()
        programmed(system)
        with History(system.api, system.namespace) as history:
            to_api.freeze()
            system.patch("ModelGroup", "gpt-4o", {"spec": {"models": ["gpt-4o", "new"]}})
            said = system.wait_condition(
                "ModelGroup", "gpt-4o", "Programmed", "False", reason="Pending", timeout_seconds=30
            )
            assert "gw-1" in said["message"]
            assert first.is_ready(), "its gateways are served on, and new ones"
            assert not replicas(system, first)["sure"]
            assert b"warning: this replica does not reach the API server" in first.admin("/readyz").body
            assert second.metric("trunkline_operator_gateways_behind") == 1
            assert "annot use the Lease" in system.logs()
            to_api.thaw()
            system.wait_condition("ModelGroup", "gpt-4o", "Programmed", "True", timeout_seconds=20)
            wait_for(lambda: replicas(system, first)["sure"], 10, "the first to know again")
            assert first.admin("/readyz").body == b"ok\n"
            wait_for(lambda: second.metric("trunkline_operator_gateways_behind") == 0, 10, "nobody to be behind")
            back = [each for each in history.seen() if each.kind == "ModelGroup"]
            assert [observed(one) <= observed(two) for one, two in pairwise(back)] == [True] * (len(back) - 1)


def report(operator: Operator, token: str, parts: list[pb.PeerReport]) -> pb.PeerAck:
    roots = (operator.tls_dir / "ca.crt").read_bytes()
    with grpc.secure_channel(f"127.0.0.1:{operator.grpc_port}", grpc.ssl_channel_credentials(roots)) as channel:
        call = PeersStub(channel).Report(iter(parts), metadata=(("authorization", f"Bearer {token}"),), timeout=10)
        return next(call)


def test_only_a_replica_may_report_and_a_replica_is_no_gateway(system: System, upstream: Upstream) -> None:
    writer = system.operator.wait_ready()
    made = [pb.PeerReport(nonce=1, peer="somebody")]
    token = system.api.create_token(GATEWAY_NAMESPACE, GATEWAY_ACCOUNT, "trunkline")
    with pytest.raises(grpc.RpcError) as refused:
        report(writer, token, made)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert token not in str(refused.value.details())
    with pytest.raises(grpc.RpcError) as refused:
        report(writer, "", made)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    token = system.api.create_token(GATEWAY_NAMESPACE, OPERATOR_ACCOUNT, "trunkline")
    assert report(writer, token, made).nonce == 1
    # The other way round: a replica's token gets no table.
    gateway = system.gateway("gw-1", account=OPERATOR_ACCOUNT)
    wait_for(lambda: "may have the table" in system.logs(), 10, "the refusal")
    assert not gateway.is_ready()


def test_a_lagging_replica_makes_no_status_say_what_is_not_so_and_no_revoked_key_come_back(
    system: System, upstream: Upstream
) -> None:
    with ExitStack() as stack:
        to_api = stack.enter_context(Relay(int(system.api.url.rpartition(":")[2])))
        to_operator = stack.enter_context(Relay(0))
        first = system.operator.wait_ready()
        wait_for(lambda: is_writer(first), 5, "the first operator to write")
        lagging = system.start_operator(f"https://127.0.0.1:{to_api.port}").wait_ready()
        wait_for(lambda: replicas(system, lagging)["reporting"], 10, "the second to report")
        basic(system, upstream)
        to_operator.target = first.grpc_port
        ahead = system.gateway("gw-1").wait_ready()
        moved = system.gateway("gw-2", operator_port=to_operator.port).wait_ready()
        late = system.gateway("gw-3", operator_port=lagging.grpc_port).wait_ready()
        programmed(system)
        to_api.freeze()
        system.delete("VirtualKey", "alice")
        for gateway in (ahead, moved):
            wait_for(lambda each=gateway: each.chat("gpt-4o", key=KEY).status == 401, 1, "the key to be dead")
        system.patch("ModelGroup", "gpt-4o", {"spec": {"models": ["gpt-4o", "new"]}})
        said = system.wait_condition("ModelGroup", "gpt-4o", "Programmed", "False", reason="Pending")
        assert "gw-3" in said["message"]
        assert "2 of 3" in said["message"]
        # One moves to the replica that lags: it lags with it, but goes back on nothing.
        to_operator.target = lagging.grpc_port
        to_operator.cut()

        def told() -> bool:
            return "1 of 3" in system.condition("ModelGroup", "gpt-4o", "Programmed")["message"]

        wait_for(lambda: len(lagging.admin("/debug/gateways").json) == 2, 10, "the gateway to have moved")
        wait_for(told, 5, "the status to follow")
        assert moved.chat("gpt-4o", key=KEY).status == 401
        assert late.chat("gpt-4o", key=KEY).status == 200, "its operator cannot know; the writer says so"
        to_api.thaw()
        system.wait_condition("ModelGroup", "gpt-4o", "Programmed", "True", timeout_seconds=20)
        wait_for(lambda: late.chat("gpt-4o", key=KEY).status == 401, 5, "the key to be dead there, too")
        assert json.dumps(replicas(system, first)).count("gw-") == 2
