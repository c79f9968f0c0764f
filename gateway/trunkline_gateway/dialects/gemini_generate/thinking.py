"""How much to think, as a budget or as a level.

https://ai.google.dev/gemini-api/docs/thinking: Gemini 2.5 takes budgets and Gemini 3 levels; sending both is an error.
"""

from collections.abc import Mapping
from typing import Final

from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.gemini_generate import models
from trunkline_gateway.exchange import Effort, ReasoningEffort, effort

_LEVELS: Final[Mapping[Effort, str]] = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
_MIN_PRO_BUDGET: Final = 128
_MAX_BUDGET: Final = 24576
_MAX_PRO_BUDGET: Final = 32768


def thinking(
    asked: ReasoningEffort, max_tokens: int | None, target: Target, lost: dict[str, None]
) -> dict[str, object]:
    """``thinkingConfig`` as a member of ``generationConfig``, or nothing."""
    off = effort.is_off(asked)
    if not models.thinks(target):
        if not off and (asked.effort is not None or asked.budget_tokens is not None or asked.adaptive):
            lost["reasoning_effort"] = None
        return {}
    config: dict[str, object] = {}
    if models.is_third(target) and (asked.budget_tokens is None or off or "thinking_level" in target.quirks):
        _level(config, asked, max_tokens, target, lost)
    else:
        _budget(config, asked, max_tokens, target, lost)
    if asked.summary != "none" and not off:
        config["includeThoughts"] = True
    elif asked.summary == "none":
        config["includeThoughts"] = False
    return {"thinkingConfig": config} if config else {}


def _level(
    config: dict[str, object],
    asked: ReasoningEffort,
    max_tokens: int | None,
    target: Target,
    lost: dict[str, None],
) -> None:
    word = effort.effort_of(asked, max_tokens)
    if asked.budget_tokens is not None and asked.budget_tokens > 0 and asked.effort is None:
        lost["reasoning_budget"] = None
    if word is None:
        return  # as it sees fit is what it does anyway
    level = _LEVELS[word]
    if level == "MINIMAL" and models.is_pro(target):
        level = "LOW"
    if word not in ("low", "medium", "high") and level.lower() != word:
        lost["reasoning_effort"] = None
    config["thinkingLevel"] = level


def _budget(
    config: dict[str, object],
    asked: ReasoningEffort,
    max_tokens: int | None,
    target: Target,
    lost: dict[str, None],
) -> None:
    # With neither a word nor a number nothing was said of how much, and the model's own way is the default.
    if asked.effort is None and asked.budget_tokens is None and not asked.adaptive:
        return
    budget = -1 if asked.adaptive and asked.effort is None else effort.budget_of(asked, max_tokens)
    is_pro = models.is_pro(target)
    most = _MAX_PRO_BUDGET if is_pro or models.generation(target) != (2, 5) else _MAX_BUDGET
    if budget > most:
        budget = most
        if asked.budget_tokens is not None:
            lost["reasoning_budget"] = None
    if is_pro and 0 <= budget < _MIN_PRO_BUDGET:
        lost["reasoning_effort" if budget == 0 else "reasoning_budget"] = None
        budget = _MIN_PRO_BUDGET
    config["thinkingBudget"] = budget
