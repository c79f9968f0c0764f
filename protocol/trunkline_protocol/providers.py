"""The provider registry: where a provider listens, how it authenticates, what it speaks. Data, not code.

A row is looked up by ``ProviderCredential.spec.provider``. The operator resolves it into the routing table, so
a gateway needs no registry of its own and an operator may know providers that an older gateway has never heard of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Dialect = Literal["openai_chat", "openai_embeddings"]
"""A wire format that a provider speaks natively. A dialect enters with the issue that brings its codec."""

Auth = Literal["required", "optional", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One row of the registry.

    Attributes:
        base_url: As the provider's own SDK takes it; empty where the credential has to say it.
        auth: Whether an account needs a key. ``none``: a key would have nowhere to go.
        auth_header: Header that carries the key upstream, in lower case.
        auth_scheme: What stands before the key in that header, with its space; may be empty.
        dialects: What the provider speaks, the preferred one first.
        in_process: Served by the gateway itself; no connection is made.
    """

    base_url: str = ""
    auth: Auth = "required"
    auth_header: str = "authorization"
    auth_scheme: str = "Bearer "
    dialects: tuple[Dialect, ...] = ("openai_chat", "openai_embeddings")
    in_process: bool = False


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        # https://platform.openai.com/docs/api-reference
        "openai": Provider(base_url="https://api.openai.com/v1"),
        # Whatever speaks the OpenAI API: vLLM, LiteLLM, a proxy of one's own. Many of them ask for no key.
        "openai-compatible": Provider(auth="optional"),
        # https://api-docs.deepseek.com/ (no embeddings)
        "deepseek": Provider(base_url="https://api.deepseek.com/v1", dialects=("openai_chat",)),
        # https://console.groq.com/docs/openai
        "groq": Provider(base_url="https://api.groq.com/openai/v1", dialects=("openai_chat",)),
        # https://docs.mistral.ai/api/
        "mistral": Provider(base_url="https://api.mistral.ai/v1"),
        # https://openrouter.ai/docs/api-reference/overview
        "openrouter": Provider(base_url="https://openrouter.ai/api/v1"),
        # https://docs.together.ai/docs/openai-api-compatibility
        "together": Provider(base_url="https://api.together.xyz/v1"),
        # https://docs.fireworks.ai/tools-sdks/openai-compatibility
        "fireworks": Provider(base_url="https://api.fireworks.ai/inference/v1"),
        # https://docs.x.ai/docs/api-reference (no embeddings)
        "xai": Provider(base_url="https://api.x.ai/v1", dialects=("openai_chat",)),
        # https://platform.moonshot.ai/docs/api/chat (no embeddings)
        "moonshot": Provider(base_url="https://api.moonshot.ai/v1", dialects=("openai_chat",)),
        # https://inference-docs.cerebras.ai/api-reference/chat-completions (no embeddings)
        "cerebras": Provider(base_url="https://api.cerebras.ai/v1", dialects=("openai_chat",)),
        # Built into the gateway: deterministic answers for the quickstart, the docs and the tests.
        "echo": Provider(auth="none", in_process=True),
    }
)
