"""Canary secrets: in no response, log, metric, status or Event; and no table for a stranger."""

import subprocess

from harness.basic import KEY, basic
from harness.system import GATEWAY_NAMESPACE, Gateway, System, request, wait_for
from harness.upstream import Answer, Upstream

CANARIES = ("sk-upstream-1", "sk-upstream-2", KEY, "canary-of-an-unlabelled-secret", "sk-tl-wrong-canary")


def test_canaries_appear_nowhere(system: System, upstream: Upstream) -> None:
    basic(system, upstream)
    system.secret("unlabelled", labelled=False, key="canary-of-an-unlabelled-secret")
    key = {"name": "k", "secretRef": {"name": "unlabelled", "key": "key"}}
    endpoint = {"baseURL": f"{upstream.url}/v1"}
    system.create("ProviderCredential", "thief", {"provider": "openai-compatible", "endpoint": endpoint, "keys": [key]})
    target = {"name": "t", "credentialRef": {"name": "thief"}, "model": "m"}
    system.create("ModelGroup", "stolen", {"targets": [target]})
    gateway = system.gateway("gw-1", "--log-level=debug").wait_ready()
    found = system.wait_condition("ProviderCredential", "thief", "ResolvedRefs", "False", reason="SecretNotLabelled")
    assert "trunkline.dev/secret" in found["message"]
    system.wait_condition("VirtualKey", "alice", "Programmed", "True")

    seen: list[str] = []

    def remember(reply: object) -> None:
        seen.append(f"{reply.headers} {reply.body!r}")  # type: ignore[attr-defined]

    # An upstream that says the key back, in every way that one can.
    for status in (400, 401, 429, 500):
        upstream.script(
            *[
                Answer.openai_error(status, f"Incorrect API key provided: {name} at {upstream.url}")
                for name in ("sk-upstream-1", "sk-upstream-2")
            ]
        )
        remember(gateway.chat("gpt-4o", key=KEY))
    remember(gateway.chat("stolen", key=KEY))
    remember(gateway.chat("gpt-4o", key="sk-tl-wrong-canary"))
    remember(request(gateway.port, "GET", f"/v1/models?key={KEY}"))
    remember(request(gateway.port, "POST", f"/v1/chat/completions?key={KEY}", {"model": 3}))
    remember(request(gateway.port, "GET", "/v1/models/nothing-like-it", key=KEY))
    remember(gateway.admin("/metrics"))
    remember(gateway.admin("/debug/table"))
    remember(system.operator.admin("/metrics"))
    remember(system.operator.admin("/debug/gateways"))
    kinds = ("mg", "pcred", "vk", "events")
    seen += [system.api.kubectl("get", "-n", system.namespace, kind, "-o", "json").stdout for kind in kinds]
    seen.append(system.logs())
    for canary in CANARIES:
        where = [text[max(0, text.find(canary) - 200) :][:500] for text in seen if canary in text]
        assert not where, f"{canary}: {where}"
    assert all(each.key != "canary-of-an-unlabelled-secret" for each in upstream.requests)


def test_a_service_account_that_is_not_the_gateways_gets_no_table(system: System, gateway: Gateway) -> None:
    path = f"/api/v1/namespaces/{GATEWAY_NAMESPACE}/serviceaccounts"
    account = f"stranger-{system.namespace}"
    system.api.request("POST", path, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    stranger = system.gateway("gw-stranger", account=account)

    def refused() -> bool:
        return system.operator.metric("trunkline_operator_authentications_refused_total") >= 1

    wait_for(refused, 10, "the stranger to be refused")
    assert not stranger.is_ready()
    assert stranger.admin("/debug/table").json["resources"] == 0
    nodes = {each["node"] for each in system.operator.admin("/debug/gateways").json}
    assert nodes == {"gw-1"}
    token = (system.directory / "gw-stranger.token").read_text(encoding="ascii")
    assert token not in system.logs()


def test_a_ca_bundle_that_is_none_is_refused_and_traffic_goes_on(system: System, gateway: Gateway) -> None:
    system.secret("ca", bundle="-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n")
    change = {"spec": {"endpoint": {"caSecretRef": {"name": "ca", "key": "bundle"}}}}
    system.patch("ProviderCredential", "main", change)
    found = system.wait_condition("ProviderCredential", "main", "Accepted", "False", reason="Invalid")
    assert "PEM" in found["message"]
    system.wait_condition("ProviderCredential", "main", "Programmed", "False", reason="ServingPreviousVersion")
    assert gateway.chat("gpt-4o", key=KEY).status == 200


def test_the_operator_serves_tls_only(system: System, gateway: Gateway) -> None:
    address, ca = f"127.0.0.1:{system.operator.grpc_port}", str(system.operator.tls_dir / "ca.crt")
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", address, "-CAfile", ca],
        input="",
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert "Verify return code: 0" in shown.stdout
    assert (system.operator.tls_dir / "tls.key").stat().st_mode & 0o077 == 0
