"""A Converse request: the whole of it, and the one that counts its tokens.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec

from trunkline_gateway import errors
from trunkline_gateway.dialect import Encoded, Target
from trunkline_gateway.dialects.bedrock_converse import settings, thinking, tools, turns
from trunkline_gateway.dialects.bedrock_converse.thinking import Thinking
from trunkline_gateway.dialects.bedrock_converse.writing import Writing
from trunkline_gateway.exchange import ChatRequest, Request

_encoder: Final = msgspec.json.Encoder()


def encode(request: Request, target: Target) -> Encoded:
    """Write a request; the model stands in the path.

    Raises:
        InvalidRequestError: It holds what cannot be written: text that is not Unicode.
    """
    writing = Writing(asked := _chat(request), target)
    with _unicode():
        body, thought = _conversation(asked, writing)
        body.update(settings.of(asked.parameters, thought, writing))
        return _encoded(body, writing)


def encode_count(request: Request, target: Target) -> Encoded:
    """Write a request that counts what `encode` would send.

    Raises:
        InvalidRequestError: As `encode`.
    """
    writing = Writing(asked := _chat(request), target)
    with _unicode():
        body, _ = _conversation(asked, writing)
        return _encoded({"input": {"converse": body}}, writing)


def _conversation(request: ChatRequest, writing: Writing) -> tuple[dict[str, object], Thinking]:
    """What counts: turns, tools, and what the model is told in its own words."""
    instructions = turns.system_of(request.turns, writing)
    messages = turns.messages_of(request.turns, writing, instructed=bool(instructions))
    thought = thinking.of(request.parameters, messages, writing)
    body: dict[str, object] = {"messages": [message.finish(writing) for message in messages]}
    said = [*instructions, *settings.instruction(request.parameters, writing)]
    if said:
        body["system"] = said
    config = tools.config_of(request, writing, may_force=not thought.exclusive)
    if config is not None:
        body["toolConfig"] = config
    own: Mapping[str, object] = {**thought.fields, **settings.top_k(request.parameters, thought, writing)}
    if own:
        body["additionalModelRequestFields"] = own
    return body, thought


def _chat(request: Request) -> ChatRequest:
    if not isinstance(request, ChatRequest):
        raise errors.InvalidRequestError("This target takes chats only.")
    return request


def _encoded(body: Mapping[str, object], writing: Writing) -> Encoded:
    return Encoded(_encoder.encode(body), tuple(sorted(writing.lost)))


@contextmanager
def _unicode() -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as failure:
        raise errors.InvalidRequestError("The request holds text that is not valid Unicode.") from failure
