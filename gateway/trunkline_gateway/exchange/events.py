"""A streamed answer in the neutral form: a closed union of events, in a fixed grammar.

    stream := Start? (PartStart delta* PartEnd | LogprobsDelta | Progress | UsageReport | Finish)* (End | Failed)

- `Start` comes once and first.
- Parts of a choice are numbered from 0 without gaps, in the order of their `PartStart`; several may be open at once
  (tool calls that come interleaved). A delta belongs to a part that has started and not ended.
- All parts of a choice have ended before its `Finish`; a choice finishes once. Usage may come before or after that.
- `UsageReport` holds all that is known by then: the last one counts.
- `End`: the answer is complete and has ended as its dialect wants it to. Without `End` or `Failed` it was cut short.

`assembly` checks the grammar, makes an `Answer` of events and events of an `Answer`. Events are made by the ten
thousand in a second, hence msgspec structs without garbage collection.
"""

from typing import TypeAlias

import msgspec

from trunkline_gateway.exchange.answer import FinishReason, TokenLogprob
from trunkline_gateway.exchange.content import Citation, Json, Part, Seal
from trunkline_gateway.exchange.usage import Usage


class Start(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The answer begins. Fields as in `Answer`."""

    id: str = ""
    model: str = ""
    created: int = 0
    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class PartStart(msgspec.Struct, frozen=True, gc=False):
    """A part begins: ``part`` is what is known of it by now, mostly with empty text.

    Parts that come whole (images, hosted steps, foreign ones) are complete here, and have no deltas.
    """

    index: int
    part: Part
    choice: int = 0


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a `Text`."""

    index: int
    text: str
    choice: int = 0


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a `Refusal`."""

    index: int
    text: str
    choice: int = 0


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """More of the text of a `Reasoning`."""

    index: int
    text: str
    choice: int = 0


class ArgumentsDelta(msgspec.Struct, frozen=True, gc=False):
    """More of the arguments of a `ToolCall`."""

    index: int
    text: str
    choice: int = 0


class SealDelta(msgspec.Struct, frozen=True, gc=False):
    """The seal of a part, once: the one it has, or of a `Reasoning` (``encrypted``) its hidden form."""

    index: int
    seal: Seal
    encrypted: bool = False
    choice: int = 0


class CitationDelta(msgspec.Struct, frozen=True, gc=False):
    """One more citation of a `Text`."""

    index: int
    citation: Citation
    choice: int = 0


class AudioDelta(msgspec.Struct, frozen=True, gc=False):
    """More of an `Audio`: base64 of whole samples, or of what is said in it; and till when it can be referred to."""

    index: int
    data: str = ""
    transcript: str = ""
    choice: int = 0
    expires_at: int | None = None


class PartEnd(msgspec.Struct, frozen=True, gc=False):
    """Nothing more of this part follows."""

    index: int
    choice: int = 0


class LogprobsDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a choice's logprobs."""

    logprobs: tuple[TokenLogprob, ...]
    choice: int = 0


class Progress(msgspec.Struct, frozen=True, gc=False):
    """A sign of life without content (Anthropic's ``ping``); nobody has to pass it on."""


class UsageReport(msgspec.Struct, frozen=True, gc=False):
    """The counts so far; replaces earlier reports."""

    usage: Usage


class Finish(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A choice is complete."""

    reason: FinishReason
    choice: int = 0
    stop_sequence: str | None = None
    safety: Json | None = None


class End(msgspec.Struct, frozen=True, gc=False):
    """The answer is complete."""


class Failed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The upstream said in the stream that it failed.

    Attributes:
        status: What it would have been as an answer of its own, 400 to 599.
        message, type, code, param: As it said them, not yet scrubbed of secrets.
    """

    status: int
    message: str
    type: str = ""
    code: str = ""
    param: str | None = None


Event: TypeAlias = (
    Start
    | PartStart
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ArgumentsDelta
    | SealDelta
    | CitationDelta
    | AudioDelta
    | PartEnd
    | LogprobsDelta
    | Progress
    | UsageReport
    | Finish
    | End
    | Failed
)
