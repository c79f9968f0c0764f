"""What OpenAI's models that think refuse, by their names, in whichever of its dialects they are asked.

https://platform.openai.com/docs/guides/reasoning, https://platform.openai.com/docs/guides/latest-model

Azure's deployments have names of their own; most are called like their model, and the others are not recognised.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from trunkline_gateway.dialect import Target
from trunkline_gateway.exchange import Effort, ReasoningEffort, effort

PROVIDERS: Final = frozenset({"openai", "azure-openai"})
"""Who serves them under these names and with these rules."""

HARMLESS: Final[Mapping[str, object]] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
}
"""All that is refused, with the value that asks for nothing: without it nothing is lost."""

_ALL: Final = frozenset(HARMLESS)
_EVEN_WITHOUT_THOUGHT: Final = frozenset({"presence_penalty", "frequency_penalty", "logit_bias"})
_NOTHING: Final = frozenset[str]()

_Kind: TypeAlias = Literal["always", "if_asked", "unless_off", "never"]
"""When it thinks: always; if asked to (its effort is ``none`` where nothing is said); unless told not to; never."""

_O: Final = re.compile(r"(?:ft:|.*/)?o[134](?![a-z0-9.])", re.IGNORECASE)
_GPT: Final = re.compile(r"(?:ft:|.*/)?gpt-(\d{1,2})(?:\.(\d{1,2}))?(?![a-z0-9.])(.*)", re.IGNORECASE | re.DOTALL)
_CHATS: Final = re.compile(r"-chat(?![a-z0-9])", re.IGNORECASE)
_ALWAYS: Final = re.compile(r"-(?:pro|codex)(?![a-z0-9])", re.IGNORECASE)

_CODEX_MAX: Final = re.compile(r"-codex-max(?![a-z0-9])", re.IGNORECASE)

_FIRST: Final = (5, 0)
_FIRST_THAT_THINKS_UNASKED: Final = (5, 5)
_FIRST_WITH_XHIGH: Final = (5, 2)
"""And ``gpt-5.1-codex-max`` before them."""
_FIRST_WITH_MAX: Final = (5, 6)


def refused(target: Target, asked: ReasoningEffort | None) -> frozenset[str]:
    """The parameters that the target's model answers with 400, however it has to think; those of `HARMLESS` at most."""
    if target.provider not in PROVIDERS:
        return _NOTHING
    kind = _kind(target.model)
    if kind == "never":
        return _NOTHING
    if kind == "always":
        return _ALL
    word = None if asked is None else effort.effort_of(asked)
    is_off = kind == "if_asked" if word is None else word == "none"
    return _EVEN_WITHOUT_THOUGHT if is_off else _ALL


def nearest_effort(target: Target, word: Effort) -> Effort:
    """The word itself where the target may know it, else the nearest below: the highest words came late.

    Of a model whose name does not tell, ``xhigh`` may be known; ``max`` hardly is.
    """
    if word not in ("xhigh", "max"):
        return word
    highest = _highest_effort(target.model) if target.provider in PROVIDERS else None
    if highest is None:
        return "high" if word == "max" else word
    return word if highest == "max" else highest


@lru_cache(maxsize=1024)
def _highest_effort(model: str) -> Effort | None:
    """None: the name does not tell."""
    if _kind(model) == "never":
        return None
    found = _GPT.match(model)
    if found is None:
        return "high"
    version = (int(found[1]), int(found[2] or 0))
    if version >= _FIRST_WITH_MAX:
        return "max"
    return "xhigh" if version >= _FIRST_WITH_XHIGH or _CODEX_MAX.match(found[3]) else "high"


@lru_cache(maxsize=1024)
def _kind(model: str) -> _Kind:
    if _O.match(model):
        return "always"
    found = _GPT.match(model)
    if found is None:
        return "never"
    version, variant = (int(found[1]), int(found[2] or 0)), found[3]
    if version < _FIRST or _CHATS.match(variant):
        return "never"
    if version == _FIRST or _ALWAYS.match(variant):
        return "always"
    return "if_asked" if version < _FIRST_THAT_THINKS_UNASKED else "unless_off"
