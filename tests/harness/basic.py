"""The smallest set of resources that serves: what most tests of the whole system start from."""

from __future__ import annotations

from harness.system import Gateway, System
from harness.upstream import Upstream

KEY = "sk-tl-alice-0123456789abcdef"


def basic(system: System, upstream: Upstream) -> None:
    """An account with two keys, two groups and a VirtualKey, against the double."""
    system.secret("upstream", primary="sk-upstream-1", second="sk-upstream-2")
    system.create(
        "ProviderCredential",
        "main",
        {
            "provider": "openai-compatible",
            "endpoint": {"baseURL": f"{upstream.url}/v1"},
            "keys": [
                {"name": "primary", "secretRef": {"name": "upstream", "key": "primary"}, "weight": 1000},
                {"name": "second", "secretRef": {"name": "upstream", "key": "second"}},
            ],
            "directModels": ["*"],
        },
    )
    for model in ("gpt-4o", "text-embedding-3-small"):
        target = {"name": "main", "credentialRef": {"name": "main"}, "model": model}
        system.create("ModelGroup", model, {"targets": [target]})
    system.secret("alice-key", key=KEY)
    system.create(
        "VirtualKey",
        "alice",
        {"secretRef": {"name": "alice-key", "key": "key"}, "owner": {"team": "a"}, "models": ["*", "main:*"]},
    )


def programmed_gateway(system: System, upstream: Upstream, name: str = "gw-1") -> Gateway:
    """Create `basic` and return a ready gateway that serves it, programmed."""
    basic(system, upstream)
    gateway = system.gateway(name).wait_ready()
    for kind, resource in (("ModelGroup", "gpt-4o"), ("VirtualKey", "alice"), ("ProviderCredential", "main")):
        system.wait_condition(kind, resource, "Programmed", "True")
    return gateway
