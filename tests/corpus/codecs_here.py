"""The dialects that are there, and requests to answer in each."""

import functools
import importlib
import json
from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked, Codec, Encoded, Ingress, StreamEncoder, Target, Upstream
from trunkline_gateway.exchange import origin
from trunkline_protocol.providers import PROVIDERS

CHAT_DIALECTS: Final = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate", "bedrock_converse")
INGRESSES: Final = CHAT_DIALECTS[:4]

TARGET: Final = Target(model="model", provider="provider", account=origin.fingerprint("account"))
_REGISTRY_NAMES: Final = {"azure": "azure-openai", "alibaba": "dashscope-cn", "ollama": "openai-compatible"}


def target(provider: str, model: str = "model") -> Target:
    """As the routing table would have it for a provider of the registry."""
    name = _REGISTRY_NAMES.get(provider, provider)
    row = PROVIDERS.get(name)
    return Target(
        model=model,
        provider=name,
        quirks=frozenset(row.quirks if row else ()),
        account=origin.fingerprint("account"),
    )


SEED: Final = "Seed00"
NOW: Final = 1_700_000_000


@functools.cache
def codec(name: str) -> Codec:
    """The dialect's."""
    found = importlib.import_module(f"trunkline_gateway.dialects.{name}").CODEC
    assert isinstance(found, Codec)
    return found


def upstream(name: str) -> Upstream:
    """Its provider's side of chat."""
    return codec(name).upstream["chat"]


def ingress(name: str) -> Ingress:
    """Its client's side of chat."""
    return codec(name).ingress["chat"]


def fields(body: Mapping[str, object]) -> Mapping[str, msgspec.Raw]:
    """A body as the front door has it."""
    return msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw])


def decode_request(name: str, body: Mapping[str, object], stream: bool = False) -> exchange.ChatRequest:
    """As the front door does."""
    model = body.get("model")
    query = b"alt=sse" if name == "gemini_generate" and stream else b""
    side = ingress(name)
    if name != "gemini_generate":
        model, stream, _ = side.read_envelope(fields(body))
    request = side.decode(fields(body), model if isinstance(model, str) else "model", stream, query)
    assert isinstance(request, exchange.ChatRequest)
    return request


_HELLO: Final[Mapping[str, Mapping[str, object]]] = {
    "openai_chat": {"messages": [{"role": "user", "content": "hello"}], "stream_options": {"include_usage": True}},
    "openai_responses": {"input": "hello"},
    "anthropic_messages": {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1024},
    "gemini_generate": {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
}


@functools.cache
def plain_request(name: str, stream: bool) -> exchange.ChatRequest:
    """A small request in a dialect, to be answered."""
    body: dict[str, object] = {"model": "model", **_HELLO[name]}
    if name == "gemini_generate":
        del body["model"]
    elif stream:
        body["stream"] = True
    else:
        body.pop("stream_options", None)
    return decode_request(name, body, stream)


def asked(request: exchange.ChatRequest | None = None, stream: bool = False, target: Target = TARGET) -> Asked:
    """What a decoder of answers is told."""
    return Asked(target=target, request=request, stream=stream, seed=SEED, now=NOW)


def encode_whole(name: str, answer: exchange.Answer) -> Encoded:
    """An answer for a client."""
    return ingress(name).encode(answer, plain_request(name, stream=False))


def stream_encoder(name: str) -> StreamEncoder:
    """For a streamed answer."""
    made = ingress(name).stream_encoder
    assert made is not None
    return made(plain_request(name, stream=True))
