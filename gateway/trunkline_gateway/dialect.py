"""What a dialect offers: two sides, each a handful of functions without I/O.

A dialect is a package under `dialects` whose ``CODEC`` is the `Codec` that `registry` finds it by. It knows the
`exchange` and itself, and no other dialect. The ingress side reads what clients send and writes what they get; the
upstream side writes what a provider gets and reads what it answers. All of it is total: any bytes in, and an answer or
one of `errors` comes out.

Names of what is lost (`Encoded.lost`, `StreamEncoder.lost`) are those of `exchange.losses`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

from trunkline_gateway import errors, exchange
from trunkline_gateway.exchange import losses
from trunkline_protocol.models import Facts

Fields: TypeAlias = Mapping[str, msgspec.Raw]
"""The top-level members of a body, in order, each value as its bytes. They have been checked: UTF-8, no duplicates at
the top, at most 128 levels deep."""


Capabilities: TypeAlias = Facts
"""What is known of an upstream's model; None: not known, and then nothing is assumed."""

NO_CAPABILITIES: Final = Capabilities()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom a request is written for.

    Attributes:
        model: The upstream's name of it.
        provider: Of the registry.
        quirks: By name; see `trunkline_protocol.providers`.
        account: Fingerprint (`exchange.origin.fingerprint`) of the account, for seals.
    """

    model: str
    provider: str = ""
    quirks: frozenset[str] = frozenset()
    capabilities: Capabilities = NO_CAPABILITIES
    account: str = ""


@dataclass(slots=True, kw_only=True)
class Asked:
    """What an upstream's decoder may need to know of the request that it reads the answer to. Not to be changed.

    It is not frozen, since there is one for each request: a frozen one takes three times as long to make.

    Attributes:
        target: Whom it was written for.
        request: In the neutral form; None where the request's own bytes were passed on.
        stream: A stream was asked for.
        seed: Letters and digits, unique to the request, to make ids of.
        now: Unix seconds, for where the upstream gives no time.
    """

    target: Target
    request: exchange.Request | None = None
    stream: bool = False
    seed: str = ""
    now: int = 0

    def new_id(self, number: int, prefix: str = "call_") -> str:
        """An id for what the upstream gave none, the ``number``-th of its kind: unique to the request, repeatable."""
        return f"{prefix}{self.seed}{number}"


class Encoded(NamedTuple):
    """A body, and the names of what it could not say. ``headers``: that it needs, such as ``anthropic-beta``."""

    body: bytes
    lost: tuple[str, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Frame(Protocol):
    """One event of a stream as it is framed: a server-sent event, or a message of AWS's event stream."""

    @property
    def name(self) -> bytes:
        """``event:``, or ``:event-type``; empty where there is none."""
        ...

    @property
    def data(self) -> bytes:
        """Its payload."""
        ...


class StreamDecoder(Protocol):
    """Frames in, events out, in the grammar of `exchange.events`. One per answer."""

    def receive(self, frame: Frame) -> Sequence[exchange.Event]:
        """Read one frame.

        An error that the upstream sends as an event is `exchange.Failed`. A frame that cannot be read after content
        has come is skipped (every client's parser would stop at it).

        Raises:
            UpstreamProtocolError: It is not the dialect, and nothing of the answer has come yet.
        """
        ...

    def receive_eof(self) -> Sequence[exchange.Event]:
        """The stream has ended. Gives what ends it, `exchange.End` included, if it ended as it should; else nothing."""
        ...


class StreamEncoder(Protocol):
    """Events in, bytes for the client out. One per answer.

    Attributes:
        lost: What could not be said so far; it may be too late for a header.
    """

    @property
    def lost(self) -> tuple[str, ...]:
        """See above."""
        ...

    def encode(self, events: Sequence[exchange.Event]) -> bytes:
        """Write them; may hold back what depends on later ones (a finish waits for the usage).

        `exchange.End` flushes all. `exchange.Failed` never comes: see `Ingress.error_event`.
        """
        ...


