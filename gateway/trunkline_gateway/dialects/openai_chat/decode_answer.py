"""A whole answer of an upstream. It is read as a stream of one chunk, so that both mean the same.

Most answers are one text; those take a shorter way, which a test holds to the same result.

https://platform.openai.com/docs/api-reference/chat/object
"""

from operator import attrgetter
from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.openai_chat import read_error, vocabulary, wire
from trunkline_gateway.dialects.openai_chat.decode_stream import StreamDecoder
from trunkline_gateway.errors import UpstreamProtocolError


def decode(body: bytes, asked: Asked) -> exchange.Answer:
    """Read an answer.

    Raises:
        UpstreamProtocolError: It is none, or an error that came with a status of success; then its ``status`` is what
            that would have been, and `read_error.read` has the words.
    """
    answer = wire.decode(body)
    if answer is None:
        raise UpstreamProtocolError("The upstream's answer is not a JSON object.")
    if answer.error and not answer.choices:
        raise _refused(read_error.of_value(answer.error))
    return _only_text(answer, asked) or assembled(answer, asked)


def assembled(answer: wire.WireAnswer, asked: Asked) -> exchange.Answer:
    """Any answer.

    Raises:
        UpstreamProtocolError: See `decode`.
    """
    assembler = exchange.Assembler()
    for event in StreamDecoder(asked).receive_whole(answer):
        if isinstance(event, exchange.Failed):
            raise _refused(event)
        assembler.receive(event)
    return assembler.answer()


def _only_text(answer: wire.WireAnswer, asked: Asked) -> exchange.Answer | None:
    """An answer of one choice that is one text; None: there is more to it."""
    if not answer.choices or len(answer.choices) != 1 or any(_BESIDE_CHOICES(answer)):
        return None
    choice, message = answer.choices[0], answer.choices[0].message
    if message is None or choice.index or any(_BESIDE_MESSAGE(choice)) or any(_BESIDE_TEXT(message)):
        return None
    text, word = message.content, choice.finish_reason
    if not text or not isinstance(text, str) or not word or word == "error":
        return None
    created = answer.created or 0
    return exchange.Answer(
        choices=(exchange.Choice(parts=(exchange.Text(text=text),), finish_reason=vocabulary.finish_of(word, False)),),
        id=answer.id or "",
        model=answer.model or "",
        created=created if created > 0 else asked.now,
        usage=answer.counts(),
        service_tier=answer.service_tier or None,
        system_fingerprint=answer.system_fingerprint or None,
    )


def _others(kind: type[msgspec.Struct], *names: str) -> "attrgetter[tuple[object, ...]]":
    return attrgetter(*(name for name in kind.__struct_fields__ if name not in names))


_BESIDE_CHOICES: Final = attrgetter("citations", "search_results", "error")
_BESIDE_MESSAGE: Final = _others(wire.WireChoice, "index", "message", "finish_reason")
_BESIDE_TEXT: Final = _others(wire.WireDelta, "content")


def _refused(failure: exchange.Failed) -> UpstreamProtocolError:
    return UpstreamProtocolError("The upstream answered with an error in place of an answer.", status=failure.status)
