"""A streamed answer: what may be passed on and when, how it ended, and what it took. One object per answer.

https://platform.openai.com/docs/api-reference/chat-streaming

Held: lifecycle events, empty deltas and comments wait, because another target may still answer. Committed: from the
first content on, every event is passed on as it comes, in the upstream's own bytes; of most only the syntax is checked,
and whether they say more than content, in one look that builds next to nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from trunkline_gateway.dialects.openai_chat import errors, usage
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import Usage
from trunkline_gateway.sse import MAX_EVENT_BYTES, EventSplitter, ServerSentEvent

MAX_HELD_BYTES: Final = 256 * 1024

DONE: Final = b"[DONE]"

Chunk: TypeAlias = Mapping[str, object]

_decoder: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder()
_SYNTAX: Final = msgspec.json.Decoder(msgspec.Raw)


class _PlainChoice(msgspec.Struct):
    finish_reason: None = None


class _PlainChunk(msgspec.Struct):
    """What is only content has null, or nothing, wherever something else could be said. It is decoded to know that."""

    choices: list[_PlainChoice] | None = None
    usage: None = None
    error: None = None
    x_groq: None = None


_plain_decoder: Final = msgspec.json.Decoder(_PlainChunk)

_TEXTS: Final = frozenset({"content", "reasoning_content", "reasoning", "refusal", "reasoning_details"})
_TEXT_OF_PART: Final = ("text", "thinking", "summary", "content", "refusal")
_ACTS: Final = frozenset({"tool_calls", "function_call", "images"})
_MAX_PART_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class StreamError:
    """An error that came as an event.

    Attributes:
        status: What it would have been as an answer of its own.
        body: That answer's body, clean.
    """

    status: int
    body: bytes


class AnswerStream:
    """Bytes of the upstream in, bytes for the client out.

    Attributes:
        committed: Content has come; what was held has been given out.
        error: The first error event; before `committed` it is for the caller to decide whether it is the answer.
        done: ``[DONE]`` has come.
        finished: A ``finish_reason`` has come.
    """

    def __init__(self, *, takes_out_usage: bool, scrub: errors.Scrub, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        """Begin an answer.

        Args:
            takes_out_usage: The client did not ask for usage, we did: its event is not passed on.
            scrub: Cleans the text of errors.
            max_held_bytes: With more than that held it is committed, content or not.
        """
        self.committed = False
        self.done = False
        self.finished = False
        self.error: StreamError | None = None
        self._takes_out_usage = takes_out_usage
        self._scrub = scrub
        self._max_held_bytes = max_held_bytes
        self._splitter = EventSplitter()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._usage: object = None

    @property
    def usage(self) -> Usage | None:
        """The last counts that came, verbatim."""
        return usage.read(self._usage)

    @property
    def ended_well(self) -> bool:
        """Whether an end now is the end of the answer, given that the framing ended as well."""
        return self.done or self.finished or self.error is not None

    def receive_data(self, data: bytes) -> bytes:
        """Take what came; give what may be passed on now, which is nothing while it is held.

        Raises:
            UpstreamProtocolError: Not the dialect, before content came; or an event without end.
        """
        block = self._splitter.take(data)
        if not block:
            return b""
        if self.committed and len(block) <= MAX_EVENT_BYTES and _are_plain(block):
            return block
        return self._take(self._splitter.split(block))

    def receive_eof(self) -> bytes:
        """The end has come; give what is left. A last event whose empty line is missing counts if it is whole."""
        rest = self._splitter.receive_eof()
        if rest is None:
            return b""
        if rest.data:
            return self._take([rest]) if _is_whole(rest.data) else b""
        # Half a comment or field name. After it nothing could be said any more, so it goes where nothing has to be.
        return rest.raw if self.committed and self.ended_well else b""

    def commit(self) -> bytes:
        """Hold no longer; give what was held."""
        self.committed = True
        held, self._held, self._held_bytes = b"".join(self._held), [], 0
        return held

    def _take(self, events: Sequence[ServerSentEvent]) -> bytes:
        passed: list[bytes] = []
        for event in events:
            if self.committed:
                if not event.name and _is_plain(event.data):
                    passed.append(event.raw)
                elif _may_matter(event.raw):
                    passed.append(self._inspect(event))
                elif _parses(event.data):
                    passed.append(event.raw)
                continue
            raw = self._inspect(event)
            self._held.append(raw)
            self._held_bytes += len(raw)
            if self.committed or self._held_bytes > self._max_held_bytes:
                passed.append(self.commit())
        return b"".join(passed)

    def _inspect(self, event: ServerSentEvent) -> bytes:
        """Note what an event says; give its bytes as they are passed on."""
        data = event.data
        if data.strip() == DONE:
            self.done = self.committed = True
            return event.raw
        if not data:
            return event.raw
        chunk = _chunk(data)
        counts = None if chunk is None else _usage_of(chunk)
        if counts is not None:
            self._usage = counts
        failure = _failure(event.name, chunk)
        if failure is not None:
            return self._fail(event, data, failure)
        if chunk is None:
            if self.committed:
                return b""  # every client's parser would stop at it
            raise UpstreamProtocolError("The upstream sent an event that is not a JSON object.")
        choices = _mappings(chunk.get("choices"))
        if self._takes_out_usage and counts is not None and not choices and isinstance(chunk.get("usage"), Mapping):
            return b""
        self._note(choices)
        return event.raw

    def _note(self, choices: Sequence[Chunk]) -> None:
        if not self.committed and any(_has_content(choice) for choice in choices):
            self.committed = True
        for choice in choices:
            reason = choice.get("finish_reason")
            if not reason:
                continue
            if reason == "error" and not self.committed:
                raise UpstreamProtocolError("The upstream gave up before it had said anything.")
            # An answer without content is one: the model had nothing to say, or was not allowed to.
            self.finished = self.committed = True

    def _fail(self, event: ServerSentEvent, data: bytes, failure: object) -> bytes:
        """An error event; its text is cleaned, and its bytes stay if there was nothing to clean."""
        status = errors.status_of(failure)
        cleaned = errors.clean(data, self._scrub)
        if cleaned is None:
            cleaned = errors.wrap(data.decode("utf-8", "replace"), self._scrub, status=status)
        if self.error is None:
            self.error = StreamError(status, _body_of(cleaned))
        if cleaned == data:
            return event.raw
        name = b"event: " + event.name + b"\n" if event.name else b""
        return name + errors.event_of(cleaned)


def _are_plain(block: bytes) -> bool:
    """Whether whole events are all of the usual form, one line ``data: {…}`` each, and say nothing but content."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
        if b"\r" in block:
            return False
    if not block.startswith(b"data:"):
        return False
    line_ends = block.count(b"\n")
    if line_ends == 2:
        return _is_plain(block[5:])
    pieces = block.split(b"\n\n")
    if pieces.pop() or line_ends != 2 * len(pieces):
        return False
    return all(piece.startswith(b"data:") and _is_plain(piece[5:]) for piece in pieces)


