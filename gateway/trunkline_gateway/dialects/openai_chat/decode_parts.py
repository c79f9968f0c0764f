"""Parts of a client's ``content``.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages
"""

from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.openai_chat import media, members, vocabulary
from trunkline_gateway.dialects.openai_chat.members import Members
from trunkline_gateway.exchange import CacheControl, Part

_TTLS: Final = frozenset({"5m", "1h"})
_MAX_KIND_CHARACTERS: Final = 64


def decode(owner: Members, name: str = "content") -> list[Part]:
    """The content of a message: a string or a list of parts, in order; nothing for null."""
    match owner.kind(name):
        case "null":
            owner.skip(name)
            return []
        case "text":
            text = owner.text(name)
            return [exchange.Text(text=text)] if text else []
        case "list":
            return [part for value, at in owner.items(name) or () for part in _part(owner, value, at)]
        case _:
            raise owner.refusal(name, "must be a string or a list of parts")


def cache_of(owner: Members) -> CacheControl | None:
    """``cache_control`` (Anthropic's, as OpenRouter and LiteLLM take it), or OpenAI's breakpoint."""
    control = owner.object("cache_control")
    if control is None:
        breakpoint_ = owner.object("prompt_cache_breakpoint")
        if breakpoint_ is None:
            return None
        breakpoint_.skip("mode")
        breakpoint_.close()
        return CacheControl()
    control.skip("type")
    ttl = control.text("ttl")
    control.close()
    if ttl is None:
        return CacheControl()
    if ttl not in _TTLS:
        control.notes.add(control.path("ttl"))
        return CacheControl()
    return CacheControl(ttl="5m" if ttl == "5m" else "1h")


def with_cache(parts: list[Part], cache: CacheControl | None, owner: Members) -> list[Part]:
    """The same parts, the last of which is to be cached."""
    if cache is None:
        return parts
    if parts and isinstance(
        parts[-1], exchange.Text | exchange.Image | exchange.Document | exchange.ToolCall | exchange.ToolResult
    ):
        return [*parts[:-1], msgspec.structs.replace(parts[-1], cache=cache)]
    owner.notes.add("cache_control")
    return parts


def _part(owner: Members, value: msgspec.Raw, at: str) -> list[Part]:
    part = owner.object_of(value, at)
    kind = part.needed_text("type")
    made: Part
    match kind:
        case "text":
            made = exchange.Text(text=part.needed_text("text"), cache=cache_of(part))
        case "image_url":
            made = _image(part)
        case "input_audio":
            made = _audio(part)
        case "file":
            made = _file(part)
        case "refusal":
            made = exchange.Refusal(text=part.needed_text("refusal"))
        case "video_url":
            source, media_type, _ = _url(part, "video_url")
            made = exchange.Video(source=source, media_type=media_type)
        case "document_url":
            source, media_type, _ = _url(part, "document_url")
            name = part.text("document_name")
            made = exchange.Document(source=source, media_type=media_type, name=name, cache=cache_of(part))
        case "thinking":
            return _thinking(part)
        case _:
            made = exchange.Foreign(dialect=vocabulary.DIALECT, kind=kind[:_MAX_KIND_CHARACTERS], value=value)
            return [made]
    part.close()
    return [made]


def _url(part: Members, name: str) -> tuple[exchange.Source, str | None, str | None]:
    """A URL, said as a string or as an object with it; what it is, and ``detail``."""
    detail = None
    if part.kind(name) == "text":
        url, at = part.text(name) or "", part.path(name)
    else:
        holder = part.object(name)
        if holder is None:
            raise part.refusal(name, "is missing")
        url, at, detail = holder.needed_text("url"), holder.path("url"), holder.text("detail")
        holder.close()
    if not url:
        raise members.refusal(at, "is empty")
    try:
        source, media_type = media.source_of(url)
    except ValueError:
        raise members.refusal(at, "is not a valid data: URL") from None
    return source, media_type, detail


def _image(part: Members) -> Part:
    source, media_type, detail = _url(part, "image_url")
    return exchange.Image(source=source, media_type=media_type, detail=detail, cache=cache_of(part))


def _audio(part: Members) -> Part:
    audio = part.object("input_audio")
    if audio is None:
        raise part.refusal("input_audio", "is missing")
    data = audio.needed_text("data")
    kind = audio.text("format")
    audio.close()
    media_type = f"audio/{kind}" if kind else None
    try:
        if data[:5].lower() == "data:":
            source, of_url = media.source_of(data)
            return exchange.Audio(source=source, media_type=media_type or of_url)
        return exchange.Audio(source=exchange.Inline(media.base64_of(data)), media_type=media_type)
    except ValueError:
        raise audio.refusal("data", "is not base64") from None


def _file(part: Members) -> Part:
    file = part.object("file")
    if file is None:
        raise part.refusal("file", "is missing")
    name, data, file_id = file.text("filename"), file.text("file_data"), file.text("file_id")
    file.close()
    media_type = media.media_type_of_name(name)
    source: exchange.Source
    if data:
        try:
            if data[:5].lower() == "data:" or "://" in data[:16]:
                source, of_url = media.source_of(data)
                media_type = of_url or media_type
            else:
                source = exchange.Inline(media.base64_of(data))
                media_type = media.media_type_of(source.data) or media_type
        except ValueError:
            raise file.refusal("file_data", "is neither a URL nor base64") from None
    elif file_id:
        source = exchange.FileId(file_id)
    else:
        raise file.refusal("file_data", "is missing")
    return exchange.Document(source=source, media_type=media_type, name=name, cache=cache_of(part))


def _thinking(part: Members) -> list[Part]:
    """Mistral's, as it comes back."""
    if part.kind("thinking") == "text":
        text = part.text("thinking") or ""
    else:
        texts = part.objects("thinking") or []
        text = "".join(each.text("text") or "" for each in texts)
    part.skip("closed")
    part.close()
    return [exchange.Reasoning(text=text)] if text else []
