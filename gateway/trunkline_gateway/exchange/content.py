"""What a turn or an answer is made of: a closed union of parts, none named after a vendor.

All are immutable. JSON that nobody here needs to look into stays as its bytes (`msgspec.Raw`).
"""

from typing import Literal, TypeAlias

import msgspec

Json: TypeAlias = msgspec.Raw
"""A JSON value as its bytes: valid UTF-8, not nested deeper than the envelope allows."""

Maker: TypeAlias = Literal["openai", "anthropic", "google", "other"]
"""Whose models made a seal: those of one maker read each other's, on whatever platform, if the account fits."""


class CacheControl(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The prompt up to and including this part should be cached. ``ttl``: None is the provider's usual time."""

    ttl: Literal["5m", "1h"] | None = None


class Seal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something that only who made it can read: a signature of reasoning, or encrypted reasoning. See `origin`.

    Attributes:
        maker: Whose models can read it.
        account: A fingerprint of the account it came from; empty: not known.
        value: As the maker wrote it, which is text (mostly base64).
    """

    maker: Maker
    account: str = ""
    value: str = ""


class Url(msgspec.Struct, frozen=True, gc=False):
    """Where content is to be had; http(s), gs://, s3://."""

    url: str


class Inline(msgspec.Struct, frozen=True, gc=False):
    """Content itself, in standard base64 with padding."""

    data: str


class FileId(msgspec.Struct, frozen=True, gc=False):
    """Content that was uploaded to the provider before."""

    id: str


Source: TypeAlias = Url | Inline | FileId


class UrlCitation(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A page that backs some text of an answer. ``start`` and ``end`` are characters of that text part, if known."""

    url: str
    title: str | None = None
    cited_text: str | None = None
    start: int | None = None
    end: int | None = None
    seal: str | None = None


class DocumentCitation(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A place in a document of the request that backs some text of an answer.

    Attributes:
        unit: Of ``start`` and ``end`` in the document: characters (from 0), pages (from 1) or blocks (from 0), the end
            excluded.
        document: Its number among the documents of the request, from 0.
    """

    document: int | None = None
    title: str | None = None
    cited_text: str | None = None
    unit: Literal["character", "page", "block"] | None = None
    start: int | None = None
    end: int | None = None
    file_id: str | None = None


Citation: TypeAlias = UrlCitation | DocumentCitation


class Text(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Text. ``seal``: Gemini signs plain text parts, too."""

    text: str
    citations: tuple[Citation, ...] = ()
    seal: Seal | None = None
    cache: CacheControl | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The model's own words for why it does not answer."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the model thought.

    Attributes:
        text: As far as it is shown; empty where all of it is sealed.
        summary: ``text`` is a summary and not the thoughts themselves.
        signature: Proves that ``text`` is the model's own.
        encrypted: The thoughts themselves, for the model's eyes; with it ``text`` may be empty (redacted thinking).
        id: The provider's id of the item, empty where it has none.
    """

    text: str = ""
    summary: bool = False
    signature: Seal | None = None
    encrypted: Seal | None = None
    id: str = ""


class Image(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A picture. ``media_type`` such as ``image/png``; None where a URL does not tell. ``detail``: low, high, auto."""

    source: Source
    media_type: str | None = None
    detail: str | None = None
    cache: CacheControl | None = None


class Audio(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Sound: what a user sends, or what a model says.

    Attributes:
        media_type: ``audio/wav``, ``audio/mp3``, …; of an answer also ``audio/pcm16``.
        transcript: What is said in it, in an answer.
        id: By which an earlier answer can be referred to; with it ``source`` may be empty.
    """

    source: Source | None = None
    media_type: str | None = None
    transcript: str = ""
    id: str = ""
    expires_at: int | None = None


class Video(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A film."""

    source: Source
    media_type: str | None = None


class Document(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A file to be read: PDF, plain text and so on.

    Attributes:
        source: None where ``text`` holds it.
        text: Plain text.
        name: File name or title.
        context: What else is said of it; not cited.
        citations: Answers shall cite it.
    """

    source: Source | None = None
    text: str | None = None
    media_type: str | None = None
    name: str | None = None
    context: str | None = None
    citations: bool = False
    cache: CacheControl | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The model wants a tool of the client's to be run.

    Attributes:
        id: Never empty: where a provider gives none, the decoder makes one (see `dialect.Asked.new_id`).
        arguments: JSON text of an object, exactly as the model wrote it, which need not be valid; of a custom tool
            whatever it wrote.
        custom: The tool takes free text.
        namespace: Of the tool (OpenAI Responses).
        seal: Gemini signs calls; they have to come back with it.
        item_id: The provider's id of the item, beside ``id``; empty where it has none.
    """

    id: str
    name: str
    arguments: str = ""
    custom: bool = False
    namespace: str | None = None
    seal: Seal | None = None
    cache: CacheControl | None = None
    item_id: str = ""


class ToolResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What came of a tool call. Stands in a user turn.

    Attributes:
        name: Of the tool, where the dialect says it; `request.tool_names` finds it by ``call_id``.
        content: Text, Image, Document, Audio, Video.
        structured: The result as a JSON object, where it came as one (Gemini, Bedrock); ``content`` then has its text.
    """

    call_id: str
    content: tuple["Text | Image | Document | Audio | Video", ...] = ()
    name: str | None = None
    is_error: bool = False
    custom: bool = False
    structured: Json | None = None
    cache: CacheControl | None = None


class HostedStep(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A call, or the result, of a tool that the provider runs itself: web search, code execution and so on.

    Attributes:
        tool: In neutral words where there are some (see `request.HostedTool`), else the dialect's.
        dialect: Whose words ``value`` is in; that dialect writes it back as it is.
        value: The block or item itself.
        query: What was searched for or run, as text, so that others can show it.
        bare: ``value`` without the seal that is within it; None: there is none.
    """

    tool: str
    dialect: str
    value: Json
    id: str = ""
    query: str = ""
    bare: Json | None = None


class Foreign(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What only one dialect can say and no other has a word for. Others report ``kind`` as lost."""

    dialect: str
    kind: str
    value: Json


Part: TypeAlias = (
    Text | Refusal | Reasoning | Image | Audio | Video | Document | ToolCall | ToolResult | HostedStep | Foreign
)
