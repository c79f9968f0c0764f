"""What a model name of `echo` asks for: how fast, and how it misbehaves."""

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Fault: TypeAlias = Literal["none", "error", "cut", "hang"]

_MAX_SECONDS = 3600.0
_SUFFIX = re.compile(r"^(?P<name>.+?)-(?P<amount>\d{1,6}(?:\.\d{1,3})?)(?P<unit>ms|s)$")
_ERROR = re.compile(r"^error-(?P<status>[45]\d\d)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How an answer is given.

    Attributes:
        fault: What goes wrong, if anything.
        status: Of the ``error``.
        retry_after_seconds: Sent with a 429.
        first_delay_seconds: Before the first content.
        chunk_delay_seconds: Between one word and the next.
    """

    fault: Fault = "none"
    status: int = 200
    retry_after_seconds: float = 1.0
    first_delay_seconds: float = 0.0
    chunk_delay_seconds: float = 0.0


def of_model(model: str, *, chunk_delay_seconds: float) -> Behaviour:
    """Read a model name; one that asks for nothing behaves as ``echo``.

    A suffix such as ``-15s`` or ``-20ms`` sets the delay that the model is about: before the first content
    (``slow``), the ``Retry-After`` in whole seconds (``error-429``), between words (any other).

    Args:
        model: As in the request.
        chunk_delay_seconds: Between words, for models that do not say.
    """
    name, seconds = model, None
    if suffix := _SUFFIX.match(model):
        scale = 0.001 if suffix["unit"] == "ms" else 1.0
        name, seconds = suffix["name"], min(float(suffix["amount"]) * scale, _MAX_SECONDS)
    usual = Behaviour(chunk_delay_seconds=chunk_delay_seconds)
    if error := _ERROR.match(name):
        wait = usual.retry_after_seconds if seconds is None else seconds
        return Behaviour(fault="error", status=int(error["status"]), retry_after_seconds=wait)
    match name:
        case "slow":
            return Behaviour(first_delay_seconds=2.0 if seconds is None else seconds, chunk_delay_seconds=0.2)
        case "hang":
            return Behaviour(fault="hang")
        case "cut-mid-stream":
            usual = replace(usual, fault="cut")
    return usual if seconds is None else replace(usual, chunk_delay_seconds=seconds)
