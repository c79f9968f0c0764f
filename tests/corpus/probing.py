"""What a probe is: one small request that says one thing. See `probes`."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.exchange import ChatRequest, Parameters, Part, Turn

Find: TypeAlias = Callable[[ChatRequest], object]
P = TypeVar("P")

PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF: Final = base64.b64encode(b"%PDF-1.4 probe").decode()
WAV: Final = base64.b64encode(b"RIFF probe WAVE").decode()
MP4: Final = base64.b64encode(b"ftyp probe mp4").decode()


@dataclass(frozen=True, kw_only=True)
class RequestProbe:
    """A request that says one thing.

    Attributes:
        feature: Of `exchange.losses.FEATURES`.
        title: What is shown, where one feature has several probes.
        request: For an upstream's dialect (seals have to be of a maker that it reads).
        find: The value in a request; None: it is not there.
        names: By which it may be reported as lost, beside its own.
        bedrock: Where Converse, which has no ingress to read it back with, has it: a text of the body.
    """

    feature: str
    title: str
    request: Callable[[str], ChatRequest]
    find: Find
    names: tuple[str, ...] = ()
    bedrock: str = ""


MAKERS: Final[Mapping[str, exchange.Maker]] = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic_messages": "anthropic",
    "gemini_generate": "google",
    "bedrock_converse": "anthropic",
}


def raw(text: str) -> msgspec.Raw:
    """JSON as it is."""
    return msgspec.Raw(text.encode())


def user(*parts: Part) -> Turn:
    return Turn(role="user", parts=parts or (exchange.Text(text="hello"),))


def assistant(*parts: Part) -> Turn:
    return Turn(role="assistant", parts=parts)


TOOL: Final = exchange.Tool(
    name="get_weather",
    description="Tells the weather",
    parameters=raw('{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'),
)


def request_of(
    *turns: Turn,
    tools: tuple[exchange.Tool | exchange.HostedTool, ...] = (),
    parameters: Parameters | None = None,
) -> ChatRequest:
    return ChatRequest(
        model="model",
        turns=turns or (user(),),
        tools=tools,
        parameters=parameters or Parameters(max_tokens=9000),
    )


def parts_of(request: ChatRequest, kind: type[P]) -> list[P]:
    return [part for turn in request.turns for part in turn.parts if isinstance(part, kind)]


def first(request: ChatRequest, kind: type[P]) -> P | None:
    found = parts_of(request, kind)
    return found[0] if found else None


def plain(value: object) -> object:
    """JSON compares by what it says."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    return value


def says(
    feature: str, request: ChatRequest, find: Find, *names: str, title: str = "", bedrock: str = ""
) -> RequestProbe:
    return RequestProbe(
        feature=feature, title=title or feature, request=lambda _: request, find=find, names=names, bedrock=bedrock
    )
