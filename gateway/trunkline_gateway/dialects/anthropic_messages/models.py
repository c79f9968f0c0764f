"""What Claude models want, as far as their names tell and no quirk says otherwise.

Versions before 4.6 are a closed set that take only a budget for thinking; later ones think as they see fit.
https://docs.anthropic.com/en/docs/build-with-claude/adaptive-thinking
"""

import re
from functools import lru_cache
from typing import Final

from trunkline_gateway.dialect import Target

_VERSION: Final = re.compile(r"claude-(?:[a-z]+-v?|v?(?=[1-3](?!\d)))(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
"""Up to 3.7 the number stood before the word."""
_UNKNOWN: Final = (0, 0)


def thinks(target: Target) -> bool:
    """It knows ``thinking`` at all, which came with 3.7."""
    known = target.capabilities.reasoning
    if known is not None:
        return known
    if target.quirks & {"adaptive_thinking", "budget_thinking"}:
        return True
    return not _UNKNOWN < _version(target.model) < (3, 7)


def thinks_adaptively(target: Target) -> bool:
    """It takes ``thinking: adaptive`` and an effort. Quirks: ``adaptive_thinking``, ``budget_thinking``."""
    if "adaptive_thinking" in target.quirks:
        return True
    return "budget_thinking" not in target.quirks and _version(target.model) >= (4, 6)


def nearest_effort(target: Target, word: str) -> str:
    """The word itself where the model knows it, else ``high``: ``max`` came with 4.6 and ``xhigh`` with 4.7.

    https://docs.anthropic.com/en/docs/build-with-claude/effort
    """
    since = {"max": (4, 6), "xhigh": (4, 7)}.get(word, _UNKNOWN)
    return "high" if _UNKNOWN < _version(target.model) < since else word


def takes_schema(target: Target) -> bool:
    """It takes ``output_config.format``: Opus 4.1, and all from 4.5 on. Quirk: ``no_json_schema``."""
    if "no_json_schema" in target.quirks:
        return False
    known = target.capabilities.json_schema
    return not _UNKNOWN < _version(target.model) < (4, 1) if known is None else known


def takes_budget(target: Target) -> bool:
    """It takes ``thinking: enabled`` with a budget, be it beside the other way."""
    return "adaptive_thinking" not in target.quirks and _version(target.model) < (4, 7)


def takes_system_turns(target: Target) -> bool:
    """It takes messages of the system's after those of the user's. Quirk: ``system_turns``."""
    return "system_turns" in target.quirks or _version(target.model) >= (4, 8)


def takes_no_sampling(target: Target) -> bool:
    """It refuses temperature, top_p and top_k. Quirk: ``no_sampling``."""
    return "no_sampling" in target.quirks or _version(target.model) >= (4, 7)


def takes_no_prefill(target: Target) -> bool:
    """It refuses a conversation that ends with the assistant's own text. Quirk: ``no_prefill``."""
    return "no_prefill" in target.quirks or _version(target.model) >= (4, 6)


def takes_one_of_temperature_and_top_p(target: Target) -> bool:
    """It refuses the two together."""
    return _version(target.model) >= (4, 1)


@lru_cache(maxsize=256)
def _version(model: str) -> tuple[int, int]:
    found = _VERSION.search(model)
    if found is None:
        return (1, 0) if "claude-instant" in model else _UNKNOWN
    return int(found[1]), int(found[2] or 0)
