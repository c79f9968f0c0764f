"""The parameters of a request that a target may set or bound, by the names of OpenAI's chat completions.

They are those that the gateway has in a neutral form, whatever the dialect; everything else is reached by a JSON
Pointer (RFC 6901) into the body as the upstream gets it.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["integer", "number", "boolean", "string", "strings", "list", "object", "choice"]
"""``strings``: a string or a list of them; ``choice``: a string or an object."""

PARAMETERS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "audio": "object",
        "frequency_penalty": "number",
        "logit_bias": "object",
        "logprobs": "boolean",
        "max_tokens": "integer",
        "metadata": "object",
        "min_p": "number",
        "modalities": "strings",
        "n": "integer",
        "parallel_tool_calls": "boolean",
        "prediction": "object",
        "presence_penalty": "number",
        "prompt_cache_key": "string",
        "prompt_cache_retention": "string",
        "reasoning_effort": "string",
        "repetition_penalty": "number",
        "response_format": "object",
        "safety_identifier": "string",
        "safety_settings": "list",
        "seed": "integer",
        "service_tier": "string",
        "stop": "strings",
        "store": "boolean",
        "temperature": "number",
        "tool_choice": "choice",
        "top_k": "integer",
        "top_logprobs": "integer",
        "top_p": "number",
        "user": "string",
        "verbosity": "string",
    }
)

NUMBERS: Final = tuple(name for name, kind in PARAMETERS.items() if kind in ("integer", "number"))
"""Those that can be bounded."""

POINTER: Final = "^(/([^/~]|~[01])*)+$"

RESERVED: Final = "^/(model|stream)(/|$)"
"""Pointers to what the gateway itself says."""


def fits(name: str, value: object) -> bool:
    """Whether a value is of the kind that a parameter has. What a pointer points at may be anything."""
    if name.startswith("/"):
        return True
    match PARAMETERS[name]:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "strings":
            return isinstance(value, str | list)
        case "list":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "choice":
            return isinstance(value, str | dict)


def is_pointer(name: str) -> bool:
    """Whether it is a JSON Pointer to something that a target may change."""
    return re.search(POINTER, name) is not None and re.search(RESERVED, name) is None
