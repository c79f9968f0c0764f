"""Names of tools as an upstream gets them, and back: chat completions has no namespaces and wants names to differ."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from trunkline_gateway.exchange import HostedTool, Tool

Name: TypeAlias = tuple[str, str | None]
"""Of a tool, and of its namespace."""

_NINE: Final = re.compile(r"[A-Za-z0-9]{9}")
_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MAX_CHARACTERS: Final = 64


def wire_names(tools: Iterable[Tool | HostedTool]) -> Mapping[Name, str]:
    """Each tool's name for the upstream: its own, with the namespace before it where two would be the same."""
    names = [(tool.name, tool.namespace) for tool in tools if isinstance(tool, Tool)]
    taken: set[str] = {name for name, namespace in names if namespace is None}
    made: dict[Name, str] = {}
    for name, namespace in names:
        if (name, namespace) in made:
            continue
        wire = name
        if namespace is not None:
            if wire in taken:
                wire = f"{namespace}__{name}"[-_MAX_CHARACTERS:]
            while wire in taken:
                wire = f"{_digest(wire + namespace, 8)}__{name}"[:_MAX_CHARACTERS]
            taken.add(wire)
        made[name, namespace] = wire
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
