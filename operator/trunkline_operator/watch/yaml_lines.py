"""YAML as Kubernetes takes it, with the line of every field.

Documents are built from parser events, without recursion, so that no input can exhaust the stack, and what aliases
expand to is counted. Plain scalars mean what they mean to kubectl: ``yes`` is a boolean, a timestamp is a string.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

MAX_DEPTH: Final = 100
MAX_NODES: Final = 200_000
"""Of one document, aliases expanded."""

Value: TypeAlias = "dict[str, Any] | list[Any] | str | int | float | bool | None"

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_CONSTANTS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_INTEGER: Final = re.compile(r"[-+]?(0[bB][01_]+|0[oO]?[0-7_]+|0[xX][0-9a-fA-F_]+|0|[1-9][0-9_]*)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MAX_NUMBER_LENGTH: Final = 40


class YAMLLineError(ValueError):
    """A text is not YAML, or not of the kind that is taken here.

    Attributes:
        line: From 1; 0: not known.
        message: A sentence; it quotes names of fields, never values.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream.

    Attributes:
        value: None: it is empty.
        line: Where its content begins.
        lines: Path, such as ``spec.targets[0].weight`` → line. What comes from an alias has the line of the alias only.
    """

    value: Value = field(repr=False)
    line: int
    lines: Mapping[str, int] = field(repr=False)

    def line_of(self, path: str) -> int:
        """The line of a field; of the nearest one around it where that is not there."""
        while path:
            if (line := self.lines.get(path)) is not None:
                return line
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.line


def documents(text: str) -> list[Document]:
    """Read all documents of a text.

    Raises:
        YAMLLineError: it is not YAML, has a field twice, a tag or an unknown alias, or is too deep or too large.
    """
    try:
        return list(_Builder().build(yaml.parse(text, Loader=_LOADER)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.problem, error.context) if part)
        raise YAMLLineError(mark.line + 1 if mark else 0, f"not YAML: {said}") from None
    except yaml.YAMLError:
        raise YAMLLineError(0, "not YAML: it holds characters that YAML does not allow") from None


@dataclass(slots=True)
class _Open:
    """A mapping or a sequence that has not ended yet."""

    container: dict[str, Any] | list[Any]
    path: str
    line: int
    anchor: str | None
    nodes_before: int
    key: str | None = None
    key_line: int = 0
    key_lines: dict[str, int] = field(default_factory=dict)
    merges: list[tuple[object, int]] = field(default_factory=list)
    merging: bool = False


class _Builder:
    """Builds one document after the other."""

    def __init__(self) -> None:
        self._reset(1)

    def _reset(self, line: int) -> None:
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[object, int]] = {}
        self._lines: dict[str, int] = {}
        self._nodes = 0
        self._root: Any = None
        self._line = line

    def build(self, events: Any) -> Iterator[Document]:  # noqa: ANN401 - PyYAML's events have no common type
        for event in events:
            line = event.start_mark.line + 1
            match event:
                case yaml.DocumentStartEvent():
                    self._reset(line)
                case yaml.DocumentEndEvent():
                    yield Document(self._root, self._line, self._lines)
                case yaml.ScalarEvent():
                    self._scalar(event, line)
                case yaml.AliasEvent():
                    self._alias(event, line)
                case yaml.MappingStartEvent():
                    self._begin({}, event, line)
                case yaml.SequenceStartEvent():
                    self._begin([], event, line)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._end()

    # ---- nodes ------------------------------------------------------------------------------------------------------

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.container, dict) and top.key is None and not top.merging:
            self._begin_field(top, event, line)
            return
        self._count(1, line)
        value = _resolved(event, line)
        self._anchor(event.anchor, value, 1)
        self._add(value, line)

    def _begin_field(self, top: _Open, event: yaml.ScalarEvent, line: int) -> None:
        self._count(1, line)
        name = event.value
        if name == "<<" and event.implicit[0]:
            top.merging = True
            top.key_line = line
            return
        if (first := top.key_lines.get(name)) is not None:
            raise YAMLLineError(line, f'field "{_shown(name)}" stands twice, first in line {first}')
        top.key, top.key_line = name, line
        top.key_lines[name] = line
        self._lines[self._path(top)] = line
        self._anchor(event.anchor, name, 1)

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        if event.anchor is None or event.anchor not in self._anchors:
            raise YAMLLineError(line, f'alias "{_shown(event.anchor or "")}" refers to nothing that stands before it')
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.container, dict) and top.key is None and not top.merging:
            raise YAMLLineError(line, "an alias cannot be the name of a field")
        value, nodes = self._anchors[event.anchor]
        self._count(nodes, line)
        self._add(value, line)

    def _begin(self, container: dict[str, Any] | list[Any], event: Any, line: int) -> None:  # noqa: ANN401
        if event.tag is not None and event.tag not in ("!", f"{_TAG}map", f"{_TAG}seq"):
            raise YAMLLineError(line, "tags are not taken: write the value itself")
        if len(self._stack) >= MAX_DEPTH:
            raise YAMLLineError(line, f"nested deeper than {MAX_DEPTH} levels")
        self._count(1, line)
        path = ""
        if self._stack:
            top = self._stack[-1]
            if isinstance(top.container, dict) and top.key is None and not top.merging:
                raise YAMLLineError(line, "the name of a field must be a string")
            path = self._path(top)
        self._stack.append(_Open(container, path, line, event.anchor, self._nodes - 1))

    def _end(self) -> None:
        done = self._stack.pop()
        if isinstance(done.container, dict):
            for merged, line in done.merges:
                for each in merged if isinstance(merged, list) else [merged]:
                    if not isinstance(each, dict):
                        raise YAMLLineError(line, "<< takes a mapping, or a list of them")
                    for name, value in each.items():
                        done.container.setdefault(name, value)
        self._anchor(done.anchor, done.container, self._nodes - done.nodes_before)
        self._add(done.container, done.line)

    def _add(self, value: object, line: int) -> None:
        if not self._stack:
            self._root, self._line = value, line
            return
        top = self._stack[-1]
        if isinstance(top.container, list):
            self._lines[self._path(top)] = line
            top.container.append(value)
        elif top.merging:
            top.merges.append((value, top.key_line))
            top.merging = False
        elif top.key is not None:
            top.container[top.key] = value
            top.key = None

    # ---- bookkeeping ------------------------------------------------------------------------------------------------

    def _path(self, top: _Open) -> str:
        """Of what comes next in ``top``."""
        if isinstance(top.container, list):
            return f"{top.path}[{len(top.container)}]"
        name = top.key if top.key is not None else "<<"
        return f"{top.path}.{name}" if top.path else name

    def _anchor(self, anchor: str | None, value: object, nodes: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = value, nodes

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise YAMLLineError(line, f"more than {MAX_NODES} values in one document, aliases expanded")


def _resolved(event: yaml.ScalarEvent, line: int) -> Value:
    text: str = event.value
    if event.tag is not None and event.tag not in ("!", f"{_TAG}str"):
        raise YAMLLineError(line, "tags are not taken: write the value itself")
    if event.tag is not None or not event.implicit[0]:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) <= _MAX_NUMBER_LENGTH:
        if _INTEGER.fullmatch(text):
            return _integer(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def _integer(text: str) -> int | str:
    digits = text.replace("_", "").lower()
    unsigned = digits.lstrip("+-")
    try:
        if len(unsigned) > 1 and unsigned[0] == "0" and unsigned[1].isdigit():
            return int(digits, 8)
        return int(digits, 0)
    except ValueError:
        return text


def _shown(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name[:64])
