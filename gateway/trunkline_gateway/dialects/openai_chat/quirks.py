"""What providers of this dialect do differently: each name with a sentence. Code reads them by name, never a provider.

Without any quirk a target takes what OpenAI's reference says, with ``max_tokens`` by the name that all know.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

QUIRKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # ---- parameters
        "max_completion_tokens": "The limit of the answer is called max_completion_tokens (OpenAI, Azure).",
        "no_openai_only": "Refuses or ignores what only OpenAI has: verbosity, store, metadata, prediction, "
        "modalities, audio, service_tier, prompt_cache_key, prompt_cache_retention, safety_identifier.",
        "sampling_extensions": "Takes top_k, min_p and repetition_penalty (vLLM, OpenRouter, Together, Fireworks).",
        "random_seed": "The seed is called random_seed (Mistral).",
        "no_seed": "Has no seed.",
        "no_penalties": "Has no presence_penalty and frequency_penalty.",
        "no_logit_bias": "Has no logit_bias.",
        "no_logprobs": "Has no logprobs and top_logprobs.",
        "no_n": "Gives one answer only.",
        "no_user": "Has no user.",
        "no_stop": "Has no stop sequences.",
        "no_stream_options": "Reports usage in every stream and refuses stream_options (Mistral).",
        # ---- reasoning
        "no_reasoning_effort": "Has no way to say how much to think.",
        "efforts_low_to_high": "Knows only low, medium and high as reasoning_effort.",
        "reasoning_effort_as_object": "Takes reasoning: {effort, max_tokens, enabled} (OpenRouter).",
        "thinking_switch": "Takes thinking: {type: enabled or disabled} (Zhipu, DeepSeek, Volcengine).",
        "enable_thinking": "Takes enable_thinking and thinking_budget (Qwen, SiliconFlow).",
        "reasoning_in_history": "Wants reasoning_content of turns with tool calls back (DeepSeek, Moonshot).",
        "reasoning_details": "Takes reasoning_details back, with signatures and encrypted reasoning (OpenRouter).",
        "google_extra_content": "Takes Gemini's thought signatures back in extra_content (Google).",
        # ---- messages
        "no_developer_role": "Knows system messages only.",
        "no_message_name": "Messages have no name.",
        "content_as_string": "The content of a message must be a string.",
        "no_image_urls": "Images must be sent along, as data: URLs.",
        "no_files": "Takes no files.",
        "file_urls": "Takes the URL of a file as file_data (OpenRouter).",
        "document_url": "Takes documents as document_url parts (Mistral).",
        "video_url": "Takes films as video_url parts (OpenRouter, Qwen, Moonshot, vLLM).",
        "cache_control": "Takes cache_control on parts and tools (OpenRouter, LiteLLM).",
        "tool_call_ids_of_nine": "Ids of tool calls are exactly nine letters and digits (Mistral).",
        # ---- tools and formats
        "no_custom_tools": "Knows function tools only.",
        "no_strict_tools": "Functions have no strict.",
        "no_tool_choice_required": "tool_choice cannot be required, nor name a tool.",
        "no_allowed_tools": "tool_choice cannot be a list of tools; the others are left out of tools instead.",
        "no_parallel_tool_calls": "Has no parallel_tool_calls.",
        "no_json_schema": "response_format is json_object at most.",
        "no_response_format": "Has no response_format.",
        "web_search_options": "Searches the web with web_search_options (OpenAI's search models, Perplexity).",
    }
)
