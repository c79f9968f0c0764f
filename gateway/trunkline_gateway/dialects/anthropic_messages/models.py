"""What Claude models want, as far as their names tell and no quirk says otherwise.

Versions before 4.6 are a closed set that take only a budget for thinking; later ones think as they see fit.
https://docs.anthropic.com/en/docs/build-with-claude/adaptive-thinking
"""

import re
from functools import lru_cache
from typing import Final

from trunkline_gateway.dialect import Target

_VERSION: Final = re.compile(r"claude-[a-z]+-(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")


def thinks_adaptively(target: Target) -> bool:
    """It takes ``thinking: adaptive`` and an effort. Quirks: ``adaptive_thinking``, ``budget_thinking``."""
    if "adaptive_thinking" in target.quirks:
        return True
    return "budget_thinking" not in target.quirks and _version(target.model) >= (4, 6)


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
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
