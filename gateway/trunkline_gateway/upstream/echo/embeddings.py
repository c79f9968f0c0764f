"""Embeddings of `echo`: unit vectors that depend on nothing but the text."""

import base64
import hashlib
import math
import struct
from collections.abc import Iterator

import msgspec

from trunkline_gateway.upstream.echo import script, wire
from trunkline_gateway.upstream.echo.behaviour import Behaviour

_DIMENSIONS = 256
_MAX_INPUTS = 2048
_MAX_NUMBERS = _MAX_INPUTS * _DIMENSIONS
"""In one answer, so that making it does not hold up the event loop."""


def answer(request: wire.EmbeddingRequest, behaviour: Behaviour) -> script.Answer:
    """Answer a request; equal texts have equal vectors.

    Raises:
        wire.RefusedError: ``input`` is empty, mixed, or too much.
    """
    inputs = _inputs(request.input)
    dimensions = request.dimensions or _DIMENSIONS
    if len(inputs) > _MAX_INPUTS or len(inputs) * dimensions > _MAX_NUMBERS:
        message = f"Too much input: at most {_MAX_INPUTS} items, and {_MAX_NUMBERS} numbers in the answer."
        raise wire.RefusedError(message, param="input")
    if sum(map(len, inputs)) > script.MAX_TEXT_LENGTH:
        message = f"Too much input: at most {script.MAX_TEXT_LENGTH} characters or token ids."
        raise wire.RefusedError(message, param="input", code="context_length_exceeded")
    tokens = sum(len(each) if isinstance(each, list) else script.count(each) for each in inputs)
    encoded = request.encoding_format == "base64"
    body = msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _vector(each, dimensions, encoded)}
                for index, each in enumerate(inputs)
            ],
            "model": request.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )
    delay = behaviour.first_delay_seconds
    return script.Answer(200, _steps(body, behaviour), head_delay_seconds=delay)


def _steps(body: bytes, behaviour: Behaviour) -> Iterator[script.Step]:
    if behaviour.fault == "cut":
        yield body[: len(body) // 2]
        yield script.Lost()
    else:
        yield body


def _inputs(given: str | list[str | int | list[int]]) -> list[str | list[int]]:
    if isinstance(given, str):
        given = [given]
    texts = [each for each in given if isinstance(each, str)]
    ids = [each for each in given if isinstance(each, int)]
    arrays = [each for each in given if isinstance(each, list)]
    for kind in (texts, ids, arrays):
        if given and len(kind) == len(given):
            break
    else:
        message = "'input' must be a text, a list of texts, a list of token ids, or a list of such lists, not empty."
        raise wire.RefusedError(message, param="input")
    inputs: list[str | list[int]] = [ids] if ids else [*texts, *arrays]
    if not all(inputs):
        raise wire.RefusedError("'input' cannot hold an empty text or list.", param="input")
    return inputs


def _vector(given: str | list[int], dimensions: int, encoded: bool) -> str | list[float]:
    seed = given if isinstance(given, str) else " ".join(map(str, given))
    numbers = struct.unpack(f"<{dimensions}i", hashlib.shake_256(seed.encode()).digest(4 * dimensions))
    length = math.hypot(*numbers) or 1.0
    packed = struct.pack(f"<{dimensions}f", *(number / length for number in numbers))
    # Through single precision either way, so that both formats say the same.
    return base64.b64encode(packed).decode() if encoded else list(struct.unpack(f"<{dimensions}f", packed))
