"""The list of models as each dialect shapes it, and its pages.

https://platform.openai.com/docs/api-reference/models
https://docs.anthropic.com/en/api/models-list
https://ai.google.dev/api/models

Beside the standard fields an entry has ``name``, ``provider``, ``provider_name``, ``provider_type`` and
``provider_model_id``, which tell accounts apart; Gemini's has not, since its SDK refuses what it does not know.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NoReturn
from urllib.parse import parse_qs

import msgspec

from trunkline_gateway.catalog.models import Entry
from trunkline_gateway.errors import InvalidRequestError

_encoder: Final = msgspec.json.Encoder()
_MAX_PAGE: Final = 1000
_ANTHROPIC_PAGE: Final = 20
_GEMINI_PAGE: Final = 50
_METHODS: Final = ("generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents")

Query = Mapping[str, Sequence[str]]


def render_list(entries: Sequence[Entry], dialect: str, query: bytes) -> bytes:
    """Write the list, or the page of it that is asked for.

    ``providerType``, in whatever case, leaves only models that some account of that provider serves. Pages: ``limit``
    and ``offset`` everywhere; ``after_id``, ``before_id`` (Anthropic); ``pageSize``, ``pageToken`` (Gemini).

    Raises:
        InvalidRequestError: The query does not say a page.
    """
    asked = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
    wanted = {each for value in asked.get("providerType", ()) for each in value.casefold().split(",") if each}
    if wanted:
        entries = [entry for entry in entries if wanted & {each.casefold() for each in entry.provider_types}]
    return _LISTS.get(dialect, _openai_list)(entries, asked)


def render_one(entry: Entry, dialect: str) -> bytes:
    """Write one entry."""
    return _encoder.encode(_ENTRIES.get(dialect, _openai_entry)(entry))


def _openai_list(entries: Sequence[Entry], asked: Query) -> bytes:
    offset = _number(asked, "offset", 0)
    limit = _number(asked, "limit", 0)
    page = entries[offset : offset + limit] if limit else entries[offset:]
    answer: dict[str, object] = {"object": "list", "data": [_openai_entry(entry) for entry in page]}
    if limit or offset:
        answer |= {"total": len(entries), "limit": limit or len(page), "offset": offset}
        answer["has_more"] = offset + len(page) < len(entries)
    return _encoder.encode(answer)


def _openai_entry(entry: Entry) -> dict[str, object]:
    shown = {"object": "model", "id": entry.id, "created": entry.created, "owned_by": entry.owner, **_beside(entry)}
    if entry.description:
        shown["description"] = entry.description
    return shown


def _anthropic_list(entries: Sequence[Entry], asked: Query) -> bytes:
    limit = _number(asked, "limit", _ANTHROPIC_PAGE) or _ANTHROPIC_PAGE
    first = _number(asked, "offset", 0)
    more_before = False
    if after := _text(asked, "after_id"):
        first = next((place + 1 for place, entry in enumerate(entries) if entry.id == after), len(entries))
    elif before := _text(asked, "before_id"):
        end = next((place for place, entry in enumerate(entries) if entry.id == before), 0)
        first = max(end - limit, 0)
        limit = end - first
        more_before = first > 0
    page = entries[first : first + limit]
    has_more = more_before or (first + len(page) < len(entries) and not _text(asked, "before_id"))
    return _encoder.encode(
        {
            "data": [_anthropic_entry(entry) for entry in page],
            "has_more": has_more,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
    )


def _anthropic_entry(entry: Entry) -> dict[str, object]:
    created = datetime.fromtimestamp(entry.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown: dict[str, object] = {
        "type": "model",
        "id": entry.id,
        "display_name": entry.display_name or entry.id,
        "created_at": created,
        "lifecycle": "active",
        **_beside(entry),
    }
    if entry.context_window is not None:
        shown["max_input_tokens"] = entry.context_window
    if entry.max_output_tokens is not None:
        shown["max_tokens"] = entry.max_output_tokens
    return shown


def _gemini_list(entries: Sequence[Entry], asked: Query) -> bytes:
    size = _number(asked, "pageSize", _number(asked, "limit", _GEMINI_PAGE)) or _GEMINI_PAGE
    first = _number(asked, "pageToken", _number(asked, "offset", 0))
    page = entries[first : first + size]
    answer: dict[str, object] = {"models": [_gemini_entry(entry) for entry in page]}
    if first + len(page) < len(entries):
        answer["nextPageToken"] = str(first + len(page))
    return _encoder.encode(answer)


def _gemini_entry(entry: Entry) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": f"models/{entry.id}",
        "baseModelId": entry.id,
        "version": "1",
        "displayName": entry.display_name or entry.id,
        "description": entry.description,
        "supportedGenerationMethods": _METHODS,
    }
    if entry.context_window is not None:
        shown["inputTokenLimit"] = entry.context_window
    if entry.max_output_tokens is not None:
        shown["outputTokenLimit"] = entry.max_output_tokens
    return shown


def _beside(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.display_name or entry.id,
        "provider": entry.provider,
        "provider_name": entry.display_name or entry.provider,
        "provider_type": entry.provider_type,
        "provider_model_id": entry.model,
    }


_LISTS: Final[Mapping[str, Callable[[Sequence[Entry], Query], bytes]]] = {
    "anthropic_messages": _anthropic_list,
    "gemini_generate": _gemini_list,
}
_ENTRIES: Final[Mapping[str, Callable[[Entry], dict[str, object]]]] = {
    "anthropic_messages": _anthropic_entry,
    "gemini_generate": _gemini_entry,
}


def _text(asked: Query, name: str) -> str:
    return asked.get(name, ("",))[0]


def _number(asked: Query, name: str, default: int) -> int:
    text = _text(asked, name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        _refuse(name)
    number = int(text)
    if name in ("limit", "pageSize") and not 1 <= number <= _MAX_PAGE:
        _refuse(name)
    return number


def _refuse(name: str) -> NoReturn:
    bound = f" from 1 to {_MAX_PAGE}" if name in ("limit", "pageSize") else ""
    raise InvalidRequestError(f"The query parameter '{name}' must be a whole number{bound}.", param=name)
