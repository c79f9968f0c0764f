"""A whole response of an upstream, read.

https://platform.openai.com/docs/api-reference/responses/object

Its items become parts: a reasoning item one, a message one for each piece of content, a call one. Providers that
follow OpenAI leave fields out and make up others, so nothing is asked for but a list of output.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway import errors
from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.openai_responses import citations, hosted, logprobs, names, reading, usage
from trunkline_gateway.dialects.openai_responses import errors as wire_errors
from trunkline_gateway.dialects.openai_responses.targets import knows_namespaces
from trunkline_gateway.exchange import (
    Answer,
    ChatRequest,
    Choice,
    FinishReason,
    Image,
    Inline,
    Part,
    Reasoning,
    Refusal,
    Seal,
    Text,
    TokenCount,
    TokenLogprob,
    ToolCall,
)

INCOMPLETE: Final[Mapping[str, FinishReason]] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "model_context_window_exceeded": "context_window",
    "max_messages": "other",
    "steered": "other",
}
"""``incomplete_details.reason``."""

JOIN: Final = "\n\n"
"""Between the parts of a summary, which are paragraphs with a heading each."""

_FORMATS: Final = frozenset({"png", "jpeg", "webp", "gif"})


def decode(body: bytes, asked: Asked) -> Answer:
    """Read an answer.

    Raises:
        UpstreamProtocolError: It is none, or says that it failed.
    """
    response = reading.parse(body)
    if not isinstance(response, dict) or not isinstance(response.get("output"), list | None):
        raise errors.UpstreamProtocolError("The upstream's answer is not a response.")
    if "output" not in response and response.get("object") != "response" and "status" not in response:
        raise errors.UpstreamProtocolError("The upstream's answer is not a response.")
    if response.get("status") == "failed":
        raise failed(response)
    reader = ItemReader(asked)
    parts: list[Part] = []
    likely: list[TokenLogprob] = []
    for item in reading.mappings(response.get("output")):
        parts.extend(reader.parts(item))
        likely.extend(logprobs_of(item))
    return Answer(
        choices=(
            Choice(parts=tuple(parts), finish_reason=finish_reason(response, parts), logprobs=tuple(likely) or None),
        ),
        id=reading.text(response.get("id")) or asked.new_id(0, "resp_"),
        model=reading.text(response.get("model")),
        created=created(response) or asked.now,
        usage=usage.read(response.get("usage")),
        service_tier=reading.text(response.get("service_tier")) or None,
    )


def decode_count(body: bytes, asked: Asked) -> TokenCount:
    """Read the answer of ``/responses/input_tokens``.

    Raises:
        UpstreamProtocolError: It is none.
    """
    found = reading.count(reading.mapping(reading.parse(body)).get("input_tokens"))
    if found is None:
        raise errors.UpstreamProtocolError("The upstream's answer is not a count of tokens.")
    return TokenCount(prompt=found)


def failed(response: reading.Object) -> errors.UpstreamProtocolError:
    """The error of a response that failed; without the upstream's own words, which nobody has cleaned yet."""
    error = reading.mapping(response.get("error"))
    return errors.UpstreamProtocolError(
        "The upstream's answer says that it has failed.", status=wire_errors.status_of(error)
    )


def created(response: reading.Object) -> int:
    """When it was made, in whole seconds; 0: not said."""
    value = response.get("created_at")
    if isinstance(value, float) and 0 < value < 1e12:
        return int(value)
    return reading.count(value) or 0


def finish_reason(response: reading.Object, parts: Sequence[Part]) -> FinishReason:
    """Why it ended: of a complete one its parts tell."""
    status = response.get("status")
    details = reading.mapping(response.get("incomplete_details"))
    if status == "incomplete" or details:
        return INCOMPLETE.get(reading.text(details.get("reason")), "other")
    if status in ("queued", "in_progress", "cancelled", "failed"):
        return "other"
    if any(isinstance(part, ToolCall) for part in parts):
        return "tool_calls"
    return "refusal" if parts and isinstance(parts[-1], Refusal) else "stop"


