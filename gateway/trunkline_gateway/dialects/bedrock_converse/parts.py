"""Parts of a turn as content blocks.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Final, assert_never

import msgspec

from trunkline_gateway.dialects.bedrock_converse import media, names, reading
from trunkline_gateway.dialects.bedrock_converse.writing import Block, Writing
from trunkline_gateway.exchange import (
    Audio,
    CacheControl,
    Citation,
    Document,
    DocumentCitation,
    Foreign,
    HostedStep,
    Image,
    Part,
    Reasoning,
    Refusal,
    Seal,
    Text,
    ToolCall,
    ToolResult,
    Video,
    losses,
    origin,
)

DIALECT: Final = "bedrock_converse"

_LOCATIONS: Final[Mapping[str, str]] = {
    "character": "documentChar",
    "page": "documentPage",
    "block": "documentChunk",
}

_NOTHING: Final[Block] = {"text": "(empty)"}
"""What a tool without a result said: there has to be something, and it may not be blank."""

_MEDIA: Final[Mapping[type, str]] = {
    Image: "image",
    Document: "file",
    Video: "video",
    Audio: "audio_input",
    ToolResult: "tools",
    Refusal: "refusal",
}


def of_user(part: Part, writing: Writing) -> Iterator[Block]:
    """What a user says; the results of tools are `of_result`'s."""
    match part:
        case Text():
            yield from _text(part, writing)
        case Image():
            yield from _with_cache(media.image(part, writing), part.cache, writing)
        case Document():
            yield from _with_cache(media.document(part, writing), part.cache, writing)
        case Video():
            yield from _with_cache(media.video(part, writing), None, writing)
        case Audio():
            yield from _with_cache(media.audio(part, writing), None, writing)
        case ToolResult():
            yield from of_result(part, writing)
        case Refusal():
            yield from _plain(part.text)
        case Foreign() | HostedStep():
            yield from _native(part, writing)
        case Reasoning():
            writing.lose("reasoning")
        case ToolCall():
            writing.lose("tools")
        case _:
            assert_never(part)


def of_assistant(part: Part, writing: Writing) -> Iterator[Block]:
    """What the model said before."""
    match part:
        case Text(citations=()):
            yield from _text(part, writing)
        case Text():
            yield from _cited(part, writing)
        case Reasoning():
            yield from _reasoning(part, writing)
        case ToolCall():
            yield from _call(part, writing)
        case Refusal():
            # There is no other word for it; that it was one is lost, its text is not.
            writing.lose("refusal")
            yield from _plain(part.text)
        case Foreign() | HostedStep():
            yield from _native(part, writing)
        case _:
            writing.lose(_MEDIA[type(part)])
            if isinstance(part, Audio):
                yield from _plain(part.transcript)


def of_system(part: Part, writing: Writing) -> Iterator[Block]:
    """Instructions, which are text."""
    match part:
        case Text():
            yield from _text(part, writing)
        case Document(text=str(text)):
            if part.name:
                writing.lose("file_name")
            yield from _plain(text)
        case Foreign() | HostedStep():
            _lose_native(part, writing)
        case Reasoning():
            writing.lose("reasoning")
        case ToolCall():
            writing.lose("tools")
        case _:
            writing.lose(_MEDIA[type(part)])


def of_result(part: ToolResult, writing: Writing) -> Iterator[Block]:
    """What came of a tool call, with its cache point."""
    content: list[Block] = []
    cache = part.cache
    structured = part.structured is not None and reading.object_of(part.structured) is not None
    if structured:
        content.append({"json": part.structured})
    for each in part.content:
        if structured and isinstance(each, Text):
            continue  # the same as text
        if isinstance(each, Text | Image | Document) and each.cache is not None:
            cache = cache or each.cache
        content.extend(_in_result(each, writing))
    content = content or [_NOTHING]
    result: dict[str, object] = {"toolUseId": names.call_id(part.call_id), "content": content}
    if part.is_error and writing.model.tool_status:
        result["status"] = "error"
    elif part.is_error:
        writing.lose("tool_result_error")
    yield from _with_cache({"toolResult": result}, cache, writing)


