"""Where an answer's text comes from: ``groundingMetadata`` and ``citationMetadata``, read and written.

https://ai.google.dev/api/generate-content#GroundingMetadata

Places in the text are counted in UTF-8 bytes there, and in characters in the exchange.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from trunkline_gateway.dialects.gemini_generate import wire
from trunkline_gateway.exchange import Citation, DocumentCitation, UrlCitation

Wire: TypeAlias = dict[str, object]

METADATA: Final = ("groundingMetadata", "urlContextMetadata")
"""What stands beside a candidate's content; it goes through the exchange as `exchange.Foreign` of that kind."""

_NUMBERS: Final = "groundingChunkIndices"

MAX_CITATIONS: Final = 1024


def citations(metadata: Sequence[msgspec.Raw], recited: Sequence[msgspec.Raw], text: str) -> Sequence[Citation]:
    """What backs ``text``.

    Args:
        metadata: ``groundingMetadata`` as it came, in order: a later one counts its chunks on from the earlier.
        recited: ``citationMetadata`` likewise.
        text: Of the part that they speak of.
    """
    chunks: list[Mapping[str, object]] = []
    supports: list[Mapping[str, object]] = []
    for raw in metadata:
        value = wire.value_of(raw)
        if isinstance(value, Mapping):
            chunks += _mappings(value.get("groundingChunks"))
            supports += _mappings(value.get("groundingSupports"))
    places = _Places(text)
    found: list[Citation] = []
    used: set[int] = set()
    for support in supports[:MAX_CITATIONS]:
        segment = support.get("segment")
        start, end, cited = places.of(segment) if isinstance(segment, Mapping) else (None, None, None)
        numbers = support.get(_NUMBERS)
        for number in numbers if isinstance(numbers, list) else ():
            if len(found) < MAX_CITATIONS and _is_index(number, len(chunks)):
                used.add(number)
                _add(found, _of_chunk(chunks[number], cited, start, end))
    for number, chunk in enumerate(chunks):
        if number not in used and len(found) < MAX_CITATIONS:
            _add(found, _of_chunk(chunk, None, None, None))
    found += _of_recited(recited, places, MAX_CITATIONS - len(found))
    return found


def to_wire(
    cited: Sequence[Citation], text: str, *, first: int = 0, part: int = 0
) -> tuple[list[Wire], list[Wire]] | None:
    """``groundingChunks`` and ``groundingSupports`` for what backs ``text``; None: there is nothing.

    Args:
        cited: What backs it.
        text: Of the part that the places are in.
        first: How many chunks there are before these.
        part: The number of the part.
    """
    numbers: dict[tuple[str, str], int] = {}
    chunks: list[Wire] = []
    supports: list[Wire] = []
    offsets = _Offsets(text)
    for each in cited:
        key, chunk = _chunk_of(each)
        number = numbers.setdefault(key, first + len(chunks))
        if number == first + len(chunks):
            chunks.append(chunk)
        segment = _segment_of(each, offsets)
        if segment:  # else it backs the answer as a whole
            supports.append({"segment": {"partIndex": part, **segment} if part else segment, _NUMBERS: [number]})
    return (chunks, supports) if chunks else None


def merged(pieces: Sequence[msgspec.Raw]) -> msgspec.Raw:
    """Metadata that came in pieces as one: lists are joined, of the rest the last counts."""
    if len(pieces) == 1:
        return pieces[0]
    made: dict[str, object] = {}
    for piece in pieces:
        value = wire.value_of(piece)
        for name, member in value.items() if isinstance(value, dict) else ():
            whole = made.get(name)
            if isinstance(whole, list) and isinstance(member, list):
                whole += member
            else:
                made[name] = member
    return wire.raw_of(made)


