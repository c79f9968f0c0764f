"""A request for embeddings, read from a client and written for an upstream.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeVar

import msgspec

from trunkline_gateway import envelope, exchange
from trunkline_gateway.dialect import Encoded, Envelope, Fields, Target
from trunkline_gateway.errors import InvalidRequestError

QUIRKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no_dimensions": "Vectors have one length.",
        "output_dimension": "The length is called output_dimension (Mistral).",
        "no_encoding_format": "Vectors come as numbers; there is no encoding_format.",
        "no_token_input": "Takes texts only.",
        "no_user": "Has no user.",
    }
)
"""What providers of this dialect do differently, by name."""

_T = TypeVar("_T")

_NULL: Final = b"null"
_input: Final = msgspec.json.Decoder(str | list[msgspec.Raw])
_texts: Final = msgspec.json.Decoder(list[str])
_tokens: Final = msgspec.json.Decoder(list[int])
_token_lists: Final = msgspec.json.Decoder(list[list[int]])
_integer: Final = msgspec.json.Decoder(int)
_text: Final = msgspec.json.Decoder(str)
_format: Final = msgspec.json.Decoder(Literal["float", "base64"])
_encoder: Final = msgspec.json.Encoder()
_KNOWN: Final = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


def read_envelope(fields: Fields) -> Envelope:
    """Read the model.

    Raises:
        InvalidRequestError: It cannot be read.
    """
    return Envelope(envelope.read_model(fields), False, False)


def decode(fields: Fields, model: str, stream: bool, query: bytes) -> exchange.EmbeddingsRequest:
    """Read a request; ``stream`` and ``query`` mean nothing here.

    Raises:
        InvalidRequestError: It cannot be used; ``param`` names the field.
    """
    del stream, query
    inputs, single = _inputs(fields)
    return exchange.EmbeddingsRequest(
        model=model,
        inputs=inputs,
        single=single,
        dimensions=_member(fields, "dimensions", _integer, "an integer"),
        encoding_format=_member(fields, "encoding_format", _format, "float or base64"),
        user=_member(fields, "user", _text, "a string"),
        unsaid=tuple(name for name, value in fields.items() if name not in _KNOWN and bytes(value) != _NULL),
    )


def encode(request: exchange.Request, target: Target) -> Encoded:
    """Write a request.

    Raises:
        InvalidRequestError: It has tokens for a target that takes texts only: they cannot be left out.
    """
    if not isinstance(request, exchange.EmbeddingsRequest):
        raise TypeError("an embeddings request is wanted")
    quirks = target.quirks
    if "no_token_input" in quirks and any(not isinstance(each, str) for each in request.inputs):
        raise InvalidRequestError("This model takes texts, and no tokens.", param="input")
    lost = [name for name in ("task_type", "title") if getattr(request, name) is not None]
    body: dict[str, object] = {
        "model": target.model,
        "input": request.inputs[0] if request.single and len(request.inputs) == 1 else request.inputs,
    }
    if request.dimensions is not None:
        if "no_dimensions" in quirks:
            lost.append("dimensions")
        else:
            body["output_dimension" if "output_dimension" in quirks else "dimensions"] = request.dimensions
    # Not lost where it cannot be said: the answer is written in the form that the client wants.
    if request.encoding_format is not None and "no_encoding_format" not in quirks:
        body["encoding_format"] = request.encoding_format
    if request.user is not None:
        if "no_user" in quirks:
            lost.append("user")
        else:
            body["user"] = request.user
    return Encoded(_encoder.encode(body), tuple(lost))


def _inputs(fields: Fields) -> tuple[tuple[str | tuple[int, ...], ...], bool]:
    """The inputs, and whether there is one that is no list."""
    given = _member(fields, "input", _input, "a string, a list of strings, or tokens")
    if given is None:
        raise InvalidRequestError("The field 'input' is missing.", param="input")
    if isinstance(given, str):
        return (given,), True
    if not given:
        raise InvalidRequestError("The field 'input' is empty.", param="input")
    raw = fields["input"]
    try:
        match bytes(given[0])[:1]:
            case b'"':
                return tuple(_texts.decode(raw)), False
            case b"[":
                return tuple(tuple(each) for each in _token_lists.decode(raw)), False
            case _:
                return (tuple(_tokens.decode(raw)),), True
    except (msgspec.MsgspecError, UnicodeDecodeError):
        message = "The field 'input' must be a string, a list of strings, or tokens."
        raise InvalidRequestError(message, param="input") from None


def _member(fields: Fields, name: str, decoder: "msgspec.json.Decoder[_T]", what: str) -> _T | None:
    raw = fields.get(name)
    if raw is None or bytes(raw) == _NULL:
        return None
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidRequestError(f"The field '{name}' must be {what}.", param=name) from None
