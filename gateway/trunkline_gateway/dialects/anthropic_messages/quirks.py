"""What providers of this dialect do differently: each name with a sentence. Code reads them by name, never a provider.

Without any quirk a target takes what Anthropic's reference says of the model, as far as its name tells (`models`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

QUIRKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "adaptive_thinking": "Thinks as it sees fit (thinking: adaptive, with an effort) whatever the model's name.",
        "budget_thinking": "Thinks with a budget (thinking: enabled) whatever the model's name.",
        "reasoning_in_history": "Wants thoughts of earlier turns back, which it does not sign (DeepSeek, Moonshot).",
        "no_sampling": "Refuses temperature, top_p and top_k.",
        "no_prefill": "Refuses a conversation that ends with the assistant's own text.",
        "no_strict_tools": "Tools have no strict.",
        "no_json_schema": "Has no output_config.format; the form of an answer is asked for in words.",
        "no_image_urls": "Images and documents must be sent along, in base64.",
        "system_turns": "Takes messages of the system's after those of the user's whatever the model's name.",
    }
)
