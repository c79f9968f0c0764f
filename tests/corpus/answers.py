"""A recorded answer through each ingress, whole and streamed, judged by the SDKs: what differs, and where."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corpus import codecs_here, folding, reading, sdks
from corpus.reading import Reading
from corpus.recordings import Frame, Recording
from trunkline_gateway import errors, exchange

Found = dict[tuple[str, str], str]
"""(where, what) → the two values."""


class Decoded(NamedTuple):
    """What an upstream's codec makes of a recording."""

    answer: exchange.Answer
    events: Sequence[exchange.Event]


def expected(recording: Recording) -> Reading:
    """What the provider's own client reads from it.

    Raises:
        FailedWithin, CutShort: Of a stream.
    """
    frames = recording.frames()
    read = reading.READERS[recording.dialect]
    if frames is not None:
        return read(folding.FOLDS[recording.dialect](frames))
    assert recording.body is not None
    body = json.loads(recording.body)
    if isinstance(body.get("error"), dict):
        raise folding.FailedWithin(body)
    return read(body)


def asked_for(recording: Recording) -> exchange.ChatRequest | None:
    """The request in the neutral form, if it was recorded and one of our ingresses reads it."""
    if recording.request is None or recording.dialect not in codecs_here.INGRESSES:
        return None
    try:
        return codecs_here.decode_request(
            recording.dialect, {"model": "model", **recording.request}, recording.frames() is not None
        )
    except errors.InvalidRequestError:
        return None


def decode_stream(
    dialect: str, frames: Sequence[Frame], request: exchange.ChatRequest | None = None, provider: str = ""
) -> list[exchange.Event]:
    """All events of a stream."""
    make = codecs_here.upstream(dialect).stream_decoder
    assert make is not None
    decoder = make(codecs_here.asked(request, stream=True, target=codecs_here.target(provider)))
    events: list[exchange.Event] = []
    for frame in frames:
        events += decoder.receive(frame)
    return [*events, *decoder.receive_eof()]


def decode(recording: Recording) -> Decoded:
    """A recording in the neutral form; of a whole answer the stream that it would have been, and the other way."""
    frames, request, provider = recording.frames(), asked_for(recording), recording.row.provider
    if frames is not None:
        events = decode_stream(recording.dialect, frames, request, provider)
        return Decoded(exchange.assemble(events), events)
    assert recording.body is not None
    return decode_whole(recording.dialect, recording.body, request, provider)


def decode_whole(dialect: str, body: bytes, request: exchange.ChatRequest | None = None, provider: str = "") -> Decoded:
    """A whole answer."""
    asked = codecs_here.asked(request, target=codecs_here.target(provider))
    answer = codecs_here.upstream(dialect).decode(body, asked)
    assert isinstance(answer, exchange.Answer)
    return Decoded(answer, exchange.events_of(answer))


_FINISH = {"stop_sequence": "stop", "context_window": "length", "content_filter": "filter", "refusal": "filter"}


def read_neutral(answer: exchange.Answer) -> Reading:
    """What the neutral form says: tells a fault of a decoder from one of an encoder."""
    if not answer.choices:
        return reading.made("", "", "", (), "other", None)
    choice = answer.choices[0]
    parts, usage = choice.parts, answer.usage
    calls = [
        reading.custom_call({"name": part.name, "namespace": part.namespace, "input": part.arguments})
        if part.custom
        else (reading.in_namespace({"name": part.name, "namespace": part.namespace}), reading.canonical(part.arguments))
        for part in parts
        if isinstance(part, exchange.ToolCall)
    ]
    finish = _FINISH.get(choice.finish_reason, choice.finish_reason)
    tokens = None
    if usage is not None:
        cached, cache_write = usage.cached or 0, usage.cache_write or 0
        tokens = reading.Tokens(
            new=max((usage.prompt or 0) - cached - cache_write, 0),
            cached=cached,
            cache_write=cache_write,
            completion=usage.completion or 0,
        )
    return reading.made(
        "".join(part.text for part in parts if isinstance(part, exchange.Text))
        or "".join(part.transcript for part in parts if isinstance(part, exchange.Audio)),
        "".join(part.text for part in parts if isinstance(part, exchange.Reasoning)),
        "".join(part.text for part in parts if isinstance(part, exchange.Refusal)),
        calls,
        finish if finish in ("stop", "length", "tool_calls", "filter") else "other",
        tokens,
        order=[_kind(part) for part in parts],
        urls=[
            each.url
            for part in parts
            if isinstance(part, exchange.Text)
            for each in part.citations
            if isinstance(each, exchange.UrlCitation)
        ],
    )


