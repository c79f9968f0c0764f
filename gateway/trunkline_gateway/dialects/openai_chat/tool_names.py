"""Names of tools as an upstream gets them, and back: chat completions has no namespaces and wants names to differ."""

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


def flat(name: Name) -> str:
    """A name with its namespace before it, as Codex itself writes it: ``namespace__name``."""
    return name[0] if name[1] is None else f"{name[1]}__{name[0]}"


def wire_names(tools: Sequence[Tool | HostedTool]) -> Mapping[Name, str]:
    """Each tool's name for the upstream; another one where two would be the same, or where it would be too long."""
    if not tools:
        return _NO_NAMES
    names = [(tool.name, tool.namespace) for tool in tools if isinstance(tool, Tool)]
    taken: set[str] = {name for name, namespace in names if namespace is None}
    made: dict[Name, str] = {}
    for name in names:
        if name in made:
            continue
        wire = flat(name)
        if name[1] is not None:
            while wire in taken or len(wire) > _MAX_CHARACTERS:
                wire = f"{_digest(wire, 8)}__{name[0]}"[:_MAX_CHARACTERS]
            taken.add(wire)
        made[name] = wire
    return made


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
