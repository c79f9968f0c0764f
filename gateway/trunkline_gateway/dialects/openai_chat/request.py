"""What the front door reads of a chat completion, and the body as it is passed on to who speaks the same.

https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Final

import msgspec

from trunkline_gateway import envelope
from trunkline_gateway.dialect import Envelope, Fields
from trunkline_gateway.errors import InvalidRequestError

_encoder: Final = msgspec.json.Encoder()
_options: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_TRUE: Final = msgspec.Raw(b"true")
_USAGE_ASKED: Final = b',"stream_options":{"include_usage":true}'


def read_envelope(fields: Fields) -> Envelope:
    """Read the model, whether a stream is wanted, and whether with its usage.

    Raises:
        InvalidRequestError: One of them cannot be read.
    """
    model = envelope.read_model(fields)
    stream = "stream" in fields and envelope.read_switch(fields, "stream")
    return Envelope(model, stream, "stream_options" in fields and _includes_usage(fields))


def encode(request: envelope.Request, model: str, *, add_usage: bool = False) -> bytes:
    """Write a chat completion for a target: `model` is replaced, every other byte stays as it is.

    Args:
        request: As the client has sent it.
        model: The upstream's name of the model.
        add_usage: Ask for the usage of a stream where the client did not (``stream_options.include_usage``); the
            event that this brings must be taken out of the answer again.
    """
    if not (add_usage and request.stream and not request.includes_usage):
        return request.with_model(model)
    new = _encoder.encode(model)
    given = request.fields.get("stream_options")
    if given is None:
        return request.splice("model", new + _USAGE_ASKED)
    options = dict(_options.decode(given) or {})
    options["include_usage"] = _TRUE
    return request.splice_two("model", new, "stream_options", _encoder.encode(options))


def _includes_usage(fields: Fields) -> bool:
    raw = fields.get("stream_options")
    if raw is None:
        return False
    try:
        options = _options.decode(raw)
    except msgspec.MsgspecError:
        message = "The field 'stream_options' must be an object."
        raise InvalidRequestError(message, param="stream_options") from None
    if options is None:
        return False
    return envelope.read_switch(options, "include_usage", "stream_options.include_usage")
