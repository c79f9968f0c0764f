"""Amazon Bedrock's Converse, as an upstream: one request for the models of all makers.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from typing import Final

from trunkline_gateway import dialect
from trunkline_gateway.dialects.bedrock_converse.answer import decode, decode_count
from trunkline_gateway.dialects.bedrock_converse.errors import read_error
from trunkline_gateway.dialects.bedrock_converse.request import encode, encode_count
from trunkline_gateway.dialects.bedrock_converse.stream import StreamDecoder

CODEC: Final = dialect.Codec(
    name="bedrock_converse",
    upstream={
        "chat": dialect.Upstream(
            path="/model/{model}/converse",
            stream_path="/model/{model}/converse-stream",
            encode=encode,
            decode=decode,
            stream_decoder=StreamDecoder,
            read_error=read_error,
            framing="aws",
            parameters={
                "max_tokens": "/inferenceConfig/maxTokens",
                "temperature": "/inferenceConfig/temperature",
                "top_p": "/inferenceConfig/topP",
                "stop": "/inferenceConfig/stopSequences",
                "metadata": "/requestMetadata",
            },
        ),
        "count_tokens": dialect.Upstream(
            path="/model/{model}/count-tokens",
            encode=encode_count,
            decode=decode_count,
            read_error=read_error,
        ),
    },
)
