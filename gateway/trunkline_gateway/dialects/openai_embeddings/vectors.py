"""Vectors as numbers, and as base64 of little-endian float32."""

import array
import base64
import binascii
import sys
from typing import Final, Literal

_FLOAT_BYTES: Final = 4


def is_base64(text: str) -> bool:
    """Whether it is base64 of whole numbers."""
    try:
        return len(base64.b64decode(text, validate=True)) % _FLOAT_BYTES == 0
    except (binascii.Error, ValueError):
        return False


def formatted(vector: tuple[float, ...] | str, form: Literal["float", "base64"]) -> tuple[float, ...] | str:
    """The vector in the form that is wanted; as it is where it has it."""
    if form == "base64" and not isinstance(vector, str):
        return base64.b64encode(_swapped(array.array("f", map(_single, vector))).tobytes()).decode("ascii")
    if form == "float" and isinstance(vector, str):
        numbers = array.array("f", base64.b64decode(vector))
        return tuple(0.0 if number != number or abs(number) == float("inf") else number for number in _swapped(numbers))
    return vector


def _single(number: float) -> float:
    """As far as it fits into 32 bits."""
    return max(min(number, 3.4028234663852886e38), -3.4028234663852886e38)


def _swapped(numbers: "array.array[float]") -> "array.array[float]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
