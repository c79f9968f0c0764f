"""The provider registry: where a provider listens, how it authenticates, what it speaks. Data, not code.

A row is looked up by ``ProviderCredential.spec.provider``. The operator resolves it into the routing table
(`accounts`), so a gateway needs no registry of its own and an operator may know providers that an older gateway has
never heard of.

Addresses are those of the vendors' references, which stand above the rows. What a vendor calls a beta, or what only new
versions of a server have, is `Provider.pinnable`: it is spoken where a target asks for it, and to nobody else, since
what is translated always works.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from trunkline_protocol.accounts import Dialect, Paths, Provider, Speaks

AZURE: Final = "azure-openai"
"""The provider whose accounts have an ``azure.apiVersion``."""

ANTHROPIC_BETAS: Final = ("anthropic-beta:*",)
OPENAI_BETAS: Final = ("openai-beta:*",)

_HERE: Final = Speaks()
_AT_ROOT: Final = Speaks(at_root=True)
_CHAT: Final[Mapping[Dialect, Speaks]] = {"openai_chat": _HERE}
_CHAT_EMBEDDINGS: Final[Mapping[Dialect, Speaks]] = {"openai_chat": _HERE, "openai_embeddings": _HERE}
_GEMINI: Final[Mapping[Dialect, Speaks]] = {"gemini_generate": _HERE, "gemini_embed": _HERE}
_RESPONSES: Final[Mapping[Dialect, Speaks]] = {"openai_responses": _HERE}
_NEWER: Final[Mapping[Dialect, Speaks]] = {"openai_responses": _HERE, "anthropic_messages": _AT_ROOT}
_ANTHROPIC_KEY: Final = "x-api-key"

_BARE: Final = ("no_developer_role", "no_custom_tools", "no_allowed_tools")
"""What of OpenAI's chat completions nobody but OpenAI has."""

_PLAIN: Final = (*_BARE, "no_openai_only", "no_files")
"""What else most others refuse, or pass over in silence."""

_PLAIN_SAMPLING: Final = (*_PLAIN, "sampling_extensions")


def _openai_at(prefix: str, auth_header: str = "", auth_scheme: str = "") -> Mapping[Dialect, Speaks]:
    """OpenAI's dialects below a base URL that ends before their version."""
    paths: Mapping[Dialect, Paths] = {
        "openai_chat": {"chat": f"{prefix}/chat/completions"},
        "openai_responses": {"chat": f"{prefix}/responses", "count_tokens": f"{prefix}/responses/input_tokens"},
        "openai_embeddings": {"embeddings": f"{prefix}/embeddings"},
    }
    return {
        dialect: Speaks(paths=each, auth_header=auth_header, auth_scheme=auth_scheme) for dialect, each in paths.items()
    }


def _server(*more: str) -> Provider:
    """A server that one runs oneself: it speaks OpenAI's API, the address is one's own, and a key is rare."""
    return Provider(auth="optional", speaks=_CHAT_EMBEDDINGS, pinnable=_NEWER, quirks=(*_PLAIN, *more))


