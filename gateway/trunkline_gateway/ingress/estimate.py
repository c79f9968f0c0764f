"""How many tokens a request may have, where no upstream of its model counts them. Said to be a guess; never billed."""

from typing import Final

from trunkline_gateway import exchange

_BYTES_PER_TOKEN: Final = 4
_TOKENS_PER_IMAGE: Final = 1600
"""Of a picture of a megapixel. https://docs.anthropic.com/en/docs/build-with-claude/vision"""
_TOKENS_PER_FILE: Final = 2000
_TOKENS_PER_TURN: Final = 4


def tokens(request: exchange.Request) -> exchange.TokenCount:
    """Four bytes of text are a token; pictures and files count with a round number."""
    if isinstance(request, exchange.EmbeddingsRequest):
        texts = sum(len(each.encode()) if isinstance(each, str) else 4 * len(each) for each in request.inputs)
        return exchange.TokenCount(prompt=texts // _BYTES_PER_TOKEN)
    size = extra = 0
    for turn in request.turns:
        extra += _TOKENS_PER_TURN
        for part in turn.parts:
            size += _bytes(part)
            extra += _others(part)
    for tool in request.tools:
        if isinstance(tool, exchange.Tool):
            size += len(tool.name) + len((tool.description or "").encode())
            size += 0 if tool.parameters is None else len(bytes(tool.parameters))
        else:
            size += len(bytes(tool.value))
    return exchange.TokenCount(prompt=-(-size // _BYTES_PER_TOKEN) + extra)


def _bytes(part: exchange.Part) -> int:
    match part:
        case exchange.Text() | exchange.Refusal() | exchange.Reasoning():
            return len(part.text.encode("utf-8", "replace"))
        case exchange.ToolCall():
            return len(part.name) + len(part.arguments.encode("utf-8", "replace"))
        case exchange.ToolResult():
            return sum(_bytes(each) for each in part.content)
        case exchange.Document(text=str() as text):
            return len(text.encode("utf-8", "replace"))
        case exchange.HostedStep() | exchange.Foreign():
            return len(bytes(part.value))
        case _:
            return 0


def _others(part: exchange.Part) -> int:
    match part:
        case exchange.Image():
            return _TOKENS_PER_IMAGE
        case exchange.Audio() | exchange.Video() | exchange.Document(text=None):
            return _TOKENS_PER_FILE
        case exchange.ToolResult():
            return sum(_others(each) for each in part.content)
        case _:
            return 0
