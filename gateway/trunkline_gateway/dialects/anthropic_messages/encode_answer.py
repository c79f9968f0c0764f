"""A whole answer, or a count, for a client.

https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/api/messages-count-tokens
"""

from trunkline_gateway.dialect import Encoded
from trunkline_gateway.dialects.anthropic_messages import encode_blocks, usage
from trunkline_gateway.dialects.anthropic_messages.encode_blocks import Lost
from trunkline_gateway.exchange import (
    Answer,
    Audio,
    Choice,
    EmbeddingsAnswer,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    TokenCount,
    ToolCall,
)


def encode(answer: Answer | EmbeddingsAnswer | TokenCount, request: Request) -> Encoded:
    """A message, of the first choice; ``null`` stands where the API writes it, for clients that insist on it."""
    if not isinstance(answer, Answer):
        raise TypeError("not the answer to a conversation")
    lost: Lost = {}
    if len(answer.choices) > 1:
        lost["answer.choices"] = None
    choice = answer.choices[0] if answer.choices else Choice(parts=(), finish_reason="other")
    if choice.logprobs is not None:
        lost["answer.logprobs"] = None
    encode_blocks.note_usage(answer.usage, lost)
    content: list[object] = []
    for part in choice.parts:
        content += _blocks(part, lost)
    message: dict[str, object] = {
        "id": encode_blocks.message_id(answer.id, request),
        "type": "message",
        "role": "assistant",
        "model": answer.model or request.model,
        "content": content,
        "stop_reason": encode_blocks.stop_reason(
            choice.finish_reason,
            called=any(isinstance(part, ToolCall) for part in choice.parts),
            refused=any(isinstance(part, Refusal) for part in choice.parts),
        ),
        "stop_sequence": choice.stop_sequence,
    }
    details = encode_blocks.stop_details(choice.safety, lost)
    if details is not None:
        message["stop_details"] = details
    message["usage"] = usage.wire(answer.usage, encode_blocks.service_tier(answer.service_tier))
    return Encoded(encode_blocks.dumps(message), tuple(lost))


def encode_count(answer: Answer | EmbeddingsAnswer | TokenCount, request: Request) -> Encoded:
    """A count."""
    if not isinstance(answer, TokenCount):
        raise TypeError("not a count")
    return Encoded(encode_blocks.dumps({"input_tokens": answer.prompt}))


def _blocks(part: Part, lost: Lost) -> list[object]:
    match part:
        case Text():
            if part.seal is not None:
                lost["answer.reasoning_signature"] = None  # a block of text has no place for one
            block: dict[str, object] = {"type": "text", "text": part.text}
            cited = [wire for each in part.citations if (wire := encode_blocks.citation(each, lost)) is not None]
            if cited:
                block["citations"] = cited
            return [block] if part.text or cited else []
        case Refusal():
            return [{"type": "text", "text": part.text}] if part.text else []
        case Reasoning():
            return _reasoning(part)
        case ToolCall():
            call = encode_blocks.tool_use(part, lost)
            call["input"] = encode_blocks.input_of(part, lost)
            after = None if part.seal is None else encode_blocks.goes_after(part.seal, lost)
            return [call] if after is None else [call, encode_blocks.redacted(after)]
        case Audio(transcript=transcript) if transcript:
            lost["answer.audio"] = None
            return [{"type": "text", "text": transcript}]
        case _:
            own = encode_blocks.own_block(part)
            if own is None:
                encode_blocks.note_loss(part, lost)
                return []
            return [own]


def _reasoning(part: Reasoning) -> list[object]:
    """Thoughts with their seal; nothing but a seal is redacted; a second seal stands in a block of its own."""
    if part.encrypted is not None and not part.text and part.signature is None:
        return [encode_blocks.redacted(part.encrypted)]
    if not part.text and part.signature is None:
        return []
    signature = part.signature or part.encrypted
    blocks: list[object] = [{"type": "thinking", "thinking": part.text, "signature": encode_blocks.sealed(signature)}]
    if part.signature is not None and part.encrypted is not None:
        blocks.append(encode_blocks.redacted(part.encrypted))
    return blocks
