"""Names and ids in the form that the API takes, made from others so that the same always becomes the same.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from trunkline_gateway.exchange import HostedTool, Tool

MAX_CHARACTERS: Final = 64
"""Of a tool's name and of a call's id."""

_BAD: Final = re.compile(r"[^A-Za-z0-9_-]")
_HASH_CHARACTERS: Final = 8


def name(tool: str, namespace: str | None = None) -> str:
    """A tool's name as it is sent; ``namespace``: where the upstream knows none, it becomes part of the name."""
    return _short(f"{namespace}__{tool}" if namespace else tool, bad=_BAD)


def call_id(given: str) -> str:
    """A call's id as it is sent. Any letters will do."""
    return _short(given, bad=None)


class Known:
    """The tools of a request by the names that they were sent with, to be found again in the answer."""

    __slots__ = ("_by_name", "_flat")

    def __init__(self, tools: Iterable[Tool | HostedTool], *, flat: bool) -> None:
        """Begin; ``flat``: namespaces were made part of the names."""
        self._flat = flat
        self._by_name = {
            sent: (tool.name, tool.namespace)
            for tool in tools
            if isinstance(tool, Tool) and (sent := name(tool.name, tool.namespace if flat else None)) != tool.name
        }

    def find(self, sent: str, namespace: str | None) -> tuple[str, str | None]:
        """The client's own name and namespace of what the upstream calls ``sent``."""
        found = self._by_name.get(sent)
        if found is None:
            return sent, namespace
        return found if self._flat else (found[0], namespace or found[1])


def _short(given: str, bad: re.Pattern[str] | None) -> str:
    clean = given if bad is None else bad.sub("_", given)
    if clean == given and 0 < len(given) <= MAX_CHARACTERS:
        return given
    digest = hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()[:_HASH_CHARACTERS]
    return f"{clean[: MAX_CHARACTERS - _HASH_CHARACTERS - 1]}_{digest}"
