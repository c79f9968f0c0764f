"""What the comments of the examples promise, one test for each promise."""

from collections import Counter

import pytest

from harness.system import wait_for
from harness.upstream import Answer, Upstream
from manifests.applied import Applied

LONG_AGO = "2020-01-01T00:00:00Z"


def shows(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", [name], indirect=True)


def served_by(applied: Applied, model: str, *, key: str = "client", stream: bool = False) -> tuple[str, str]:
    """Target and attempts of an answer, which has to be a good one."""
    reply = applied.chat(model, key=key, stream=stream)
    assert reply.status == 200, reply.body
    return reply.headers["x-trunkline-target"], reply.headers["x-trunkline-attempts"]


@shows("several-providers")
def test_weights_share_and_the_fallback_rests(applied: Applied) -> None:
    counts = Counter(served_by(applied, "chat")[0] for _ in range(80))
    assert set(counts) == {"openai", "groq"}
    assert counts["openai"] > counts["groq"]


@shows("several-providers")
def test_a_provider_that_fails_is_not_noticed(applied: Applied, upstream: Upstream) -> None:
    upstream.script(Answer.openai_error(500), model="deepseek-chat")
    assert served_by(applied, "code") == ("openai", "2")


@shows("several-providers")
def test_a_stream_that_fails_before_the_first_token_goes_on_elsewhere(applied: Applied, upstream: Upstream) -> None:
    upstream.script(Answer.openai_stream().cut_after(10), model="deepseek-chat")
    reply = applied.chat("code", stream=True)
    assert reply.status == 200
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert [each.model for each in upstream.requests] == ["deepseek-chat", "gpt-4o"]


@shows("several-providers")
def test_when_both_shares_fail_the_next_priority_serves(applied: Applied, upstream: Upstream) -> None:
    upstream.script(Answer.openai_error(503), model="gpt-4o-mini")
    upstream.script(Answer.openai_error(429), model="llama-3.3-70b-versatile")
    assert served_by(applied, "chat") == ("deepseek", "3")


@shows("several-providers")
def test_what_the_glob_matched_is_the_upstream_model(applied: Applied, upstream: Upstream) -> None:
    assert applied.embed("text-embedding-3-small").status == 200
    assert upstream.requests[-1].model == "text-embedding-3-small"


@shows("many-keys")
def test_requests_are_spread_over_the_active_keys(applied: Applied, upstream: Upstream) -> None:
    for _ in range(80):
        assert applied.chat("gpt-4o").status == 200
    counts = Counter(each.key for each in upstream.requests)
    main, second, old = (applied.environ[f"OPENAI_API_KEY_{name}"] for name in ("MAIN", "SECOND", "OLD"))
    assert set(counts) == {main, second, old}
    assert counts[main] == max(counts.values())
    status = applied.system.get("ProviderCredential", "openai")["status"]
    assert status["display"]["keys"] == "3/4"
    assert {each["name"]: each["state"] for each in status["keys"]} == {
        "main": "Active",
        "second": "Active",
        "spare": "Disabled",
        "old": "Active",
    }


@shows("many-keys")
def test_a_key_that_is_limited_or_refused_hands_over_to_the_next(applied: Applied, upstream: Upstream) -> None:
    upstream.script(Answer.openai_error(429), Answer.openai_error(401))
    assert served_by(applied, "gpt-4o") == ("openai", "3")
    assert len({each.key for each in upstream.requests}) == 3


@shows("many-keys")
def test_a_key_can_be_switched_and_expires(applied: Applied, upstream: Upstream) -> None:
    def key(name: str, **more: object) -> dict[str, object]:
        return {"name": name, "secretRef": {"name": "openai-keys", "key": name}, **more}

    off = {"state": "Disabled"}
    keys = [key("main", **off), key("second", **off), key("spare"), key("old", expirationTime=LONG_AGO)]
    applied.patch("ProviderCredential", "openai", {"spec": {"keys": keys}})
    for _ in range(8):
        assert applied.chat("gpt-4o").status == 200
    assert {each.key for each in upstream.requests} == {applied.environ["OPENAI_API_KEY_SPARE"]}


@shows("many-keys")
def test_a_new_value_in_the_secret_is_used_without_a_failed_request(applied: Applied, upstream: Upstream) -> None:
    values = dict.fromkeys(("main", "second", "old"), "sk-renewed")
    applied.patch("Secret", "openai-keys", {"stringData": values})

    def renewed() -> bool:
        assert applied.chat("gpt-4o").status == 200
        return upstream.requests[-1].key == "sk-renewed"

    wait_for(renewed, 20, "the new key to be used")


@shows("team-keys")
def test_each_key_may_call_its_models_and_no_others(applied: Applied) -> None:
    answers = {
        name: tuple(applied.chat(model, key=name).status for model in ("small", "small-preview", "large"))
        for name in applied.keys
    }
    assert answers == {
        "search-backend": (200, 200, 200),
        "search-alice": (200, 200, 404),
        "ads-contractor": (200, 404, 404),
        "ads-batch": (401, 401, 401),
    }


@shows("team-keys")
def test_a_key_from_elsewhere_or_past_its_end_is_refused(applied: Applied) -> None:
    applied.patch("VirtualKey", "search-backend", {"spec": {"allowedCIDRs": ["10.0.0.0/8"]}})
    assert applied.chat("small", key="search-backend").status == 403
    applied.system.patch("VirtualKey", "ads-contractor", {"spec": {"expirationTime": LONG_AGO}})
    wait_for(lambda: applied.chat("small", key="ads-contractor").status == 401, 20, "the key to have expired")


@shows("vip-groups")
def test_groups_and_namespaces_decide_together(applied: Applied) -> None:
    answers = {
        name: tuple(applied.chat(model, key=name).status for model in ("standard", "premium", "ads-tuned"))
        for name in applied.keys
    }
    assert answers == {
        "ranking": (200, 200, 404),
        "alice": (200, 404, 404),
        "bidding": (200, 404, 200),
        "on-call": (404, 404, 200),
    }


@shows("vip-groups")
def test_consent_can_be_withdrawn_by_a_label(applied: Applied) -> None:
    api = applied.system.api
    api.kubectl("label", "namespace", "llm-models", "llm.example.com/uses-accounts-")
    try:
        wait_for(lambda: applied.chat("standard", key="alice").status != 200, 20, "the account to be closed")
    finally:
        api.kubectl("label", "namespace", "llm-models", "llm.example.com/uses-accounts=true")
    wait_for(lambda: applied.chat("standard", key="alice").status == 200, 20, "the account to be open again")


@shows("vip-groups")
def test_tenants_cannot_bring_models_of_their_own(applied: Applied) -> None:
    target = {"name": "echo", "credentialRef": {"name": "echo", "namespace": "llm-accounts"}, "model": "echo"}
    own = {
        "apiVersion": "trunkline.dev/v1alpha1",
        "kind": "ModelGroup",
        "metadata": {"name": "standard", "namespace": "team-ads"},
        "spec": {"targets": [target]},
    }
    path = "/apis/trunkline.dev/v1alpha1/namespaces/team-ads/modelgroups"
    applied.system.api.request("POST", path, own)
    try:

        def refused() -> bool:
            conditions = applied.get(own).get("status", {}).get("conditions", [])
            return any(each["reason"] == "NamespaceNotAllowed" for each in conditions if each["type"] == "Accepted")

        wait_for(refused, 20, "the group to be refused")
    finally:
        applied.system.api.request("DELETE", f"{path}/standard")


@shows("claude-code")
def test_what_a_coding_agent_sends_is_answered(applied: Applied, upstream: Upstream) -> None:
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "read", "description": "Read.", "parameters": parameters}}]
    reply = applied.chat(
        "coder", key="developer", stream=True, tools=tools, max_tokens=32000, reasoning={"effort": "high"}
    )
    assert reply.status == 200
    assert reply.body.endswith(b"data: [DONE]\n\n")
    sent = upstream.requests[-1].json()
    assert (sent["model"], sent["tools"], sent["reasoning"]) == ("deepseek-chat", tools, {"effort": "high"})


