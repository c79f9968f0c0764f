"""OpenAI embeddings.

https://platform.openai.com/docs/api-reference/embeddings
"""

from trunkline_gateway.dialects.openai_embeddings.codec import CODEC as CODEC
