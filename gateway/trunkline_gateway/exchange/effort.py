"""How much to think: words to tokens and back, for targets that know only one of the two.

The shares are those that OpenRouter documents, of the answer's whole allowance:
https://openrouter.ai/docs/use-cases/reasoning-tokens
"""

from collections.abc import Mapping
from typing import Final

from trunkline_gateway.exchange.request import Effort, ReasoningEffort

MIN_BUDGET: Final = 1024
"""Anthropic takes no less."""

_PERCENT: Final[Mapping[Effort, int]] = {
    "minimal": 10,
    "low": 20,
    "medium": 50,
    "high": 80,
    "xhigh": 95,
    "max": 95,
}
_BUDGETS: Final[Mapping[Effort, int]] = {
    "minimal": 1024,
    "low": 4096,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 32768,
}


def is_off(asked: ReasoningEffort) -> bool:
    """Whether it was asked not to think."""
    return asked.effort == "none" or (asked.effort is None and asked.budget_tokens == 0 and not asked.adaptive)


def budget_of(asked: ReasoningEffort, max_tokens: int | None) -> int:
    """Tokens to think with: as asked, else by the word's share of ``max_tokens``; 0: not at all; -1: as it sees fit.

    Below ``max_tokens`` and at least `MIN_BUDGET`, unless what was asked for is exact.
    """
    if asked.budget_tokens is not None:
        return asked.budget_tokens
    if asked.effort == "none":
        return 0
    if asked.effort is None:
        return -1
    if max_tokens is None:
        return _BUDGETS[asked.effort]
    return max(min(max_tokens * _PERCENT[asked.effort] // 100, max_tokens - 1), MIN_BUDGET)


def effort_of(asked: ReasoningEffort, max_tokens: int | None = None) -> Effort | None:
    """The word for what was asked: as said, else the smallest whose budget is no less. None: as the model sees fit."""
    if asked.effort is not None:
        return asked.effort
    budget = asked.budget_tokens
    if budget is None or budget < 0:
        return None
    if budget == 0:
        return "none"
    for word in ("minimal", "low", "medium", "high"):
        if budget <= _BUDGETS[word]:
            return word
    return "xhigh" if budget > _BUDGETS["high"] * 2 else "high"