@runtime_checkable
class Failing(Protocol):
    """A `StreamEncoder` whose last events of a stream that fails go on from what it has written."""

    def fail(self, error: errors.GatewayError) -> bytes:
        """Write the error; nothing follows. In place of `Ingress.error_event`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamError:
    """What an upstream says went wrong, in neutral words. Not yet scrubbed of secrets.

    Attributes:
        status: As of HTTP; where HTTP said 200, what it would have been.
        type, code: The upstream's own words, or empty.
    """

    status: int
    message: str
    type: str = ""
    code: str = ""
    param: str | None = None


class Envelope(NamedTuple):
    """What the front door needs to know of a body. ``model`` is empty where the path says it."""

    model: str
    stream: bool
    include_usage: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress:
    """The client's side of a dialect, for one operation.

    Attributes:
        read_envelope: The little that routing needs, without looking at the rest. Raises InvalidRequestError.
        decode: A request. Raises InvalidRequestError naming the field. ``model``: as the client said it, in the body
            or in the path; ``stream``: likewise; ``query``: the raw query string of the path.
        encode: A whole answer (of the operation) for the request it answers.
        stream_encoder: For a streamed answer to the request; None: the operation has none.
        render_error: The body of an error answer.
        error_event: The same as the last bytes of a stream whose status is spent. ``began``: content was sent before.
        keep_alive: Bytes that every client of the dialect skips in a stream, before and within it; empty: none.
        stream_type: ``content-type`` of a stream.
        for_query: This side as a query asks for it, where that changes the form; None: it never does.
        is_passable: Whether a request (fields, query, stream) can be passed on as it is to who speaks the same; None:
            always.
    """

    read_envelope: Callable[[Fields], Envelope]
    decode: Callable[[Fields, str, bool, bytes], exchange.Request]
    encode: Callable[[exchange.Answer | exchange.EmbeddingsAnswer | exchange.TokenCount, exchange.Request], Encoded]
    render_error: Callable[[errors.GatewayError], bytes]
    stream_encoder: Callable[[exchange.ChatRequest], StreamEncoder] | None = None
    error_event: Callable[[errors.GatewayError, bool], bytes] | None = None
    keep_alive: bytes = b": keep-alive\n\n"
    stream_type: bytes = b"text/event-stream; charset=utf-8"
    for_query: Callable[[bytes], "Ingress"] | None = None
    is_passable: Callable[[Fields, bytes, bool], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The provider's side of a dialect, for one operation.

    Attributes:
        path: Below the account's base URL, with the query; ``{model}`` stands for the (quoted) model, and
            ``stream_path`` is for streams, where it differs.
        encode: A request for a target. Raises UnsupportedFeatureError only where nothing sensible could be sent; what
            is merely lost is named.
        decode: A whole answer. Raises UpstreamProtocolError.
        stream_decoder: For a streamed answer; None: the operation has none.
        read_error: An error body (any bytes) with its status.
        framing: Of a stream.
        renamed: What of a body that is passed on names the model in another place than the member ``model``, written
            anew with the upstream's name of it; None: nothing does.
        usage_at_end: The usage of a whole answer that was too long to be held, from what stands last in it.
        parameters: Parameters by OpenAI chat's names → JSON Pointer (RFC 6901) into the body, for those whose value
            is the same kind of JSON there; what a target's ``parameters`` may set when bytes are passed on.
    """

    path: str
    stream_path: str = ""
    encode: Callable[[exchange.Request, Target], Encoded]
    decode: Callable[[bytes, Asked], exchange.Answer | exchange.EmbeddingsAnswer | exchange.TokenCount]
    stream_decoder: Callable[[Asked], StreamDecoder] | None = None
    read_error: Callable[[int, bytes], UpstreamError]
    framing: Literal["sse", "aws"] = "sse"
    renamed: Callable[[Fields, str], Mapping[str, bytes]] | None = None
    usage_at_end: Callable[[bytes], exchange.Usage | None] | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A dialect.

    Attributes:
        ingress, upstream: By operation; an operation that is missing is not spoken on that side.
    """

    name: str
    ingress: Mapping[exchange.Operation, Ingress] = field(default_factory=dict)
    upstream: Mapping[exchange.Operation, Upstream] = field(default_factory=dict)


def require_something(turns: Iterable[exchange.Turn], lost: Iterable[str], *, instructed: bool) -> None:
    """For encoders that could write no turn of the user's or the model's; ``instructed``: but one of the system's.

    Raises:
        UnsupportedFeatureError: That is since nothing of what was said can be told, and not since nothing was said.
    """
    if instructed and not any(turn.parts for turn in turns if turn.role in ("user", "assistant")):
        return
    feature = losses.of_part(lost)
    if feature is not None:
        message = f"The model's upstream cannot be told '{feature}', and nothing else is left of the conversation."
        raise errors.UnsupportedFeatureError(message, param=feature)