def _is_plain(data: bytes) -> bool:
    """Whether the data of an event is a chunk without an error, a count or an end. False where it is not so simple."""
    try:
        _plain_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _parses(data: bytes) -> bool:
    """Whether a client's parser can read the data of an event; nothing is built."""
    if not data:
        return True
    try:
        _SYNTAX.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _may_matter(raw: bytes) -> bool:
    """Whether an event after the commit that is not plain needs a closer look."""
    return (
        DONE in raw
        or b'"error"' in raw
        or raw.startswith(b"event:")
        or _is_given(raw, b'"finish_reason"')
        or _is_given(raw, b'"usage"')
    )


def _is_given(raw: bytes, name: bytes) -> bool:
    """Whether ``name`` stands there with something else than null."""
    count = raw.count(name)
    return count > 0 and count != raw.count(name + b":null") + raw.count(name + b": null")


def _chunk(data: bytes) -> Chunk | None:
    try:
        value = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_whole(data: bytes) -> bool:
    return data.strip() == DONE or _chunk(data) is not None


def _failure(name: bytes, chunk: Chunk | None) -> object:
    """The error that an event brings: top-level ``error``, or whatever stands in ``event: error``; None: none."""
    if chunk is not None and chunk.get("error"):
        return chunk["error"]
    if name == b"error":
        return chunk or {}
    return None


def _body_of(cleaned: bytes) -> bytes:
    """The error of an event as the body of an answer: without the chunk around it."""
    chunk = _chunk(cleaned) or {}
    return _encoder.encode({"error": chunk.get("error") or chunk})


def _usage_of(chunk: Chunk) -> object:
    """Groq puts it into ``x_groq``, too."""
    counts = chunk.get("usage")
    if counts is None and isinstance(own := chunk.get("x_groq"), Mapping):
        counts = own.get("usage")
    return counts if isinstance(counts, Mapping) and counts else None


def _has_content(choice: Chunk) -> bool:
    if _says(choice.get("text")):
        return True
    for member in ("delta", "message"):
        delta = choice.get(member)
        if isinstance(delta, Mapping) and _delta_has_content(delta):
            return True
    return False


def _delta_has_content(delta: Chunk) -> bool:
    for name, value in delta.items():
        if not value:
            continue
        if name in _TEXTS:
            says = _says(value)
        elif name == "audio":
            says = isinstance(value, Mapping) and bool(value.get("data") or value.get("transcript"))
        else:
            says = name in _ACTS
        if says:
            return True
    return False


def _says(value: object, depth: int = 0) -> bool:
    """Whether there is text in a value: a string, or the parts of Mistral and OpenRouter. Encrypted blobs are none."""
    if value is None or isinstance(value, str):
        return bool(value)
    if depth > _MAX_PART_DEPTH:
        return True
    if isinstance(value, list):
        return any(_says(each, depth + 1) for each in value)
    if isinstance(value, Mapping):
        return any(_says(value.get(name), depth + 1) for name in _TEXT_OF_PART)
    return False


def _mappings(value: object) -> Sequence[Chunk]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else ()
