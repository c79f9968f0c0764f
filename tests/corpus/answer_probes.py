"""One small answer for each name of what can be lost of one. See `probes`."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from corpus import codecs_here
from corpus.probing import MAKERS, PNG, WAV, plain, raw
from trunkline_gateway import exchange
from trunkline_gateway.exchange import Part

P = TypeVar("P")


@dataclass(frozen=True, kw_only=True)
class AnswerProbe:
    """An answer that says one thing. ``bedrock``: as Converse says it; None: it cannot."""

    feature: str
    answer: Callable[[str], exchange.Answer]
    find: Callable[[exchange.Answer], object]
    names: tuple[str, ...] = ()


def _answer(*parts: Part, finish: exchange.FinishReason = "stop", **more: object) -> exchange.Answer:
    choice = exchange.Choice(parts=parts or (exchange.Text(text="answer"),), finish_reason=finish, **more)
    return exchange.Answer(
        id="answer-1",
        model="model",
        created=1_700_000_000,
        choices=(choice,),
        usage=exchange.Usage(prompt=5, completion=3, total=8),
    )


def _in(answer: exchange.Answer, kind: type[P]) -> P | None:
    return next((part for choice in answer.choices for part in choice.parts if isinstance(part, kind)), None)


def _answers() -> list[AnswerProbe]:
    said = exchange.Text(text="answer")
    citing = exchange.Text(
        text="answer", citations=(exchange.UrlCitation(url="https://example.com/cited", title="Cited", start=0, end=6),)
    )
    logprob = exchange.TokenLogprob(token="answer", logprob=-0.5, bytes=tuple(b"answer"))
    step = exchange.HostedStep(
        tool="web_search",
        dialect="anthropic_messages",
        value=raw('{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"probe"}}'),
        id="srvtoolu_1",
        query="probe",
    )

    def seal(dialect: str, value: bytes) -> exchange.Seal:
        return exchange.Seal(
            maker=MAKERS[dialect], account=codecs_here.TARGET.account, value=base64.b64encode(value).decode()
        )

    def seals(answer: exchange.Answer) -> object:
        found = [
            part.signature for choice in answer.choices for part in choice.parts if isinstance(part, exchange.Reasoning)
        ]
        found += [
            part.seal
            for choice in answer.choices
            for part in choice.parts
            if isinstance(part, exchange.Text | exchange.ToolCall)
        ]
        return next((each is not None for each in found if each is not None), None)

    return [
        AnswerProbe(
            feature="answer.citations",
            answer=lambda _: _answer(citing),
            find=lambda read: (
                [
                    each.url
                    for each in getattr(_in(read, exchange.Text), "citations", ())
                    if isinstance(each, exchange.UrlCitation)
                ]
                or None
            ),
        ),
        AnswerProbe(
            feature="answer.logprobs",
            answer=lambda _: _answer(logprobs=(logprob,)),
            find=lambda read: [(each.token, each.logprob) for each in read.choices[0].logprobs or ()] or None,
        ),
        AnswerProbe(
            feature="answer.reasoning",
            answer=lambda _: _answer(exchange.Reasoning(text="a thought"), said),
            find=lambda read: getattr(_in(read, exchange.Reasoning), "text", None) or None,
        ),
        AnswerProbe(
            feature="answer.reasoning_signature",
            answer=lambda dialect: _answer(
                exchange.Reasoning(text="a thought", signature=seal(dialect, b"signature")), said
            ),
            find=seals,
            names=("answer.reasoning",),
        ),
        AnswerProbe(
            feature="answer.reasoning_encrypted",
            answer=lambda dialect: _answer(exchange.Reasoning(encrypted=seal(dialect, b"hidden"), id="rs_1"), said),
            find=lambda read: next(
                (
                    part.encrypted is not None
                    for choice in read.choices
                    for part in choice.parts
                    if isinstance(part, exchange.Reasoning) and part.encrypted
                ),
                None,
            ),
            names=("answer.reasoning", "answer.reasoning_signature"),
        ),
        AnswerProbe(
            feature="answer.refusal",
            answer=lambda _: _answer(exchange.Refusal(text="I will not"), finish="refusal"),
            find=lambda read: getattr(_in(read, exchange.Refusal), "text", None),
        ),
        AnswerProbe(
            feature="answer.hosted_step",
            answer=lambda _: _answer(step, said),
            find=lambda read: getattr(_in(read, exchange.HostedStep), "tool", None),
        ),
        AnswerProbe(
            feature="answer.image",
            answer=lambda _: _answer(exchange.Image(source=exchange.Inline(PNG), media_type="image/png")),
            find=lambda read: (
                getattr(_in(read, exchange.Image), "source", None)
                or getattr(_in(read, exchange.HostedStep), "tool", None)
            ),
        ),
        AnswerProbe(
            feature="answer.audio",
            answer=lambda _: _answer(
                exchange.Audio(source=exchange.Inline(WAV), media_type="audio/wav", transcript="answer", id="audio_1")
            ),
            find=lambda read: getattr(_in(read, exchange.Audio), "source", None),
        ),
        AnswerProbe(
            feature="answer.choices",
            answer=lambda _: msgspec.structs.replace(
                _answer(), choices=(_answer().choices[0], msgspec.structs.replace(_answer().choices[0], index=1))
            ),
            find=lambda read: len(read.choices) if len(read.choices) > 1 else None,
        ),
        AnswerProbe(
            feature="answer.safety",
            answer=lambda _: _answer(
                safety=raw('[{"category":"HARM_CATEGORY_HARASSMENT","probability":"NEGLIGIBLE"}]')
            ),
            find=lambda read: plain(read.choices[0].safety),
        ),
        AnswerProbe(
            feature="answer.usage_details",
            answer=lambda _: msgspec.structs.replace(
                _answer(),
                usage=exchange.Usage(prompt=50, completion=3, total=53, cached=20, cache_write=10, reasoning=2),
            ),
            find=lambda read: (read.usage.cached, read.usage.cache_write, read.usage.reasoning) if read.usage else None,
        ),
        AnswerProbe(
            feature="answer.stop_sequence",
            answer=lambda _: _answer(finish="stop_sequence", stop_sequence="STOP-HERE"),
            find=lambda read: read.choices[0].stop_sequence,
        ),
        AnswerProbe(
            feature="answer.tool_namespace",
            answer=lambda _: _answer(
                exchange.ToolCall(id="call_1", name="get_weather", arguments="{}", namespace="weather"),
                finish="tool_calls",
            ),
            find=lambda read: getattr(_in(read, exchange.ToolCall), "namespace", None),
        ),
        AnswerProbe(
            feature="answer.foreign",
            answer=lambda _: _answer(
                said, exchange.Foreign(dialect="elsewhere", kind="answer.foreign", value=raw('{"type":"probe"}'))
            ),
            find=lambda read: getattr(_in(read, exchange.Foreign), "kind", None),
        ),
    ]


ANSWERS: Final = tuple(_answers())
