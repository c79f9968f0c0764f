"""Citations of a text block, to and from the exchange.

https://docs.anthropic.com/en/docs/build-with-claude/citations
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from trunkline_gateway.dialects.anthropic_messages import upstream_json
from trunkline_gateway.exchange import Citation, DocumentCitation, UrlCitation

_Unit: TypeAlias = Literal["character", "page", "block"]

_UNITS: Final[Mapping[str, tuple[_Unit, str, str]]] = {
    "char_location": ("character", "start_char_index", "end_char_index"),
    "page_location": ("page", "start_page_number", "end_page_number"),
    "content_block_location": ("block", "start_block_index", "end_block_index"),
}
_LOCATIONS: Final = {unit: (kind, start, end) for kind, (unit, start, end) in _UNITS.items()}


def read(raw: msgspec.Raw) -> Citation | None:
    """One citation; None where it is none, or of a kind that nobody knows."""
    said = upstream_json.members(raw)
    kind = upstream_json.text(said.get("type"))
    cited = upstream_json.text(said.get("cited_text"))
    if kind in ("web_search_result_location", "search_result_location"):
        url = upstream_json.text(said.get("url")) or upstream_json.text(said.get("source"))
        if url is None:
            return None
        return UrlCitation(
            url=url,
            title=upstream_json.text(said.get("title")),
            cited_text=cited,
            seal=upstream_json.text(said.get("encrypted_index")) or None,
        )
    if kind is None or kind not in _UNITS:
        return None
    unit, start, end = _UNITS[kind]
    return DocumentCitation(
        document=upstream_json.count(said.get("document_index")),
        title=upstream_json.text(said.get("document_title")),
        cited_text=cited,
        unit=unit,
        start=upstream_json.count(said.get(start)),
        end=upstream_json.count(said.get(end)),
        file_id=upstream_json.text(said.get("file_id")),
    )


def read_all(raw: msgspec.Raw | None) -> tuple[Citation, ...]:
    """All that can be read of a ``citations`` member."""
    return tuple(found for item in upstream_json.items(raw) if (found := read(item)) is not None)


def wire(citation: Citation) -> dict[str, object] | None:
    """A citation for a client, whose SDK wants every field; None where it has no place to point to."""
    if isinstance(citation, UrlCitation):
        return {
            "type": "web_search_result_location",
            "cited_text": citation.cited_text or "",
            "url": citation.url,
            "title": citation.title,
            "encrypted_index": citation.seal or "",
        }
    if citation.unit is None or citation.start is None or citation.end is None:
        return None
    kind, start, end = _LOCATIONS[citation.unit]
    said: dict[str, object] = {
        "type": kind,
        "cited_text": citation.cited_text or "",
        "document_index": citation.document or 0,
        "document_title": citation.title,
        start: citation.start,
        end: citation.end,
    }
    if citation.file_id is not None:
        said["file_id"] = citation.file_id
    return said


def is_exact(citation: Citation) -> bool:
    """Whether `wire` says all of it: a citation of the API belongs to its whole text block."""
    return isinstance(citation, DocumentCitation) or (citation.start is None and citation.end is None)


def may_go_back(citation: Citation) -> bool:
    """Whether the API would take it in a request: what a search found must bear the API's own seal."""
    return isinstance(citation, DocumentCitation) or bool(citation.seal)
