"""What is publicly known of providers' models: ``models.json``, which ``scripts/models.py`` writes.

Facts, and no promise: whoever knows better says so in ``capabilities`` of a target.
"""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).parent / "models.json"

_DATED: Final = re.compile(r"[-@](20\d{6}|20\d\d-\d\d-\d\d)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a model; None: not known."""

    context_window: int | None = None
    max_output_tokens: int | None = None
    vision: bool | None = None
    audio: bool | None = None
    tools: bool | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None
    embeddings: bool | None = None


UNKNOWN: Final = Facts()


def normalised(model: str) -> str:
    """How a model's name stands in the table: ``claude-sonnet-4.5`` and ``claude-sonnet-4-5`` are one."""
    return model.lower().removeprefix("models/").replace(".", "-")


def known(provider: str, model: str) -> Facts:
    """What is known of a provider's model. One with a date is as the one without, where only that is known."""
    models = _table().get(provider)
    if models is None or "*" in model:
        return UNKNOWN
    name = normalised(model)
    return models.get(name) or models.get(_DATED.sub("", name)) or UNKNOWN


@functools.cache
def _table() -> Mapping[str, Mapping[str, Facts]]:
    read: Mapping[str, Mapping[str, Mapping[str, int | bool]]] = json.loads(FILE.read_bytes())
    return {
        provider: {name: Facts(**facts) for name, facts in models.items()}  # type: ignore[arg-type]  # a test checks
        for provider, models in read.items()
    }
