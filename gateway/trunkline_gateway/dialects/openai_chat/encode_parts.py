"""Parts of a turn as parts of ``content``.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages
"""

import base64
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias, assert_never

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.openai_chat import media, vocabulary
from trunkline_gateway.exchange import losses

WirePart: TypeAlias = dict[str, object]

FEATURE_OF_TYPE: Final[Mapping[str, str]] = MappingProxyType(
    {"image_url": "image", "input_audio": "audio_input", "video_url": "video", "file": "file", "document_url": "file"}
)
"""What is lost with a part of ``content``."""

_encoder: Final = msgspec.json.Encoder()
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Lost:
    """Names of what could not be said, each once, in order."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Note one."""
        self._names[name] = None

    @property
    def names(self) -> tuple[str, ...]:
        """All that were noted."""
        return tuple(self._names)


def encode(part: exchange.Part, quirks: frozenset[str], lost: Lost) -> Iterator[WirePart]:
    """A part of a system's or user's turn, or of a tool's result; nothing where it cannot be said."""
    wire: WirePart | None
    match part:
        case exchange.Text():
            if part.citations:
                lost.add("citations")
            wire = {"type": "text", "text": part.text}
            cache(wire, part.cache, quirks, lost)
        case exchange.Image():
            wire = _image(part, quirks, lost)
        case exchange.Audio():
            wire = _audio(part, lost)
        case exchange.Video():
            wire = _video(part, quirks, lost)
        case exchange.Document():
            wire = _document(part, quirks, lost)
        case exchange.Foreign() if part.dialect == vocabulary.DIALECT:
            wire = _own(part, lost)
        case exchange.Refusal():
            wire = {"type": "refusal", "refusal": part.text}
        case (
            exchange.Reasoning()
            | exchange.ToolCall()
            | exchange.ToolResult()
            | exchange.HostedStep()
            | exchange.Foreign()
        ):
            lost.add(losses.feature_of(part))
            wire = None
        case _:
            assert_never(part)
    if wire is not None:
        yield wire


def hosted_feature(kind: str) -> str:
    """What is lost with a tool of the provider's."""
    return kind if kind in losses.FEATURES else "hosted_tool"


def cache(wire: WirePart, asked: exchange.CacheControl | None, quirks: frozenset[str], lost: Lost) -> None:
    """Write that the prompt should be cached up to here, where that can be said."""
    if asked is None:
        return
    if "cache_control" not in quirks:
        lost.add("cache_control")
        return
    control = {"type": "ephemeral"}
    if asked.ttl is not None:
        control["ttl"] = asked.ttl
    wire["cache_control"] = control


def text_of(value: object) -> str:
    """A JSON value as text."""
    return _encoder.encode(value).decode()


def _image(part: exchange.Image, quirks: frozenset[str], lost: Lost) -> WirePart | None:
    match part.source:
        case exchange.Inline() as source:
            url = media.data_url(source, part.media_type, "image/png")
        case exchange.Url() as source:
            url = source.url
            if "no_image_urls" in quirks or not _is_http(url):
                lost.add("image_url")
                return None
        case exchange.FileId():
            lost.add("image_file")
            return None
        case _:
            assert_never(part.source)
    image = {"url": url}
    if part.detail is not None:
        image["detail"] = part.detail
    wire: WirePart = {"type": "image_url", "image_url": image}
    cache(wire, part.cache, quirks, lost)
    return wire


def _audio(part: exchange.Audio, lost: Lost) -> WirePart | None:
    if not isinstance(part.source, exchange.Inline):
        lost.add("audio_input")
        return None
    audio = {"data": part.source.data, "format": vocabulary.audio_format(part.media_type)}
    return {"type": "input_audio", "input_audio": audio}


def _video(part: exchange.Video, quirks: frozenset[str], lost: Lost) -> WirePart | None:
    if "video_url" not in quirks or isinstance(part.source, exchange.FileId):
        lost.add("video")
        return None
    if isinstance(part.source, exchange.Inline):
        url = media.data_url(part.source, part.media_type, "video/mp4")
    else:
        url = part.source.url
    return {"type": "video_url", "video_url": {"url": url}}


def _document(part: exchange.Document, quirks: frozenset[str], lost: Lost) -> WirePart | None:
    if part.citations:
        lost.add("file_citations")
    text = _text_of_document(part)
    wire: WirePart | None
    if text is not None:
        said = [each for each in (part.name, part.context, text) if each]
        wire = {"type": "text", "text": "\n\n".join(said)}
    else:
        if part.context:
            lost.add("file_context")
        wire = _file(part, quirks, lost)
    if wire is not None:
        cache(wire, part.cache, quirks, lost)
    return wire


def _file(part: exchange.Document, quirks: frozenset[str], lost: Lost) -> WirePart | None:
    match part.source:
        case None:
            lost.add("file")
            return None
        case exchange.FileId() as source:
            if "no_files" in quirks:
                lost.add("file_id")
                return None
            if part.name:
                lost.add("file_name")
            return {"type": "file", "file": {"file_id": source.id}}
        case exchange.Inline() as source:
            url = media.data_url(source, part.media_type, "application/pdf")
            if "document_url" not in quirks and "no_files" in quirks:
                lost.add("file")
                return None
        case exchange.Url() as source:
            url = source.url
            if not quirks & {"document_url", "file_urls"}:
                lost.add("file_url")
                return None
        case _:
            assert_never(part.source)
    if "document_url" in quirks:
        document: WirePart = {"type": "document_url", "document_url": url}
        if part.name is not None:
            document["document_name"] = part.name
        return document
    name = part.name or ("document.pdf" if (part.media_type or "application/pdf") == "application/pdf" else "document")
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def _text_of_document(part: exchange.Document) -> str | None:
    if part.text is not None:
        return part.text
    if isinstance(part.source, exchange.Inline) and (part.media_type or "").startswith("text/"):
        try:
            return base64.b64decode(part.source.data).decode()
        except ValueError:
            return None
    return None


def _own(part: exchange.Foreign, lost: Lost) -> WirePart | None:
    try:
        return dict(_object.decode(part.value))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        lost.add(part.kind)
        return None


def _is_http(url: str) -> bool:
    return url[:8].lower().startswith(("http://", "https://"))
