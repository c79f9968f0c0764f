"""How much to think: ``thinking`` and ``output_config.effort``, to and from the exchange.

https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking,
https://docs.anthropic.com/en/docs/build-with-claude/effort
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.anthropic_messages import client_json, models
from trunkline_gateway.dialects.anthropic_messages.decode_content import Unsaid
from trunkline_gateway.exchange import Effort, ReasoningEffort, effort

_Summary: TypeAlias = Literal["none", "auto"]

_EFFORTS: Final[Mapping[str, Effort]] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_WORDS: Final[Mapping[Effort, str]] = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_DISPLAY: Final[Mapping[str, _Summary]] = {"summarized": "auto", "omitted": "none"}

_USUAL: Final[Effort] = "medium"
"""For a model that wants a budget where the client left it to the model."""


def read(
    thinking: client_json.Members | None, config: client_json.Members | None, unsaid: Unsaid
) -> ReasoningEffort | None:
    """What a client asks for. Raises InvalidRequestError."""
    word = None if config is None else config.text("effort")
    if word is not None and word not in _EFFORTS:
        raise client_json.wrong("output_config.effort", f"Input should be one of {', '.join(_EFFORTS)}")
    how_hard = None if word is None else _EFFORTS[word]
    if thinking is None:
        return None if how_hard is None else ReasoningEffort(effort=how_hard)
    kind = thinking.need_text("type")
    display = thinking.text("display")
    summary = None if display is None else _DISPLAY.get(display)
    if display is not None and summary is None:
        raise client_json.wrong("thinking.display", "Input should be 'summarized' or 'omitted'")
    budget = thinking.integer("budget_tokens")
    match kind:
        case "enabled":
            if budget is None:
                raise client_json.wrong("thinking.budget_tokens", "Field required")
            return ReasoningEffort(effort=how_hard, budget_tokens=budget, summary=summary)
        case "adaptive":
            return ReasoningEffort(effort=how_hard, adaptive=True, summary=summary)
        case "disabled":
            if how_hard is not None:
                unsaid.append("output_config.effort")
            return ReasoningEffort(effort="none")
        case _:  # between_tools, and what may come
            unsaid.append("thinking.type")
            return None if how_hard is None else ReasoningEffort(effort=how_hard)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of thinking.

    Attributes:
        thinking: The member; None: not said.
        effort: Of ``output_config``.
        max_tokens: Of the whole, which must be more than the budget.
        on: It thinks, and then much else is restricted.
        adaptive: As it sees fit.
    """

    max_tokens: int
    thinking: dict[str, object] | None = None
    effort: str | None = None
    on: bool = False
    adaptive: bool = False


def write(
    asked: ReasoningEffort | None, target: Target, max_tokens: int, lost: "dict[str, None]", *, counts: bool = False
) -> Said:
    """What to send.

    Args:
        asked: As the client did.
        target: Whose model's name and quirks tell which of the two ways it takes.
        max_tokens: Of the request, or what stands for it.
        lost: Gets the names of what could not be said.
        counts: The request is only counted: there is no ``max_tokens`` to be kept below.
    """
    if asked is None:
        return Said(max_tokens=max_tokens)
    thinks = models.thinks(target)
    if effort.is_off(asked):
        return Said(max_tokens=max_tokens, thinking={"type": "disabled"} if thinks else None)
    if not thinks:
        lost["reasoning_effort"] = None
        return Said(max_tokens=max_tokens)
    if asked.summary in ("concise", "detailed"):
        lost["reasoning_summary"] = None
    display = None if asked.summary is None else ("omitted" if asked.summary == "none" else "summarized")
    if is_adaptive(asked, target):
        return _adaptive(asked, target, max_tokens, display, lost)
    return _budgeted(asked, target, max_tokens, display, lost, counts=counts)


def is_adaptive(asked: ReasoningEffort, target: Target) -> bool:
    """Which of the two ways is taken; where the model takes both, as it was asked."""
    return models.thinks_adaptively(target) and not (asked.budget_tokens and models.takes_budget(target))


def _adaptive(
    asked: ReasoningEffort, target: Target, max_tokens: int, display: str | None, lost: dict[str, None]
) -> Said:
    if asked.budget_tokens is not None and asked.budget_tokens > 0:
        lost["reasoning_budget"] = None
    word = effort.effort_of(asked, max_tokens)
    wired = None if word is None else models.nearest_effort(target, _WORDS[word])
    if wired != word:
        lost["reasoning_effort"] = None
    said: dict[str, object] = {"type": "adaptive"}
    if display is not None:
        said["display"] = display
    return Said(
        max_tokens=max_tokens,
        thinking=said,
        effort=wired,
        on=True,
        adaptive=True,
    )


def _budgeted(
    asked: ReasoningEffort, target: Target, max_tokens: int, display: str | None, lost: dict[str, None], *, counts: bool
) -> Said:
    budget = effort.budget_of(asked, max_tokens)
    if budget < 0:
        budget = effort.budget_of(ReasoningEffort(effort=_USUAL), max_tokens)
    if budget < effort.MIN_BUDGET:
        budget = effort.MIN_BUDGET
        lost["reasoning_budget"] = None
    if not counts and budget >= max_tokens:
        # What was asked for is meant for the answer: the thoughts come on top, as far as the model goes.
        most = target.capabilities.max_output_tokens
        raised = max_tokens + budget
        if most is not None and raised > most:
            raised = max(most, max_tokens)
            if raised <= effort.MIN_BUDGET:
                lost["reasoning_effort"] = None
                return Said(max_tokens=max_tokens)
            lost["reasoning_budget"] = None
            budget = min(budget, raised - 1)
        if raised != max_tokens:
            lost["max_tokens"] = None
        max_tokens = raised
    said: dict[str, object] = {"type": "enabled", "budget_tokens": budget}
    if display is not None:
        said["display"] = display
    return Said(max_tokens=max_tokens, thinking=said, on=True)