class _Places:
    """Bytes of a text → its characters; all of a text's places take linear time together."""

    def __init__(self, text: str) -> None:
        self._ascii = text.isascii()
        self._text = text
        self._starts: list[int] | None = None

    def of(self, segment: Mapping[str, object]) -> tuple[int | None, int | None, str | None]:
        """Start, end and words of a segment; no place where its words do not stand there."""
        said = segment.get("text")
        cited = said if isinstance(said, str) and said else None
        start = self._character(segment.get("startIndex", 0))
        end = self._character(segment.get("endIndex"))
        if start is None or end is None or start >= end:
            return None, None, cited
        if cited is not None and self._text[start:end] != cited:
            return None, None, cited
        return start, end, cited

    def _character(self, offset: object) -> int | None:
        if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
            return None
        if self._ascii:
            return offset if offset <= len(self._text) else None
        if self._starts is None:
            # Where in the text each byte's character stands; -1 within one.
            self._starts = []
            for number, character in enumerate(self._text):
                self._starts += [number] + [-1] * (len(character.encode("utf-8", "replace")) - 1)
            self._starts.append(len(self._text))
        if offset >= len(self._starts) or self._starts[offset] < 0:
            return None
        return self._starts[offset]


class _Offsets:
    """Characters of a text → its bytes."""

    def __init__(self, text: str) -> None:
        self._ends: list[int] | None = None
        self._text = text

    def of(self, character: int) -> int | None:
        if not 0 <= character <= len(self._text):
            return None
        if self._text.isascii():
            return character
        if self._ends is None:
            self._ends = [0]
            for each in self._text:
                self._ends.append(self._ends[-1] + len(each.encode("utf-8", "replace")))
        return self._ends[character]


def _of_chunk(chunk: Mapping[str, object], cited: str | None, start: int | None, end: int | None) -> Citation | None:
    for kind in ("web", "maps", "image"):
        source = chunk.get(kind)
        if isinstance(source, Mapping):
            url = _text(source.get("uri")) or _text(source.get("sourceUri"))
            if url:
                title = _text(source.get("title"))
                return UrlCitation(url=url, title=title, cited_text=cited, start=start, end=end)
    source = chunk.get("retrievedContext")
    if not isinstance(source, Mapping):
        return None
    if url := _text(source.get("uri")):
        return UrlCitation(url=url, title=_text(source.get("title")), cited_text=cited, start=start, end=end)
    return DocumentCitation(title=_text(source.get("title")), cited_text=_text(source.get("text")))


def _of_recited(recited: Sequence[msgspec.Raw], places: _Places, most: int) -> Sequence[Citation]:
    """The same source is named over and over there; each is taken once for each place."""
    found: dict[tuple[str, int | None, int | None], Citation] = {}
    for raw in recited:
        value = wire.value_of(raw)
        if not isinstance(value, Mapping):
            continue
        for each in _mappings(value.get("citations") or value.get("citationSources")):
            url = _text(each.get("uri"))
            if url and len(found) < most:
                start, end, cited = places.of(each)
                title = _text(each.get("title"))
                found.setdefault(
                    (url, start, end), UrlCitation(url=url, title=title, cited_text=cited, start=start, end=end)
                )
    return list(found.values())


def _chunk_of(cited: Citation) -> tuple[tuple[str, str], dict[str, object]]:
    match cited:
        case UrlCitation():
            web: dict[str, object] = {"uri": cited.url}
            if cited.title is not None:
                web["title"] = cited.title
            return ("web", cited.url), {"web": web}
        case DocumentCitation():
            context: dict[str, object] = {}
            if cited.title is not None:
                context["title"] = cited.title
            if cited.cited_text is not None:
                context["text"] = cited.cited_text
            return (cited.title or "", cited.cited_text or ""), {"retrievedContext": context}


def _segment_of(cited: Citation, offsets: _Offsets) -> dict[str, object]:
    segment: dict[str, object] = {}
    if isinstance(cited, UrlCitation):
        if cited.start is not None and (start := offsets.of(cited.start)):
            segment["startIndex"] = start
        if cited.end is not None and (end := offsets.of(cited.end)):
            segment["endIndex"] = end
        if cited.cited_text is not None:
            segment["text"] = cited.cited_text
    return segment


def _add(found: list[Citation], made: Citation | None) -> None:
    if made is not None:
        found.append(made)


def _mappings(value: object) -> Sequence[Mapping[str, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else ()


def _is_index(value: object, length: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < length


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
