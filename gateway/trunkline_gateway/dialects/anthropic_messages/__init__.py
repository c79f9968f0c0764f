"""Anthropic's Messages API, on both sides: conversations and their counts.

https://docs.anthropic.com/en/api/messages
"""

from typing import Final

from trunkline_gateway import dialect
from trunkline_gateway.dialects.anthropic_messages import (
    decode_answer,
    decode_request,
    decode_stream,
    encode_answer,
    encode_request,
    encode_stream,
    errors,
    usage,
)
from trunkline_gateway.dialects.anthropic_messages.vocabulary import DIALECT

_PARAMETERS: Final = {
    "max_tokens": "/max_tokens",
    "temperature": "/temperature",
    "top_p": "/top_p",
    "top_k": "/top_k",
    "stop": "/stop_sequences",
    "user": "/metadata/user_id",
}

CODEC: Final = dialect.Codec(
    name=DIALECT,
    ingress={
        "chat": dialect.Ingress(
            read_envelope=decode_request.read_envelope,
            decode=decode_request.decode,
            encode=encode_answer.encode,
            stream_encoder=encode_stream.Encoder,
            render_error=errors.render,
            error_event=errors.event,
            keep_alive=encode_stream.PING,
        ),
        "count_tokens": dialect.Ingress(
            read_envelope=decode_request.read_envelope,
            decode=decode_request.decode_count,
            encode=encode_answer.encode_count,
            render_error=errors.render,
        ),
    },
    upstream={
        "chat": dialect.Upstream(
            path="/v1/messages",
            encode=encode_request.encode,
            decode=decode_answer.decode,
            stream_decoder=decode_stream.Decoder,
            read_error=errors.read,
            usage_at_end=usage.at_end,
            parameters=_PARAMETERS,
        ),
        "count_tokens": dialect.Upstream(
            path="/v1/messages/count_tokens",
            encode=encode_request.encode_count,
            decode=decode_answer.decode_count,
            read_error=errors.read,
        ),
    },
)
