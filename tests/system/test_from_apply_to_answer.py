"""What a platform engineer and a developer do first, with kubectl and the official SDK."""

import time
from itertools import pairwise
from pathlib import Path

import openai
import pytest

from harness.system import REPOSITORY, Gateway, System, request
from harness.upstream import Answer, Upstream


def client(gateway: Gateway, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0, timeout=20)


def test_kubectl_apply_of_the_quickstart_answers_through_the_sdk(system: System, key: str) -> None:
    gateway = system.gateway("gw-1")
    for manifest in sorted((REPOSITORY / "manifests" / "quickstart").glob("*.yaml")):
        system.apply(manifest.read_text(encoding="utf-8"))
    system.secret("me", key=key)
    system.create("VirtualKey", "me", {"secretRef": {"name": "me", "key": "key"}, "models": ["*"]})
    gateway.wait_ready()
    system.api.kubectl("wait", "-n", system.namespace, "--for=condition=Programmed", "mg,vk,pcred", "--all")
    with client(gateway, key) as sdk:
        whole = sdk.chat.completions.create(model="echo", messages=[{"role": "user", "content": "one two"}])
        assert "one two" in (whole.choices[0].message.content or "")
        stream = sdk.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "one two"}], stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert text == whole.choices[0].message.content
        tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
        called = sdk.chat.completions.create(
            model="echo",
            messages=[{"role": "user", "content": "look"}],
            tools=tools,  # type: ignore[arg-type]
            tool_choice="required",
        )
        calls = called.choices[0].message.tool_calls
        assert calls
        assert calls[0].type == "function"
        assert calls[0].function.name == "look"
        vectors = sdk.embeddings.create(model="echo-embedding", input=["a", "b"])
        assert [each.index for each in vectors.data] == [0, 1]
        failed_over = sdk.chat.completions.with_raw_response.create(
            model="echo-failover", messages=[{"role": "user", "content": "x"}]
        )
        assert failed_over.headers["x-trunkline-target"] == "working"
        assert failed_over.headers["x-trunkline-attempts"] == "2"
        assert "echo" in {model.id for model in sdk.models.list()}


def test_contract_basic_applies_unchanged_and_shows_its_columns(
    system: System, shared: Path, upstream: Upstream, key: str
) -> None:
    text = (shared / "contract" / "basic" / "all.yaml").read_text(encoding="utf-8")
    system.apply(text)
    gateway = system.gateway("gw-1").wait_ready()
    system.api.kubectl("wait", "-n", system.namespace, "--for=condition=Programmed", "mg,vk,pcred", "--all")
    # Its account listens on a fixed port; ours does not.
    system.patch("ProviderCredential", "main", {"spec": {"endpoint": {"baseURL": f"{upstream.url}/v1"}}})
    system.wait_condition("ProviderCredential", "main", "Programmed", "True")

    def table(kind: str) -> tuple[list[str], list[list[str]]]:
        lines = system.api.kubectl("get", "-n", system.namespace, kind).stdout.splitlines()
        return lines[0].split(), [line.split() for line in lines[1:]]

    heads, rows = table("mg")
    assert heads == ["NAME", "MODELS", "TARGETS", "POLICY", "ACCEPTED", "PROGRAMMED", "AGE"]
    assert rows[0][:3] == ["gpt-4o", "3", "2/2"]
    assert rows[0][4:6] == ["True", "True"]
    heads, rows = table("pcred")
    assert heads == ["NAME", "PROVIDER", "KEYS", "ACCEPTED", "PROGRAMMED", "AGE"]
    assert rows[0][:5] == ["main", "openai-compatible", "2/2", "True", "True"]
    heads, rows = table("vk")
    assert heads[:3] == ["NAME", "TEAM", "USER"]
    assert heads[-4:] == ["ACCEPTED", "PROGRAMMED", "EXPIRES", "AGE"]

    for model in ("gpt-4o", "GPT-4O", "gpt-4o-latest", "gpt-4o-2024-08-06", "main:whatever"):
        reply = gateway.chat(model, key=key)
        assert reply.status == 200, (model, reply.body)
    assert [each.model for each in upstream.requests] == ["gpt-4o"] * 4 + ["whatever"]
    bench = "sk-tl-bench-0123456789abcdef"
    assert gateway.chat("gpt-4o", key=bench).status == 200
    assert gateway.chat("main:whatever", key=bench).status == 404
    assert gateway.chat("gpt-4o", key="sk-tl-nobody").status == 401


