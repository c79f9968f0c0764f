"""Names of tools and ids of calls as an upstream gets them, and names back.

Chat completions has no namespaces and wants names to differ; a name is up to 64 letters, digits, underscores and
dashes (https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools), and an id up to 40 characters.
Other dialects allow more, and what does not fit is made to fit, the same way each time.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from trunkline_gateway.exchange import HostedTool, Tool

Name: TypeAlias = tuple[str, str | None]
"""Of a tool, and of its namespace."""

_NO_NAMES: Final[Mapping[Name, str]] = MappingProxyType({})
_NINE: Final = re.compile(r"[A-Za-z0-9]{9}")
_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MAX_CHARACTERS: Final = 64
_MAX_ID_CHARACTERS: Final = 40
_FITS: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST_CHARACTERS: Final = 8


def flat(name: Name) -> str:
    """A name with its namespace before it, as Codex itself writes it: ``namespace__name``."""
    return name[0] if name[1] is None else f"{name[1]}__{name[0]}"


def wire_names(tools: Sequence[Tool | HostedTool]) -> Mapping[Name, str]:
    """Each tool's name for the upstream; another one where two would be the same, or where it would not fit."""
    if not tools:
        return _NO_NAMES
    names = [(tool.name, tool.namespace) for tool in tools if isinstance(tool, Tool)]
    taken: set[str] = {name for name, namespace in names if namespace is None and _FITS.fullmatch(name)}
    made: dict[Name, str] = {}
    for name in names:
        if name in made:
            continue
        wire = fitting(flat(name))
        if name != (wire, None):
            while wire in taken:
                wire = f"{_digest(wire, _DIGEST_CHARACTERS)}__{_UNFIT.sub('_', name[0])}"[:_MAX_CHARACTERS]
            taken.add(wire)
        made[name] = wire
    return made


def fitting(name: str) -> str:
    """A name that the upstream takes: itself if it does."""
    if _FITS.fullmatch(name):
        return name
    kept = _UNFIT.sub("_", name)[: _MAX_CHARACTERS - _DIGEST_CHARACTERS - 1]
    return f"{kept}_{_digest(name, _DIGEST_CHARACTERS)}"


def short_id(call_id: str) -> str:
    """A call's id that is not too long: itself if it is not."""
    if len(call_id) <= _MAX_ID_CHARACTERS:
        return call_id
    return f"{call_id[: _MAX_ID_CHARACTERS - _DIGEST_CHARACTERS - 1]}_{_digest(call_id, _DIGEST_CHARACTERS)}"


def nine(call_id: str) -> str:
    """A call's id as nine letters and digits: itself if it is, else always the same ones."""
    return call_id if _NINE.fullmatch(call_id) else _digest(call_id, 9)


def _digest(text: str, characters: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest(), "big")
    made = ""
    for _ in range(characters):
        number, rest = divmod(number, len(_LETTERS))
        made += _LETTERS[rest]
    return made
