"""Requests for providers as the official SDKs type them: what a codec sends must fit.

Bedrock has no SDK here that types its requests; its shapes are those of AWS's own service model.
"""

import functools
import gzip
import json
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import pydantic
from anthropic.types import MessageCreateParams
from anthropic.types.beta import MessageCreateParams as BetaMessageCreateParams
from google.genai import types as google
from openai.types.chat import CompletionCreateParams
from openai.types.responses import ResponseCreateParams, ResponseInputItemParam

from corpus.recordings import SHARED


@functools.cache
def _adapter(kind: object) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)


def _fits(kind: object, body: object) -> list[str]:
    """What does not fit. Iterables in the SDK's types are lazy, so they are walked."""
    try:
        _walk(_adapter(kind).validate_python(body))
    except AttributeError as error:  # Google's enumerations take no numbers
        return [str(error)]
    except pydantic.ValidationError as error:
        deepest = sorted(error.errors(), key=lambda each: -len(each["loc"]))  # of a union, what came nearest
        return [f"{'.'.join(str(part)[:40] for part in each['loc'])}: {each['msg']}" for each in deepest[:4]]
    return []


def _walk(value: object) -> None:
    match value:
        case str() | bytes() | int() | float() | None:
            return
        case dict():
            for each in value.values():
                _walk(each)
        case _ if hasattr(value, "__iter__"):
            for each in value:
                _walk(each)


def _unknown(kind: object, body: Mapping[str, object]) -> list[str]:
    """Top-level names that the SDK does not have; its types alone would let them pass."""
    known = {name for each in typing.get_args(kind) for name in each.__annotations__}
    return [f"{name}: not of the reference" for name in sorted(body.keys() - known)]


def _openai_chat(body: Mapping[str, object]) -> list[str]:
    return _unknown(CompletionCreateParams, body) + _fits(CompletionCreateParams, body)


def _openai_responses(body: Mapping[str, object]) -> list[str]:
    items = body.get("input")
    unknown = _unknown(ResponseCreateParams, body)
    if not isinstance(items, list):
        return unknown + _fits(ResponseCreateParams, body)
    found = unknown + _fits(ResponseCreateParams, {**body, "input": []})
    for number, item in enumerate(items):  # one by one: of the union's forty kinds only its own is of interest
        if _fits(ResponseInputItemParam, item):
            found.append(f"input[{number}] is no item: {json.dumps(item)[:300]}")
    return found


_OLDER_MODELS_ONLY: Final = frozenset({"temperature", "top_k", "top_p"})
"""The SDK has dropped them; the reference says for which models they count."""


def _anthropic_messages(body: Mapping[str, object]) -> list[str]:
    body = {name: value for name, value in body.items() if name not in _OLDER_MODELS_ONLY}
    unknown = _unknown(BetaMessageCreateParams, body)
    return unknown + (_fits(MessageCreateParams, body) and _fits(BetaMessageCreateParams, body))


_GEMINI_TOP: Final = {
    "contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent",
    "labels", "serviceTier", "store", "modelArmorConfig",
}  # fmt: skip


def _gemini_generate(body: Mapping[str, object]) -> list[str]:
    found = [f"{key}: not of the reference" for key in set(body) - _GEMINI_TOP]
    checks: tuple[tuple[str, type[pydantic.BaseModel], bool], ...] = (
        ("contents", google.Content, True),
        ("systemInstruction", google.Content, False),
        ("tools", google.Tool, True),
        ("toolConfig", google.ToolConfig, False),
        ("safetySettings", google.SafetySetting, True),
        ("generationConfig", google.GenerationConfig, False),
    )
    for key, kind, many in checks:
        if key in body:
            for number, each in enumerate(body[key] if many else [body[key]]):
                found += [f"{key}.{number}.{line}" for line in _fits(kind, each)]
    return found


@functools.cache
def _service() -> Mapping[str, Any]:
    with gzip.open(SHARED / "specs" / "bedrock-runtime.service-2.json.gz") as file:
        shapes: Mapping[str, Any] = json.load(file)["shapes"]
    return shapes


def _bedrock_converse(body: Mapping[str, object]) -> list[str]:
    found: list[str] = []
    _fits_shape(_service()["ConverseRequest"], {"modelId": "model", **body}, "", found)
    return found


_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "blob": str,
    "timestamp": (str, int, float),
}


def _fits_shape(shape: Mapping[str, Any], value: object, path: str, found: list[str]) -> None:
    kind = shape["type"]
    if shape.get("document"):
        return
    if kind == "structure":
        _fits_structure(shape, value, path, found)
    elif kind == "list":
        if not isinstance(value, list):
            found.append(f"{path}: no list")
            return
        if len(value) < shape.get("min", 0):
            found.append(f"{path}: fewer than {shape['min']}")
        for number, each in enumerate(value):
            _fits_shape(_service()[shape["member"]["shape"]], each, f"{path}[{number}]", found)
    elif kind == "map":
        if not isinstance(value, dict):
            found.append(f"{path}: no map")
            return
        for key, each in value.items():
            _fits_shape(_service()[shape["value"]["shape"]], each, f"{path}.{key}", found)
    else:
        _fits_scalar(shape, value, path, found)


def _fits_structure(shape: Mapping[str, Any], value: object, path: str, found: list[str]) -> None:
    if not isinstance(value, dict):
        found.append(f"{path}: no object")
        return
    members = shape["members"]
    found += [f"{path}.{key}: unknown" for key in value if key not in members]
    found += [f"{path}.{key}: missing" for key in shape.get("required", ()) if key not in value]
    if shape.get("union") and len(value) != 1:
        found.append(f"{path}: {len(value)} members of a union")
    for key, each in value.items():
        if key in members:
            _fits_shape(_service()[members[key]["shape"]], each, f"{path}.{key}", found)


def _fits_scalar(shape: Mapping[str, Any], value: object, path: str, found: list[str]) -> None:
    kind = shape["type"]
    if not isinstance(value, _KINDS[kind]) or (kind != "boolean" and isinstance(value, bool)):
        found.append(f"{path}: {value!r} is no {kind}")
        return
    if "enum" in shape and value not in shape["enum"]:
        found.append(f"{path}: {value!r} is none of {shape['enum']}")
    size = len(value) if isinstance(value, str) else value
    if (
        isinstance(size, int | float)
        and kind != "blob"
        and not shape.get("min", size) <= size <= shape.get("max", size)
    ):
        found.append(f"{path}: {str(value)[:60]!r} is out of bounds")


FITS: Final[Mapping[str, Callable[[Mapping[str, object]], list[str]]]] = {
    "openai_chat": _openai_chat,
    "openai_responses": _openai_responses,
    "anthropic_messages": _anthropic_messages,
    "gemini_generate": _gemini_generate,
    "bedrock_converse": _bedrock_converse,
}
"""Dialect → what of a request body does not fit."""
