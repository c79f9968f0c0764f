"""The registry: where each provider is reached, against the addresses of the vendors' references."""

import pytest

from trunkline_gateway.dialects.openai_chat import quirks as openai_chat
from trunkline_gateway.dialects.openai_embeddings import request as openai_embeddings
from trunkline_protocol.accounts import Dialect, Provider, Spoken, resolve
from trunkline_protocol.providers import PROVIDERS

OWN: dict[Dialect, str] = {
    "openai_chat": "/chat/completions",
    "openai_responses": "/responses",
    "openai_embeddings": "/embeddings",
    "anthropic_messages": "/v1/messages",
    "gemini_generate": "/v1beta/models/{model}:generateContent",
    "gemini_embed": "/v1beta/models/{model}:embedContent",
}
"""Where a dialect is spoken below the base URL that its own SDK takes."""

OPERATION = {"openai_embeddings": "embeddings", "gemini_embed": "embeddings"}


def url(base_url: str, spoken: Spoken) -> str:
    path = spoken.paths.get(OPERATION.get(spoken.dialect, "chat"), OWN[spoken.dialect])
    return (spoken.base_url or base_url) + path.replace("{model}", "M")


def urls(provider: str, base_url: str = "", api_version: str = "") -> dict[str, str]:
    there = resolve(PROVIDERS[provider], base_url, api_version)
    return {each.dialect: url(there.base_url, each) for each in there.spoken}


def pinned(provider: str, base_url: str = "", api_version: str = "") -> dict[str, str]:
    there = resolve(PROVIDERS[provider], base_url, api_version)
    return {each.dialect: url(there.base_url, each) for each in there.pinnable}


def compatible(base: str, *more: str) -> dict[str, str]:
    """OpenAI's chat completions, and what else stands beside them."""
    paths = {"openai_chat": "chat/completions", "openai_responses": "responses", "openai_embeddings": "embeddings"}
    return {each: f"{base}/{paths[each]}" for each in ("openai_chat", *more)}


EMBEDDINGS, RESPONSES, MESSAGES = "openai_embeddings", "openai_responses", "anthropic_messages"
HERE = "http://llm.test:8000"

DOCUMENTED: dict[str, dict[str, str]] = {
    "openai": compatible("https://api.openai.com/v1", RESPONSES, EMBEDDINGS),
    "anthropic": {MESSAGES: "https://api.anthropic.com/v1/messages"},
    "gemini": {
        "gemini_generate": "https://generativelanguage.googleapis.com/v1beta/models/M:generateContent",
        "gemini_embed": "https://generativelanguage.googleapis.com/v1beta/models/M:embedContent",
    },
    "deepseek": {
        **compatible("https://api.deepseek.com/v1"),
        MESSAGES: "https://api.deepseek.com/anthropic/v1/messages",
    },
    "groq": compatible("https://api.groq.com/openai/v1"),
    "mistral": compatible("https://api.mistral.ai/v1", EMBEDDINGS),
    "openrouter": {
        **compatible("https://openrouter.ai/api/v1", EMBEDDINGS),
        MESSAGES: "https://openrouter.ai/api/v1/messages",
    },
    "together": compatible("https://api.together.xyz/v1", EMBEDDINGS),
    "fireworks": compatible("https://api.fireworks.ai/inference/v1", EMBEDDINGS),
    "xai": compatible("https://api.x.ai/v1", RESPONSES),
    "perplexity": compatible("https://api.perplexity.ai"),
    "moonshot": {
        **compatible("https://api.moonshot.ai/v1"),
        MESSAGES: "https://api.moonshot.ai/anthropic/v1/messages",
    },
    "qwen": {
        **compatible("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", EMBEDDINGS),
        MESSAGES: "https://dashscope-intl.aliyuncs.com/apps/anthropic/v1/messages",
    },
    "dashscope": {
        **compatible("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", EMBEDDINGS),
        MESSAGES: "https://dashscope-intl.aliyuncs.com/apps/anthropic/v1/messages",
    },
    "dashscope-cn": {
        **compatible("https://dashscope.aliyuncs.com/compatible-mode/v1", EMBEDDINGS),
        MESSAGES: "https://dashscope.aliyuncs.com/apps/anthropic/v1/messages",
    },
    "zhipu": {
        **compatible("https://open.bigmodel.cn/api/paas/v4", EMBEDDINGS),
        MESSAGES: "https://open.bigmodel.cn/api/anthropic/v1/messages",
    },
    "zai": {
        **compatible("https://api.z.ai/api/paas/v4"),
        MESSAGES: "https://api.z.ai/api/anthropic/v1/messages",
    },
    "minimax": {
        **compatible("https://api.minimax.io/v1"),
        MESSAGES: "https://api.minimax.io/anthropic/v1/messages",
    },
    "siliconflow": {
        **compatible("https://api.siliconflow.com/v1", EMBEDDINGS),
        MESSAGES: "https://api.siliconflow.com/v1/messages",
    },
    "volcengine": compatible("https://ark.cn-beijing.volces.com/api/v3", EMBEDDINGS),
    "cerebras": compatible("https://api.cerebras.ai/v1"),
    "echo": {"openai_chat": "/chat/completions", "openai_embeddings": "/embeddings"},
}
"""Providers that have an address."""

