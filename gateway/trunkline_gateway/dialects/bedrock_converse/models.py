"""What is known of the models behind Converse, which refuses what one of them does not know. Rows, not code.

https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from trunkline_gateway.exchange import Maker

Thinks: TypeAlias = Literal[
    "", "budget", "budget_or_adaptive", "adaptive", "nova", "reasoning_effort", "reasoning_config"
]
"""How it is told to think: not at all; Claude's ``thinking`` with a budget, either, or adaptive alone; Nova's
``reasoningConfig``; gpt-oss's ``reasoning_effort``; Qwen's ``reasoning_config``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a model can be asked for.

    Attributes:
        maker: Whose seals it can read.
        thinks: See `Thinks`.
        top_k: Where it stands in ``additionalModelRequestFields``; empty: nowhere.
        samples: It takes ``temperature`` and ``topP``.
        samples_both: It takes both at once.
        any_tool, named_tool: It can be made to call a tool, or one by name.
        strict: It keeps to a JSON Schema, in its text and in what it calls tools with.
        caches, caches_tools, caches_for_an_hour: It takes cache points: at all, among tools, with ``ttl``.
        cites: It cites documents, and reads what is said about them.
        prefills: It goes on from an assistant's turn.
        tells_stop_sequence: It says which stop sequence it came to.
        runs_tools: It has tools of its own; see `tools`.
        audio: It may know sound.
        tool_status: It can be told that a tool failed.
    """

    maker: Maker = "other"
    thinks: Thinks = ""
    top_k: tuple[str, ...] = ()
    samples: bool = True
    samples_both: bool = True
    any_tool: bool = True
    named_tool: bool = True
    strict: bool = True
    caches: bool = False
    caches_tools: bool = False
    caches_for_an_hour: bool = False
    cites: bool = False
    prefills: bool = False
    tells_stop_sequence: bool = False
    runs_tools: bool = False
    audio: bool = True
    tool_status: bool = True


_UNKNOWN: Final = Model()
"""Behind an application inference profile or a custom model: what the client asks for is sent, and Bedrock decides."""

_CLAUDE: Final = Model(
    maker="anthropic",
    top_k=("top_k",),
    caches=True,
    caches_tools=True,
    cites=True,
    tells_stop_sequence=True,
    audio=False,
)
_NOVA: Final = Model(top_k=("inferenceConfig", "topK"), strict=False, caches=True, prefills=True)
_OPEN: Final = Model(any_tool=False, named_tool=False, audio=False, tool_status=False)
_PLAIN: Final = replace(_OPEN, strict=False)

_FAMILIES: Final[tuple[tuple[str, Model], ...]] = (
    ("nova-2", replace(_NOVA, thinks="nova", runs_tools=True)),
    ("nova", _NOVA),
    ("gpt-oss", replace(_OPEN, thinks="reasoning_effort")),
    ("qwen", replace(_OPEN, thinks="reasoning_config")),
    ("mistral", replace(_OPEN, any_tool=True, top_k=("top_k",))),
    ("pixtral", replace(_OPEN, any_tool=True, top_k=("top_k",))),
    ("cohere", replace(_PLAIN, top_k=("k",))),
    ("llama", _PLAIN),
    ("titan", _PLAIN),
    ("ai21", _PLAIN),
    ("jamba", _PLAIN),
    ("palmyra", _PLAIN),
    ("deepseek", _OPEN),
    ("gemma", _OPEN),
    ("kimi", _OPEN),
    ("minimax", _OPEN),
    ("nemotron", _OPEN),
    ("glm", _OPEN),
)

_CLAUDE_VERSION: Final = re.compile(r"claude-(?:[a-z]+-)?v?(\d{1,2})(?:[-.:](\d{1,2})(?!\d))?(?!\d)")
_NEWEST: Final = (99, 0)


@lru_cache(maxsize=1024)
def of(model: str) -> Model:
    """What is known of it, by its id or ARN."""
    name = model.lower()
    if "claude" in name:
        return _claude(name)
    for word, known in _FAMILIES:
        if word in name:
            return known
    return _UNKNOWN


def _claude(name: str) -> Model:
    """Claude by its version; one without a version is taken for the newest."""
    found = _CLAUDE_VERSION.search(name)
    version = _NEWEST if found is None else (int(found[1]), int(found[2] or 0))
    return replace(
        _CLAUDE,
        thinks=_thinks(version),
        # From 4.7 on other values than the default are refused.
        samples=version < (4, 7),
        top_k=("top_k",) if version < (4, 7) else (),
        # From 4.1 on one of the two has to be left out.
        samples_both=version < (4, 1),
        strict=version >= (4, 5),
        caches_for_an_hour=version >= (4, 5),
        any_tool=version >= (3, 0),
        named_tool=version >= (3, 0),
        prefills=version < (4, 6),
    )


def _thinks(version: tuple[int, int]) -> Thinks:
    if version < (3, 7):
        return ""
    if version < (4, 6):
        return "budget"
    return "budget_or_adaptive" if version < (4, 7) else "adaptive"
