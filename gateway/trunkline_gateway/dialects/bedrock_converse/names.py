"""Names and ids that Converse takes, for those that it does not: the same each time, and found again in the answer."""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from trunkline_gateway.exchange import ChatRequest, Request, Tool, ToolCall

MAX_NAME: Final = 64
"""Of a tool, and of a call's id."""

INPUT: Final = "input"
"""The only property of a tool that takes free text, which Converse has no word for."""

_NOT_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NOT_IN_ID: Final = re.compile(r"[^a-zA-Z0-9_.:-]")
_HASH_CHARACTERS: Final = 8

_MAX_DOCUMENT_NAME: Final = 180  # of 200, so that a number fits behind it
_NOT_IN_DOCUMENT_NAME: Final = re.compile(r"[^a-zA-Z0-9\s\-()\[\]]+")
_SPACES: Final = re.compile(r"\s+")


class Known(NamedTuple):
    """A tool as the client knows it."""

    name: str
    namespace: str | None = None
    custom: bool = False


class ToolNames:
    """The tools of a request: the client's names to Converse's and back."""

    __slots__ = ("_known", "_written")

    def __init__(self, request: Request | None) -> None:
        self._written: dict[tuple[str | None, str], str] = {}
        self._known: dict[str, Known] = {}
        if not isinstance(request, ChatRequest):
            return
        for tool in request.tools:
            if isinstance(tool, Tool):
                self._add(Known(tool.name, tool.namespace, tool.custom))
        for turn in request.turns:
            for part in turn.parts:
                if isinstance(part, ToolCall):
                    self._add(Known(part.name, part.namespace, part.custom))

    def write(self, name: str, namespace: str | None = None) -> str:
        """As Converse takes it."""
        return self._written.get((namespace, name)) or fitting(_joined(name, namespace), _NOT_IN_NAME)

    def read(self, written: str) -> Known:
        """As the client knows it."""
        return self._known.get(written) or Known(written)

    def _add(self, known: Known) -> None:
        key = (known.namespace, known.name)
        if key in self._written:
            return
        whole = _joined(known.name, known.namespace)
        name = fitting(whole, _NOT_IN_NAME)
        if name in self._known:
            name = _hashed(name, f"{known.namespace}\0{whole}")
        self._written[key] = name
        self._known.setdefault(name, known)


class DocumentNames:
    """Names of documents, each once in a request."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given: dict[str, int] = {}  # name → the highest number behind it so far

    def write(self, name: str | None) -> str:
        """Letters, digits, single spaces, hyphens, parentheses and brackets are all there may be; no ending then."""
        stem, dot, ending = (name or "").rpartition(".")
        kept = stem if dot and stem and len(ending) <= 5 else name or ""
        kept = _SPACES.sub(" ", _NOT_IN_DOCUMENT_NAME.sub("-", kept)).strip(" -")[:_MAX_DOCUMENT_NAME] or "document"
        written = kept
        while written in self._given:
            self._given[kept] += 1
            written = f"{kept} ({self._given[kept]})"
        self._given[written] = 1
        return written


def call_id(id: str) -> str:
    """The id of a call as Converse takes it; a call and its result stay together."""
    return fitting(id, _NOT_IN_ID)


def fitting(name: str, forbidden: re.Pattern[str] = _NOT_IN_NAME) -> str:
    """The name itself if it may be one, else one that is its own."""
    kept = forbidden.sub("_", name)
    return name if kept == name and 0 < len(name) <= MAX_NAME else _hashed(kept, name)


def input_schema() -> Mapping[str, object]:
    """Of a tool that takes free text."""
    return {"type": "object", "properties": {INPUT: {"type": "string"}}, "required": [INPUT]}


def _hashed(name: str, whole: str) -> str:
    mark = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:_HASH_CHARACTERS]
    return f"{name[: MAX_NAME - _HASH_CHARACTERS - 1]}_{mark}"


def _joined(name: str, namespace: str | None) -> str:
    return f"{namespace}__{name}" if namespace else name
