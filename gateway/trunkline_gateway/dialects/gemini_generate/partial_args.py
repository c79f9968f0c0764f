"""Arguments of a call that come in pieces: a JSON path and a value each.

https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc
"""

import re
from typing import Final, TypeAlias

import msgspec

from trunkline_gateway.dialects.gemini_generate import wire

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d{1,4})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_MAX_DEPTH: Final = 64

_Node: TypeAlias = "_Branch | _Text | msgspec.Raw"


class _Text:
    """A string that may go on."""

    __slots__ = ("pieces",)

    def __init__(self) -> None:
        self.pieces: list[str] = []


class _Branch:
    """An object or a list, by its keys."""

    __slots__ = ("members",)

    def __init__(self) -> None:
        self.members: dict[str | int, _Node] = {}


class Arguments:
    """Pieces in, JSON text out."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root = _Branch()

    def receive(self, piece: wire.WirePartialArg) -> None:
        """Take one piece; one whose path or value cannot be read is left out."""
        steps = _steps(piece.jsonPath or "")
        if not steps:
            return
        branch = self._root
        for step in steps[:-1]:
            below = branch.members.get(step)
            if not isinstance(below, _Branch):
                below = branch.members[step] = _Branch()
            branch = below
        last = steps[-1]
        if piece.stringValue is not None:
            text = branch.members.get(last)
            if not isinstance(text, _Text):
                text = branch.members[last] = _Text()
            text.pieces.append(piece.stringValue)
        elif piece.boolValue is not None:
            branch.members[last] = msgspec.Raw(b"true" if piece.boolValue else b"false")
        elif wire.is_given(piece.numberValue):
            branch.members[last] = piece.numberValue
        elif bytes(piece.nullValue):
            branch.members[last] = msgspec.Raw(b"null")

    def text(self) -> str:
        """All of them as compact JSON."""
        return msgspec.json.encode(_value(self._root)).decode()


def _steps(path: str) -> list[str | int]:
    """``$.a[0].b`` as its steps; nothing where it is something else."""
    steps: list[str | int] = []
    at = 1
    while path.startswith("$") and at < len(path) and len(steps) < _MAX_DEPTH:
        found = _STEP.match(path, at)
        if found is None:
            return []
        name, number, single, double = found.groups()
        steps.append(
            int(number) if number is not None else next(each for each in (name, single, double) if each is not None)
        )
        at = found.end()
    return steps if at >= len(path) else []


def _value(node: _Node) -> object:
    match node:
        case _Text():
            return "".join(node.pieces)
        case _Branch():
            if node.members and all(isinstance(key, int) for key in node.members):
                return [_value(each) for _, each in sorted(node.members.items(), key=lambda item: int(item[0]))]
            return {str(key): _value(each) for key, each in node.members.items()}
        case raw:
            return raw
