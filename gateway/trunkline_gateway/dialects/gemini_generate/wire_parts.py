"""Parts of an answer as a client of Gemini's reads them: google-genai refuses what it does not know.

https://ai.google.dev/api/caching#Part
"""

from typing import Final, TypeAlias

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.gemini_generate import grounding, parts, wire
from trunkline_gateway.exchange import origin

Wire: TypeAlias = dict[str, object]

_PCM16: Final = "audio/L16;codec=pcm;rate=24000"
"""What Gemini calls the samples that OpenAI calls pcm16."""

_OTHERWISE: Final = "application/octet-stream"


def of(part: exchange.Part, lost: dict[str, None]) -> list[Wire]:
    """A whole part as those of a candidate's content; what stands beside the content is none of them."""
    match part:
        case exchange.Text():
            return [_signed({"text": part.text}, part.seal)]
        case exchange.Refusal():
            lost["answer.refusal"] = None
            return [{"text": part.text}]
        case exchange.Reasoning():
            return _reasoning(part)
        case exchange.ToolCall():
            return [call(part, lost)]
        case exchange.Image() | exchange.Video():
            return _media(part.source, part.media_type, lost)
        case exchange.Audio():
            return audio(part, lost)
        case exchange.Document():
            return _document(part, lost)
        case exchange.HostedStep() | exchange.Foreign():
            return _own(part, lost)
        case exchange.ToolResult():
            lost["answer.foreign"] = None
            return []


def call(part: exchange.ToolCall, lost: dict[str, None]) -> Wire:
    """A call, whole: Gemini's clients know no pieces of arguments."""
    made: Wire = {"id": part.id, "name": part.name}
    if part.namespace is not None:
        lost["answer.tool_namespace"] = None
    if part.custom:
        made["args"] = {"input": part.arguments}
    elif not part.arguments.strip():
        made["args"] = {}
    else:
        raw = msgspec.Raw(part.arguments.encode("utf-8", "replace"))
        if isinstance(wire.value_of(raw), dict):
            # In an event its lines would end the event; between tokens they are only space.
            text = bytes(raw)
            made["args"] = (
                msgspec.Raw(text.replace(b"\r", b" ").replace(b"\n", b" ")) if b"\n" in text or b"\r" in text else raw
            )
        else:
            lost["tool_arguments"] = None
            made["args"] = {"input": part.arguments}
    # Gemini 3 refuses calls that nobody signed. Its documented dummy (`parts.SKIP`) would do, but is no base64 of the
    # alphabet that the SDKs for Go and Java read.
    return _signed({"functionCall": made}, part.seal or origin.UNSEALED)


def audio(part: exchange.Audio, lost: dict[str, None]) -> list[Wire]:
    """Sound, and what is said in it as text."""
    made: list[Wire] = []
    if part.source is not None:
        media_type = _PCM16 if part.media_type == "audio/pcm16" else part.media_type or "audio/wav"
        made += _media(part.source, media_type, lost)
    if part.transcript:
        made.append({"text": part.transcript})
    return made


def aside(part: exchange.Part) -> str | None:
    """The name under which a part stands beside the content, such as ``groundingMetadata``; None: within it."""
    is_own = isinstance(part, exchange.Foreign) and part.dialect == parts.DIALECT
    return part.kind if is_own and isinstance(part, exchange.Foreign) and part.kind in grounding.METADATA else None


def logprobs(said: tuple[exchange.TokenLogprob, ...]) -> Wire:
    """``logprobsResult``."""
    made: Wire = {"chosenCandidates": [_token(each) for each in said]}
    if any(each.top for each in said):
        made["topCandidates"] = [{"candidates": [_token(top) for top in each.top]} for each in said]
    return made


def safety(value: msgspec.Raw | None, lost: dict[str, None]) -> msgspec.Raw | None:
    """``safetyRatings``, if they are Gemini's own."""
    if value is None:
        return None
    ratings = wire.value_of(value)
    if isinstance(ratings, list) and all(isinstance(each, dict) and "category" in each for each in ratings):
        return value
    lost["answer.safety"] = None
    return None


def _token(said: exchange.TokenLogprob) -> Wire:
    return {"token": said.token, "logProbability": said.logprob}


def _signed(made: Wire, seal: exchange.Seal | None) -> Wire:
    if seal is not None:
        made["thoughtSignature"] = parts.stamped(seal)
    return made


def _reasoning(part: exchange.Reasoning) -> list[Wire]:
    made: Wire = {"text": part.text, "thought": True}
    seals: list[str] = []
    if part.encrypted is not None:
        seals.append(parts.stamped(part.encrypted, "encrypted", part.id))
    if part.signature is not None:
        seals.append(parts.stamped(part.signature))
    if seals:
        made["thoughtSignature"] = seals[0]
    return [made, *({"text": "", "thought": True, "thoughtSignature": each} for each in seals[1:])]


def _media(source: exchange.Source, media_type: str | None, lost: dict[str, None]) -> list[Wire]:
    match source:
        case exchange.Inline(data):
            return [{"inlineData": {"mimeType": media_type or _OTHERWISE, "data": data}}]
        case exchange.Url(url):
            return [{"fileData": {"mimeType": media_type or _OTHERWISE, "fileUri": url}}]
        case exchange.FileId(id):
            if id.startswith((parts.FILES, "files/")):
                return [{"fileData": {"mimeType": media_type or _OTHERWISE, "fileUri": id}}]
            lost["answer.image"] = None
            return []


def _document(part: exchange.Document, lost: dict[str, None]) -> list[Wire]:
    if part.text is not None:
        return [{"text": part.text}]
    return [] if part.source is None else _media(part.source, part.media_type, lost)


def _own(part: exchange.HostedStep | exchange.Foreign, lost: dict[str, None]) -> list[Wire]:
    if part.dialect != parts.DIALECT:
        lost["answer.hosted_step" if isinstance(part, exchange.HostedStep) else "answer.foreign"] = None
        return []
    try:
        members = msgspec.json.decode(part.value, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    return [dict(members)]
