"""What differs between OpenAI and those who follow its API: what they would refuse, or not understand."""

import re
from typing import Final

from trunkline_gateway.dialect import Target
from trunkline_gateway.exchange import ReasoningEffort, effort

_OPENAI: Final = frozenset({"", "openai", "azure", "azure-openai", "azure_openai", "openai-codex"})
"""Providers that serve OpenAI's own API; what is not known is taken for one."""

_NEVER_ENCRYPTS: Final = frozenset({"deepseek"})
# Models that think, by name, where the catalogue does not say. The others refuse to include encrypted reasoning.
_THINKS: Final = re.compile(r"(?:^|[/.])(?:o\d|gpt-[5-9]|gpt-oss|codex)|grok-[4-9]|reason|think", re.IGNORECASE)


def is_openai(target: Target) -> bool:
    """Whether it is OpenAI's own API."""
    return target.provider in _OPENAI


def knows_namespaces(target: Target) -> bool:
    """Whether tools can stand in groups; else the group becomes part of the name."""
    return is_openai(target)


def takes_reasoning_text(target: Target) -> bool:
    """Whether earlier thoughts may be sent as plain text. OpenAI wants them encrypted, DeepSeek wants nothing else."""
    return not is_openai(target)


def may_think(target: Target, asked: ReasoningEffort | None) -> bool:
    """Whether there may be encrypted reasoning to be included."""
    if target.provider in _NEVER_ENCRYPTS:
        return False
    if target.capabilities.reasoning is not None:
        return target.capabilities.reasoning
    if asked is not None:
        return not effort.is_off(asked)
    return _THINKS.search(target.model) is not None
