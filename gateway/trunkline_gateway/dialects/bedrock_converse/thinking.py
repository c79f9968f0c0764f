"""How much to think, in the words of each family; it stands in ``additionalModelRequestFields``.

https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html
https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from trunkline_gateway.dialects.bedrock_converse.turns import Message
from trunkline_gateway.dialects.bedrock_converse.writing import Writing
from trunkline_gateway.exchange import Effort, Parameters, ReasoningEffort, effort

_CLAUDE: Final[Mapping[Effort, str]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_THREE_WORDS: Final[Mapping[Effort, str]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_USUAL: Final = ReasoningEffort(effort="medium")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """What is sent of it.

    Attributes:
        fields: Of ``additionalModelRequestFields``.
        effort: Of ``outputConfig``; empty: none.
        exclusive: While it thinks so, nothing else may steer it: no temperature, no tool that must be called.
    """

    fields: Mapping[str, object] = field(default_factory=dict)
    effort: str = ""
    exclusive: bool = False


_NOTHING: Final = Thinking()


def of(parameters: Parameters, messages: Sequence[Message], writing: Writing) -> Thinking:
    """What the request asks for, as far as the model can be told."""
    asked = parameters.reasoning_effort
    if asked is None:
        return _NOTHING
    match writing.model.thinks:
        case "":
            if not effort.is_off(asked):
                writing.lose("reasoning_effort")
            return _NOTHING
        case "nova":
            return _nova(asked, parameters, writing)
        case "reasoning_effort" | "reasoning_config" as name:
            return _word(name, asked, parameters, writing)
        case "budget":
            return _with_budget(asked, parameters, messages, writing)
        case "budget_or_adaptive":
            if asked.budget_tokens is not None and asked.budget_tokens > 0 and not asked.adaptive:
                return _with_budget(asked, parameters, messages, writing)
            return _adaptive(asked, parameters, writing)
        case "adaptive":
            return _adaptive(asked, parameters, writing)


def _adaptive(asked: ReasoningEffort, parameters: Parameters, writing: Writing) -> Thinking:
    if effort.is_off(asked):
        return Thinking(fields={"thinking": {"type": "disabled"}})
    if asked.budget_tokens is not None and asked.budget_tokens > 0:
        writing.lose("reasoning_budget")
    thinking = {"type": "adaptive", **_display(asked, writing)}
    word = effort.effort_of(asked, parameters.max_tokens)
    if word == "xhigh" and writing.model.thinks == "budget_or_adaptive":
        word = "high"  # Claude 4.6 knows max, but nothing between the two
        writing.lose("reasoning_effort")
    return Thinking(
        fields={"thinking": thinking}, effort="" if word is None or word == "none" else _CLAUDE[word], exclusive=True
    )


def _with_budget(
    asked: ReasoningEffort, parameters: Parameters, messages: Sequence[Message], writing: Writing
) -> Thinking:
    if effort.is_off(asked):
        return _NOTHING  # as it is unless it is asked for
    limit = parameters.max_tokens
    budget = effort.budget_of(asked, limit)
    if budget < 0:
        budget = effort.budget_of(_USUAL, limit)
    if budget < effort.MIN_BUDGET:
        writing.lose("reasoning_budget")
        budget = effort.MIN_BUDGET
    if limit is not None and budget >= limit:
        budget = limit - 1
        if asked.budget_tokens is not None:
            writing.lose("reasoning_budget")
    if budget < effort.MIN_BUDGET or _has_lost_its_thoughts(messages):
        writing.lose("reasoning_effort")
        return _NOTHING
    thinking = {"type": "enabled", "budget_tokens": budget, **_display(asked, writing)}
    return Thinking(fields={"thinking": thinking}, exclusive=True)


def _display(asked: ReasoningEffort, writing: Writing) -> Mapping[str, object]:
    if asked.summary is None:
        return {}
    if writing.model.thinks == "budget":  # these show what they think, always
        if asked.summary == "none":
            writing.lose("reasoning_summary")
        return {}
    return {"display": "omitted" if asked.summary == "none" else "summarized"}


def _nova(asked: ReasoningEffort, parameters: Parameters, writing: Writing) -> Thinking:
    if effort.is_off(asked):
        return Thinking(fields={"reasoningConfig": {"type": "disabled"}})
    _lose_details(asked, writing)
    word = _three_words(asked, parameters, writing)
    steered = (parameters.max_tokens, parameters.temperature, parameters.top_p)
    if word == "high" and any(each is not None for each in steered):
        # With the highest effort these have to be left out; an answer without bound would be worse.
        writing.lose("reasoning_effort")
        word = "medium"
    return Thinking(fields={"reasoningConfig": {"type": "enabled", "maxReasoningEffort": word}})


def _word(name: str, asked: ReasoningEffort, parameters: Parameters, writing: Writing) -> Thinking:
    if effort.is_off(asked):
        if name == "reasoning_effort":  # these cannot but think
            writing.lose("reasoning_effort")
            return Thinking(fields={name: "low"})
        return _NOTHING
    _lose_details(asked, writing)
    return Thinking(fields={name: _three_words(asked, parameters, writing)})


def _lose_details(asked: ReasoningEffort, writing: Writing) -> None:
    if asked.budget_tokens is not None and asked.budget_tokens > 0:
        writing.lose("reasoning_budget")
    if asked.summary not in (None, "auto"):
        writing.lose("reasoning_summary")


def _has_lost_its_thoughts(messages: Sequence[Message]) -> bool:
    """Whether the model is to go on from what it said, and what it thought before that is not there any more.

    With a budget, the last turn of the assistant has to begin with it, and may not be one to go on from at all.
    """
    last = messages[-1]
    if last.role == "assistant":
        return True
    if last.role != "user" or not last.has("toolResult"):
        return False
    before = messages[-2] if len(messages) > 1 else None
    return before is not None and before.has("toolUse") and "reasoningContent" not in before.content[0]


def _three_words(asked: ReasoningEffort, parameters: Parameters, writing: Writing) -> str:
    if asked.effort in ("xhigh", "max"):
        writing.lose("reasoning_effort")
    return _THREE_WORDS[_some_word(asked, parameters)]


def _some_word(asked: ReasoningEffort, parameters: Parameters) -> Effort:
    word = effort.effort_of(asked, parameters.max_tokens)
    return "medium" if word is None or word == "none" else word
