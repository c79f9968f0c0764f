"""Names of functions as Gemini takes them, and back.

https://ai.google.dev/api/caching#FunctionDeclaration: letters, digits, underscores, colons, dots and dashes, up to 128;
Vertex takes 64 and wants a letter or an underscore first. What does not fit is made to fit, and told apart by a hash.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from trunkline_gateway.exchange import HostedTool, Tool

_FITS: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_MAX_CHARACTERS: Final = 64


class Named(NamedTuple):
    """A tool as the client names it."""

    name: str
    namespace: str | None = None
    custom: bool = False


class Names:
    """The names of one request's tools, both ways."""

    __slots__ = ("_by_wire", "_wire")

    def __init__(self, tools: Sequence[Tool | HostedTool]) -> None:
        self._wire: dict[tuple[str | None, str], str] = {}
        self._by_wire: dict[str, Named] = {}
        functions = [tool for tool in tools if isinstance(tool, Tool)]
        # Names that fit as they are come first, so that none of them is taken by one that was made to fit.
        for tool in sorted(functions, key=lambda each: each.namespace is not None or not _FITS.fullmatch(each.name)):
            key = (tool.namespace, tool.name)
            if key in self._wire:
                continue
            name = fitted(tool.name)
            if name in self._by_wire:
                full = f"{tool.namespace or ''}.{tool.name}"
                name = f"{fitted(tool.name)[: _MAX_CHARACTERS - 9]}_{_hash(full)}"
            self._wire[key] = name
            self._by_wire[name] = Named(tool.name, tool.namespace, tool.custom)

    def to_wire(self, name: str, namespace: str | None = None) -> str:
        """What Gemini calls a tool, which need not be among the request's own."""
        found = self._wire.get((namespace, name)) or self._wire.get((None, name))
        return found or fitted(name)

    def of_wire(self, name: str) -> Named:
        """What the client calls it."""
        return self._by_wire.get(name) or Named(name)

    @property
    def wire(self) -> Mapping[str, Named]:
        """All of them by the name that Gemini knows."""
        return self._by_wire


def fitted(name: str) -> str:
    """``name``, if need be made to fit."""
    if _FITS.fullmatch(name):
        return name
    made = _UNFIT.sub("_", name)
    if not made or not (made[0].isalpha() or made[0] == "_"):
        made = f"_{made}"
    if made == f"_{name}" and len(made) <= _MAX_CHARACTERS:
        return made
    return f"{made[: _MAX_CHARACTERS - 9]}_{_hash(name)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
