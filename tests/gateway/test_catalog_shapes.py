"""The list of models as each SDK reads it, page by page."""

import json

import anthropic.types
import pytest
from google.genai import types as google_types
from openai.types import Model

from trunkline_gateway.catalog import shapes
from trunkline_gateway.catalog.models import Entry
from trunkline_gateway.errors import InvalidRequestError


def entry(name: str, provider_type: str = "openai") -> Entry:
    return Entry(
        id=name,
        owner="group",
        display_name="",
        description="",
        created=1_700_000_000,
        provider="group",
        provider_type=provider_type,
        provider_types=frozenset({provider_type}),
        model=name,
        context_window=200_000,
        max_output_tokens=64_000,
    )


ENTRIES = [entry(f"m{number:02}", "anthropic" if number % 2 else "openai") for number in range(60)]


def listed(dialect: str, query: str = "") -> dict[str, object]:
    value = json.loads(shapes.render_list(ENTRIES, dialect, query.encode()))
    assert isinstance(value, dict)
    return value


def names(dialect: str, query: str = "") -> list[str]:
    answer = listed(dialect, query)
    entries = answer["data"] if "data" in answer else answer["models"]
    assert isinstance(entries, list)
    return [each.get("id") or each["name"].removeprefix("models/") for each in entries]


def test_openais_list_is_whole_unless_a_page_is_asked_for() -> None:
    assert names("openai_chat") == [each.id for each in ENTRIES]
    assert names("openai_chat", "limit=3&offset=2") == ["m02", "m03", "m04"]
    page = listed("openai_chat", "limit=10&offset=55")
    assert (page["total"], page["has_more"]) == (60, False)


def test_a_providers_models_can_be_asked_for() -> None:
    assert names("openai_chat", "providerType=anthropic&limit=2") == ["m01", "m03"]
    assert names("openai_chat", "providerType=Anthropic&limit=2") == ["m01", "m03"]
    assert names("openai_chat", "providerType=gemini") == []


def test_anthropics_pages_go_both_ways() -> None:
    first = listed("anthropic_messages")
    assert (len(names("anthropic_messages")), first["has_more"], first["last_id"]) == (20, True, "m19")
    assert names("anthropic_messages", "after_id=m19&limit=2") == ["m20", "m21"]
    assert names("anthropic_messages", "before_id=m02&limit=5") == ["m00", "m01"]
    assert listed("anthropic_messages", "after_id=m58")["has_more"] is False


def test_geminis_pages_follow_their_token() -> None:
    first = listed("gemini_generate", "pageSize=40")
    assert first["nextPageToken"] == "40"
    assert names("gemini_generate", "pageSize=40&pageToken=40") == [each.id for each in ENTRIES[40:]]
    assert "nextPageToken" not in listed("gemini_generate", "pageSize=40&pageToken=40")


@pytest.mark.parametrize("query", ["limit=x", "limit=0", "limit=1001", "offset=-1", "limit=9999999999"])
def test_a_page_that_is_none_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        listed("openai_chat", query)
    assert refused.value.param == query.partition("=")[0]


def test_each_entry_is_what_the_sdk_expects() -> None:
    one = entry("m")
    Model.model_validate(json.loads(shapes.render_one(one, "openai_chat")), strict=True)
    anthropic.types.ModelInfo.model_validate_json(shapes.render_one(one, "anthropic_messages"))
    gemini = json.loads(shapes.render_one(one, "gemini_generate"))
    # Google's SDK picks the members that it knows, and calls one of them otherwise.
    assert (gemini.pop("baseModelId"), gemini.pop("supportedGenerationMethods")[0]) == ("m", "generateContent")
    google_types.Model.model_validate(gemini)
    for dialect in ("openai_chat", "anthropic_messages"):
        beside = json.loads(shapes.render_one(one, dialect))
        assert {"name", "provider", "provider_name", "provider_type", "provider_model_id"} <= set(beside)