READ = {"type": "object", "properties": {"path": {"type": "string"}}}
AGENTS = {
    "Claude Code": (
        "/v1/messages?beta=true",
        {
            "model": "coder",
            "max_tokens": 32000,
            "system": [{"type": "text", "text": "You code.", "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "tools": [{"name": "read", "description": "Read.", "input_schema": READ}],
            "stream": True,
        },
        b"event: message_stop",
    ),
    "Codex": (
        "/v1/responses",
        {
            "model": "coder",
            "instructions": "You code.",
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
            "tools": [
                {"type": "function", "name": "read", "description": "Read.", "parameters": READ, "strict": False}
            ],
            "store": False,
            "stream": True,
        },
        b"event: response.completed",
    ),
    "Gemini CLI": (
        "/v1beta/models/coder:streamGenerateContent?alt=sse",
        {
            "systemInstruction": {"role": "user", "parts": [{"text": "You code."}]},
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "tools": [
                {"functionDeclarations": [{"name": "read", "description": "Read.", "parametersJsonSchema": READ}]}
            ],
        },
        b'"finishReason":"STOP"',
    ),
}


@pytest.mark.parametrize("agent", AGENTS)
@shows("claude-code")
def test_every_agent_speaks_its_own_api(applied: Applied, upstream: Upstream, agent: str) -> None:
    path, body, end = AGENTS[agent]
    reply = applied.gateway.post(path, body, key=applied.keys["developer"])
    assert reply.status == 200, reply.body
    assert end in reply.body
    sent = upstream.requests[-1].json()
    assert (sent["model"], sent["stream"], sent["tools"][0]["function"]["name"]) == ("deepseek-chat", True, "read")
    assert [each["role"] for each in sent["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("example", "model", "first", "second"),
    [
        ("azure", "gpt-4.1", "westeurope", "northeurope"),
        ("vertex", "gemini", "vertex", "gemini"),
        ("bedrock", "gpt-oss-120b", "mantle", "runtime"),
        ("self-hosted", "in-house", "vllm", "ollama"),
    ],
    indirect=["example"],
)
def test_the_second_target_serves_while_the_first_fails(
    applied: Applied, upstream: Upstream, model: str, first: str, second: str
) -> None:
    assert served_by(applied, model) == (first, "1")
    upstream.script(Answer.openai_error(503))
    assert served_by(applied, model, stream=True)[0] == second


@shows("vertex")
def test_an_expired_token_hands_over_to_the_lasting_key(applied: Applied, upstream: Upstream) -> None:
    upstream.script(Answer.openai_error(401))
    assert served_by(applied, "gemini") == ("gemini", "2")
    assert [each.key for each in upstream.requests] == [
        applied.environ["VERTEX_TOKEN"],
        applied.environ["GEMINI_API_KEY"],
    ]


@shows("self-hosted")
def test_nothing_is_sent_to_prove_who_calls(applied: Applied, upstream: Upstream) -> None:
    assert applied.chat("in-house").status == 200
    assert "authorization" not in {name.lower() for name, _ in upstream.requests[-1].headers}


@shows("internal-ca")
def test_the_bundle_alone_makes_the_endpoint_trusted(applied: Applied, tls_upstream: Upstream) -> None:
    assert applied.chat("corporate-chat").status == 200
    assert ("x-cost-centre", "4711") in [(name.lower(), value) for name, value in tls_upstream.requests[-1].headers]
    applied.patch("ProviderCredential", "corporate", {"spec": {"endpoint": {"caSecretRef": None}}})
    assert applied.chat("corporate-chat").status == 502


@shows("direct-models")
def test_direct_models_take_three_to_agree(applied: Applied, upstream: Upstream) -> None:
    listed, unlisted = "openrouter:meta-llama/llama-3.3-70b-instruct", "openrouter:openai/gpt-4o"
    assert applied.chat(listed, key="research").status == 200
    assert upstream.requests[-1].model == "meta-llama/llama-3.3-70b-instruct"
    assert applied.chat(listed, key="client").status == 404
    assert applied.chat(unlisted, key="research").status == 404
    assert applied.chat("mistral/mistral-small", key="client").status == 200
    assert upstream.requests[-1].model == "mistralai/mistral-small"


@shows("azure")
def test_azure_is_asked_where_each_version_of_its_api_is(applied: Applied, upstream: Upstream) -> None:
    upstream.script(Answer.openai_error(500), path="/openai/v1/chat/completions")
    assert served_by(applied, "gpt-4.1") == ("northeurope", "2")
    west, north = upstream.requests[-2:]
    assert west.target == "/openai/v1/chat/completions"
    assert west.json()["model"] == "my-gpt-41"
    assert north.target == "/openai/deployments/my-gpt-41/chat/completions?api-version=2024-10-21"
    for request in (west, north):
        assert request.header("api-key")
        assert request.header("authorization") is None


@shows("dialects")
def test_each_account_is_spoken_to_in_its_own_dialect(applied: Applied, upstream: Upstream) -> None:
    assert served_by(applied, "writer") == ("claude", "1")
    assert applied.chat("reader", stream=True).body.endswith(b"data: [DONE]\n\n")
    assert served_by(applied, "extractor") == ("local", "1")
    claude, gemini, local = upstream.requests
    assert (claude.path, gemini.path, local.path) == (
        "/v1/messages",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        "/v1/chat/completions",
    )
    assert claude.header("x-api-key") == applied.environ["ANTHROPIC_API_KEY"]
    assert claude.header("anthropic-version") == "2023-06-01"
    assert gemini.header("x-goog-api-key") == applied.environ["GEMINI_API_KEY"]
    assert local.header("authorization") == f"Bearer {applied.environ['LOCAL_API_KEY']}"


@shows("dialects")
def test_parameters_bear_one_name_in_every_dialect(applied: Applied, upstream: Upstream) -> None:
    assert applied.chat("writer", temperature=1.7, logit_bias={"1": 1}).status == 200
    asked = upstream.requests[-1].json()
    assert (asked["max_tokens"], asked["temperature"]) == (4096, 1)
    assert "logit_bias" not in asked
    assert applied.chat("extractor", temperature=1).status == 200
    asked = upstream.requests[-1].json()
    assert asked["temperature"] == 0
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}


@shows("dialects")
def test_a_policy_says_what_may_be_lost(applied: Applied) -> None:
    claude = {"name": "claude", "credentialRef": {"name": "anthropic"}, "model": "claude-sonnet-4-5"}
    applied.patch("ModelGroup", "writer", {"spec": {"targets": [claude]}})
    assert applied.chat("writer", seed=7).status == 200
    applied.patch("RoutePolicy", "prose", {"spec": {"lossy": "Reject"}})
    refused = applied.chat("writer", seed=7)
    assert refused.status == 400
    assert "seed" in refused.json["error"]["message"]
    assert applied.chat("writer").status == 200


@shows("dialects")
def test_the_policy_in_force_is_shown(applied: Applied) -> None:
    found = {name: applied.system.get("ModelGroup", name)["status"] for name in ("writer", "reader", "extractor")}
    assert {name: status["effectivePolicy"] for name, status in found.items()} == {
        "writer": "prose",
        "reader": "prose",
        "extractor": "exact",
    }
    groups = {name: applied.system.get("RoutePolicy", name)["status"]["display"] for name in ("default", "prose")}
    assert groups == {
        "default": {"applies": "default", "groups": "0"},
        "prose": {"applies": "use=prose", "groups": "2"},
    }