PLACED: dict[str, dict[str, str]] = {
    "ollama": compatible(f"{HERE}/v1", EMBEDDINGS),
    "vllm": {**compatible(f"{HERE}/v1", RESPONSES, EMBEDDINGS), MESSAGES: f"{HERE}/v1/messages"},
    "sglang": compatible(f"{HERE}/v1", EMBEDDINGS),
    "lmstudio": compatible(f"{HERE}/v1", EMBEDDINGS),
    "llamacpp": compatible(f"{HERE}/v1", EMBEDDINGS),
    "litellm": {**compatible(f"{HERE}/v1", RESPONSES, EMBEDDINGS), MESSAGES: f"{HERE}/v1/messages"},
    "openai-compatible": compatible(f"{HERE}/v1", EMBEDDINGS),
    "anthropic-compatible": {MESSAGES: f"{HERE}/v1/messages"},
    "gemini-compatible": {
        "gemini_generate": f"{HERE}/v1beta/models/M:generateContent",
        "gemini_embed": f"{HERE}/v1beta/models/M:embedContent",
    },
}
"""Those that stand where somebody has put them."""


@pytest.mark.parametrize("provider", DOCUMENTED)
def test_a_provider_is_reached_where_its_vendor_says(provider: str) -> None:
    assert urls(provider) == DOCUMENTED[provider]


@pytest.mark.parametrize("provider", PLACED)
def test_a_server_of_ones_own_is_reached_below_its_base_url(provider: str) -> None:
    assert urls(provider, f"{HERE}/v1") == PLACED[provider]
    assert urls(provider, f"{HERE}/v1/") == PLACED[provider]


def test_every_row_has_an_address_that_is_tested() -> None:
    assert PROVIDERS.keys() == DOCUMENTED.keys() | PLACED.keys() | {"azure-openai"}


AZURE = "https://r.openai.azure.com"
DATED = {
    "openai_chat": f"{AZURE}/openai/deployments/M/chat/completions?api-version=2024-10-21",
    "openai_embeddings": f"{AZURE}/openai/deployments/M/embeddings?api-version=2024-10-21",
}
UNDATED = compatible(f"{AZURE}/openai/v1", RESPONSES, EMBEDDINGS)


@pytest.mark.parametrize("base_url", [AZURE, f"{AZURE}/", f"{AZURE}/openai", f"{AZURE}/openai/"])
def test_azure_with_a_date_has_deployments_in_its_paths(base_url: str) -> None:
    assert urls("azure-openai", base_url, "2024-10-21") == DATED
    assert pinned("azure-openai", base_url, "2024-10-21") == {RESPONSES: f"{AZURE}/openai/v1/responses"}


@pytest.mark.parametrize(
    ("base_url", "api_version"),
    [(f"{AZURE}/openai/v1", ""), (f"{AZURE}/openai/v1/", ""), (AZURE, "v1"), (f"{AZURE}/openai", "v1")],
)
def test_azure_without_a_date_is_like_openai(base_url: str, api_version: str) -> None:
    assert urls("azure-openai", base_url, api_version) == UNDATED


def test_a_preview_of_azure_is_asked_for_in_the_query() -> None:
    assert urls("azure-openai", AZURE, "preview") == {
        dialect: f"{each}?api-version=preview" for dialect, each in UNDATED.items()
    }


