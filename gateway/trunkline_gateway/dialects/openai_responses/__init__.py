"""OpenAI responses.

https://platform.openai.com/docs/api-reference/responses
"""

from typing import Final

from trunkline_gateway import dialect
from trunkline_gateway.dialects.openai_responses import (
    answer,
    decode_request,
    encode_request,
    errors,
    stream,
    usage,
    whole,
    write,
)

CODEC: Final = dialect.Codec(
    name="openai_responses",
    ingress={
        "chat": dialect.Ingress(
            read_envelope=decode_request.read_envelope,
            decode=decode_request.decode,
            encode=whole.encode,
            render_error=errors.render,
            stream_encoder=write.ResponseEncoder,
            error_event=errors.event,
        )
    },
    upstream={
        "chat": dialect.Upstream(
            path="/responses",
            encode=encode_request.encode,
            decode=answer.decode,
            stream_decoder=stream.ResponseDecoder,
            read_error=errors.read,
            usage_at_end=usage.at_end,
            parameters=encode_request.PARAMETERS,
        ),
        "count_tokens": dialect.Upstream(
            path="/responses/input_tokens",
            encode=encode_request.encode_count,
            decode=answer.decode_count,
            read_error=errors.read,
        ),
    },
)