def _kind(part: exchange.Part) -> str:
    match part:
        case exchange.Text(text=text) if text:
            return "text"
        case exchange.Reasoning(text=text) if text:
            return "reasoning"
        case exchange.ToolCall():
            return "call"
        case _:
            return ""


def neutral_differences(want: Reading, decoded: Decoded) -> Found:
    """Between what the provider said and what its codec read."""
    found: Found = {}
    _compare(want, read_neutral(decoded.answer), (), "decoded", found)
    return found


def differences(want: Reading, decoded: Decoded, ingress: str) -> Found:
    """Between what the provider said and what a client of ``ingress`` reads, whole and streamed."""
    found: Found = {}
    encoded = codecs_here.encode_whole(ingress, decoded.answer)
    try:
        whole = sdks.WHOLE[ingress](encoded.body)
    except sdks.Invalid as error:
        found[ingress, "valid"] = str(error)
    else:
        _compare(want, whole, encoded.lost, ingress, found)
    encoder = codecs_here.stream_encoder(ingress)
    raw = b"".join(encoder.encode([event]) for event in decoded.events)
    try:
        streamed = sdks.streamed(ingress, raw)
    except (sdks.Invalid, RuntimeError, AssertionError, KeyError, IndexError, TypeError, ValueError) as error:
        found[f"{ingress} streamed", "valid"] = f"{type(error).__name__}: {error}"
    else:
        _compare(want, streamed, encoder.lost, f"{ingress} streamed", found)
    return found


_LOSSES = {"reasoning": "answer.reasoning", "urls": "answer.citations"}


def _compare(want: Reading, got: Reading, lost: Sequence[str], where: str, found: Found) -> None:
    """Field by field; what the encoder says is lost may be missing, and nothing else."""
    text, refusal, finish = want.text, want.refusal, want.finish
    if not got.refusal and (got.finish == "filter" or "answer.refusal" in lost):
        text, refusal = text + refusal, ""  # said as plain text where there is no other place
        finish = got.finish if want.refusal else finish
    pairs: Mapping[str, tuple[object, object]] = {
        "text": (text, got.text),
        "refusal": (refusal, got.refusal),
        "calls": (_calls(want, lost), _calls(got, lost)),
        "reasoning": (want.reasoning, got.reasoning),
        "order": (want.order, got.order) if want.order and got.order else ((), ()),
        "urls": (want.urls, got.urls),
        "finish": (_finish(finish), _finish(got.finish)),
        "tokens": (_tokens(want, lost), _tokens(got, lost)),
    }
    for what, (left, right) in pairs.items():
        if left != right and not (what in _LOSSES and not right and _LOSSES[what] in lost):
            found[where, what] = f"{_cut(left)} came out as {_cut(right)}"


def _calls(read: Reading, lost: Sequence[str]) -> object:
    if "answer.tool_namespace" not in lost:
        return read.calls
    return [(name.rpartition("__")[2] or name, arguments) for name, arguments in read.calls]


def _finish(word: str) -> str:
    """No other dialect has a word for what is none of the five."""
    return "stop" if word == "other" else word


def _tokens(read: Reading, lost: Sequence[str]) -> object:
    tokens = read.tokens
    if tokens is None or tokens == reading.Tokens(new=0, cached=0, cache_write=0, completion=0):
        return None
    if "answer.usage_details" in lost:
        return (tokens.new + tokens.cached + tokens.cache_write, tokens.completion)
    return tokens


def _cut(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) < 300 else f"{shown[:150]} … {shown[-100:]}"
