"""A request for embeddings, read and written.

https://ai.google.dev/api/embeddings#method:-models.batchembedcontents

A client asks for one (embedContent) or for several (batchEmbedContents, whose body has ``requests``); an upstream is
always asked for several.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Encoded, Envelope, Fields, Target
from trunkline_gateway.errors import InvalidRequestError, UnsupportedFeatureError

_encoder: Final = msgspec.json.Encoder()
_requests: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_KNOWN: Final = frozenset({"model", "content", "requests", "taskType", "title", "outputDimensionality"})
_CONFIG: Final = "embedContentConfig"


def read_envelope(fields: Fields) -> Envelope:
    """The path says which model."""
    return Envelope(model="", stream=False)


def decode(fields: Fields, model: str, stream: bool, query: bytes) -> exchange.EmbeddingsRequest:
    """Read an EmbedContentRequest or a BatchEmbedContentsRequest.

    Raises:
        InvalidRequestError: Naming the field.
    """
    body = {_camel(name): _value(raw, name) for name, raw in fields.items()}
    body = {name: value for name, value in body.items() if value is not None}
    single = "requests" not in body
    wired = [_members(body, "")] if single else _batch(body["requests"])
    unsaid: dict[str, None] = dict.fromkeys(name for name in body if name not in _KNOWN and name != _CONFIG)
    inputs: list[str] = []
    for number, each in enumerate(wired):
        path = "" if single else f"requests[{number}]."
        inputs.append(_text_of(each.get("content"), f"{path}content"))
        unsaid |= {f"requests.{name}": None for name in each if not single and name not in _KNOWN}
    dimensions = _same(wired, "outputDimensionality")
    if dimensions is None and any("outputDimensionality" in each for each in wired):
        raise _invalid("requests", "must all have the same 'outputDimensionality'")
    task_type, title = _same(wired, "taskType"), _same(wired, "title")
    for name, value in (("taskType", task_type), ("title", title)):
        if value is None and any(name in each for each in wired):
            unsaid[f"requests.{name}"] = None
    return exchange.EmbeddingsRequest(
        model=model,
        inputs=tuple(inputs),
        single=single,
        dimensions=_dimensions(dimensions),
        task_type=_text(task_type, "taskType"),
        title=_text(title, "title"),
        unsaid=tuple(unsaid),
    )


def encode(request: exchange.Request, target: Target) -> Encoded:
    """Write a BatchEmbedContentsRequest.

    Raises:
        UnsupportedFeatureError: Its inputs are tokens, which are some other model's.
    """
    if not isinstance(request, exchange.EmbeddingsRequest):
        raise InvalidRequestError("Only embeddings can be asked for here.")
    lost = ["user"] if request.user is not None else []
    model = target.model if target.model.startswith("models/") else f"models/{target.model}"
    asked = {"taskType": request.task_type, "title": request.title, "outputDimensionality": request.dimensions}
    said = {name: value for name, value in asked.items() if value is not None}
    requests: list[dict[str, object]] = []
    for number, each in enumerate(request.inputs):
        if not isinstance(each, str):
            path = f"input[{number}]"
            raise UnsupportedFeatureError(f"'{path}' must be text: the model's provider takes no tokens.", param=path)
        requests.append({"model": model, "content": {"parts": [{"text": each}]}, **said})
    try:
        return Encoded(_encoder.encode({"requests": requests}), tuple(lost))
    except (msgspec.MsgspecError, OverflowError, UnicodeEncodeError):
        raise InvalidRequestError("The request holds a value that cannot be sent to the model's provider.") from None


def _batch(value: object) -> Sequence[Mapping[str, object]]:
    members = [value] if isinstance(value, Mapping) else value
    if not isinstance(members, list) or not members:
        raise _invalid("requests", "must be a list of requests")
    made: list[Mapping[str, object]] = []
    for number, each in enumerate(members):
        if not isinstance(each, Mapping):
            raise _invalid(f"requests[{number}]", "must be an object")
        made.append(_members(each, f"requests[{number}]."))
    return made


def _members(value: Mapping[str, object], path: str) -> Mapping[str, object]:
    """The members of one request by their names in camelCase, those of its config among them."""
    made = {_camel(str(name)): member for name, member in value.items() if member is not None}
    config = made.pop(_CONFIG, None)
    if config is None:
        return made
    if not isinstance(config, Mapping):
        raise _invalid(f"{path}{_CONFIG}", "must be an object")
    return made | {_camel(str(name)): member for name, member in config.items() if member is not None}


def _text_of(content: object, path: str) -> str:
    """The text of a Content; a string, or a lone part, in its place is taken as well."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Mapping):
        raise _invalid(path, "is required")
    parts = content.get("parts")
    members = parts if isinstance(parts, list) else [parts if parts is not None else content]
    texts: list[str] = []
    for number, part in enumerate(members):
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            # An embedding of the rest would be one of something else.
            raise _invalid(f"{path}.parts[{number}]", "must be text")
        texts.append(text)
    return "".join(texts)


def _same(wired: Sequence[Mapping[str, object]], name: str) -> object:
    """What all of them say; None where they differ, or say nothing."""
    first = wired[0].get(name)
    return first if all(each.get(name) == first for each in wired) else None


def _dimensions(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31):
        return value
    raise _invalid("outputDimensionality", "must be a whole number above 0")


def _text(value: object, path: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _invalid(path, "must be a string")


def _value(raw: msgspec.Raw, path: str) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _invalid(path, "cannot be read") from None


def _invalid(path: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"'{path}' {what}.", param=path)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(each[:1].upper() + each[1:] for each in rest)


def is_batch(fields: Fields, _query: bytes, _stream: bool) -> bool:
    """Whether a request can be passed on as it is: an upstream is always asked for a batch."""
    return "requests" in fields


def renamed(fields: Fields, model: str) -> Mapping[str, bytes]:
    """The requests of a batch with ``model`` in each; Google takes no other there than the path's."""
    raw = fields.get("requests")
    try:
        requests = [] if raw is None else _requests.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}  # the upstream says what is wrong with it
    name = msgspec.Raw(_encoder.encode(model if model.startswith("models/") else f"models/{model}"))
    if all(each.get("model", name) == name for each in requests):
        return {}
    return {"requests": _encoder.encode([{**each, "model": name} for each in requests])}
