"""A whole answer of an upstream. It is read as a stream of one chunk, so that both mean the same.

https://platform.openai.com/docs/api-reference/chat/object
"""

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.openai_chat import read_error, wire
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
    assembler = exchange.Assembler()
    for event in StreamDecoder(asked).receive_whole(answer):
        if isinstance(event, exchange.Failed):
            raise _refused(event)
        assembler.receive(event)
    return assembler.answer()


def _refused(failure: exchange.Failed) -> UpstreamProtocolError:
    return UpstreamProtocolError("The upstream answered with an error in place of an answer.", status=failure.status)