def logprobs_of(item: reading.Object) -> Iterator[TokenLogprob]:
    """Those of a message's texts."""
    if item.get("type") == "message":
        for piece in reading.mappings(item.get("content")):
            yield from logprobs.read(piece.get("logprobs"))


class ItemReader:
    """Items to parts, for one answer."""

    __slots__ = ("_account", "_asked", "_known", "_made")

    def __init__(self, asked: Asked) -> None:
        """Begin an answer."""
        request = asked.request
        tools = request.tools if isinstance(request, ChatRequest) else ()
        self._known = names.Known(tools, flat=not knows_namespaces(asked.target))
        self._asked = asked
        self._account = asked.target.account
        self._made = 0

    def parts(self, item: reading.Object) -> Sequence[Part]:
        """The parts of a whole item."""
        match item.get("type"):
            case "message":
                return [part for piece in reading.mappings(item.get("content")) if (part := content(piece)) is not None]
            case "reasoning":
                thoughts = self.reasoning(item)
                return () if thoughts is None else (thoughts,)
            case "function_call" | "custom_tool_call":
                return (self.call(item),)
            case "image_generation_call" if isinstance(result := item.get("result"), str) and result:
                return (image(item, result),)
            case _:
                return (hosted.step(item, reading.raw(item)),)

    def reasoning(self, item: reading.Object) -> Reasoning | None:
        """A reasoning item; None where it says nothing at all."""
        text, summary = reasoning_text(item)
        encrypted = self.seal(item)
        if not text and encrypted is None:
            return None
        return Reasoning(text=text, summary=summary, encrypted=encrypted, id=reading.text(item.get("id")))

    def seal(self, item: reading.Object) -> Seal | None:
        """Of a reasoning item."""
        value = reading.text(item.get("encrypted_content"))
        return Seal(maker="openai", account=self._account, value=value) if value else None

    def call(self, item: reading.Object) -> ToolCall:
        """A call of a function or of a custom tool."""
        custom = item.get("type") == "custom_tool_call"
        given = item.get("input" if custom else "arguments")
        return msgspec.structs.replace(self.call_head(item), arguments=arguments_of(given))

    def call_head(self, item: reading.Object) -> ToolCall:
        """The same, as far as it is known when it begins."""
        found, namespace = self._known.find(reading.text(item.get("name")), reading.text(item.get("namespace")) or None)
        call_id = reading.text(item.get("call_id"))
        if not call_id:
            call_id = self._asked.new_id(self._made)
            self._made += 1
        return ToolCall(
            id=call_id,
            name=found,
            custom=item.get("type") == "custom_tool_call",
            namespace=namespace,
            item_id=reading.text(item.get("id")),
        )


def content(piece: reading.Object) -> Text | Refusal | None:
    """A piece of a message; None where it is none."""
    match piece.get("type"):
        case "output_text" | "text":
            return Text(text=reading.text(piece.get("text")), citations=tuple(citations.read(piece.get("annotations"))))
        case "refusal":
            return Refusal(text=reading.text(piece.get("refusal")))
        case _:
            return None


def reasoning_text(item: reading.Object) -> tuple[str, bool]:
    """What a reasoning item shows, and whether it is a summary; where both are there, the summary is for showing."""
    for name, summary in (("summary", True), ("content", False)):
        found = [text for each in reading.mappings(item.get(name)) if (text := reading.text(each.get("text")))]
        if found:
            return JOIN.join(found), summary
    return "", False


def arguments_of(value: object) -> str:
    """Some write an object where its text should be."""
    if isinstance(value, dict):
        return reading.encode(value).decode()
    return reading.text(value)


def image(item: reading.Object, result: str) -> Image:
    """A picture that was made."""
    named = reading.data_url(result) if result.startswith("data:") else None
    if named is not None:
        return Image(source=Inline(named[1]), media_type=named[0] or "image/png")
    form = reading.text(item.get("output_format"))
    return Image(source=Inline(result), media_type=f"image/{form}" if form in _FORMATS else "image/png")
