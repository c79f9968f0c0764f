"""Annotations of output text, to citations and back.

https://platform.openai.com/docs/api-reference/responses/object#responses/object-output
"""

from collections.abc import Mapping, Sequence

from trunkline_gateway.dialects.openai_responses import reading
from trunkline_gateway.exchange import Citation, DocumentCitation, UrlCitation


def read(annotations: object) -> Sequence[Citation]:
    """The citations in a list of annotations; what is not one is left out."""
    return [found for each in reading.mappings(annotations) if (found := read_one(each)) is not None]


def read_one(annotation: reading.Object) -> Citation | None:
    """An annotation. xAI leaves out places and titles."""
    match annotation.get("type"):
        case "url_citation":
            url = reading.text(annotation.get("url"))
            if not url:
                return None
            return UrlCitation(
                url=url,
                title=reading.text(annotation.get("title")) or None,
                start=reading.count(annotation.get("start_index")),
                end=reading.count(annotation.get("end_index")),
            )
        case "file_citation" | "container_file_citation" | "file_path":
            file_id = reading.text(annotation.get("file_id"))
            if not file_id:
                return None
            return DocumentCitation(file_id=file_id, title=reading.text(annotation.get("filename")) or None)
        case _:
            return None


def is_placed(citation: Citation) -> bool:
    """Whether it can be written before the end of its text is known."""
    return isinstance(citation, DocumentCitation) or (citation.start is not None and citation.end is not None)


def write(citation: Citation, length: int) -> Mapping[str, object] | None:
    """An annotation of a text of ``length`` characters; None where there is none for it.

    A page has to be cited for a stretch of text: where none is known, it is all of it.
    """
    match citation:
        case UrlCitation():
            return {
                "type": "url_citation",
                "start_index": 0 if citation.start is None else citation.start,
                "end_index": length if citation.end is None else citation.end,
                "url": citation.url,
                "title": citation.title or "",
            }
        case DocumentCitation(file_id=str() as file_id):
            return {
                "type": "file_citation",
                "file_id": file_id,
                "filename": citation.title or "",
                "index": citation.document or 0,
            }
        case _:
            return None
