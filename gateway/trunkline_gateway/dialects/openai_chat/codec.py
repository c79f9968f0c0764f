"""Both sides of the dialect, put together."""

from typing import Final

from trunkline_gateway import dialect, sse
from trunkline_gateway.dialects.openai_chat import (
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    errors,
    read_error,
    request,
)
from trunkline_gateway.dialects.openai_chat.decode_stream import StreamDecoder
from trunkline_gateway.dialects.openai_chat.encode_stream import StreamEncoder
from trunkline_gateway.errors import GatewayError


def _error_event(error: GatewayError, began: bool) -> bytes:
    del began
    return errors.event(error)


CODEC: Final = dialect.Codec(
    name="openai_chat",
    ingress={
        "chat": dialect.Ingress(
            read_envelope=request.read_envelope,
            decode=decode_request.decode,
            encode=encode_answer.encode,
            stream_encoder=StreamEncoder,
            render_error=errors.render,
            error_event=_error_event,
            keep_alive=sse.KEEP_ALIVE,
        )
    },
    upstream={
        "chat": dialect.Upstream(
            path="/chat/completions",
            encode=encode_request.encode,
            decode=decode_answer.decode,
            stream_decoder=StreamDecoder,
            read_error=read_error.read,
            parameters=encode_request.PARAMETERS,
        )
    },
)
"""What `dialect.Codec` says, for OpenAI's chat completions and all that speak it."""
