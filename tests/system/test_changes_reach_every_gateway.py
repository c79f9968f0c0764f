"""Rotation, revocation and broken resources, with traffic running."""

import threading
import time

import pytest

from harness.system import Gateway, System, wait_for
from harness.upstream import Answer, Upstream


def status_of(gateway: Gateway, key: str, model: str = "gpt-4o") -> int:
    return gateway.chat(model, key=key).status


def test_a_rotated_secret_serves_within_a_second_and_running_streams_finish_on_the_old_key(
    system: System, gateway: Gateway, upstream: Upstream, key: str
) -> None:
    upstream.script(Answer.openai_stream([f" {number}" for number in range(20)], delay=0.1))
    replies = []
    stream = threading.Thread(target=lambda: replies.append(gateway.chat("gpt-4o", key=key, stream=True)))
    stream.start()
    upstream.wait_for_requests(1)
    system.patch("Secret", "upstream", {"stringData": {"primary": "sk-new-1", "second": "sk-new-2"}})
    begun = time.monotonic()

    def new_key_used() -> bool:
        assert status_of(gateway, key) == 200
        return upstream.requests[-1].key in {"sk-new-1", "sk-new-2"}

    wait_for(new_key_used, 1.0, "the new key to be used")
    assert time.monotonic() - begun < 1.0
    stream.join(10)
    assert replies[0].status == 200
    assert replies[0].body.count(b'"content":" ') == 20
    assert replies[0].body.endswith(b"data: [DONE]\n\n")
    assert upstream.requests[0].key in {"sk-upstream-1", "sk-upstream-2"}


def test_a_deleted_virtual_key_is_dead_on_every_gateway_within_a_second(
    system: System, gateway: Gateway, key: str
) -> None:
    gateways = [gateway, system.gateway("gw-2").wait_ready(), system.gateway("gw-3").wait_ready()]
    assert [status_of(each, key) for each in gateways] == [200] * 3
    system.delete("VirtualKey", "alice")
    wait_for(lambda: all(status_of(each, key) == 401 for each in gateways), 1.0, "the key to be dead everywhere")


@pytest.mark.parametrize("what", ["Secret", "ProviderCredential", "ModelGroup"])
def test_what_is_deleted_stops_within_a_second_and_shows_in_status(
    system: System, gateway: Gateway, key: str, what: str
) -> None:
    name = {"Secret": "upstream", "ProviderCredential": "main", "ModelGroup": "gpt-4o"}[what]
    assert status_of(gateway, key) == 200
    system.delete(what, name)
    expected = {404} if what == "ModelGroup" else {502, 503}
    wait_for(lambda: status_of(gateway, key) in expected, 1.0, f"{what} to be gone from the gateway")
    if what == "Secret":
        system.wait_condition(
            "ProviderCredential", "main", "ResolvedRefs", "False", reason="SecretNotFound", timeout_seconds=1
        )
        keys = system.get("ProviderCredential", "main")["status"]["keys"]
        assert {each["state"] for each in keys} == {"Missing"}
    if what == "ProviderCredential":
        system.wait_condition(
            "ModelGroup", "gpt-4o", "ResolvedRefs", "False", reason="CredentialNotFound", timeout_seconds=1
        )
    # The other resources stay what they are.
    assert system.condition("VirtualKey", "alice", "Accepted")["status"] == "True"


def test_a_broken_resource_does_not_take_another_down(system: System, gateway: Gateway, key: str) -> None:
    system.create("ProviderCredential", "odd", {"provider": "no-such-provider", "auth": {"type": "None"}})
    found = system.wait_condition("ProviderCredential", "odd", "Accepted", "False", reason="UnknownProvider")
    assert "no-such-provider" in found["message"]
    # An account that worked and is edited into nonsense is held: gateways keep what they have.
    system.patch("ProviderCredential", "main", {"spec": {"provider": "no-such-provider"}})
    system.wait_condition("ProviderCredential", "main", "Accepted", "False", reason="UnknownProvider")
    held = system.wait_condition("ProviderCredential", "main", "Programmed", "False", reason="ServingPreviousVersion")
    assert held["message"]
    assert status_of(gateway, key) == 200


def test_a_key_that_becomes_invalid_is_denied(system: System, gateway: Gateway, key: str) -> None:
    system.delete("Secret", "alice-key")
    wait_for(lambda: status_of(gateway, key) == 401, 1.0, "the key to be denied")
    system.wait_condition("VirtualKey", "alice", "Programmed", "False", reason="NotAccepted", timeout_seconds=1)
    system.secret("alice-key", key=key)
    wait_for(lambda: status_of(gateway, key) == 200, 1.0, "the key to be back")


def test_disabled_and_narrowed_keys_take_effect_within_a_second(system: System, gateway: Gateway, key: str) -> None:
    system.patch("VirtualKey", "alice", {"spec": {"models": ["other"]}})
    wait_for(lambda: status_of(gateway, key) == 404, 1.0, "the model to be out of reach")
    system.patch("VirtualKey", "alice", {"spec": {"models": ["*"], "allowedCIDRs": ["10.0.0.0/8"]}})
    wait_for(lambda: status_of(gateway, key) == 403, 1.0, "the address to be refused")
    system.patch("VirtualKey", "alice", {"spec": {"allowedCIDRs": None, "state": "Disabled"}})
    wait_for(lambda: status_of(gateway, key) == 401, 1.0, "the key to be disabled")
    system.patch("VirtualKey", "alice", {"spec": {"state": "Active", "expirationTime": "2001-01-01T00:00:00Z"}})
    system.wait_condition("VirtualKey", "alice", "Accepted", "False", reason="Expired", timeout_seconds=2)
    assert status_of(gateway, key) == 401


def test_a_rejected_key_shows_in_status(system: System, gateway: Gateway, upstream: Upstream, key: str) -> None:
    def refuse(request: object) -> Answer:
        return Answer.openai_error(401, "no") if request.key == "sk-upstream-1" else Answer.openai_chat()  # type: ignore[attr-defined]

    upstream.handler = refuse  # type: ignore[assignment]
    for _ in range(5):
        assert status_of(gateway, key) == 200

    def shown() -> bool:
        keys = {each["name"]: each["state"] for each in system.get("ProviderCredential", "main")["status"]["keys"]}
        return keys == {"primary": "Rejected", "second": "Active"}

    wait_for(shown, 10, "the rejected key in status")
    assert system.get("ProviderCredential", "main")["status"]["display"]["keys"] == "1/2"
