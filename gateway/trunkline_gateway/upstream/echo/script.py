"""How an answer of `echo` is played: bytes, pauses, and perhaps a lost connection."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


class Lost:
    """The connection is lost here."""


Step: TypeAlias = bytes | float | Lost
"""Bytes to give out, seconds to wait, or the end before the end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers after ``head_delay_seconds``, then the steps of the body, made as they are asked for."""

    status: int
    steps: Iterator[Step]
    head_delay_seconds: float = 0.0
    content_type: bytes = b"application/json"
    headers: Sequence[tuple[bytes, bytes]] = field(default=())


MAX_TEXT_LENGTH = 1024 * 1024
"""The window of this model in characters, request and answer. Reading it takes the event loop about 50 ms."""

_PIECE = re.compile(r"\s{0,24}\S{1,24}|\s{1,24}")


def pieces(text: str) -> list[str]:
    """Cut a text as it is streamed: words with the space before them, long ones in parts. A piece is a token."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """How many tokens `echo` takes a text for."""
    return sum(1 for _ in _PIECE.finditer(text))
