"""What whole and streamed answers write alike: the head, thoughts with their seals, calls, citations, logprobs.

https://platform.openai.com/docs/api-reference/chat/object
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from trunkline_gateway import exchange
from trunkline_gateway.dialects.openai_chat import media, vocabulary
from trunkline_gateway.dialects.openai_chat.decode_request import Own
from trunkline_gateway.exchange import Reasoning, Seal, ToolCall
from trunkline_gateway.exchange.origin import stamp

Object: TypeAlias = dict[str, object]

# Clients' models know these; what others call theirs is told by the word that comes closest.
_SERVICE_TIERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{word: word for word in ("auto", "default", "flex", "scale", "priority", "fast")},
        "standard": "default",
        "on_demand": "default",
    }
)


def is_legacy(request: exchange.ChatRequest) -> bool:
    """Whether the client knows no ``tool_calls``."""
    return isinstance(request.own, Own) and request.own.legacy


def head(start: exchange.Start | exchange.Answer, request: exchange.ChatRequest, kind: str) -> Object:
    """The members that every chunk and every answer begins with."""
    members: Object = {
        "id": start.id or f"chatcmpl-{start.created}",
        "object": kind,
        "created": start.created,
        "model": start.model or request.model,
    }
    tier = _SERVICE_TIERS.get(start.service_tier or "")
    if tier is not None:
        members["service_tier"] = tier
    if start.system_fingerprint is not None:
        members["system_fingerprint"] = start.system_fingerprint
    return members


def call(part: ToolCall, *, arguments: str) -> Object:
    """A call; its seal as Google's own API of this dialect has it."""
    kind, said = ("custom", "input") if part.custom else ("function", "arguments")
    made: Object = {"id": part.id, "type": kind, kind: {"name": part.name, said: arguments}}
    if part.seal is not None:
        made["extra_content"] = google(part.seal)
    return made


def google(seal: Seal) -> Object:
    """``extra_content`` with a signature."""
    return {"google": {"thought_signature": stamp(seal)}}


def detail(thought: Reasoning, index: int) -> Object:
    """A thought as one of ``reasoning_details``: with its text, since a signature without it proves nothing.

    It is one item with a number of its own, since clients add up those of the same number, string by string.
    """
    sealed = thought.signature or thought.encrypted
    name = "summary" if thought.summary else "text"
    made: Object = {"type": f"reasoning.{name if thought.encrypted is None else 'encrypted'}"}
    if thought.text or thought.signature is not None:
        made[name] = thought.text
    if thought.signature is not None:
        made["signature"] = stamp(thought.signature)
    if thought.encrypted is not None:
        made["data"] = stamp(thought.encrypted)
    if thought.id:
        made["id"] = thought.id
    made["format"] = "unknown" if sealed is None else vocabulary.FORMAT_OF_MAKER[sealed.maker]
    made["index"] = index
    return made


class Details:
    """Thoughts of a choice, given out as soon as one is sealed; without seals the plain text says it all."""

    def __init__(self) -> None:
        self._waiting: list[Object] = []
        self._count = 0
        self._sealed = False

    def add(self, thought: Reasoning) -> list[Object]:
        """A thought is complete; what is to be written of it and of those before it."""
        self._waiting.append(detail(thought, self._count))
        self._count += 1
        self._sealed = self._sealed or thought.signature is not None or thought.encrypted is not None
        if not self._sealed:
            return []
        given, self._waiting = self._waiting, []
        return given


def annotations(citations: Sequence[exchange.Citation], start: int, end: int) -> tuple[list[Object], bool]:
    """What backs a text that stands from ``start`` to ``end`` of the content; and whether all could be said.

    Where no place is told it is the text as a whole.
    """
    made: list[Object] = []
    for citation in citations:
        if not isinstance(citation, exchange.UrlCitation):
            continue
        cited: Object = {
            "url": citation.url,
            "title": citation.title or citation.url,
            "start_index": start if citation.start is None else start + citation.start,
            "end_index": end if citation.end is None else start + citation.end,
        }
        if citation.cited_text is not None:
            cited["content"] = citation.cited_text
        made.append({"type": "url_citation", "url_citation": cited})
    return made, len(made) == len(citations)


def image(part: exchange.Image, index: int) -> Object | None:
    """A picture as OpenRouter has it; None: it cannot be said."""
    match part.source:
        case exchange.Inline() as source:
            url = media.data_url(source, part.media_type, "image/png")
        case exchange.Url() as source:
            url = source.url
        case _:
            return None
    return {"type": "image_url", "image_url": {"url": url}, "index": index}


def logprobs(tokens: Sequence[exchange.TokenLogprob]) -> Object:
    """How likely the tokens were."""
    return {
        "content": [{**_token(each), "top_logprobs": [_token(top) for top in each.top]} for each in tokens],
        "refusal": None,
    }


def _token(token: exchange.TokenLogprob) -> Object:
    return {
        "token": token.token,
        "logprob": token.logprob,
        "bytes": None if token.bytes is None else list(token.bytes),
    }


def filter_results(safety: exchange.Json | None) -> exchange.Json | None:
    """Azure's, which stand in an object; what others say of safety has no place."""
    return safety if safety is not None and bytes(safety).lstrip()[:1] == b"{" else None


def finish(reason: exchange.FinishReason, *, legacy: bool) -> str:
    """The word for why a choice ended."""
    word = vocabulary.FINISH_TO_WIRE[reason]
    return "function_call" if legacy and word == "tool_calls" else word


def complete(part: ToolCall) -> str:
    """A call's arguments: of one that takes nothing an empty object, since clients parse them."""
    return part.arguments or ("" if part.custom else "{}")
