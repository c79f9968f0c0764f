"""What differs between generations of Gemini, read off a model's name and a target's quirks.

https://ai.google.dev/gemini-api/docs/thinking
"""

import re
from typing import Final

from trunkline_gateway.dialect import Target

_GENERATION: Final = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?")


def generation(target: Target) -> tuple[int, int] | None:
    """``(2, 5)`` of ``gemini-2.5-flash``; None where the name does not tell (an alias such as gemini-flash-latest)."""
    found = _GENERATION.search(target.model.lower())
    return None if found is None else (int(found.group(1)), int(found.group(2) or 0))


def is_third(target: Target) -> bool:
    """Gemini 3 or later: thinking levels, media in function responses, own tools beside functions."""
    found = generation(target)
    return "thinking_level" in target.quirks or (found is not None and found >= (3, 0))


def thinks(target: Target) -> bool:
    """Whether ``thinkingConfig`` may be sent: to a model that does not think it is an error."""
    if target.capabilities.reasoning is not None:
        return target.capabilities.reasoning
    found = generation(target)
    return found is None or found >= (2, 5)


def is_pro(target: Target) -> bool:
    """A model that cannot be told not to think."""
    return "pro" in target.model.lower()


def is_vertex(target: Target) -> bool:
    """Vertex AI, whose bodies differ in a few places."""
    return target.provider.startswith("vertex") or "vertex" in target.quirks
