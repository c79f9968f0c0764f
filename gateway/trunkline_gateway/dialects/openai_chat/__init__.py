"""OpenAI chat completions and embeddings.

https://platform.openai.com/docs/api-reference/chat
"""
