# ruff: noqa: INP001 - a command, no package
"""Write ``protocol/trunkline_protocol/models.json``: what is publicly known of providers' models, facts only.

    python scripts/models.py ../shared/data

It reads a listing of models as OpenRouter's ``/api/v1/models`` gives it, and the table of genai-prices
(https://github.com/pydantic/genai-prices). Where the two differ, the smaller number is taken: a request that is cut at
too much fails, one that is cut at too little only says less. What a listing does not mention is not known, but for
images and sound: the kinds of input are listed in full.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trunkline_protocol.models import FILE, normalised

LISTED: Final[Mapping[str, str]] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "gemini",
    "mistralai": "mistral",
    "deepseek": "deepseek",
    "x-ai": "xai",
    "moonshotai": "moonshot",
    "qwen": "qwen",
    "z-ai": "zhipu",
    "minimax": "minimax",
    "perplexity": "perplexity",
}
"""Author of a listed model → the provider that serves it itself, under the same name."""

PRICED: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google": "gemini",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshotai": "moonshot",
    "openai": "openai",
    "perplexity": "perplexity",
    "together": "together",
    "x-ai": "xai",
    "zhipuai": "zhipu",
}
"""Providers of genai-prices → ours."""

CLOSED: Final = frozenset({"openai", "anthropic", "gemini", "mistral", "xai", "perplexity"})
"""Providers whose models nobody else serves under that listing: what it says of a server is said of theirs."""

OF_A_SERVER: Final = ("max_output_tokens", "json_schema")

Facts = dict[str, int | bool]
Table = dict[str, dict[str, Facts]]


def listed(models: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, Facts]]:
    """Provider, model and facts; each model once for its author and once for OpenRouter."""
    for model in models:
        author, _, name = model["id"].partition("/")
        if author.startswith("~") or ":" in name or not name:
            continue
        facts = _listed_facts(model)
        yield "openrouter", model["id"], facts
        if provider := LISTED.get(author):
            kept = {each: fact for each, fact in facts.items() if provider in CLOSED or each not in OF_A_SERVER}
            yield provider, name, kept


def _listed_facts(model: Mapping[str, Any]) -> Facts:
    facts: Facts = {}
    if length := model.get("context_length"):
        facts["context_window"] = int(length)
    if length := (model.get("top_provider") or {}).get("max_completion_tokens"):
        facts["max_output_tokens"] = int(length)
    kinds = (model.get("architecture") or {}).get("input_modalities") or ()
    if "text" in kinds:
        facts["vision"] = "image" in kinds
        facts["audio"] = "audio" in kinds
    for parameter, name in (("tools", "tools"), ("structured_outputs", "json_schema"), ("reasoning", "reasoning")):
        if parameter in (model.get("supported_parameters") or ()):
            facts[name] = True
    return facts


def priced(providers: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, Facts]]:
    """Provider, model and its context window."""
    for provider in providers:
        if provider["id"] in PRICED:
            for model in provider["models"]:
                if window := model.get("context_window"):
                    yield PRICED[provider["id"]], model["id"], {"context_window": int(window)}


def merged(found: Iterator[tuple[str, str, Facts]]) -> Table:
    """One table; of two numbers the smaller one."""
    made: Table = {}
    for provider, model, facts in found:
        there = made.setdefault(provider, {}).setdefault(normalised(model), {})
        for name, value in facts.items():
            there[name] = min(value, there[name]) if type(value) is int and name in there else value
    for models in made.values():
        for facts in models.values():
            if "max_output_tokens" in facts and "context_window" in facts:
                facts["max_output_tokens"] = min(facts["max_output_tokens"], facts["context_window"])
    return made


def table(data: Path) -> Table:
    """What the two listings in ``data`` say together."""
    models = json.loads((data / "models.dev.models.json").read_bytes())["data"]
    providers = json.loads((data / "genai-prices.data_slim.json").read_bytes())
    return merged(iter([*listed(models), *priced(providers)]))


def rendered(known: Table) -> str:
    """JSON with one line for each model, so that a change reads well."""
    lines: list[str] = []
    for provider, models in sorted(known.items()):
        rows = [
            f"{json.dumps(name)}:{json.dumps(facts, separators=(',', ':'), sort_keys=True)}"
            for name, facts in sorted(models.items())
        ]
        lines.append(f"{json.dumps(provider)}:{{\n" + ",\n".join(rows) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="directory with models.dev.models.json and genai-prices.data_slim.json")
    FILE.write_text(rendered(table(parser.parse_args().data)), encoding="utf-8")


if __name__ == "__main__":
    main()