def test_chunks_arrive_as_the_upstream_sends_them(gateway: Gateway, upstream: Upstream, key: str) -> None:
    words = [f" {number}" for number in range(10)]
    upstream.script(Answer.openai_stream(words, delay=0.1))
    with client(gateway, key) as sdk:
        begun = time.monotonic()
        messages = [{"role": "user", "content": "count"}]
        arrivals = [
            time.monotonic() - begun
            for chunk in sdk.chat.completions.create(model="gpt-4o", messages=messages, stream=True)  # type: ignore[arg-type]
            if chunk.choices and chunk.choices[0].delta.content
        ]
    assert len(arrivals) == 10
    assert arrivals[0] < 0.5
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert min(gaps) > 0.03, "chunks came in bursts: something buffers"
    assert max(gaps) < 0.4


def test_tool_calls_stream_through_the_sdk(system: System, key: str) -> None:
    system.create("ProviderCredential", "echo", {"provider": "echo"})
    target = {"name": "echo", "credentialRef": {"name": "echo"}, "model": "echo"}
    system.create("ModelGroup", "tools", {"targets": [target]})
    system.secret("me", key=key)
    system.create("VirtualKey", "me", {"secretRef": {"name": "me", "key": "key"}, "models": ["*"]})
    gateway = system.gateway("gw-1").wait_ready()
    system.wait_condition("ModelGroup", "tools", "Programmed", "True")
    system.wait_condition("VirtualKey", "me", "Programmed", "True")
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    with (
        client(gateway, key) as sdk,
        sdk.chat.completions.stream(
            model="tools",
            messages=[{"role": "user", "content": "weather?"}],
            tools=[{"type": "function", "function": {"name": "weather", "parameters": parameters}}],
            tool_choice={"type": "function", "function": {"name": "weather"}},
        ) as stream,
    ):
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.name == "weather"
    assert "city" in calls[0].function.arguments
    assert final.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("header", ["x-api-key", "x-goog-api-key"])
def test_the_key_may_come_in_other_headers(gateway: Gateway, key: str, header: str) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    assert request(gateway.port, "POST", "/v1/chat/completions", body, headers={header: key}).status == 200
    assert request(gateway.port, "POST", f"/chat/completions?key={key}", body).status == 200
    assert key not in gateway.log.read_text(encoding="utf-8")


def test_a_third_gateway_joins_and_serves_the_same(system: System, gateway: Gateway, key: str) -> None:
    before = system.get("ModelGroup", "gpt-4o")["metadata"]["resourceVersion"]
    others = [system.gateway(name) for name in ("gw-2", "gw-3")]
    for other in others:
        other.wait_ready()
        assert other.chat("gpt-4o", key=key).status == 200
    assert system.get("ModelGroup", "gpt-4o")["metadata"]["resourceVersion"] == before, "joining rewrote an object"
    # A change is served by each of them once it is called programmed.
    system.patch("ModelGroup", "gpt-4o", {"spec": {"models": ["gpt-4o", "renamed"]}})
    generation_two = system.wait_condition("ModelGroup", "gpt-4o", "Programmed", "True")
    assert generation_two["observedGeneration"] == 2
    for each in (gateway, *others):
        assert each.chat("renamed", key=key).status == 200
    versions = {each.admin("/debug/table").json["version"] for each in (gateway, *others)}
    assert len(versions) == 1


def test_without_any_gateway_the_status_says_so(system: System) -> None:
    assert system.operator.wait_ready()
    system.create("ProviderCredential", "echo", {"provider": "echo"})
    found = system.wait_condition("ProviderCredential", "echo", "Programmed", "Unknown", reason="NoGateways")
    assert found["message"]
    assert system.condition("ProviderCredential", "echo", "Accepted")["status"] == "True"
