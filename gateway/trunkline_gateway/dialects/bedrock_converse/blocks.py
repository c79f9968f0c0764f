"""What answers are made of, whole or streamed: citations, sealed thoughts, tools that Bedrock runs, reasons to stop.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from trunkline_gateway.dialects.bedrock_converse import media, names, reading
from trunkline_gateway.dialects.bedrock_converse.parts import DIALECT
from trunkline_gateway.dialects.bedrock_converse.reading import Members
from trunkline_gateway.dialects.bedrock_converse.tools import SYSTEM_TOOLS
from trunkline_gateway.exchange import (
    Citation,
    DocumentCitation,
    FinishReason,
    HostedStep,
    Image,
    Inline,
    Maker,
    Seal,
    Source,
    Url,
    UrlCitation,
)

SERVER_TOOL: Final = "server_tool_use"

FINISH: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_window",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "malformed_tool_use": "malformed_tool_call",
    "malformed_model_output": "other",
    # Claude's own, which Bedrock's reference does not have.
    "refusal": "refusal",
    "pause_turn": "pause",
}

_TOOLS: Final[Mapping[str, str]] = {name: tool for tool, name in SYSTEM_TOOLS.items()}
_RESULT: Final = "_result"
_QUERIES: Final = ("query", "snippet", "code")
_UNITS: Final[tuple[tuple[str, Literal["character", "page", "block"]], ...]] = (
    ("documentChar", "character"),
    ("documentPage", "page"),
    ("documentChunk", "block"),
)

_encoder: Final = msgspec.json.Encoder()


def finish_reason(value: msgspec.Raw | None) -> FinishReason:
    """Of a ``stopReason``, whatever it says."""
    return FINISH.get(reading.text(value) or "", "other")


def stop_sequence(fields: msgspec.Raw | None) -> str | None:
    """Out of ``additionalModelResponseFields``; see `settings.STOP_SEQUENCE`."""
    return reading.text(reading.members(fields).get("stop_sequence"))


def signature(value: str, maker: Maker, account: str) -> Seal:
    """Proof that a thought is the model's own."""
    return Seal(maker=maker, account=account, value=value)


def redacted(content: bytes, maker: Maker, account: str) -> Seal:
    """Thoughts that are not shown: of Claude's the blob holds what Anthropic writes as text, which is kept as that."""
    if maker == "anthropic":
        try:
            return Seal(maker=maker, account=account, value=content.decode("ascii"))
        except UnicodeDecodeError:
            # Not Anthropic's form: nobody could write it back as it was.
            maker = "other"
    return Seal(maker=maker, account=account, value=base64.b64encode(content).decode("ascii"))


def citation(value: msgspec.Raw) -> Citation | None:
    """One citation; None: it says nothing."""
    members = reading.object_of(value)
    if not members:
        return None
    title = reading.text(members.get("title"))
    pieces = (reading.text(reading.members(each).get("text")) for each in reading.items(members.get("sourceContent")))
    cited_text = "".join(piece for piece in pieces if piece) or None
    location = reading.members(members.get("location"))
    if "web" in location:
        web = reading.members(location["web"])
        url = reading.text(web.get("url")) or reading.text(web.get("domain")) or ""
        return UrlCitation(url=url, title=title, cited_text=cited_text)
    for name, unit in _UNITS:
        if name in location:
            place = reading.members(location[name])
            return DocumentCitation(
                document=reading.count(place.get("documentIndex")),
                title=title,
                cited_text=cited_text,
                unit=unit,
                start=reading.count(place.get("start")),
                end=reading.count(place.get("end")),
            )
    source = reading.text(members.get("source"))
    if source and source.startswith(("https://", "http://")):
        return UrlCitation(url=source, title=title, cited_text=cited_text)
    return DocumentCitation(title=title, cited_text=cited_text)


def citations(value: msgspec.Raw | None) -> tuple[Citation, ...]:
    """All that can be read of a list of them."""
    return tuple(each for each in map(citation, reading.items(value)) if each is not None)


def unwrapped(arguments: str) -> str:
    """What was given to a tool that takes free text; see `names.INPUT`."""
    members = reading.object_of(arguments.encode("utf-8", "replace"))
    text = None if members is None else reading.text(members.get(names.INPUT))
    return arguments if text is None else text


def hosted_call(use: Members, arguments: str) -> HostedStep:
    """A call of a tool that Bedrock runs itself."""
    name = reading.text(use.get("name")) or ""
    given = reading.object_of(arguments.encode("utf-8", "replace"))
    query = next((text for key in _QUERIES if (text := reading.text((given or {}).get(key)))), "")
    value = {**use, "input": {} if given is None else msgspec.Raw(arguments.encode())}
    return HostedStep(
        tool=_TOOLS.get(name, name or "hosted_tool"),
        dialect=DIALECT,
        value=msgspec.Raw(_encoder.encode({"toolUse": value})),
        id=reading.text(use.get("toolUseId")) or "",
        query=query,
    )


def hosted_result(result: Members, content: Sequence[msgspec.Raw]) -> HostedStep:
    """What came of it."""
    name = (reading.text(result.get("type")) or "").removesuffix(_RESULT)
    return HostedStep(
        tool=_TOOLS.get(name, name or "hosted_tool"),
        dialect=DIALECT,
        value=msgspec.Raw(_encoder.encode({"toolResult": {**result, "content": list(content)}})),
        id=reading.text(result.get("toolUseId")) or "",
    )


def image(format: msgspec.Raw | None, source: msgspec.Raw | None) -> Image | None:
    """A picture that the model made; None: there is none."""
    members = reading.members(source)
    location = reading.text(reading.members(members.get("s3Location")).get("uri"))
    found: Source | None = None
    if data := reading.text(members.get("bytes")):
        found = Inline(data)
    elif location:
        found = Url(location)
    if found is None:
        return None
    return Image(source=found, media_type=media.media_type_of(reading.text(format) or ""))
