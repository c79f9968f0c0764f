"""What can be lost between two dialects, by name: the vocabulary of ``x-trunkline-lossy`` and of its metric.

Each name is a feature of the matrix in docs/reference/dialects.md. Names are those of OpenAI's chat completions where
it has one. A client's field that nobody knows is reported by its own name in the header and counted as ``unknown``.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias, assert_never

from trunkline_gateway.exchange import content

Kind: TypeAlias = Literal["parameter", "content", "answer"]
"""``parameter``: an optional setting, dropped under ``unsupportedParameters: Drop``. ``content``: something of the
turns or tools. ``answer``: something of what came back; known only when it has come."""

_PARAMETERS_NAMES: Final = """
    max_tokens temperature top_p top_k min_p stop seed presence_penalty frequency_penalty repetition_penalty
    logit_bias logprobs top_logprobs n response_format response_format.strict reasoning_effort reasoning_budget
    reasoning_summary verbosity service_tier user metadata safety_identifier safety_settings prompt_cache_key
    prompt_cache_retention store modalities audio prediction parallel_tool_calls tool_choice
    tool_choice.allowed_tools dimensions encoding_format task_type title anthropic-beta openai-beta
"""
_CONTENT_NAMES: Final = """
    system_position developer_role message_name assistant_prefill image image_url image_detail image_file
    audio_input video file file_url file_id file_name file_context file_citations tool_result_image tool_result_file
    tool_result_error tools tools.strict tools.custom tools.namespace tool_arguments web_search web_fetch
    code_execution file_search image_generation computer bash text_editor memory mcp url_context maps
    hosted_tool web_search.options hosted_step reasoning reasoning_signature reasoning_encrypted refusal
    citations cache_control cache_control.ttl token_input count_estimated
"""
_ANSWER_NAMES: Final = """
    answer.citations answer.logprobs answer.reasoning answer.reasoning_signature answer.reasoning_encrypted
    answer.refusal answer.hosted_step answer.image answer.audio answer.choices answer.safety
    answer.usage_details answer.stop_sequence answer.tool_namespace answer.foreign
"""

FEATURES: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(_PARAMETERS_NAMES.split(), "parameter"),
    **dict.fromkeys(_CONTENT_NAMES.split(), "content"),
    **dict.fromkeys(_ANSWER_NAMES.split(), "answer"),
}

UNKNOWN: Final = "unknown"

_BESIDE_NAMES: Final = """
    system_position developer_role message_name image_detail file_name file_context file_citations citations
    cache_control cache_control.ttl tool_result_error
"""
_BESIDE: Final = frozenset(_BESIDE_NAMES.split())
"""What is said of a part or a turn that is still there."""

MAX_NAMES: Final = 32
MAX_NAME_CHARACTERS: Final = 64


def label(name: str) -> str:
    """The name as a metric's label: from the closed vocabulary."""
    return name if name in FEATURES else UNKNOWN


def of_part(names: Iterable[str]) -> str | None:
    """The first name of a part that is gone altogether; None: none is."""
    return next((name for name in names if FEATURES.get(name) != "parameter" and name not in _BESIDE), None)


def feature_of(part: content.Part) -> str:
    """What is lost with a part that has no place."""
    match part:
        case content.Foreign():
            return part.kind
        case content.HostedStep():
            return "hosted_step"
        case content.Image():
            return "image"
        case content.Audio():
            return "audio_input"
        case content.Video():
            return "video"
        case content.Document():
            return "file"
        case content.Reasoning():
            return "reasoning"
        case content.Refusal():
            return "refusal"
        case content.ToolCall() | content.ToolResult() | content.Text():
            return "tools"
        case _:
            assert_never(part)


def header(names: Iterable[str]) -> str:
    """The value of ``x-trunkline-lossy``: each name once, sorted, safe in a header; bounded."""
    shown = sorted({_safe(name) for name in names})
    more = [f"and-{len(shown) - MAX_NAMES}-more"] if len(shown) > MAX_NAMES else []
    return ",".join([*shown[:MAX_NAMES], *more])


def _safe(name: str) -> str:
    kept = "".join(each if each.isascii() and (each.isalnum() or each in "._-:/[]") else "_" for each in name)
    return kept[:MAX_NAME_CHARACTERS] or "_"
