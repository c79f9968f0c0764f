"""Parts of an answer to content blocks for a client; what whole and streamed answers have in common.

https://docs.anthropic.com/en/api/messages#response-content
"""

import hashlib
from typing import Final, TypeAlias

import msgspec

from trunkline_gateway.dialects.anthropic_messages import citations, names, upstream_json
from trunkline_gateway.dialects.anthropic_messages.vocabulary import DIALECT, SERVICE_TIERS, STOP_REASON
from trunkline_gateway.exchange import (
    ChatRequest,
    Citation,
    Document,
    FinishReason,
    Foreign,
    HostedStep,
    Image,
    Json,
    Part,
    Reasoning,
    Request,
    Seal,
    ToolCall,
    Usage,
    Video,
    origin,
)

Lost: TypeAlias = dict[str, None]

ENCODER: Final = msgspec.json.Encoder()


def dumps(value: object) -> bytes:
    """JSON on one line; half a surrogate pair becomes a question mark."""
    try:
        return ENCODER.encode(value)
    except UnicodeEncodeError:
        return ENCODER.encode(_whole_characters(value))


def message_id(id: str, request: Request) -> str:
    """The message's id; clients count by it, so where there is none it is one of the conversation so far."""
    if id:
        return id
    turns = request.turns if isinstance(request, ChatRequest) else ()
    said = repr((len(turns), turns[-2:])).encode("utf-8", "replace")
    return f"msg_{hashlib.sha256(said).hexdigest()[:24]}"


def stop_reason(reason: FinishReason, *, called: bool, refused: bool) -> str:
    """Why it stopped; some upstreams say no more than that it did, whatever they wrote."""
    if reason in ("stop", "other"):
        if called:
            return "tool_use"
        if refused:
            return "refusal"
    return STOP_REASON[reason]


def stop_details(safety: Json | None, lost: Lost) -> msgspec.Raw | None:
    """Anthropic's own words on a refusal; those of other filters have no place."""
    if safety is None:
        return None
    if upstream_json.text(upstream_json.members(safety).get("type")) == "refusal":
        return upstream_json.clean(safety)
    lost["answer.safety"] = None
    return None


def service_tier(tier: str | None) -> str | None:
    """Only words that clients know."""
    return tier if tier in SERVICE_TIERS else None


def tool_use(part: ToolCall, lost: Lost) -> dict[str, object]:
    """A call without its arguments."""
    if part.namespace:
        lost["answer.tool_namespace"] = None
    return {"type": "tool_use", "id": part.id, "name": names.flat(part.name, part.namespace), "input": {}}


def input_of(part: ToolCall, lost: Lost) -> object:
    """A call's arguments as an object; what is none is its one member ``input``, as text."""
    arguments = part.arguments.strip()
    if not arguments and not part.custom:
        return {}
    if not part.custom:
        raw = arguments.encode("utf-8", "replace")
        if upstream_json.is_object(raw):
            return msgspec.Raw(upstream_json.clean(msgspec.Raw(raw)))
        lost["tool_arguments"] = None
    return {"input": part.arguments}


def own_block(part: Part) -> msgspec.Raw | None:
    """A block that came in the API's own words."""
    if isinstance(part, HostedStep | Foreign) and part.dialect == DIALECT:
        return upstream_json.clean(part.value)
    return None


def sealed(seal: Seal | None) -> str:
    """A seal for a client, with where it is from; clients insist on a string, Anthropic on one with content."""
    return origin.stamp(seal or origin.UNSEALED)


def redacted(seal: Seal) -> dict[str, object]:
    """A block of nothing but a seal."""
    return {"type": "redacted_thinking", "data": origin.stamp(seal)}


def goes_after(seal: Seal, lost: Lost) -> Seal | None:
    """The seal of a call, for a block after it, where `decode_content` finds it again: only Gemini's come back so."""
    if seal.maker == "google":
        return seal
    lost["answer.reasoning_signature"] = None
    return None


def citation(said: Citation, lost: Lost) -> dict[str, object] | None:
    """One citation; None where it has no place."""
    wire = citations.wire(said)
    if wire is None or not citations.is_exact(said):
        lost["answer.citations"] = None
    return wire


def note_loss(part: Part, lost: Lost) -> None:
    """Name what a message of the API cannot hold."""
    match part:
        case Image():
            lost["answer.image"] = None
        case HostedStep():
            lost["answer.hosted_step"] = None
        case Document() | Video() | Foreign():
            lost["answer.foreign"] = None
        case Reasoning():
            lost["answer.reasoning"] = None
        case _:
            lost["answer.audio"] = None


def note_usage(usage: Usage | None, lost: Lost) -> None:
    """Name what ``usage`` cannot hold."""
    if usage is not None and (usage.audio_prompt or usage.audio_completion or usage.tool_prompt):
        lost["answer.usage_details"] = None


def _whole_characters(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _whole_characters(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_whole_characters(each) for each in value]
    return value
