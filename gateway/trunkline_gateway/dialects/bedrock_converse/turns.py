"""Turns as Converse wants them: instructions apart, then a user's, in turn, none of them empty.

https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-call.html
"""

from collections.abc import Sequence
from itertools import chain
from typing import Final, Literal

from trunkline_gateway.dialect import require_something
from trunkline_gateway.dialects.bedrock_converse import parts
from trunkline_gateway.dialects.bedrock_converse.writing import Block, Writing
from trunkline_gateway.exchange import ToolResult, Turn

_GO_ON: Final = {"text": "Please continue."}
"""A user's turn where there has to be one and the client has none."""

_BESIDE_DOCUMENTS: Final = {"text": "See the attached document."}
"""Text that has to stand beside documents."""

_UNCACHED: Final = frozenset({"document", "video"})


class Message:
    """One message in the making. Results of tools come before all else that a user says."""

    __slots__ = ("_blocks", "_results", "role")

    def __init__(self, role: Literal["user", "assistant"]) -> None:
        self.role = role
        self._results: list[Block] = []
        self._blocks: list[Block] = []

    def take(self, turn: Turn, writing: Writing) -> None:
        """Add what a turn says."""
        for part in turn.parts:
            if self.role == "assistant":
                self._blocks.extend(parts.of_assistant(part, writing))
            elif isinstance(part, ToolResult):
                self._results.extend(parts.of_result(part, writing))
            else:
                self._blocks.extend(parts.of_user(part, writing))

    @property
    def content(self) -> Sequence[Block]:
        """All of it."""
        return [*self._results, *self._blocks]

    @property
    def is_empty(self) -> bool:
        """Nothing could be said, or there was nothing."""
        return all("cachePoint" in block for block in chain(self._results, self._blocks))

    def has(self, kind: str) -> bool:
        """Whether there is a block of the kind."""
        return any(kind in block for block in self.content)

    def finish(self, writing: Writing) -> Block:
        """As it is written."""
        if self.role == "user" and self.has("document") and not any("text" in block for block in self._blocks):
            self._blocks.append(_BESIDE_DOCUMENTS)
        return {"role": self.role, "content": _cache_points_before_documents(self.content, writing)}

    def without_trailing_space(self) -> None:
        """What the model is to go on from must not end in white space."""
        last = self._blocks[-1]
        if isinstance(text := last.get("text"), str):
            self._blocks[-1] = {"text": text.rstrip()}


def system_of(turns: Sequence[Turn], writing: Writing) -> Sequence[Block]:
    """The instructions, wherever they stood."""
    blocks: list[Block] = []
    began = False
    for turn in turns:
        if turn.role not in ("system", "developer"):
            began = True
            continue
        if began:
            writing.lose("system_position")
        _lose_name(turn, writing)
        for part in turn.parts:
            blocks.extend(parts.of_system(part, writing))
    return blocks


def messages_of(turns: Sequence[Turn], writing: Writing, *, instructed: bool) -> Sequence[Message]:
    """All other turns, joined.

    Raises:
        UnsupportedFeatureError: Nothing is left of them; ``instructed``: there are instructions.
    """
    made: list[Message] = []
    for turn in turns:
        role = turn.role
        if role in ("system", "developer"):
            continue
        _lose_name(turn, writing)
        role = "assistant" if role == "assistant" else "user"
        message = made[-1] if made and made[-1].role == role else Message(role)
        message.take(turn, writing)
        if not message.is_empty and not (made and made[-1] is message):
            made.append(message)
    if not made:
        require_something(turns, sorted(writing.lost), instructed=instructed)
    if not made or made[0].role != "user":
        made.insert(0, _go_on())
    if made[-1].role == "assistant":
        _end(made, writing)
    return made


def _end(made: list[Message], writing: Writing) -> None:
    """See to it that an assistant's turn at the end is one to go on from."""
    last = made[-1]
    if writing.model.prefills and not last.has("toolUse"):
        last.without_trailing_space()
        return
    writing.lose("assistant_prefill")
    made.append(_go_on())


def _go_on() -> Message:
    message = Message("user")
    message._blocks.append(_GO_ON)
    return message


def _lose_name(turn: Turn, writing: Writing) -> None:
    if turn.name:
        writing.lose("message_name")


def _cache_points_before_documents(blocks: Sequence[Block], writing: Writing) -> Sequence[Block]:
    """A cache point may not follow a document or a film: it moves before them, or away where nothing is before them."""
    made: list[Block] = []
    at = 0  # behind the last block that a cache point may follow
    for block in blocks:
        if "cachePoint" not in block:
            made.append(block)
            if _UNCACHED.isdisjoint(block):
                at = len(made)
        elif at == 0:
            writing.lose("cache_control")
        elif "cachePoint" not in made[at - 1]:
            made.insert(at, block)
            at += 1
    return made
