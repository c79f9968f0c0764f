"""JSON that is nested deeper than anything of ours may be: its depths are cut off before anybody falls into them.

Some fields of our resources are free-form, a CRD cannot say how deep they may be, and the API server takes 10,000
levels. Whatever walks down such a value here (decoders, comparisons, kopf) runs out of stack: one object that somebody
has made must not blind the operator for all others. What is cut off is deeper than the compiler accepts anyway.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 64
"""Of a spec."""

MAX_DOCUMENT_DEPTH: Final = 100
"""Of what the API server sends: an object in a list, or in an event."""

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_OPENING: Final = (b"[", b"{")


def decode(content: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Decode JSON.

    Raises:
        msgspec.DecodeError: It is none.
    """
    try:
        return msgspec.json.decode(content)
    except RecursionError:
        return msgspec.json.decode(flattened(content))


def loads(text: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """In place of `json.loads` for kopf, which copies each object that it sees, and so must see no deep one."""
    if text.count("[") + text.count("{") > MAX_DOCUMENT_DEPTH:
        text = flattened(text.encode()).decode()
    return json.loads(text)


def flattened(content: bytes) -> bytes:
    """The same with ``null`` for what lies deeper than `MAX_DOCUMENT_DEPTH`; in linear time and without recursion."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(content):
        char = token[0][:1]
        if char == b'"':
            continue
        if char in _OPENING:
            depth += 1
            if depth == MAX_DOCUMENT_DEPTH + 1:
                kept += (content[start : token.start()], b"null")
                start = len(content)
        else:
            if depth == MAX_DOCUMENT_DEPTH + 1:
                start = token.end()
            depth -= 1
    kept.append(content[start:])
    return b"".join(kept)


def shallow(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """``spec`` itself, or a copy without what lies deeper than `MAX_DEPTH`."""
    level: list[Any] = [spec]
    for _ in range(MAX_DEPTH):
        level = [inner for each in level for inner in _children(each)]
        if not level:
            return spec
    cut: Mapping[str, Any] = _cut(spec, MAX_DEPTH)
    return cut


def _children(node: Any) -> list[Any]:  # noqa: ANN401 - whatever JSON holds
    inner = node.values() if isinstance(node, Mapping) else node
    return [each for each in inner if isinstance(each, Mapping | list)]


def _cut(node: Any, depth: int) -> Any:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(node, Mapping | list):
        return node
    if depth == 0:
        return None
    if isinstance(node, Mapping):
        return {name: _cut(each, depth - 1) for name, each in node.items()}
    return [_cut(each, depth - 1) for each in node]
