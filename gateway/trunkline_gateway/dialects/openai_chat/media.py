"""Content that stands in a URL, and what can be told of it."""

import base64
import binascii
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from trunkline_gateway.exchange import Inline, Source, Url

_BEGINNINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "iVBORw0KGgo": "image/png",
        "/9j/": "image/jpeg",
        "R0lGOD": "image/gif",
        "UklGR": "image/webp",
        "JVBER": "application/pdf",
    }
)
"""How base64 of the usual files begins."""

_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pdf": "application/pdf",
        "txt": "text/plain",
        "md": "text/markdown",
        "csv": "text/csv",
        "html": "text/html",
        "json": "application/json",
        "xml": "application/xml",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "png": "image/png",
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "gif": "image/gif",
        "webp": "image/webp",
        "mp3": "audio/mpeg",
        "wav": "audio/wav",
        "mp4": "video/mp4",
    }
)

_SPACES: Final = str.maketrans("", "", " \t\r\n")
_URL_SAFE: Final = str.maketrans("-_", "+/")


def media_type_of(data: str) -> str | None:
    """What base64 data is, by its first bytes; None: not known."""
    for beginning, media_type in _BEGINNINGS.items():
        if data.startswith(beginning):
            return media_type
    return None


def media_type_of_name(name: str | None) -> str | None:
    """What a file is by its name; None: not known. Of our own table: Python's reads files of the machine."""
    return _EXTENSIONS.get(name.rpartition(".")[2].lower()) if name else None


def source_of(url: str) -> tuple[Source, str | None]:
    """A URL as a source; a ``data:`` URL as the content itself (RFC 2397). And the media type, if it is known.

    Raises:
        ValueError: A ``data:`` URL that is none.
    """
    if url[:5].lower() != "data:":
        return Url(url), None
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise ValueError
    media_type, *options = head.split(";")
    if any(option.strip().lower() == "base64" for option in options):
        inline = base64_of(data)
    else:
        inline = base64.b64encode(unquote_to_bytes(data)).decode("ascii")
    return Inline(inline), media_type.strip().lower() or media_type_of(inline) or "text/plain"


def base64_of(data: str) -> str:
    """Base64 in its standard form with padding; linear.

    Raises:
        ValueError: It is not base64.
    """
    if "%" in data:
        data = unquote_to_bytes(data).decode("ascii", "replace")
    if "-" in data or "_" in data:
        data = data.translate(_URL_SAFE)
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        data = data.translate(_SPACES).rstrip("=")
        data += "=" * (-len(data) % 4)
        try:
            binascii.a2b_base64(data, strict_mode=True)
        except (binascii.Error, ValueError) as failure:
            raise ValueError("not base64") from failure
    return data


def data_url(source: Inline, media_type: str | None, default: str) -> str:
    """Content as a ``data:`` URL."""
    return f"data:{media_type or media_type_of(source.data) or default};base64,{source.data}"
