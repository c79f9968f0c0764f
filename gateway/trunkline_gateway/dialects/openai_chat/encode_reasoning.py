"""What a model thought in earlier turns, for upstreams that want it back; most do not take it.

https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning-blocks
https://api-docs.deepseek.com/guides/thinking_mode
https://ai.google.dev/gemini-api/docs/thought-signatures#openai
"""

from collections.abc import Sequence

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.openai_chat import vocabulary
from trunkline_gateway.dialects.openai_chat.encode_parts import Lost
from trunkline_gateway.dialects.openai_chat.tool_names import short_id
from trunkline_gateway.exchange import Reasoning, Seal, ToolCall
from trunkline_gateway.exchange.origin import fits


def add(
    message: dict[str, object],
    thoughts: Sequence[Reasoning],
    calls: Sequence[ToolCall],
    says: Sequence[exchange.Part],
    target: Target,
    lost: Lost,
) -> None:
    """Add the thoughts of an assistant's turn to its message, as far as the upstream takes them."""
    if "reasoning_details" in target.quirks:
        details = _details(thoughts, calls, target, lost)
        if details:
            message["reasoning_details"] = details
    else:
        _plain(message, thoughts, bool(calls), target, lost)
    seals = [part.seal for part in says if isinstance(part, exchange.Text) and part.seal is not None]
    if not seals:
        return
    if "google_extra_content" in target.quirks and fits(seals[-1], "google", target.account):
        message["extra_content"] = _google(seals[-1])
    else:
        lost.add("reasoning_signature")


def seal_call(wire: dict[str, object], call: ToolCall, target: Target, lost: Lost) -> None:
    """Add the seal of a call, if the upstream takes it with the call."""
    if call.seal is None or "reasoning_details" in target.quirks:
        return
    if "google_extra_content" in target.quirks and fits(call.seal, "google", target.account):
        wire["extra_content"] = _google(call.seal)
    else:
        lost.add("reasoning_signature")


def _google(seal: Seal) -> dict[str, object]:
    return {"google": {"thought_signature": seal.value}}


def _plain(
    message: dict[str, object], thoughts: Sequence[Reasoning], has_calls: bool, target: Target, lost: Lost
) -> None:
    text = "".join(each.text for each in thoughts)
    if text:
        if has_calls and "reasoning_in_history" in target.quirks:
            message["reasoning_content"] = text
        else:
            lost.add("reasoning")
    for each in thoughts:
        if each.signature is not None:
            lost.add("reasoning_signature")
        if each.encrypted is None:
            continue
        if "google_extra_content" in target.quirks and fits(each.encrypted, "google", target.account):
            message["extra_content"] = {"google": {"thought": True, "thought_signature": each.encrypted.value}}
        else:
            lost.add("reasoning_encrypted")


def _details(
    thoughts: Sequence[Reasoning], calls: Sequence[ToolCall], target: Target, lost: Lost
) -> list[dict[str, object]]:
    details: list[dict[str, object]] = []
    for index, each in enumerate(thoughts):
        signature = _fitting(each.signature, "reasoning_signature", target, lost)
        encrypted = _fitting(each.encrypted, "reasoning_encrypted", target, lost)
        sealed = signature or encrypted
        common: dict[str, object] = {
            "format": "unknown" if sealed is None else vocabulary.FORMAT_OF_MAKER[sealed.maker],
            "index": index,
        }
        if each.id:
            common["id"] = each.id
        if each.text or signature is not None:
            name = "summary" if each.summary else "text"
            detail: dict[str, object] = {"type": f"reasoning.{name}", name: each.text, **common}
            if signature is not None:
                detail["signature"] = signature.value
            details.append(detail)
        if encrypted is not None:
            details.append({"type": "reasoning.encrypted", "data": encrypted.value, **common})
    for call in calls:
        seal = _fitting(call.seal, "reasoning_signature", target, lost)
        if seal is not None:
            details.append(
                {
                    "type": "reasoning.encrypted",
                    "data": seal.value,
                    "id": short_id(call.id),
                    "format": vocabulary.FORMAT_OF_MAKER[seal.maker],
                    "index": len(thoughts),
                }
            )
    return details


def _fitting(seal: Seal | None, name: str, target: Target, lost: Lost) -> Seal | None:
    """A seal that the upstream can read; it routes to models of every maker, so only the account counts."""
    if seal is None or fits(seal, seal.maker, target.account):
        return seal
    lost.add(name)
    return None
