"""Google's Gemini: generateContent, streamGenerateContent and countTokens, as the Gemini API and Vertex AI speak them.

https://ai.google.dev/api/generate-content
"""

from dataclasses import replace
from typing import Final

from trunkline_gateway.dialect import Codec, Ingress, Upstream
from trunkline_gateway.dialects.gemini_generate import (
    decode_answer,
    decode_request,
    decode_stream,
    encode_answer,
    encode_request,
    encode_stream,
    errors,
    model_names,
    usage,
)
from trunkline_gateway.dialects.gemini_generate.queries import (
    KEEP_ALIVE,
    STREAM_TYPE,
    error_event_of,
    is_passable,
    keep_alive_of,
    stream_type_of,
)

_EVENTS: Final = Ingress(
    read_envelope=decode_request.read_envelope,
    decode=decode_request.decode,
    encode=encode_answer.encode,
    render_error=errors.render,
    stream_encoder=encode_stream.StreamEncoder,
    error_event=errors.event,
    keep_alive=KEEP_ALIVE,
    stream_type=STREAM_TYPE,
    is_passable=is_passable,
)
_ARRAY: Final = replace(
    _EVENTS, error_event=error_event_of(b""), keep_alive=keep_alive_of(b""), stream_type=stream_type_of(b"")
)


def _for_query(query: bytes) -> Ingress:
    return _ARRAY if decode_request.is_array(query) else _EVENTS


CODEC: Final = Codec(
    name="gemini_generate",
    ingress={
        "chat": replace(_EVENTS, for_query=_for_query),
        "count_tokens": Ingress(
            read_envelope=decode_request.read_envelope,
            decode=decode_request.decode_count,
            encode=encode_answer.encode,
            render_error=errors.render,
        ),
    },
    upstream={
        "chat": Upstream(
            path="/v1beta/models/{model}:generateContent",
            stream_path="/v1beta/models/{model}:streamGenerateContent?alt=sse",
            encode=encode_request.encode,
            decode=decode_answer.decode,
            stream_decoder=decode_stream.StreamDecoder,
            read_error=errors.read,
            usage_at_end=usage.at_end,
            renamed=model_names.renamed,
            parameters=encode_request.PARAMETERS,
        ),
        "count_tokens": Upstream(
            path="/v1beta/models/{model}:countTokens",
            encode=encode_request.encode_count,
            decode=decode_answer.decode_count,
            read_error=errors.read,
            renamed=model_names.renamed,
        ),
    },
)
