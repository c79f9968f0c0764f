"""The official SDKs as judges: what a codec writes for a client is parsed by the SDK's own models, strictly, and read
back through the SDK's own objects; streams through its own accumulator where it has one.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import pydantic
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from google.genai import types as google
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from corpus import reading
from corpus.reading import Body, Reading
from trunkline_gateway import sse

try:
    from openai import omit
except ImportError:  # an older SDK
    from openai import NOT_GIVEN as omit  # noqa: N811


class Invalid(AssertionError):  # noqa: N818  # what the SDK says of a body
    """The SDK does not take it, or its client would not read it."""


@functools.cache
def _adapter(kind: object) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)


def _validate(kinds: Sequence[object], data: bytes) -> Any:  # whatever the SDK makes
    """Parse it as the first of the kinds that takes it."""
    first: pydantic.ValidationError | None = None
    for kind in kinds:
        try:
            return _adapter(kind).validate_json(data, strict=True)
        except pydantic.ValidationError as error:
            first = first or error
    shown = (
        "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in first.errors()[:4]) if first else ""
    )
    raise Invalid(f"{shown} in {data[:400]!r}")


def _dumped(value: pydantic.BaseModel) -> Body:
    """What was set, under the wire's names."""
    return value.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)


def events(raw: bytes) -> Sequence[sse.ServerSentEvent]:
    """A stream's events with data; comments are skipped, as every SDK does."""
    splitter = sse.EventSplitter()
    found = splitter.receive_data(raw)
    if splitter.receive_eof() is not None:
        raise Invalid("the last event is not ended by an empty line")
    return [event for event in found if event.data]


# --- whole


def chat_completion(body: bytes) -> Reading:
    """``client.chat.completions.create``."""
    return reading.read_openai_chat(_dumped(_validate([ChatCompletion], body)))


def response(body: bytes) -> Reading:
    """``client.responses.create``."""
    return reading.read_openai_responses(_dumped(_validate([Response], body)))


def message(body: bytes) -> Reading:
    """``client.messages.create``, or that of ``client.beta``."""
    return reading.read_anthropic_messages(_dumped(_validate([Message, BetaMessage], body)))


def generated(body: bytes) -> Reading:
    """``client.models.generate_content``; its models forbid what they do not know."""
    return reading.read_gemini_generate(_dumped(_validate_google(body)))


def _validate_google(body: bytes) -> google.GenerateContentResponse:
    try:
        return google.GenerateContentResponse.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise Invalid(f"{error.errors()[:3]} in {body[:400]!r}") from None
    except AttributeError as error:  # an enumeration as a number
        raise Invalid(f"{error} in {body[:400]!r}") from None


# --- streamed


def chat_chunks(raw: bytes) -> Body:
    """``client.chat.completions.stream``."""
    found = events(raw)
    if not found or found[-1].data != b"[DONE]":
        raise Invalid("the stream does not end with [DONE]")
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    usage: dict[str, object] = {}
    ids = set()
    for event in found[:-1]:
        chunk = _validate([ChatCompletionChunk], event.data)
        ids.add(chunk.id)
        list(state.handle_chunk(chunk))
        if chunk.usage is not None:
            usage = {"usage": chunk.usage.model_dump(mode="json", exclude_unset=True)}
    if len(ids) != 1:
        raise Invalid(f"chunks of one answer have several ids: {ids}")
    return {**_dumped(state.current_completion_snapshot), **usage}


def response_events(raw: bytes) -> Body:
    """``client.responses.stream``: what it has put together of deltas must be what the last event says."""
    state: ResponseStreamState[None] = ResponseStreamState(input_tools=omit, text_format=omit)
    final: Response | None = None
    for number, event in enumerate(events(raw)):
        parsed = _validate([ResponseStreamEvent], event.data)
        if event.name.decode() != parsed.type:
            raise Invalid(f"event {event.name!r} holds {parsed.type}")
        if parsed.sequence_number != number:
            raise Invalid(f"sequence_number {parsed.sequence_number}, due is {number}")
        state.handle_event(parsed)
        if parsed.type in ("response.completed", "response.incomplete"):
            final = parsed.response
    if final is None:
        raise Invalid("the stream has no response.completed or response.incomplete")
    read = reading.read_openai_responses(_dumped(final))
    snapshot = reading.read_openai_responses(_dumped(state._ResponseStreamState__current_snapshot))
    if (snapshot.text, snapshot.calls) != (read.text, read.calls) and not _has_custom(final):
        raise Invalid(f"deltas make {snapshot}, the last event says {read}")
    return _dumped(final)


def _has_custom(final: Response) -> bool:
    """The SDK does not put the deltas of custom calls together."""
    return any(item.type == "custom_tool_call" for item in final.output)


def message_events(raw: bytes) -> Body:
    """``client.messages.stream``: blocks one after the other, as its reference says."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    opened, is_open, stopped = 0, False, False
    for event in events(raw):
        parsed = _validate([RawMessageStreamEvent, BetaRawMessageStreamEvent, _Ping], event.data)
        if event.name.decode() != parsed.type:
            raise Invalid(f"event {event.name!r} holds {parsed.type}")
        if stopped:
            raise Invalid(f"{parsed.type} after message_stop")
        match parsed.type:
            case "ping":
                continue
            case "content_block_start":
                if is_open or parsed.index != opened:
                    raise Invalid(f"block {parsed.index} starts where {opened} is due, open: {is_open}")
                opened, is_open = opened + 1, True
            case "content_block_delta" | "content_block_stop":
                if not is_open or parsed.index != opened - 1:
                    raise Invalid(f"{parsed.type} of block {parsed.index} which is not open")
                is_open = parsed.type == "content_block_delta"
            case "message_stop":
                stopped = True
        snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    if not stopped or is_open:
        raise Invalid("the stream does not end with message_stop, or with a block open")
    whole: Body = json.loads(snapshot.model_dump_json(exclude_unset=True, warnings=False))
    return whole


class _Ping(pydantic.BaseModel):
    type: Literal["ping"]


def generated_chunks(raw: bytes) -> Body:
    """``client.models.generate_content_stream``: the SDK leaves putting together to its user."""
    parts: list[object] = []
    whole: dict[str, object] = {}
    candidate: dict[str, object] = {}
    for event in events(raw):
        chunk = _dumped(_validate_google(event.data))
        whole.update({key: chunk[key] for key in ("usageMetadata", "promptFeedback") if chunk.get(key)})
        for each in chunk.get("candidates") or ():
            if each.get("index", 0) == 0:
                parts += (each.get("content") or {}).get("parts") or ()
                candidate.update({key: value for key, value in each.items() if key != "content"})
    candidates = [{**candidate, "content": {"role": "model", "parts": parts}}] if candidate else []
    return {**whole, "candidates": candidates}


WHOLE: Final[Mapping[str, Callable[[bytes], Reading]]] = {
    "openai_chat": chat_completion,
    "openai_responses": response,
    "anthropic_messages": message,
    "gemini_generate": generated,
}
"""By ingress: what its SDK reads from a whole answer."""

PUT_TOGETHER: Final[Mapping[str, Callable[[bytes], Body]]] = {
    "openai_chat": chat_chunks,
    "openai_responses": response_events,
    "anthropic_messages": message_events,
    "gemini_generate": generated_chunks,
}
"""By ingress: the whole answer that its SDK makes of a stream."""


def streamed(ingress: str, raw: bytes) -> Reading:
    """By ingress: what its SDK reads from a stream."""
    return reading.READERS[ingress](PUT_TOGETHER[ingress](raw))