def _in_result(part: Text | Image | Document | Audio | Video, writing: Writing) -> Iterator[Block]:
    block: Block | None = None
    match part:
        case Text():
            if part.text:
                block = {"text": part.text}
        case Image():
            block = media.image(part, writing)
        case Document():
            block = media.document(part, writing)
        case Video():
            block = media.video(part, writing)
        case Audio():
            writing.lose("audio_input")
        case _:
            assert_never(part)
    if block is not None:
        yield block


def _text(part: Text, writing: Writing) -> Iterator[Block]:
    if part.seal is not None:
        writing.lose("reasoning_signature")
    if part.citations:
        writing.lose("citations")
    block = {"text": part.text} if part.text.strip() else None  # blank text is refused
    yield from _with_cache(block, part.cache, writing)


def _plain(text: str) -> Iterator[Block]:
    if text.strip():
        yield {"text": text}


def _with_cache(block: Block | None, asked: CacheControl | None, writing: Writing) -> Iterator[Block]:
    if block is None:
        return
    yield block
    point = writing.cache_point(asked)
    if point is not None:
        yield point


def _cited(part: Text, writing: Writing) -> Iterator[Block]:
    cited = [_citation(each) for each in part.citations]
    known = [each for each in cited if each is not None]
    if not writing.model.cites or len(known) < len(cited) or not part.text.strip():
        yield from _text(part, writing)
        return
    block = {"citationsContent": {"content": [{"text": part.text}], "citations": known}}
    yield from _with_cache(block, part.cache, writing)


def _citation(citation: Citation) -> Block | None:
    if not isinstance(citation, DocumentCitation) or citation.unit is None:
        return None
    if citation.document is None or citation.start is None or citation.end is None or citation.cited_text is None:
        return None
    place = {"documentIndex": citation.document, "start": citation.start, "end": citation.end}
    said: dict[str, object] = {
        "sourceContent": [{"text": citation.cited_text}],
        "location": {_LOCATIONS[citation.unit]: place},
    }
    if citation.title:
        said["title"] = citation.title
    return said


def _reasoning(part: Reasoning, writing: Writing) -> Iterator[Block]:
    """Only what the model can verify goes back; to all others thoughts are not sent, which is the custom of chats."""
    if part.encrypted is not None:
        if _fits(part.encrypted, writing):
            yield {"reasoningContent": {"redactedContent": _blob_of(part.encrypted)}}
        else:
            writing.lose("reasoning_encrypted")
    if part.signature is not None:
        if _fits(part.signature, writing):
            yield {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature.value}}}
        else:
            writing.lose("reasoning_signature")
    elif part.text:
        writing.lose("reasoning")


def _fits(seal: Seal, writing: Writing) -> bool:
    return origin.fits(seal, writing.model.maker, writing.target.account)


def _blob_of(seal: Seal) -> str:
    """Anthropic's own form is the content of the blob; see `blocks.redacted`."""
    if seal.maker == "anthropic":
        return base64.b64encode(seal.value.encode()).decode("ascii")
    return seal.value


def _call(part: ToolCall, writing: Writing) -> Iterator[Block]:
    if part.seal is not None:
        writing.lose("reasoning_signature")
    use = {
        "toolUseId": names.call_id(part.id),
        "name": writing.names.write(part.name, part.namespace),
        "input": _input(part, writing),
    }
    yield from _with_cache({"toolUse": use}, part.cache, writing)


def _input(part: ToolCall, writing: Writing) -> object:
    if part.custom:
        return {names.INPUT: part.arguments}
    if not part.arguments.strip():
        return {}
    arguments = part.arguments.encode()
    if reading.object_of(arguments) is None:
        writing.lose("tool_arguments")
        return {names.INPUT: part.arguments}
    return msgspec.Raw(arguments)


def _native(part: Foreign | HostedStep, writing: Writing) -> Iterator[Block]:
    block = reading.object_of(part.value) if part.dialect == DIALECT else None
    if block is not None:
        yield block
    else:
        _lose_native(part, writing)


def _lose_native(part: Foreign | HostedStep, writing: Writing) -> None:
    if isinstance(part, HostedStep):
        writing.lose("hosted_step")
    else:
        writing.lose(part.kind if part.kind in losses.FEATURES else losses.UNKNOWN)
