"""What an answer for a client is made of: items and parts in the making, and their bytes."""

from typing import Final

from trunkline_gateway import exchange
from trunkline_gateway.dialects.openai_responses import logprobs, reading

DELTA: Final = b'event: %b\ndata: {"type":"%b","item_id":%b,"output_index":%d,%b"delta":'
END: Final = b',"sequence_number":%d}\n\n'
LIKELY_END: Final = b',"logprobs":%b,"sequence_number":%d}\n\n'


class Message:
    """A message that content may still be added to.

    Attributes:
        open: Of its pieces, how many have not ended.
        late: Of its pieces, those that may have become more after their end.
    """

    __slots__ = ("content", "id", "index", "late", "open", "seals")

    def __init__(self, index: int, item_id: bytes) -> None:
        self.index = index
        self.id = item_id
        self.content: list[bytes] = []
        self.open = 0
        self.late: dict[int, Open] = {}
        self.seals: list[exchange.Seal] = []


class Open:
    """A part that has begun and not ended.

    Attributes:
        place: The members that say where it is: item, output index and, in a message, content index.
        start: All of a delta's event before the delta.
        pieces: Its text so far, escaped, without quotes.
    """

    __slots__ = (
        "annotations",
        "item_id",
        "kind",
        "length",
        "likely",
        "message",
        "number",
        "output",
        "part",
        "pending",
        "pieces",
        "place",
        "seal",
        "start",
    )

    def __init__(self, part: exchange.Part, kind: str, output: int, item_id: bytes) -> None:
        self.part = part
        self.kind = kind  # output_text, refusal, reasoning_summary_text, function_call_arguments, …
        self.output = output
        self.item_id = item_id
        self.number = 0
        self.message: Message | None = None
        self.place = b""
        self.start = b""
        self.pieces: list[bytes] = []
        self.length = 0
        self.annotations: list[bytes] = []
        self.pending: list[exchange.Citation] = []
        self.likely: list[exchange.TokenLogprob] = []
        self.seal: exchange.Seal | None = None

    def text(self) -> bytes:
        """All of its text so far, as JSON."""
        return b'"%b"' % b"".join(self.pieces)


def delta_start(name: str, opened: Open, where: bytes) -> bytes:
    """All of a delta's event before the delta; ``where``: within the item, with a comma behind."""
    return DELTA % (name.encode(), name.encode(), opened.item_id, opened.output, where)


def content(opened: Open) -> bytes:
    """A piece of a message as far as it is known."""
    if opened.kind == "refusal":
        return b'{"type":"refusal","refusal":%b}' % opened.text()
    return b'{"type":"output_text","text":%b,"annotations":[%b],"logprobs":%b}' % (
        opened.text(),
        b",".join(opened.annotations),
        reading.encode(logprobs.write(opened.likely)),
    )


def message_item(message: Message, status: str) -> bytes:
    """The item of a message that is complete."""
    return b'{"id":%b,"type":"message","status":"%b","role":"assistant","content":[%b]}' % (
        message.id,
        status.encode(),
        b",".join(message.content),
    )


def call_members(part: exchange.ToolCall, text: bytes, status: str) -> bytes:
    """The members of a call's item after its id."""
    namespace = b"" if part.namespace is None else b',"namespace":' + reading.encode(part.namespace)
    return b'"type":"%b","status":"%b","call_id":%b,"name":%b%b,"%b":%b' % (
        b"custom_tool_call" if part.custom else b"function_call",
        status.encode(),
        reading.encode(part.id),
        reading.encode(part.name),
        namespace,
        b"input" if part.custom else b"arguments",
        text,
    )
