"""What the model behind every double says, whatever dialect it is asked in.

A turn that offers a tool of the script is answered with a thought, a text and one call of that tool; a turn that
brings the tool's result with a text that repeats the result, so that a test sees at the far end that it came whole.
Everything else is greeted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

THOUGHT = "The file will say it; I should read it first."
ANNOUNCED = "I will look, né? 🔎"  # more bytes than characters, for what cuts and counts
GREETING = "Hello from the double. 😀"
REPEATED = "It says: "

INPUT_TOKENS = 21  # 5 of them read from a cache
CACHED_TOKENS = 5
OUTPUT_TOKENS = 9  # 4 of them thought
REASONING_TOKENS = 4


class RefusedError(Exception):
    """A strict provider would not take the request. ``details``: beside the message, where the dialect has them."""

    def __init__(self, message: str, *, status: int = 400, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a request comes to.

    Attributes:
        tools: names offered, in order.
        results: what tools have said since the last word of the user or the model, as text.
        forced: the tool that has to be called; empty: none has to.
        may_call: tools are not forbidden.
        called: how many calls the whole conversation holds.
    """

    tools: Sequence[str] = ()
    results: Sequence[str] = ()
    forced: str = ""
    may_call: bool = True
    called: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call."""

    id: str
    name: str
    arguments: Mapping[str, object]

    @property
    def json(self) -> str:
        """The arguments as the model would write them."""
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The model's answer; each dialect says as much of it as it was asked for."""

    text: str
    thought: str = ""
    calls: Sequence[Call] = ()


@dataclass(slots=True)
class Script:
    """One model.

    Attributes:
        calls: arguments by the names of tools that it knows; it calls the first that is offered.
        at_once: how many calls it makes in one answer.
        rounds: after how many answers with calls it says what came of them.
        insists: a call of the turn that goes on has to bring the thought that led to it.
        turns: what requests have come to.
        stored: ids of reasoning that the provider was allowed to keep.
    """

    calls: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    at_once: int = 1
    rounds: int = 1
    insists: bool = True
    turns: list[Turn] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    count: int = 0

    def new_id(self, prefix: str) -> str:
        """An id that has not been used."""
        self.count += 1
        return f"{prefix}double{self.count:04}"

    def answer(self, turn: Turn, call_prefix: str) -> Said:
        """What to say to a turn; ids of calls begin with ``call_prefix``, as the provider's do."""
        self.turns.append(turn)
        if turn.results and turn.called >= self.rounds * self.at_once:
            return Said(text=REPEATED + " | ".join(turn.results))
        names = [turn.forced] if turn.forced else turn.tools if turn.may_call else []
        if (name := next((each for each in names if each in self.calls), None)) is None:
            return Said(text=GREETING)
        calls = [Call(id=self.new_id(call_prefix), name=name, arguments=self.calls[name]) for _ in range(self.at_once)]
        return Said(text=ANNOUNCED, thought=THOUGHT, calls=calls)


def pieces(text: str, count: int = 3) -> list[str]:
    """The text in about ``count`` parts, as a stream brings it."""
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]
