"""What an upstream double answers: a status, headers, and a script of writes, pauses and accidents.

Every ``bytes`` in a script is one write to the socket and, when chunked, one HTTP chunk, so that a test decides where
an answer is cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:  # the command line of ``upstream`` shall not need a test runner
    from harness.corpus import Recording, ReportedError

Framing = Literal["content-length", "chunked", "close"]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection here. With ``reset`` the client sees a reset (RST) instead of an end of file.

    A reset overtakes what was written just before it: put a pause between if the client shall read that first.
    """

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more but keep the connection open, until the client closes it or the double stops."""


Step = bytes | float | Cut | Hang


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer.

    Attributes:
        status: HTTP status.
        headers: sent in this order, after which the framing header is added unless it is among them.
        chunks: the body: bytes to write, floats to sleep in seconds, ``Cut`` and ``Hang``.
        framing: ``content-length`` declares the length of *all* bytes in ``chunks``, also those behind a ``Cut``;
            ``chunked`` ends with the last chunk unless cut; ``close`` ends with the connection.
        before: steps before the status line; its bytes go out raw, as for ``HTTP/1.1 100 Continue`` or for nonsense.
    """

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    chunks: Sequence[Step] = ()
    framing: Framing = "content-length"
    before: Sequence[Step] = field(default=(), kw_only=True)

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Headers = ()) -> Self:
        """Answer with compact JSON, whole."""
        return cls(status, [("content-type", "application/json"), *_pairs(headers)], [_encode(value)])

    @classmethod
    def sse(cls, events: Iterable[bytes], delay: float = 0.0, *, status: int = 200, headers: Headers = ()) -> Self:
        """Answer with a stream, one chunk for each of ``events``, which hold their own ``data:`` and blank line.

        Args:
            events: raw event blocks.
            delay: seconds between one event and the next.
            status: HTTP status.
            headers: beside ``content-type: text/event-stream``.
        """
        content_type = ("content-type", "text/event-stream; charset=utf-8")
        return cls(status, [content_type, *_pairs(headers)], list(_spaced(events, delay)), "chunked")

    @classmethod
    def replay(cls, recording: Recording | ReportedError, cuts: Iterable[int] | None = None) -> Self:
        """Answer with a recording's status, headers and bytes.

        Args:
            recording: from ``corpus``.
            cuts: offsets in bytes at which the body is split into separate writes; ``None`` for one write.
        """
        body = recording.body
        edges = sorted({0, len(body), *(min(max(cut, 0), len(body)) for cut in cuts or ())})
        chunks = [body[start:end] for start, end in pairwise(edges)]
        framing: Framing = "content-length" if "json" in recording.content_type else "chunked"
        headers = [("content-type", recording.content_type), *recording.headers.items()]
        return cls(recording.status, headers, chunks, framing)

    @classmethod
    def openai_error(
        cls,
        status: int,
        message: str = "",
        *,
        code: str | None = None,
        kind: str = "server_error",
        headers: Headers = (),
    ) -> Self:
        """Answer with an error in the shape of the OpenAI API."""
        error = {"message": message or f"error {status}", "type": kind, "param": None, "code": code}
        return cls.json({"error": error}, status, headers)

    @classmethod
    def openai_chat(cls, text: str = "Hello there.", *, model: str = "double-1", prompt_tokens: int = 9) -> Self:
        """Answer with a chat completion that says ``text``; a word is counted as one token."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
        usage = _usage(prompt_tokens, len(text.split()))
        return cls.json({**_completion("chat.completion", model), "choices": [choice], "usage": usage})

    @classmethod
    def openai_stream(
        cls,
        words: Sequence[str] = ("Hello", " there."),
        delay: float = 0.0,
        usage: bool = True,
        *,
        model: str = "double-1",
        prompt_tokens: int = 9,
    ) -> Self:
        """Answer with a streamed chat completion: the role, each word, the finish, perhaps the usage, ``[DONE]``.

        Args:
            words: one event each; a word is counted as one token.
            delay: seconds between one event and the next.
            usage: whether the event with the usage is sent, as for ``stream_options.include_usage``.
            model: name that the events carry.
            prompt_tokens: what the usage says.
        """
        envelope = _completion("chat.completion.chunk", model) | ({"usage": None} if usage else {})
        deltas: list[tuple[dict[str, str], str | None]] = [
            ({"role": "assistant", "content": ""}, None),
            *(({"content": word}, None) for word in words),
            ({}, "stop"),
        ]
        payloads: list[dict[str, Any]] = [
            {**envelope, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
            for delta, finish in deltas
        ]
        if usage:
            payloads.append({**envelope, "choices": [], "usage": _usage(prompt_tokens, len(words))})
        events = [b"data: " + _encode(payload) + b"\n\n" for payload in payloads]
        return cls.sse([*events, b"data: [DONE]\n\n"], delay)

    @classmethod
    def openai_embeddings(cls, count: int = 1, *, model: str = "double-embedding", dimensions: int = 8) -> Self:
        """Answer with ``count`` embeddings, each a unit vector."""
        vector = [1.0] + [0.0] * (dimensions - 1)
        rows = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
        usage = {"prompt_tokens": 4 * count, "total_tokens": 4 * count}
        return cls.json({"object": "list", "data": rows, "model": model, "usage": usage})

    @classmethod
    def openai_models(cls, *names: str) -> Self:
        """Answer with a list of models."""
        rows = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "double"} for name in names]
        return cls.json({"object": "list", "data": rows})

    @classmethod
    def dropped(cls, *, reset: bool = False) -> Self:
        """Close the connection without a byte of answer."""
        return cls(before=[Cut(reset)])

    @classmethod
    def silent(cls) -> Self:
        """Never answer."""
        return cls(before=[Hang()])

    def after(self, seconds: float) -> Self:
        """Return the same answer with its status line that much later."""
        return replace(self, before=[seconds, *self.before])

    def cut_after(self, length: int, step: Cut | Hang | None = None) -> Self:
        """Return the same answer ended after ``length`` bytes of its body, by ``step`` (default: ``Cut()``)."""
        kept: list[Step] = []
        rest: list[Step] = []
        for chunk in self.chunks:
            if not isinstance(chunk, bytes):
                (rest if length == 0 else kept).append(chunk)
                continue
            if chunk[:length]:
                kept.append(chunk[:length])
            if chunk[length:]:
                rest.append(chunk[length:])
            length -= min(length, len(chunk))
        return replace(self, chunks=[*kept, step or Cut(), *rest])


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return list(headers.items()) if isinstance(headers, Mapping) else list(headers)


def _spaced(events: Iterable[bytes], delay: float) -> Iterator[Step]:
    for index, event in enumerate(events):
        if index and delay > 0:
            yield delay
        yield event


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _completion(kind: str, model: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-double",
        "object": kind,
        "created": 1_700_000_000,
        "model": model,
        "system_fingerprint": "fp_double",
    }


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
