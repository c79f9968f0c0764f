"""Parts that need a closer look: code that was run, tools of Google's, media; read from an answer and from a history.

https://ai.google.dev/api/caching#Part
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.gemini_generate import wire
from trunkline_gateway.exchange import origin

DIALECT: Final = "gemini_generate"

SKIP: Final = "skip_thought_signature_validator"
"""In place of a signature for a call that Gemini did not make: https://ai.google.dev/gemini-api/docs/thought-signatures"""

DUMMIES: Final = frozenset({SKIP, "context_engineering_is_the_way_to_go"})
"""Both are documented; a client that sends one says that there is no signature."""

FILES: Final = "https://generativelanguage.googleapis.com/"
"""Where uploaded files are named; nobody but Google can read them."""

_TOOLS: Final[Mapping[str, str]] = {
    "GOOGLE_SEARCH_WEB": "web_search",
    "GOOGLE_SEARCH_IMAGE": "web_search",
    "URL_CONTEXT": "url_context",
    "GOOGLE_MAPS": "maps",
    "FILE_SEARCH": "file_search",
}
_STEPS: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")

_TO_URL_SAFE: Final = str.maketrans("-_", "+/")


def step(raw: msgspec.Raw) -> exchange.HostedStep | exchange.Foreign | None:
    """A part that is a step of a hosted tool, or what only Gemini knows; None: it says nothing."""
    value = wire.value_of(raw)
    if not isinstance(value, Mapping):
        return None
    signature = value.get("thoughtSignature")
    bare = _without_signature(raw) if isinstance(signature, str) and unstamped(signature) else None
    for name in _STEPS:
        member = value.get(name)
        if isinstance(member, Mapping):
            tool, query = _described(name, member)
            said = member.get("id")
            return exchange.HostedStep(
                tool=tool,
                dialect=DIALECT,
                value=raw,
                id=said if isinstance(said, str) else "",
                query=query,
                bare=bare,
            )
    known = ("thought", "thoughtSignature", "text", "functionCall", "inlineData", "fileData")
    kind = next((name for name, member in value.items() if name not in known and member is not None), None)
    return None if kind is None else exchange.Foreign(dialect=DIALECT, kind=kind, value=raw)


def _described(name: str, member: Mapping[object, object]) -> tuple[str, str]:
    """The tool in neutral words, and what was run or looked for."""
    if name in ("executableCode", "codeExecutionResult"):
        text = member.get("code" if name == "executableCode" else "output")
        return "code_execution", text if isinstance(text, str) else ""
    kind = member.get("toolType")
    tool = _TOOLS.get(kind, kind.lower()) if isinstance(kind, str) else "hosted_tool"
    args = member.get("args")
    for each in args.values() if isinstance(args, Mapping) else ():
        words = each if isinstance(each, list) else [each]
        if words and all(isinstance(word, str) for word in words):
            return tool, " ".join(str(word) for word in words)
    return tool, ""


def media(
    media_type: str | None, source: exchange.Source, *, name: str | None = None
) -> exchange.Image | exchange.Audio | exchange.Video | exchange.Document:
    """A file by its kind; what has no type, or another, is a document."""
    kind = (media_type or "").partition("/")[0].lower()
    if kind == "image":
        return exchange.Image(source=source, media_type=media_type)
    if kind == "audio":
        return exchange.Audio(source=source, media_type=media_type)
    if kind == "video":
        return exchange.Video(source=source, media_type=media_type)
    return exchange.Document(source=source, media_type=media_type, name=name)


def source_of(uri: str) -> exchange.Url | exchange.FileId:
    """An address that others can read, too, or the name of a file at Google."""
    return exchange.FileId(uri) if uri.startswith((FILES, "files/")) else exchange.Url(uri)


def standard_base64(text: str) -> str | None:
    """Base64 as the exchange has it, of either alphabet, with or without padding; None: it is none."""
    made = text.translate(_TO_URL_SAFE) if "-" in text or "_" in text else text
    if len(made) % 4:
        made += "=" * (-len(made) % 4)
    try:
        base64.b64decode(made, validate=True)
    except (binascii.Error, ValueError):
        return None
    return made


# ---- signatures ------------------------------------------------------------------------------------------------------

_ENCRYPTED: Final = "\x01"
"""Before a value that is no signature but reasoning itself, with the id of its item. Gemini has one field for both."""

SealKind = Literal["signature", "encrypted"]


def stamped(seal: exchange.Seal, kind: SealKind = "signature", item_id: str = "") -> str:
    """A seal for a client's ``thoughtSignature``."""
    if kind == "encrypted":
        marked = f"{_ENCRYPTED}{item_id}{_ENCRYPTED}{seal.value}"
        seal = exchange.Seal(maker=seal.maker, account=seal.account, value=marked)
    return origin.stamp(seal)


def unstamped(text: str) -> tuple[exchange.Seal, SealKind, str] | None:
    """What a client sends back as ``thoughtSignature``, and the id of its item; None: it says that there is none.

    Google's SDKs decode it and encode it again, mostly in the other alphabet.
    """
    if text in DUMMIES or not text:
        return None
    if text.startswith(origin.MARK):
        text = standard_base64(text) or text
    seal = origin.read(text, "google")
    if seal is None:
        return None
    if not seal.value.startswith(_ENCRYPTED):
        return seal, "signature", ""
    item_id, _, value = seal.value[1:].partition(_ENCRYPTED)
    return exchange.Seal(maker=seal.maker, account=seal.account, value=value), "encrypted", item_id


def with_signature(raw: msgspec.Raw, signature: str) -> msgspec.Raw:
    """The part with its signature stamped, so that it finds its way back to who made it."""
    members = _members(raw)
    return raw if members is None else wire.raw_of({**members, "thoughtSignature": wire.raw_of(signature)})


def _without_signature(raw: msgspec.Raw) -> msgspec.Raw | None:
    members = _members(raw)
    if members is None:
        return None
    return wire.raw_of({name: value for name, value in members.items() if name != "thoughtSignature"})


def _members(raw: msgspec.Raw) -> Mapping[str, msgspec.Raw] | None:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
