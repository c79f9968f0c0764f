"""A client's request, to be answered or only to be counted.

https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/api/messages-count-tokens
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from trunkline_gateway.dialect import Envelope, Fields
from trunkline_gateway.dialects.anthropic_messages import decode_tools, thinking, threads
from trunkline_gateway.dialects.anthropic_messages.client_json import Members, wrong
from trunkline_gateway.dialects.anthropic_messages.decode_content import Content, Unsaid
from trunkline_gateway.exchange import ChatRequest, JsonSchema, Parameters, Text, Turn

MAX_STOPS: Final = 16
"""As many as the exchange holds."""

_Role: TypeAlias = Literal["user", "assistant", "system"]

_ROLES: Final[Mapping[str, _Role]] = {"user": "user", "assistant": "assistant", "system": "system"}

_TIERS: Final[Mapping[str, str]] = {"auto": "auto", "standard_only": "default"}


def read_envelope(fields: Fields) -> Envelope:
    """The model, and whether a stream is wanted. Raises InvalidRequestError."""
    body = Members(fields)
    model = body.need_text("model")
    if not model:
        raise wrong("model", "String should have at least 1 character")
    return Envelope(model=model, stream=bool(body.boolean("stream")))


def decode(fields: Fields, model: str, stream: bool, query: bytes) -> ChatRequest:  # `?beta=true`
    """A request for an answer; ``max_tokens`` has no default here. Raises InvalidRequestError."""
    body = Members(fields)
    body.need("max_tokens")
    return _decode(body, model, stream)


def decode_count(fields: Fields, model: str, stream: bool, query: bytes) -> ChatRequest:
    """A request for its count. Raises InvalidRequestError."""
    return _decode(Members(fields), model, stream=False)


def _decode(body: Members, model: str, stream: bool) -> ChatRequest:
    unsaid = Unsaid()
    content = Content(unsaid)
    for name in ("model", "stream", "anthropic_version"):  # read already, or in a header where it is not a cloud
        body.raw(name)
    threads.refuse(body.object("thread"))
    turns: list[Turn] = []
    system = body.raw("system")
    if system is not None:
        turns.append(Turn(role="system", parts=content.texts(system, "system")))
    turns += _messages(body, content, unsaid)
    tools = (
        *decode_tools.tools(body.items("tools") or (), unsaid),
        *decode_tools.mcp_servers(body.items("mcp_servers") or ()),
    )
    parameters = _parameters(body, unsaid)
    unsaid.rest(body, "")
    return ChatRequest(
        model=model,
        turns=tuple(turns),
        tools=tools,
        parameters=parameters,
        stream=stream,
        unsaid=unsaid.names(),
    )


class WirePlain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message of one text. Decoding any other one fails."""

    role: Literal["user", "assistant"]
    content: str


_plain: Final = msgspec.json.Decoder(WirePlain)


def _only_text(raw: msgspec.Raw) -> Turn | None:
    try:
        message = _plain.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Turn(role=message.role, parts=(Text(text=message.content),))


def _messages(body: Members, content: Content, unsaid: Unsaid) -> list[Turn]:
    body.need("messages")
    items = body.items("messages") or []
    if not items:
        raise wrong("messages", "at least one message is required")
    turns: list[Turn] = []
    for number, raw in enumerate(items):
        plain = _only_text(raw)
        if plain is not None:
            turns.append(plain)
            continue
        message = Members.of(raw, f"messages[{number}]")
        role = _ROLES.get(message.need_text("role"))
        if role is None:
            raise wrong(message.at("role"), "Input should be 'user' or 'assistant'")
        said, path = message.need("content"), message.at("content")
        parts = content.texts(said, path) if role == "system" else content.parts(said, path, role)
        turns.append(Turn(role=role, parts=parts))
        unsaid.rest(message, "messages")
    return turns


def _parameters(body: Members, unsaid: Unsaid) -> Parameters:
    config = body.object("output_config")
    tool_choice, parallel = decode_tools.choice(body.object("tool_choice"))
    parameters = Parameters(
        max_tokens=body.integer("max_tokens"),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_k=body.integer("top_k"),
        stop=_stop(body, unsaid),
        reasoning_effort=thinking.read(body.object("thinking"), config, unsaid),
        response_format=_format(body, config),
        tool_choice=tool_choice,
        parallel_tool_calls=parallel,
        service_tier=_tier(body, unsaid),
        user=_user(body, unsaid),
    )
    if config is not None:
        unsaid.rest(config, "output_config")
    return parameters


def _stop(body: Members, unsaid: Unsaid) -> tuple[str, ...] | None:
    stop = body.texts("stop_sequences")
    if stop is not None and len(stop) > MAX_STOPS:
        unsaid.append("stop")
        return stop[:MAX_STOPS]
    return stop or None


def _format(body: Members, config: Members | None) -> JsonSchema | None:
    said = None if config is None else config.object("format")
    if said is None:
        said = body.object("output_format")  # as it was called while it was in beta
    if said is None:
        return None
    if said.need_text("type") != "json_schema":
        raise wrong(said.at("type"), "Input should be 'json_schema'")
    Members.of(said.need("schema"), said.at("schema"))
    return JsonSchema(schema=said.raw("schema"))


def _tier(body: Members, unsaid: Unsaid) -> str | None:
    said = body.text("service_tier")
    if said is not None and said not in _TIERS:
        unsaid.append("service_tier")
    return None if said is None else _TIERS.get(said)


def _user(body: Members, unsaid: Unsaid) -> str | None:
    metadata = body.object("metadata")
    if metadata is None:
        return None
    user = metadata.text("user_id")
    unsaid.rest(metadata, "metadata")
    return user
