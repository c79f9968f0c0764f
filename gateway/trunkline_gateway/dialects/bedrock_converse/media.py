"""Images, documents, films and sound as blocks of Converse, which knows them by format and not by media type.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from trunkline_gateway.dialects.bedrock_converse.writing import Block, Writing
from trunkline_gateway.exchange import Audio, Document, FileId, Image, Inline, Source, Url, Video

_IMAGES: Final[Mapping[str, str]] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Final[Mapping[str, str]] = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/x-markdown": "md",
}
_VIDEOS: Final[Mapping[str, str]] = {
    "video/x-matroska": "mkv",
    "video/quicktime": "mov",
    "video/mov": "mov",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/mpg": "mpg",
    "video/x-ms-wmv": "wmv",
    "video/wmv": "wmv",
    "video/3gpp": "three_gp",
}
_AUDIOS: Final[Mapping[str, str]] = {
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
    "audio/opus": "opus",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mp4": "mp4",
    "audio/m4a": "m4a",
    "audio/ogg": "ogg",
    "audio/pcm16": "pcm",
    "audio/pcm": "pcm",
    "audio/webm": "webm",
}
_MEDIA_TYPES: Final[Mapping[str, str]] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
}
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"RIFF", "webp"),
)
_MAGIC_CHARACTERS: Final = 16  # of base64: twelve bytes
_S3: Final = re.compile(r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/.*)?")


def image(part: Image, writing: Writing) -> Block | None:
    """None: it cannot be said, which is noted."""
    if part.detail not in (None, "auto"):
        writing.lose("image_detail")
    if writing.target.capabilities.vision is False:
        writing.lose("image")
        return None
    source = _source(part.source)
    if source is None:
        writing.lose("image_file" if isinstance(part.source, FileId) else "image_url")
        return None
    format = _IMAGES.get(_kind(part.media_type)) or _sniffed(part.source)
    if format is None and isinstance(part.source, Url):
        format = _ending_in(part.source.url, _IMAGES)
    if format is None:
        writing.lose("image")
        return None
    return {"image": {"format": format, "source": source}}


def document(part: Document, writing: Writing) -> Block | None:
    """None: it cannot be said, which is noted."""
    if part.text is not None:
        # Empty files are refused.
        source: Mapping[str, object] | None = {"bytes": _base64(part.text)} if part.text else None
    else:
        source = None if part.source is None else _source(part.source)
    if source is None:
        writing.lose(_lost_document(part))
        return None
    format = _document_format(part)
    if format is None:
        writing.lose("file")
        return None
    said: dict[str, object] = {"format": format, "name": writing.documents.write(part.name), "source": source}
    if part.context:
        if writing.model.cites:
            said["context"] = part.context
        else:
            writing.lose("file_context")
    if part.citations:
        if writing.model.cites:
            said["citations"] = {"enabled": True}
        else:
            writing.lose("file_citations")
    return {"document": said}


def video(part: Video, writing: Writing) -> Block | None:
    """None: it cannot be said, which is noted."""
    source, format = _source(part.source), _VIDEOS.get(_kind(part.media_type))
    if format is None and isinstance(part.source, Url):
        format = _ending_in(part.source.url, _VIDEOS)
    if source is None or format is None or writing.model.maker == "anthropic":
        writing.lose("video")
        return None
    return {"video": {"format": format, "source": source}}


def audio(part: Audio, writing: Writing) -> Block | None:
    """None: it cannot be said, which is noted."""
    source = None if part.source is None else _source(part.source)
    format = _AUDIOS.get(_kind(part.media_type))
    if source is None or format is None or not writing.model.audio or writing.target.capabilities.audio is False:
        writing.lose("audio_input")
        return None
    return {"audio": {"format": format, "source": source}}


def media_type_of(format: str) -> str:
    """Of an image in an answer."""
    return _MEDIA_TYPES.get(format, "image/png")


def _source(source: Source) -> Mapping[str, object] | None:
    if isinstance(source, Inline):
        return {"bytes": source.data} if source.data else None
    if isinstance(source, Url) and _S3.fullmatch(source.url):
        return {"s3Location": {"uri": source.url}}
    return None


def _document_format(part: Document) -> str | None:
    format = _DOCUMENTS.get(_kind(part.media_type))
    if format is None and part.name:
        format = _ending_in(part.name, _DOCUMENTS)
    if format is None and isinstance(part.source, Url):
        format = _ending_in(part.source.url, _DOCUMENTS)
    if format is None and (part.text is not None or _kind(part.media_type).startswith("text/")):
        format = "txt"
    return format


def _lost_document(part: Document) -> str:
    match part.source:
        case FileId():
            return "file_id"
        case Url():
            return "file_url"
        case _:
            return "file"


def _ending_in(name: str, formats: Mapping[str, str]) -> str | None:
    ending = name.rpartition(".")[2].lower()
    ending = {"jpg": "jpeg", "htm": "html", "markdown": "md", "3gp": "three_gp"}.get(ending, ending)
    return ending if ending in formats.values() else None


def _kind(media_type: str | None) -> str:
    return (media_type or "").partition(";")[0].strip().lower()


def _sniffed(source: Source) -> str | None:
    if not isinstance(source, Inline):
        return None
    try:
        begin = base64.b64decode(source.data[:_MAGIC_CHARACTERS])
    except (binascii.Error, ValueError):
        return None
    return next((format for magic, format in _MAGIC if begin.startswith(magic)), None)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
