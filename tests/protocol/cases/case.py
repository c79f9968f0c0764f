"""One case: what a rule or bound accepts, what it refuses, and what it says then."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

ABSENT: Final = object()
"""As a value: nothing stands there."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two objects that differ in one point.

    Attributes:
        kind: Of both.
        path: The point in the schema: ``spec.targets[].weight``.
        keyword: Of the schema, such as ``maximum``; ``rule`` for a CEL rule; ``unique`` for the keys of a list map.
        accepted: A valid object, at the bound where there is one.
        refused: One that breaks just this.
        at: Where the refusal points: ``spec.targets[0].weight``.
        says: Part of its message.
    """

    kind: str
    path: str
    keyword: str
    accepted: Mapping[str, Any]
    refused: Mapping[str, Any]
    at: str
    says: str

    def __str__(self) -> str:
        words = re.sub(r"\W+", "-", self.says)[:40] if self.keyword == "rule" else ""
        return f"{self.kind} {self.path} {self.keyword} {words}".strip()


def case(
    base: Mapping[str, Any], path: str, keyword: str, accepted: Any, refused: Any, says: str, *, at: str | None = None
) -> Case:
    """A case whose objects are ``base`` with ``accepted`` and ``refused`` at ``path`` (index 0 of each list).

    Args:
        base: A valid object.
        path: The point in the schema.
        keyword: What it breaks.
        accepted: The value to accept.
        refused: The value to refuse.
        says: Part of the message.
        at: Where the refusal points, below ``path``; default: at ``path`` itself.
    """
    return Case(
        kind=base["kind"],
        path=path,
        keyword=keyword,
        accepted=edited(base, path, accepted),
        refused=edited(base, path, refused),
        at=concrete(path) + (at or ""),
        says=says,
    )


def required(base: Mapping[str, Any], path: str) -> Case:
    """A case for a field that must be there; ``base`` has it."""
    whole = copy.deepcopy(dict(base))
    return Case(
        kind=base["kind"],
        path=path,
        keyword="required",
        accepted=whole,
        refused=edited(base, path, ABSENT),
        at=concrete(path),
        says="Required value",
    )


def concrete(path: str) -> str:
    """``spec.keys[].name`` as ``spec.keys[0].name``, ``matchLabels{app}`` as ``matchLabels.app``."""
    return re.sub(r"\{(\w*)\}", r".\1", path.replace("[]", "[0]"))


def edited(base: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``base`` with ``value`` at ``path``; objects and lists on the way are made where they are missing."""
    whole: dict[str, Any] = copy.deepcopy(dict(base))
    steps = [0 if step == "[]" else step for step in re.findall(r"\[\]|\w+", path)]
    node: Any = whole
    for step, following in pairwise(steps):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(step, int):
            if not node:
                node.append(empty)
            node = node[step]
        else:
            node = node.setdefault(step, empty)
    last = steps[-1]
    if value is ABSENT:
        del node[last]
    elif isinstance(last, int) and not node:
        node.append(value)
    else:
        node[last] = value
    return whole