_DASHSCOPE_QUIRKS: Final = (*_PLAIN, "enable_thinking", "no_tool_choice_required", "no_logit_bias", "video_url")
_DASHSCOPE: Final = Provider(
    base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    speaks={
        **_CHAT_EMBEDDINGS,
        "anthropic_messages": Speaks(
            base_url="https://dashscope-intl.aliyuncs.com/apps/anthropic", auth_header=_ANTHROPIC_KEY
        ),
    },
    quirks=_DASHSCOPE_QUIRKS,
    models="qwen",
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        # https://platform.openai.com/docs/api-reference
        "openai": Provider(
            base_url="https://api.openai.com/v1",
            speaks={"openai_chat": _HERE, "openai_responses": _HERE, "openai_embeddings": _HERE},
            quirks=("max_completion_tokens",),
            beta_headers=OPENAI_BETAS,
        ),
        # https://docs.anthropic.com/en/api/overview; for OpenAI's SDK: /en/api/openai-sdk
        "anthropic": Provider(
            base_url="https://api.anthropic.com",
            tolerates=("/v1",),
            auth_header=_ANTHROPIC_KEY,
            auth_scheme="",
            speaks={"anthropic_messages": _HERE},
            pinnable={
                "openai_chat": Speaks(
                    paths={"chat": "/v1/chat/completions"}, auth_header="authorization", auth_scheme="Bearer "
                )
            },
            beta_headers=ANTHROPIC_BETAS,
            quirks=(
                "no_openai_only",
                "no_penalties",
                "no_seed",
                "no_logit_bias",
                "no_logprobs",
                "no_n",
                "no_custom_tools",
                "no_allowed_tools",
            ),
        ),
        # https://ai.google.dev/api; for OpenAI's SDK: https://ai.google.dev/gemini-api/docs/openai
        "gemini": Provider(
            base_url="https://generativelanguage.googleapis.com",
            tolerates=("/v1beta", "/v1"),
            auth_header="x-goog-api-key",
            auth_scheme="",
            speaks=_GEMINI,
            pinnable={
                dialect: speaks
                for dialect, speaks in _openai_at("/v1beta/openai", "authorization", "Bearer ").items()
                if dialect != "openai_responses"
            },
            quirks=(*_BARE, "no_openai_only", "no_logit_bias", "google_extra_content"),
        ),
        # https://learn.microsoft.com/azure/ai-foundry/openai/reference: each resource has an address of its own, models
        # are deployments. A base URL that ends with /openai/v1, or an api-version that is none of the dated ones, means
        # the newer API without dates (…/openai/api-version-lifecycle); see `_azure`.
        "azure-openai": Provider(
            azure=True,
            tolerates=("/openai",),
            auth_header="api-key",
            auth_scheme="",
            speaks={
                "openai_chat": Speaks(
                    paths={"chat": "/openai/deployments/{model}/chat/completions?api-version={api-version}"}
                ),
                "openai_embeddings": Speaks(
                    paths={"embeddings": "/openai/deployments/{model}/embeddings?api-version={api-version}"}
                ),
            },
            pinnable={"openai_responses": _openai_at("/openai/v1")["openai_responses"]},
            quirks=("max_completion_tokens",),
            beta_headers=OPENAI_BETAS,
        ),
        # https://api-docs.deepseek.com/ and /guides/anthropic_api (no embeddings)
        "deepseek": Provider(
            base_url="https://api.deepseek.com/v1",
            speaks={
                **_CHAT,
                "anthropic_messages": Speaks(base_url="https://api.deepseek.com/anthropic", auth_header=_ANTHROPIC_KEY),
            },
            quirks=(
                *_PLAIN,
                "thinking_switch",
                "reasoning_in_history",
                "no_json_schema",
                "no_logit_bias",
                "no_n",
                "no_seed",
            ),
        ),
        # https://console.groq.com/docs/openai, and /docs/responses-api (beta)
        "groq": Provider(
            base_url="https://api.groq.com/openai/v1",
            speaks=_CHAT,
            pinnable=_RESPONSES,
            quirks=(*_PLAIN, "max_completion_tokens", "no_logit_bias", "no_logprobs", "no_n", "no_message_name"),
        ),
        # https://docs.mistral.ai/api/
        "mistral": Provider(
            base_url="https://api.mistral.ai/v1",
            speaks=_CHAT_EMBEDDINGS,
            quirks=(
                *_PLAIN,
                "no_stream_options",
                "tool_call_ids_of_nine",
                "random_seed",
                "no_user",
                "no_logit_bias",
                "no_logprobs",
                "no_message_name",
                "no_reasoning_effort",
                "document_url",
                "output_dimension",
                "no_token_input",
            ),
        ),
        # https://openrouter.ai/docs/api-reference/overview: also /messages, /embeddings, and /responses (beta)
        "openrouter": Provider(
            base_url="https://openrouter.ai/api/v1",
            speaks={"openai_chat": _HERE, "anthropic_messages": _AT_ROOT, "openai_embeddings": _HERE},
            pinnable=_RESPONSES,
            quirks=(
                "reasoning_effort_as_object",
                "reasoning_details",
                "sampling_extensions",
                "cache_control",
                "file_urls",
                "video_url",
                "no_custom_tools",
                "no_allowed_tools",
            ),
        ),
        # https://docs.together.ai/docs/openai-api-compatibility
        "together": Provider(base_url="https://api.together.xyz/v1", speaks=_CHAT_EMBEDDINGS, quirks=_PLAIN_SAMPLING),
        # https://docs.fireworks.ai/tools-sdks/openai-compatibility; also /responses and /messages
        "fireworks": Provider(
            base_url="https://api.fireworks.ai/inference/v1",
            speaks=_CHAT_EMBEDDINGS,
            pinnable=_NEWER,
            quirks=_PLAIN_SAMPLING,
        ),
        # https://docs.x.ai/docs/api-reference (no embeddings; its /messages is on the way out)
        "xai": Provider(
            base_url="https://api.x.ai/v1",
            speaks={"openai_chat": _HERE, "openai_responses": _HERE},
            quirks=("no_custom_tools", "no_allowed_tools", "no_logit_bias"),
        ),
        # https://docs.perplexity.ai/api-reference/chat-completions-post: without a version
        "perplexity": Provider(
            base_url="https://api.perplexity.ai",
            speaks=_CHAT,
            quirks=(
                *_PLAIN,
                "no_stream_options",
                "web_search_options",
                "no_logit_bias",
                "no_logprobs",
                "no_n",
                "no_seed",
            ),
        ),
        # https://platform.moonshot.ai/docs/api/chat (no embeddings), and /docs/guide/agent-support
        "moonshot": Provider(
            base_url="https://api.moonshot.ai/v1",
            speaks={**_CHAT, "anthropic_messages": Speaks(base_url="https://api.moonshot.ai/anthropic")},
            quirks=(
                *_PLAIN,
                "no_image_urls",
                "no_tool_choice_required",
                "reasoning_in_history",
                "no_logit_bias",
                "no_logprobs",
                "no_seed",
                "video_url",
            ),
        ),
        # https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope, and …/anthropic-api.
        # Accounts belong to a region; these are Singapore's addresses.
        "qwen": _DASHSCOPE,
        "dashscope": _DASHSCOPE,
        # https://help.aliyun.com/zh/model-studio/compatibility-of-openai-with-dashscope: Beijing's
        "dashscope-cn": Provider(
            base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
            speaks={
                **_CHAT_EMBEDDINGS,
                "anthropic_messages": Speaks(
                    base_url="https://dashscope.aliyuncs.com/apps/anthropic", auth_header=_ANTHROPIC_KEY
                ),
            },
            quirks=_DASHSCOPE_QUIRKS,
            models="qwen",
        ),
        # https://docs.bigmodel.cn/cn/api/introduction, and /cn/guide/develop/claude
        "zhipu": Provider(
            base_url="https://open.bigmodel.cn/api/paas/v4",
            speaks={
                **_CHAT_EMBEDDINGS,
                "anthropic_messages": Speaks(base_url="https://open.bigmodel.cn/api/anthropic"),
            },
            quirks=(
                *_PLAIN,
                "thinking_switch",
                "no_json_schema",
                "no_tool_choice_required",
                "no_logit_bias",
                "no_logprobs",
                "no_n",
            ),
        ),
        # https://docs.z.ai/api-reference/introduction, and /scenario-example/develop-tools/claude: Zhipu, outside China
        "zai": Provider(
            base_url="https://api.z.ai/api/paas/v4",
            speaks={**_CHAT, "anthropic_messages": Speaks(base_url="https://api.z.ai/api/anthropic")},
            quirks=(
                *_PLAIN,
                "thinking_switch",
                "no_json_schema",
                "no_tool_choice_required",
                "no_logit_bias",
                "no_logprobs",
                "no_n",
            ),
            models="zhipu",
        ),
        # https://platform.minimax.io/docs/api-reference/text-openai-api, and …/text-anthropic-api
        "minimax": Provider(
            base_url="https://api.minimax.io/v1",
            speaks={
                **_CHAT,
                "anthropic_messages": Speaks(base_url="https://api.minimax.io/anthropic", auth_header=_ANTHROPIC_KEY),
            },
            quirks=(*_PLAIN, "no_logit_bias", "no_logprobs", "no_n"),
        ),
        # https://docs.siliconflow.com/en/api-reference/chat-completions/chat-completions, and …/messages
        "siliconflow": Provider(
            base_url="https://api.siliconflow.com/v1",
            speaks={"openai_chat": _HERE, "anthropic_messages": _AT_ROOT, "openai_embeddings": _HERE},
            quirks=(*_PLAIN, "enable_thinking", "no_logit_bias"),
        ),
        # https://www.volcengine.com/docs/82379/1298454
        "volcengine": Provider(
            base_url="https://ark.cn-beijing.volces.com/api/v3",
            speaks=_CHAT_EMBEDDINGS,
            pinnable=_RESPONSES,
            quirks=(*_PLAIN, "thinking_switch"),
        ),
        # https://inference-docs.cerebras.ai/api-reference/chat-completions (no embeddings)
        "cerebras": Provider(
            base_url="https://api.cerebras.ai/v1",
            speaks=_CHAT,
            quirks=(*_PLAIN, "max_completion_tokens", "no_penalties", "no_logit_bias", "no_n"),
        ),
        # https://docs.ollama.com/openai; images inline only
        "ollama": _server("no_image_urls", "no_tool_choice_required", "no_logit_bias", "no_n"),
        # https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html
        "vllm": Provider(
            auth="optional",
            speaks={
                "openai_chat": _HERE,
                "openai_responses": _HERE,
                "anthropic_messages": _AT_ROOT,
                "openai_embeddings": _HERE,
            },
            quirks=(*_PLAIN_SAMPLING, "video_url"),
        ),
        # https://docs.sglang.ai/basic_usage/openai_api.html
        "sglang": _server(),
        # https://lmstudio.ai/docs/developer/openai-compat
        "lmstudio": _server(),
        # https://github.com/ggml-org/llama.cpp/tree/master/tools/server
        "llamacpp": _server(),
        # https://docs.litellm.ai/docs/simple_proxy
        "litellm": Provider(
            auth="optional",
            speaks={
                "openai_chat": _HERE,
                "openai_responses": _HERE,
                "anthropic_messages": _AT_ROOT,
                "openai_embeddings": _HERE,
            },
            beta_headers=(*ANTHROPIC_BETAS, *OPENAI_BETAS),
            quirks=("no_custom_tools", "no_allowed_tools", "cache_control"),
        ),
        # Whatever speaks the OpenAI API: a server or proxy of one's own. Many of them ask for no key.
        "openai-compatible": Provider(
            auth="optional",
            speaks=_CHAT_EMBEDDINGS,
            pinnable={**_NEWER, "gemini_generate": _AT_ROOT, "gemini_embed": _AT_ROOT},
            quirks=_BARE,
            beta_headers=OPENAI_BETAS,
        ),
        # Whatever speaks the Anthropic API.
        "anthropic-compatible": Provider(
            tolerates=("/v1",),
            auth="optional",
            auth_header=_ANTHROPIC_KEY,
            auth_scheme="",
            speaks={"anthropic_messages": _HERE},
            pinnable={**_openai_at("/v1"), **_GEMINI},
            beta_headers=ANTHROPIC_BETAS,
            quirks=_BARE,
        ),
        # Whatever speaks the Gemini API.
        "gemini-compatible": Provider(
            tolerates=("/v1beta", "/v1"),
            auth="optional",
            auth_header="x-goog-api-key",
            auth_scheme="",
            speaks=_GEMINI,
            pinnable={**_openai_at("/v1"), "anthropic_messages": _HERE},
            quirks=_BARE,
        ),
        # Built into the gateway: deterministic answers for the quickstart, the docs and the tests.
        "echo": Provider(auth="none", speaks=_CHAT_EMBEDDINGS, in_process=True),
    }
)
