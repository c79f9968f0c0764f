"""The table of known models, and how a name is found in it."""

import dataclasses
import importlib.util
import json
import os
from pathlib import Path

import pytest

from trunkline_protocol.models import FILE, UNKNOWN, Facts, known, normalised
from trunkline_protocol.providers import PROVIDERS

ROOT = Path(__file__).resolve().parents[2]
TABLE = json.loads(FILE.read_bytes())


def test_the_table_is_small_and_its_providers_are_ours() -> None:
    assert FILE.stat().st_size < 200 << 10
    assert TABLE.keys() <= PROVIDERS.keys()
    assert {row.models for row in PROVIDERS.values()} - {""} <= TABLE.keys()


def test_every_fact_is_of_its_kind() -> None:
    fields = {field.name: int if "int" in str(field.type) else bool for field in dataclasses.fields(Facts)}
    for models in TABLE.values():
        for name, facts in models.items():
            assert name == normalised(name)
            assert all(type(fact) is fields[each] for each, fact in facts.items()), name
            assert all(fact > 0 for fact in facts.values() if type(fact) is int)
            assert facts.get("max_output_tokens", 0) <= facts.get("context_window", 1 << 31)


@pytest.mark.parametrize(
    ("provider", "model", "same"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4.5"),
        ("anthropic", "claude-sonnet-4-5@20250929", "claude-sonnet-4.5"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-4.1-2025-04-14", "gpt-4.1"),
        ("gemini", "models/gemini-2.5-pro", "gemini-2.5-pro"),
    ],
)
def test_one_model_has_several_names(provider: str, model: str, same: str) -> None:
    assert known(provider, model) == known(provider, same) != UNKNOWN


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-*"), ("openai", "no-such"), ("azure-openai", "gpt-4o"), ("", "gpt-4o")]
)
def test_what_is_not_known_is_not_guessed(provider: str, model: str) -> None:
    assert known(provider, model) == UNKNOWN


def test_what_everybody_knows() -> None:
    facts = known("openai", "gpt-4o")
    assert (facts.context_window, facts.max_output_tokens) == (128_000, 16_384)
    assert (facts.vision, facts.tools, facts.audio) == (True, True, False)


def test_the_table_is_what_the_script_makes_of_the_listings() -> None:
    data = Path(os.environ.get("TRUNKLINE_SHARED", ROOT.parent / "shared")) / "data"
    if not data.is_dir():
        pytest.skip("the listings of models are not on this machine")
    loaded = importlib.util.spec_from_file_location("models_script", ROOT / "scripts" / "models.py")
    assert loaded is not None
    assert loaded.loader is not None
    script = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(script)
    assert script.rendered(script.table(data)) == FILE.read_text(encoding="utf-8"), "run scripts/models.py"
