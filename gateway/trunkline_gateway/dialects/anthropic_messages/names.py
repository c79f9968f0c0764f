"""Names of tools and ids of calls, made to fit the API's patterns, and back.

Whatever is changed is changed the same way each time: what a call of the history is named, what a tool is named, and
what the answer's calls are mapped back by all come out of the request alone.
"""

import hashlib
import re
from typing import Final, NamedTuple

from trunkline_gateway import exchange

MAX_NAME_CHARACTERS: Final = 128

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_ALLOWED: Final = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST_CHARACTERS: Final = 8


class Known(NamedTuple):
    """A tool as the client knows it."""

    name: str
    namespace: str | None
    custom: bool


def call_id(id: str) -> str:
    """The id of a call in ``[a-zA-Z0-9_-]+``; another id never becomes the same."""
    if _ID.fullmatch(id):
        return id
    return f"{_NOT_ALLOWED.sub('_', id)}_{_digest(id)}"


def flat(name: str, namespace: str | None) -> str:
    """A name without namespaces, as Codex itself writes it: ``namespace__name``."""
    return f"{namespace}__{name}" if namespace else name


class ToolNames:
    """The names of a request's tools on the wire."""

    __slots__ = ("_known", "_wire")

    def __init__(self, request: exchange.Request | None) -> None:
        """Of no request: every name is itself."""
        self._wire: dict[tuple[str, str | None], str] = {}
        self._known: dict[str, Known] = {}
        if isinstance(request, exchange.ChatRequest):
            for tool in request.tools:
                if isinstance(tool, exchange.Tool):
                    self._add(Known(tool.name, tool.namespace, tool.custom))

    def wire(self, name: str, namespace: str | None = None) -> str:
        """A tool's name on the wire; it need not be among the request's tools (any more)."""
        return self._wire.get((name, namespace)) or _fitting(flat(name, namespace))

    def chosen(self, name: str) -> str:
        """The same for a name that comes without its namespace, as in a choice of tools."""
        for tool, namespace in self._wire:
            if tool == name or flat(tool, namespace) == name:
                return self._wire[tool, namespace]
        return _fitting(name)

    def known(self, wire: str) -> Known:
        """The tool that the model means."""
        return self._known.get(wire) or Known(wire, None, False)

    def _add(self, tool: Known) -> None:
        if (tool.name, tool.namespace) in self._wire:
            return
        wire = _fitting(flat(tool.name, tool.namespace))
        if wire in self._known:  # "a" of "b" and "b__a" of none
            wire = _with_digest(wire, repr((tool.name, tool.namespace)))
        self._wire[tool.name, tool.namespace] = wire
        self._known[wire] = tool


def _fitting(name: str) -> str:
    if _NAME.fullmatch(name):
        return name
    return _with_digest(_NOT_ALLOWED.sub("_", name), name)


def _with_digest(name: str, of: str) -> str:
    return f"{name[: MAX_NAME_CHARACTERS - _DIGEST_CHARACTERS - 1]}_{_digest(of)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_DIGEST_CHARACTERS]
