"""A whole answer, and a count of tokens, as clients of Gemini's read them.

https://ai.google.dev/api/generate-content#generatecontentresponse
"""

from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Encoded
from trunkline_gateway.dialects.gemini_generate import finish, grounding, usage, wire_parts
from trunkline_gateway.dialects.gemini_generate.wire_parts import Wire

_encoder: Final = msgspec.json.Encoder()


def encode(
    answer: exchange.Answer | exchange.EmbeddingsAnswer | exchange.TokenCount, request: exchange.Request
) -> Encoded:
    """Write a GenerateContentResponse, or a CountTokensResponse."""
    if isinstance(answer, exchange.TokenCount):
        return _count(answer)
    if not isinstance(answer, exchange.Answer):
        raise TypeError("embeddings are answered by gemini_embed")
    lost: dict[str, None] = dict.fromkeys(usage.lost(answer.usage))
    body: Wire = {"candidates": [_candidate(choice, lost) for choice in answer.choices]}
    if answer.usage is not None:
        body["usageMetadata"] = usage.to_wire(answer.usage)
    body["modelVersion"] = answer.model or request.model
    if answer.id:
        body["responseId"] = answer.id
    return Encoded(_encoder.encode(body), tuple(lost))


def _count(count: exchange.TokenCount) -> Encoded:
    body: Wire = {"totalTokens": count.prompt}
    if count.cached is not None:
        body["cachedContentTokenCount"] = count.cached
    return Encoded(_encoder.encode(body))


def _candidate(choice: exchange.Choice, lost: dict[str, None]) -> Wire:
    candidate: Wire = {}
    written: list[Wire] = []
    supports: list[Wire] = []
    chunks: list[object] = []
    asides: dict[str, list[msgspec.Raw]] = {}
    for part in choice.parts:
        name = wire_parts.aside(part)
        if name is not None and isinstance(part, exchange.Foreign):
            asides.setdefault(name, []).append(part.value)
            continue
        if isinstance(part, exchange.Text) and part.citations:
            _ground(part, len(written), chunks, supports)
        written += wire_parts.of(part, lost)
    if written or choice.finish_reason != "content_filter":
        # A candidate without any part is thrown out of a chat's history by Google's SDKs.
        candidate["content"] = {"parts": written or [{"text": ""}], "role": "model"}
    candidate["finishReason"] = finish.TO_WIRE[choice.finish_reason]
    candidate["index"] = choice.index
    ratings = wire_parts.safety(choice.safety, lost)
    if ratings is not None:
        candidate["safetyRatings"] = ratings
    if choice.stop_sequence is not None:
        lost["answer.stop_sequence"] = None
    if chunks and "groundingMetadata" not in asides:
        candidate["groundingMetadata"] = {"groundingChunks": chunks, "groundingSupports": supports}
    candidate |= {name: grounding.merged(pieces) for name, pieces in asides.items()}
    if choice.logprobs:
        candidate["avgLogprobs"] = sum(each.logprob for each in choice.logprobs) / len(choice.logprobs)
        candidate["logprobsResult"] = wire_parts.logprobs(choice.logprobs)
    return candidate


def _ground(part: exchange.Text, position: int, chunks: list[object], supports: list[Wire]) -> None:
    """Add what backs one text part; its places are those of that part."""
    made = grounding.to_wire(part.citations, part.text, first=len(chunks), part=position)
    if made is not None:
        chunks += made[0]
        supports += made[1]
