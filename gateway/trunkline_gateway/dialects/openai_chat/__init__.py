"""OpenAI chat completions.

https://platform.openai.com/docs/api-reference/chat
"""

from trunkline_gateway.dialects.openai_chat.codec import CODEC as CODEC
