"""A request in the neutral form.

Parameters bear the names of OpenAI's chat completions, which the field knows best; what they mean is said here.
"""

from collections.abc import Mapping
from itertools import chain, groupby
from typing import Literal, TypeAlias

import msgspec

from trunkline_gateway.exchange.content import CacheControl, Json, Part, ToolCall

Operation: TypeAlias = Literal["chat", "embeddings", "count_tokens"]
"""What the caller wants done, whatever the dialect."""

Role: TypeAlias = Literal["system", "developer", "user", "assistant"]

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Turn(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Whose turn it is, and what is said.

    Turns stand as the client wrote them; an encoder joins neighbours where its dialect wants roles to alternate
    (`joined`). Tool results stand in user turns; several of them may be in one, with other parts after them.

    Attributes:
        name: Of the participant, where one is given.
    """

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


class Tool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A function of the client's.

    Attributes:
        parameters: A JSON Schema; None: it takes nothing, or nobody said.
        strict: Arguments must fit the schema; None: not said.
        custom: It takes free text, in ``format`` (OpenAI's grammar object) if given.
        namespace: The group it belongs to, and what is said of that.
    """

    name: str
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None
    custom: bool = False
    format: Json | None = None
    namespace: str | None = None
    namespace_description: str | None = None
    cache: CacheControl | None = None


class HostedTool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A tool that the provider runs itself.

    Attributes:
        kind: ``web_search``, ``web_fetch``, ``code_execution``, ``file_search``, ``image_generation``, ``computer``,
            ``bash``, ``text_editor``, ``memory``, ``mcp``, ``url_context``, ``maps``; what has no neutral word has the
            dialect's own.
        dialect: Whose words ``value`` is in.
        value: The tool as the client wrote it.
        max_uses, allowed_domains, blocked_domains, location: Of a web search, as far as it was said; ``location`` is
            Anthropic's and OpenAI's ``user_location`` in its flat form {type, city, region, country, timezone}.
    """

    kind: str
    dialect: str
    value: Json
    max_uses: int | None = None
    allowed_domains: tuple[str, ...] | None = None
    blocked_domains: tuple[str, ...] | None = None
    location: Json | None = None


class ToolChoice(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Which tools the model may, or must, call.

    Attributes:
        mode: ``required``: at least one. ``named``: just that of ``names``.
        names: With ``auto`` or ``required``: only these may be called; empty: all.
    """

    mode: Literal["auto", "none", "required", "named"]
    names: tuple[str, ...] = ()


class JsonObject(msgspec.Struct, frozen=True, gc=False):
    """The answer must be a JSON object."""


class JsonSchema(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The answer must be JSON that fits ``schema``."""

    schema: Json | None
    name: str = "response"
    description: str | None = None
    strict: bool | None = None


ResponseFormat: TypeAlias = JsonObject | JsonSchema
"""None stands for plain text."""


class ReasoningEffort(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How much to think, in whichever of three ways it was said; see `effort` for how they are turned into each other.

    Attributes:
        effort: A word. ``none``: not at all.
        budget_tokens: At most so many tokens; 0: not at all; -1: as the model sees fit (Gemini).
        adaptive: As the model sees fit (Anthropic); ``effort`` may say how hard it tries.
        summary: What is shown of it: ``none``: nothing (but it is there); ``auto``: something; None: not said,
            which with a budget is ``auto``.
    """

    effort: Effort | None = None
    budget_tokens: int | None = None
    adaptive: bool = False
    summary: Literal["none", "auto", "concise", "detailed"] | None = None


class Parameters(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a request asks for beside its turns and tools. None: not said, and then nothing is sent.

    Attributes:
        max_tokens: Of the answer, reasoning included.
        logit_bias: Token id → -100 to 100.
        n: Answers wanted.
        user: An opaque name of the end user.
        safety_identifier: The same, for the provider's abuse checks.
        audio: Output format and voice as OpenAI says it.
        modalities: ``text``, ``audio``, ``image``.
        safety_settings: As Gemini says them.
        stop: At most 16.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    n: int | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: ReasoningEffort | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: ToolChoice | None = None
    service_tier: str | None = None
    user: str | None = None
    metadata: Mapping[str, str] | None = None
    safety_identifier: str | None = None
    safety_settings: Json | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    store: bool | None = None
    modalities: tuple[str, ...] | None = None
    audio: Json | None = None
    prediction: Json | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Turns in, an answer out. Also what is counted by ``count_tokens``.

    Attributes:
        model: As the client wrote it.
        include_usage: The client wants the usage of a stream (always true but for OpenAI chat).
        unsaid: Names of what the client said and the exchange has no word for: lost whatever the upstream is.
        own: For the dialect that decoded it: what it needs to write the answer (what Responses echoes, how Gemini's
            stream is framed). Nobody else looks at it.
    """

    model: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool | HostedTool, ...] = ()
    parameters: Parameters = Parameters()
    stream: bool = False
    include_usage: bool = True
    unsaid: tuple[str, ...] = ()
    own: object = None


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts in, vectors out.

    Attributes:
        inputs: Texts, or texts as token ids.
        single: The client sent one input and not a list of one, where the dialect tells them apart in its answer.
        encoding_format: ``base64``: little-endian float32.
        task_type: ``RETRIEVAL_QUERY``, … (Gemini's words); title: of a document.
    """

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    single: bool = False
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    task_type: str | None = None
    title: str | None = None
    unsaid: tuple[str, ...] = ()
    own: object = None


Request: TypeAlias = ChatRequest | EmbeddingsRequest


def joined(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The same with neighbours of one role as one turn; names are kept where they agree."""
    made: list[Turn] = []
    for _, group in groupby(turns, key=lambda turn: turn.role):
        first, *others = group
        if others:
            parts = chain(first.parts, *(turn.parts for turn in others))
            name = first.name if all(turn.name == first.name for turn in others) else None
            first = Turn(role=first.role, parts=tuple(parts), name=name)
        made.append(first)
    return tuple(made)


def tool_names(turns: tuple[Turn, ...]) -> Mapping[str, str]:
    """Call id → the tool's name, of all calls in ``turns``."""
    return {part.id: part.name for turn in turns for part in turn.parts if isinstance(part, ToolCall)}
