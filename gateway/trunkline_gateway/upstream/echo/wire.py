"""What `echo` reads: the part of OpenAI's requests that it acts on.

https://platform.openai.com/docs/api-reference

Fields that are not here are accepted and ignored, as by a server that is newer than its client.
"""

import re
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta


class RefusedError(Exception):
    """The request gets this error; the message is for its author."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": type, "param": param, "code": code}

    def body(self) -> bytes:
        """The error in OpenAI's shape."""
        return msgspec.json.encode({"error": self.error})


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text among the parts of a message."""

    text: str


class RefusalPart(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """A refusal that an assistant once gave."""

    refusal: str


class ImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image_url"):
    """A picture, not looked at."""


class AudioPart(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio"):
    """Sound, not listened to."""


class FilePart(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    """A file, not opened."""


Part: TypeAlias = TextPart | RefusalPart | ImagePart | AudioPart | FilePart


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


FunctionName: TypeAlias = Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]


class Function(msgspec.Struct, frozen=True):
    """A function that may be called; ``parameters`` is a JSON schema."""

    name: FunctionName
    parameters: dict[str, object] | None = None


class Tool(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    """A tool. Custom tools are refused."""

    function: Function


class ChosenFunction(msgspec.Struct, frozen=True):
    """The function of a `NamedChoice`."""

    name: str


class NamedChoice(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    """That function has to be called."""

    function: ChosenFunction


class TextFormat(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObjectFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_object"):
    """Some JSON object."""


class JsonSchema(msgspec.Struct, frozen=True):
    """A named schema."""

    name: str
    schema: dict[str, object] = {}


class JsonSchemaFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that fits a schema."""

    json_schema: JsonSchema


class StreamOptions(msgspec.Struct, frozen=True):
    """What a stream carries beside the answer."""

    include_usage: bool | None = None


TokenLimit: TypeAlias = Annotated[int, Meta(ge=1)]


class ChatRequest(msgspec.Struct, frozen=True):
    """A request for chat completions."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """A request for embeddings; numbers in ``input`` are token ids."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | list[str | int | list[int]]
    dimensions: Annotated[int, Meta(ge=1, le=4096)] | None = None
    encoding_format: Literal["float", "base64"] | None = None


_R = TypeVar("_R", ChatRequest, EmbeddingRequest)

_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]+)`")
_PLACE = re.compile(r" - at `\$\.?(?P<place>[^`]*)`$")


def decode(body: bytes, kind: type[_R]) -> _R:
    """Read a request.

    Raises:
        RefusedError: It is not JSON, or a field is missing or wrong; the error names the field.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as failure:
        text = str(failure)
        place = found["place"] if (found := _PLACE.search(text)) else ""
        if missing := _MISSING.match(text):
            param = f"{place}.{missing['field']}".lstrip(".")
            raise RefusedError(f"Missing required parameter: '{param}'.", param=param) from failure
        what = _PLACE.sub("", text)
        raise RefusedError(
            f"Invalid value for '{place}': {what}." if place else f"{what}.", param=place or None
        ) from failure
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        raise RefusedError("We could not parse the JSON body of your request.") from failure