@pytest.mark.parametrize(
    ("provider", "base_url", "wanted"),
    [
        ("anthropic", "https://proxy.test/v1", "https://proxy.test"),
        ("anthropic", "https://proxy.test/anthropic/v1/", "https://proxy.test/anthropic"),
        ("anthropic", "https://proxy.test/v10", "https://proxy.test/v10"),
        ("gemini", "https://proxy.test/v1beta", "https://proxy.test"),
        ("gemini", "https://proxy.test/v1", "https://proxy.test"),
        ("openai", "https://proxy.test/v1", "https://proxy.test/v1"),
        ("openai", "https://proxy.test", "https://proxy.test"),
    ],
)
def test_a_version_is_tolerated_where_the_sdk_takes_none(provider: str, base_url: str, wanted: str) -> None:
    assert resolve(PROVIDERS[provider], base_url).base_url == wanted


def test_a_dialect_at_another_address_is_not_spoken_behind_a_base_url_of_ones_own() -> None:
    assert urls("deepseek", "https://proxy.test/v1") == compatible("https://proxy.test/v1")
    assert MESSAGES in urls("siliconflow", "https://api.siliconflow.cn/v1")


def test_any_dialect_can_be_pinned_to_what_is_only_compatible() -> None:
    for provider in ("openai-compatible", "anthropic-compatible", "gemini-compatible"):
        both = urls(provider, f"{HERE}/v1") | pinned(provider, f"{HERE}/v1")
        assert both == {
            **compatible(f"{HERE}/v1", RESPONSES, EMBEDDINGS),
            **PLACED["anthropic-compatible"],
            **PLACED["gemini-compatible"],
        }


def test_what_can_be_pinned_besides() -> None:
    assert pinned("anthropic") == {"openai_chat": "https://api.anthropic.com/v1/chat/completions"}
    google = "https://generativelanguage.googleapis.com/v1beta/openai"
    assert pinned("gemini") == compatible(google, EMBEDDINGS)
    assert pinned("openrouter") == {RESPONSES: "https://openrouter.ai/api/v1/responses"}
    assert pinned("fireworks")[MESSAGES] == "https://api.fireworks.ai/inference/v1/messages"
    assert pinned("ollama", "http://ollama:11434/v1")[MESSAGES] == "http://ollama:11434/v1/messages"
    assert pinned("openai-compatible", "http://a/prefix")[MESSAGES] == "http://a/prefix/v1/messages"


@pytest.mark.parametrize("row", PROVIDERS.values(), ids=list(PROVIDERS))
def test_a_row_fits_together(row: Provider) -> None:
    assert row.speaks
    assert not row.speaks.keys() & row.pinnable.keys()
    assert set(row.quirks) <= openai_chat.QUIRKS.keys() | openai_embeddings.QUIRKS.keys()
    assert len(set(row.quirks)) == len(row.quirks)
    assert row.base_url == row.base_url.rstrip("/")
    assert row.auth_header == row.auth_header.lower()
    assert (row.auth_header == "authorization") == (row.auth_scheme == "Bearer ")
    for speaks in (*row.speaks.values(), *row.pinnable.values()):
        assert (speaks.auth_header == "authorization") == (speaks.auth_scheme == "Bearer ")
        assert all(path.startswith("/") for path in speaks.paths.values())
        assert not (speaks.base_url and speaks.at_root)


def test_anthropics_api_is_always_told_its_version() -> None:
    for row in PROVIDERS.values():
        there = resolve(row, "" if row.base_url else "http://a/v1")
        for each in (*there.spoken, *there.pinnable):
            assert each.headers == ((("anthropic-version", "2023-06-01"),) if each.dialect == MESSAGES else ())


def test_keys_go_into_the_headers_that_the_vendors_name() -> None:
    headers = {name: (row.auth_header, row.auth_scheme) for name, row in PROVIDERS.items()}
    assert {name: header for name, (header, _) in headers.items() if header != "authorization"} == {
        "anthropic": "x-api-key",
        "anthropic-compatible": "x-api-key",
        "gemini": "x-goog-api-key",
        "gemini-compatible": "x-goog-api-key",
        "azure-openai": "api-key",
    }
