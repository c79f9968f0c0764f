"""A gateway (`trunkline run`) in front of one double of `double`, by the names of models that clients know.

with Front("messages") as front:
    ...  # front.url, front.key
    assert not front.providers.refused
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness import ports
from harness.providers.double import Providers
from harness.system import BIN, Process

CLIENT_KEY = "sk-tl-clients-0123456789abcdef0123456789abcdef"
UPSTREAM_KEY = "sk-upstream-0123456789abcdef"
CHAT_MODELS = ("gpt-5", "claude-sonnet-4-5", "gemini-2.5-pro")
EMBEDDING_MODELS = ("text-embedding-3-small", "gemini-embedding-001", "text-embedding-004")
# What recorded clients name beside them.
# A name that leads to a model that the upstream has not.
MISSING_MODEL = "missing-model"
_OTHERS = ("gpt-4o", "gemini-1.5-pro", "mistral-small", "my-gpt-5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What the gateway speaks upstream: provider, dialect, and the models there."""

    provider: str
    dialect: str
    suffix: str
    model: str
    embedding_model: str = ""

    @property
    def models(self) -> list[str]:
        """Of the upstream."""
        return [name for name in (self.model, self.embedding_model) if name]


ROUTES: Mapping[str, Route] = {
    "chat": Route(
        provider="openai-compatible", dialect="OpenAIChat", suffix="/v1", model="chat-model",
        embedding_model="embedding-model",
    ),
    "responses": Route(provider="openai", dialect="OpenAIResponses", suffix="/v1", model="gpt-5"),
    "messages": Route(provider="anthropic", dialect="AnthropicMessages", suffix="", model="claude-sonnet-4-5"),
    # Of the third generation: it insists on thought signatures.
    "generate": Route(
        provider="gemini", dialect="GeminiGenerate", suffix="", model="gemini-3-pro-preview",
        embedding_model="gemini-embedding-001",
    ),
}  # fmt: skip


def manifests(route: Route, url: str) -> list[dict[str, Any]]:
    """One account, the groups, and one key."""

    def made(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        return {"apiVersion": "trunkline.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}

    def secret(name: str, value: str) -> dict[str, Any]:
        labelled = {"name": name, "labels": {"trunkline.dev/secret": "true"}}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": labelled, "stringData": {"key": value}}

    def group(name: str, models: tuple[str, ...], model: str, **more: str) -> dict[str, Any]:
        target = {"name": "double", "credentialRef": {"name": "double"}, "model": model, **more}
        return made("ModelGroup", name, {"models": list(models), "targets": [target]})

    written = [
        secret("upstream", UPSTREAM_KEY),
        secret("client", CLIENT_KEY),
        made(
            "ProviderCredential",
            "double",
            {
                "provider": route.provider,
                "endpoint": {"baseURL": url + route.suffix},
                "keys": [{"name": "a", "secretRef": {"name": "upstream", "key": "key"}}],
            },
        ),
        made("VirtualKey", "client", {"secretRef": {"name": "client", "key": "key"}, "models": ["*"]}),
        group("chat", (*CHAT_MODELS, *_OTHERS), route.model, dialect=route.dialect),
    ]
    written.append(group("missing", (MISSING_MODEL,), "missing-upstream", dialect=route.dialect))
    if route.embedding_model:
        written.append(group("embeddings", EMBEDDING_MODELS, route.embedding_model))
    return written


class Front:
    """The pair. ``calls``: see `Providers`."""

    def __init__(self, route: str, calls: Mapping[str, Mapping[str, object]] = {}) -> None:
        self.name = route
        self.route = ROUTES[route]
        self.key = CLIENT_KEY
        self.providers = Providers(calls, key=UPSTREAM_KEY, models=self.route.models)
        self._directory = Path(tempfile.mkdtemp(prefix=f"trunkline-front-{route}-"))
        self.port, admin_port = ports.free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        argv = [
            str(BIN / "trunkline"), "run", str(self._directory / "manifests"), f"--port={self.port}",
            f"--admin-port={admin_port}", f"--state-dir={self._directory / 'state'}",
        ]  # fmt: skip
        self.process = Process(f"gateway-{route}", admin_port, self._directory / "log", argv)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self._directory, ignore_errors=True)
            stack.enter_context(self.providers)
            (self._directory / "manifests").mkdir()
            text = "\n---\n".join(json.dumps(each) for each in manifests(self.route, self.providers.url))
            (self._directory / "manifests" / "all.yaml").write_text(text, encoding="utf-8")
            stack.callback(self.process.kill)
            self.process.start().wait_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def log(self) -> str:
        """The end of what the gateway has said, for an error message."""
        return self.process.child.log_tail(40) if self.process.child else ""
