"""A streamed answer of Converse.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html

Blocks of text and of thoughts begin with their first delta: only tools and images have a start of their own. Whatever
comes whole in the exchange (steps of Bedrock's own tools, images, seals) is gathered until its block stops.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from trunkline_gateway.aws import EventStreamMessage
from trunkline_gateway.dialect import Asked, Frame
from trunkline_gateway.dialects.bedrock_converse import blocks, errors, models, names, reading, usage
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import (
    ArgumentsDelta,
    Citation,
    CitationDelta,
    End,
    Event,
    Finish,
    Image,
    Inline,
    Part,
    PartEnd,
    PartStart,
    Reasoning,
    ReasoningDelta,
    SealDelta,
    Start,
    Text,
    TextDelta,
    ToolCall,
    UsageReport,
)

Kind: TypeAlias = Literal["text", "reasoning", "call", "hosted", "result", "image"]

_ABSENT: Final = msgspec.Raw()
_NO_TEXT: Final = Text(text="")
_NO_REASONING: Final = Reasoning()
_NOTHING: Final[Sequence[Event]] = ()


class _WireToolInput(msgspec.Struct, gc=False):
    input: str = ""


class _WireReasoning(msgspec.Struct, gc=False):
    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None  # noqa: N815  # the provider's own name, as those below


class _WireDelta(msgspec.Struct, gc=False):
    text: str | None = None
    toolUse: _WireToolInput | None = None  # noqa: N815
    reasoningContent: _WireReasoning | None = None  # noqa: N815
    # Empty where they are absent: of `Raw | None` msgspec takes nothing but null.
    citation: msgspec.Raw = _ABSENT
    toolResult: msgspec.Raw = _ABSENT  # noqa: N815
    image: msgspec.Raw = _ABSENT


class _WireBlockDelta(msgspec.Struct, gc=False):
    """``contentBlockDelta``: nearly all that comes."""

    delta: _WireDelta
    contentBlockIndex: int = 0  # noqa: N815


_block_delta: Final = msgspec.json.Decoder(_WireBlockDelta)


class _Block:
    """A block of which more may come; ``part`` is its number in the exchange, if it has one by now."""

    __slots__ = (
        "arguments",
        "citations",
        "custom",
        "has_input",
        "head",
        "hidden",
        "items",
        "kind",
        "part",
        "signature",
    )

    def __init__(self, kind: Kind, part: int = -1, *, head: reading.Members | None = None) -> None:
        self.kind = kind
        self.part = part
        self.custom = False
        self.has_input = False
        self.head = head or {}
        self.arguments: list[str] = []
        self.items: list[msgspec.Raw] = []
        self.hidden: list[bytes] = []
        self.signature: list[str] = []
        self.citations: list[Citation] = []  # that came before the text that they are for


class StreamDecoder:
    """See `dialect.StreamDecoder`."""

    def __init__(self, asked: Asked) -> None:
        """Begin an answer."""
        self._asked = asked
        self._maker = models.of(asked.target.model).maker
        self._account = asked.target.account
        self._names = names.ToolNames(asked.request)
        self._blocks: dict[int, _Block] = {}
        self._parts = 0
        self._calls = 0
        self._began = False
        self._finished = False
        self._counted = False
        self._ended = False
        self._lingering = -1  # a text whose block has stopped: citations without text may follow

    def receive(self, frame: Frame) -> Sequence[Event]:
        """See `dialect.StreamDecoder.receive`."""
        if self._ended:
            return _NOTHING
        name = frame.name
        if name == b"contentBlockDelta":
            return self._delta(frame.data)
        if (isinstance(frame, EventStreamMessage) and frame.failed) or name.endswith((b"Exception", b"Error")):
            self._ended = True
            return [errors.failed(name, frame.data)]
        reader = _READERS.get(name)
        if reader is None:
            return _NOTHING  # the reference: new ones may come
        members = reading.object_of(frame.data)
        if members is None:
            self._refuse()
            return _NOTHING
        made: list[Event] = []
        reader(self, members, made)
        return made

    def receive_eof(self) -> Sequence[Event]:
        """See `dialect.StreamDecoder.receive_eof`; the counts may be missing."""
        if not self._finished or self._ended:
            return _NOTHING
        self._ended = True
        return [End()]

    def _refuse(self) -> None:
        """What cannot be read is skipped, unless nothing has been read yet.

        Raises:
            UpstreamProtocolError: So it is.
        """
        if not self._began:
            raise UpstreamProtocolError("The upstream sent an event that is not a JSON object.")

    def _begin(self, made: list[Event]) -> None:
        if not self._began:
            self._began = True
            made.append(Start(created=self._asked.now))

    def _delta(self, data: bytes) -> Sequence[Event]:
        wire = reading.read(_block_delta, data)
        if wire is None:
            if reading.object_of(data) is None:
                self._refuse()
            return _NOTHING
        if self._finished:
            return _NOTHING
        delta, index = wire.delta, wire.contentBlockIndex
        block = self._blocks.get(index)
        if block is not None:  # the usual cases
            if delta.text and block.kind == "text" and block.part >= 0:
                return [TextDelta(block.part, delta.text)]
            if delta.toolUse is not None:
                return _input(block, delta.toolUse.input)
        made: list[Event] = []
        self._begin(made)
        self._other_delta(index, block, delta, made)
        return made

    def _other_delta(self, index: int, block: _Block | None, delta: _WireDelta, made: list[Event]) -> None:
        if delta.text is not None:
            if delta.text:
                self._text(index, delta.text, made)
        elif delta.reasoningContent is not None:
            self._reasoning(index, delta.reasoningContent, made)
        elif bytes(delta.citation):
            self._citation(index, delta.citation, made)
        elif block is not None and block.kind == "result":
            block.items.extend(_copied(reading.items(delta.toolResult)))
        elif block is not None and block.kind == "image":
            source = reading.members(delta.image).get("source")
            block.items.extend(() if source is None else _copied([source]))

    def _text(self, index: int, text: str, made: list[Event]) -> None:
        block = self._open(index, "text", made)
        if block.part < 0:
            block.part = self._start(_NO_TEXT, made)
        made.append(TextDelta(block.part, text))
        made.extend(CitationDelta(block.part, each) for each in block.citations)
        block.citations = []

    def _citation(self, index: int, value: msgspec.Raw, made: list[Event]) -> None:
        citation = blocks.citation(value)
        if citation is None:
            return
        block = self._open(index, "text", made)
        if block.part < 0:
            block.citations.append(citation)
        else:
            made.append(CitationDelta(block.part, citation))

    def _reasoning(self, index: int, wire: _WireReasoning, made: list[Event]) -> None:
        hidden = reading.blob(wire.redactedContent) if wire.redactedContent else None
        if not (wire.text or wire.signature or hidden):
            return
        block = self._open(index, "reasoning", made)
        if block.part < 0:
            block.part = self._start(_NO_REASONING, made)
        if wire.text:
            made.append(ReasoningDelta(block.part, wire.text))
        if wire.signature:
            block.signature.append(wire.signature)
        if hidden:
            block.hidden.append(hidden)

    def _open(self, index: int, kind: Kind, made: list[Event]) -> _Block:
        """The block of the kind; what is there of another kind ends."""
        block = self._blocks.get(index)
        if block is not None and block.kind != kind:
            self._stop(index, made)
            block = None
        if block is None:
            block = self._blocks[index] = _Block(kind)
        return block

    def _start(self, part: Part, made: list[Event]) -> int:
        self._end_lingering(made)
        made.append(PartStart(self._parts, part))
        self._parts += 1
        return self._parts - 1

    def _end_lingering(self, made: list[Event]) -> None:
        if self._lingering >= 0:
            made.append(PartEnd(self._lingering))
            self._lingering = -1

    def _message_start(self, members: reading.Members, made: list[Event]) -> None:
        self._begin(made)

    def _block_start(self, members: reading.Members, made: list[Event]) -> None:
        self._begin(made)
        index = reading.count(members.get("contentBlockIndex")) or 0
        start = reading.members(members.get("start"))
        if self._finished:
            return
        if index in self._blocks and start:
            self._stop(index, made)
        if (use := start.get("toolUse")) is not None:
            self._call_start(index, _kept(use), made)
        elif (result := start.get("toolResult")) is not None:
            self._blocks[index] = _Block("result", head=_kept(result))
        elif (image := start.get("image")) is not None:
            self._blocks[index] = _Block("image", head=_kept(image))

    def _call_start(self, index: int, use: reading.Members, made: list[Event]) -> None:
        if reading.text(use.get("type")) == blocks.SERVER_TOOL:
            self._blocks[index] = _Block("hosted", head=use)
            return
        known = self._names.read(reading.text(use.get("name")) or "")
        id = reading.text(use.get("toolUseId")) or self._asked.new_id(self._calls)
        self._calls += 1
        part = ToolCall(id=id, name=known.name, custom=known.custom, namespace=known.namespace)
        block = self._blocks[index] = _Block("call", self._start(part, made))
        block.custom = known.custom

    def _block_stop(self, members: reading.Members, made: list[Event]) -> None:
        self._begin(made)
        self._stop(reading.count(members.get("contentBlockIndex")) or 0, made)

    def _stop(self, index: int, made: list[Event]) -> None:
        block = self._blocks.pop(index, None)
        if block is not None:
            _STOPS[block.kind](self, block, made)

    def _stop_text(self, block: _Block, made: list[Event]) -> None:
        if block.part >= 0:
            self._end_lingering(made)
            self._lingering = block.part
            return
        if self._lingering < 0:
            if not block.citations:
                return
            self._lingering = self._start(_NO_TEXT, made)
        made.extend(CitationDelta(self._lingering, each) for each in block.citations)

    def _stop_reasoning(self, block: _Block, made: list[Event]) -> None:
        if block.hidden:
            seal = blocks.redacted(b"".join(block.hidden), self._maker, self._account)
            made.append(SealDelta(block.part, seal, True))
        if block.signature:
            made.append(SealDelta(block.part, blocks.signature("".join(block.signature), self._maker, self._account)))
        made.append(PartEnd(block.part))

    def _stop_call(self, block: _Block, made: list[Event]) -> None:
        if block.custom:
            made.append(ArgumentsDelta(block.part, blocks.unwrapped("".join(block.arguments) or "{}")))
        elif not block.has_input:
            made.append(ArgumentsDelta(block.part, "{}"))  # what a whole answer says
        made.append(PartEnd(block.part))

    def _stop_hosted(self, block: _Block, made: list[Event]) -> None:
        self._whole(blocks.hosted_call(block.head, "".join(block.arguments) or "{}"), made)

    def _stop_result(self, block: _Block, made: list[Event]) -> None:
        self._whole(blocks.hosted_result(block.head, block.items), made)

    def _stop_image(self, block: _Block, made: list[Event]) -> None:
        images = [image for each in block.items if (image := blocks.image(block.head.get("format"), each)) is not None]
        pieces = [reading.blob(each.source.data) for each in images if isinstance(each.source, Inline)]
        if len(images) > 1 and pieces:
            data = base64.b64encode(b"".join(piece for piece in pieces if piece)).decode("ascii")
            images = [Image(source=Inline(data), media_type=images[0].media_type)]
        if images:
            self._whole(images[0], made)

    def _whole(self, part: Part, made: list[Event]) -> None:
        made.append(PartEnd(self._start(part, made)))

    def _message_stop(self, members: reading.Members, made: list[Event]) -> None:
        if self._finished:
            return
        self._begin(made)
        for index in list(self._blocks):
            self._stop(index, made)
        self._end_lingering(made)
        self._finished = True
        made.append(
            Finish(
                reason=blocks.finish_reason(members.get("stopReason")),
                stop_sequence=blocks.stop_sequence(members.get("additionalModelResponseFields")),
            )
        )
        self._end_if_done(made)

    def _metadata(self, members: reading.Members, made: list[Event]) -> None:
        self._begin(made)
        counts = usage.read(members.get("usage"))
        if counts is not None:
            made.append(UsageReport(counts))
        self._counted = True
        self._end_if_done(made)

    def _end_if_done(self, made: list[Event]) -> None:
        if self._finished and self._counted:
            self._ended = True
            made.append(End())


def _input(block: _Block, text: str) -> Sequence[Event]:
    """More of the input of a tool. What has to be looked into is kept until its block stops."""
    if not text or block.kind not in ("call", "hosted"):
        return _NOTHING
    block.has_input = True
    if block.kind == "hosted" or block.custom:
        block.arguments.append(text)
        return _NOTHING
    return [ArgumentsDelta(block.part, text)]


def _copied(values: Sequence[msgspec.Raw]) -> list[msgspec.Raw]:
    """Values that do not hold on to the message that they stood in."""
    return [value.copy() for value in values]


def _kept(value: msgspec.Raw) -> reading.Members:
    return {name: each.copy() for name, each in reading.members(value).items()}


_READERS: Final[Mapping[bytes, Callable[[StreamDecoder, reading.Members, list[Event]], None]]] = {
    b"messageStart": StreamDecoder._message_start,
    b"contentBlockStart": StreamDecoder._block_start,
    b"contentBlockStop": StreamDecoder._block_stop,
    b"messageStop": StreamDecoder._message_stop,
    b"metadata": StreamDecoder._metadata,
}

_STOPS: Final[Mapping[Kind, Callable[[StreamDecoder, _Block, list[Event]], None]]] = {
    "text": StreamDecoder._stop_text,
    "reasoning": StreamDecoder._stop_reasoning,
    "call": StreamDecoder._stop_call,
    "hosted": StreamDecoder._stop_hosted,
    "result": StreamDecoder._stop_result,
    "image": StreamDecoder._stop_image,
}
