"""What is sent to a target: the request in its words, and what that could not say."""

import itertools
import secrets
from collections.abc import Sequence
from typing import Final

import msgspec

from trunkline_gateway import envelope, exchange
from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.openai_chat import request as openai_request
from trunkline_gateway.errors import InvalidRequestError, UnsupportedFeatureError
from trunkline_gateway.exchange import losses, origin
from trunkline_gateway.http import Headers
from trunkline_gateway.routing import parameters, pictures, request_heads
from trunkline_gateway.routing.call import Call
from trunkline_gateway.routing.plan import Candidate
from trunkline_gateway.routing.snapshot import Policy, UpstreamKey
from trunkline_gateway.upstream.client import Request, RequestHead, Timeouts

_NONE: Final[Headers] = ()
_PROCESS: Final = secrets.token_hex(5)
_REQUESTS: Final = itertools.count()
_STAMPED: Final = b'"' + origin.MARK.encode("ascii")
_RARE: Final = origin.MARK[:1].encode("ascii")
_LOOKS: Final = 64


class Neutral:
    """A request in the neutral form, decoded when it is first needed, and once.

    Attributes:
        unsealed: Sealed reasoning was taken out of it.
        pictures: What was fetched for targets that take no URLs of pictures.
        pictureless: Why there are none to be had.
    """

    __slots__ = ("_call", "_request", "pictureless", "pictures", "unsealed")

    def __init__(self, call: Call) -> None:
        self.unsealed = False
        self.pictures: pictures.Pictures = {}
        self.pictureless: UnsupportedFeatureError | None = None
        self._call = call
        self._request: exchange.Request | None = None

    def get(self) -> exchange.Request:
        """Decode it.

        Raises:
            InvalidRequestError: It is not what its dialect says.
        """
        if self._request is None:
            sent = self._call.request
            self._request = self._call.ingress.decode(sent.fields, sent.model, sent.stream, sent.query)
        return self._request

    def if_read(self) -> exchange.Request | None:
        """It, or None where it is not what its dialect says, which an upstream may have understood all the same."""
        try:
            return self.get()
        except InvalidRequestError:
            return None

    def has_seals(self) -> bool:
        """Whether there is sealed reasoning in it. A request that cannot be read has none."""
        request = self.if_read()
        return request is not None and origin.has_seals(request)

    def unseal(self) -> None:
        """Go on without sealed reasoning; the client's own bytes are no longer passed on."""
        self._request = origin.without_seals(self.get())
        self.unsealed = True


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A request for a target, whichever of its keys is used.

    Attributes:
        native: The client's own bytes are passed on, and so is the answer.
        adds_usage: The usage of the stream is asked for, although the client did not.
        headers: Of this request alone.
        lost: Names of what could not be said.
        asked: What the answer's decoder needs to know; None where chat completions are passed on.
        neutral: The request that was written; None where its bytes are passed on.
    """

    body: bytes
    native: bool
    adds_usage: bool = False
    headers: Headers = _NONE
    lost: tuple[str, ...] = ()
    asked: Asked | None = None
    neutral: exchange.Request | None = None


def is_native(call: Call, candidate: Candidate) -> bool:
    """Whether the client's bytes can be passed on.

    It speaks the target's dialect, in the same framing, and nothing in them is sealed for another.
    """
    request = call.request
    return (
        candidate.dialect == request.dialect
        and candidate.passes_bytes
        and not _is_stamped(request.body)
        and (
            call.ingress.is_passable is None or call.ingress.is_passable(request.fields, request.query, request.stream)
        )
    )


def _is_stamped(body: bytes) -> bool:
    """Whether a stamped seal stands in it.

    Its first letter is a rare one, and one byte is found ten times as fast as five: so a body of prose is read once
    at the speed of memory. Where the letter is not rare, as in a picture, the search goes on as usual.
    """
    place = body.find(_RARE)
    for _ in range(_LOOKS):
        if place < 0:
            return False
        if body.startswith(_STAMPED, place - 1):
            return True
        place = body.find(_RARE, place + 1)
    return place >= 0 and body.find(_STAMPED, place - 1) >= 0


def _is_plain(call: Call, candidate: Candidate) -> bool:
    """Whether nothing but the model is changed, as it mostly is; a shorter way to what `_passed_on` does."""
    request = call.request
    return (
        request.dialect == "openai_chat" == candidate.dialect
        and not request.stream
        and not call.crossing
        and candidate.target.parameters is None
        and candidate.passes_bytes
        and request.body.find(_RARE) < 0
        and call.ingress.is_passable is None
    )


def prepare(call: Call, candidate: Candidate, neutral: Neutral | None = None) -> Prepared:
    """Write the request for one target.

    Args:
        call: What is asked.
        candidate: The target.
        neutral: The request in the neutral form, if there is one already, or other targets may need it.

    Raises:
        UnsupportedFeatureError: Something would be lost that the policy does not allow to be.
        InvalidRequestError: It is not what its dialect says.
    """
    if neutral is None and _is_plain(call, candidate):
        return Prepared(call.request.with_model(candidate.model), True)
    inlined = native = False
    if neutral is not None and (neutral.unsealed or neutral.pictures):
        inlined = bool(neutral.pictures) and pictures.are_wanted(candidate.dialect, candidate.written_for)
        native = not (neutral.unsealed or inlined) and is_native(call, candidate)
    else:
        native = is_native(call, candidate)
    prepared = (
        _passed_on(call, candidate) if native else _translated(call, candidate, neutral or Neutral(call), inlined)
    )
    if prepared.lost:
        _check(prepared.lost, policy_of(call, candidate))
    return prepared


def policy_of(call: Call, candidate: Candidate) -> Policy:
    """The policy of a target: its own, else the group's."""
    return candidate.target.policy or call.resolved.policy


def missing_pictures(call: Call, candidate: Candidate, neutral: Neutral) -> Sequence[str]:
    """URLs of pictures that have to be fetched before the request is written for a target that takes none."""
    if neutral.pictures or not pictures.are_wanted(candidate.dialect, candidate.written_for):
        return ()
    if candidate.dialect == call.request.dialect and b"http" not in call.request.body:
        return ()  # not worth a look into bytes that are likely to be passed on
    try:
        return pictures.urls(neutral.get())
    except InvalidRequestError:
        return ()  # `prepare` says so, unless its bytes are passed on, and then the target does


async def fetch_pictures(call: Call, candidate: Candidate, neutral: Neutral, fetch: pictures.Fetch) -> None:
    """Fetch what `missing_pictures` names, unless that has failed already.

    Raises:
        UnsupportedFeatureError: There is a picture that cannot be had.
    """
    places = missing_pictures(call, candidate, neutral)
    if not places:
        return
    if neutral.pictureless is None:
        try:
            neutral.pictures = await pictures.fetch_all(places, fetch)
        except UnsupportedFeatureError as failure:
            neutral.pictureless = failure
    if neutral.pictureless is not None:
        raise neutral.pictureless


def build(prepared: Prepared, candidate: Candidate, key: UpstreamKey, stream: bool, timeouts: Timeouts) -> Request:
    """The request for one attempt."""
    head = key.heads[candidate.kinds[stream]]
    return Request(head, prepared.body, timeouts, _allowed(prepared.headers, head) if prepared.headers else _NONE)


def _passed_on(call: Call, candidate: Candidate) -> Prepared:
    request = call.request
    changed = request
    if candidate.target.parameters is not None:
        changed = parameters.passed_on(request, candidate.target.parameters, candidate.side.parameters)
    headers: Headers = _NONE
    lost: tuple[str, ...] = ()
    if call.crossing:
        headers, lost = request_heads.admitted(call.crossing, candidate.upstream.beta_headers)
    if request.dialect == "openai_chat":
        if not request.stream or request.includes_usage or "no_stream_options" in candidate.upstream.quirks:
            return Prepared(changed.with_model(candidate.model), True, False, headers, lost)
        body = openai_request.encode(changed, candidate.model, add_usage=True)
        return Prepared(body, True, True, headers, lost)
    return Prepared(
        _named(changed, candidate),
        True,
        headers=headers,
        lost=lost,
        asked=_asked(call, candidate, None),
    )


def _named(request: envelope.Request, candidate: Candidate) -> bytes:
    """The body with the upstream's name of the model."""
    if candidate.side.renamed is None:
        return request.with_model(candidate.model)
    members = candidate.side.renamed(request.fields, candidate.model)
    return request.rewrite(members) if members else request.body


def _translated(call: Call, candidate: Candidate, neutral: Neutral, inlined: bool) -> Prepared:
    request = neutral.get()
    if inlined:
        request = pictures.inlined(request, neutral.pictures)
    asked_for = request
    if candidate.target.parameters is not None:
        request = parameters.neutral(request, candidate.target.parameters)
    asked = _asked(call, candidate, request)
    encoded = candidate.side.encode(request, asked.target)
    body = encoded.body
    headers: Headers = encoded.headers
    lost = (*request.unsaid, *encoded.lost)
    if candidate.target.parameters is not None:
        moved = parameters.moved(asked_for, candidate.target.parameters, candidate.side.parameters)
        body = parameters.pointed(body, candidate.target.parameters, candidate.side.parameters, moved)
        added = parameters.added(asked_for, request)
        lost = tuple(name for name in lost if name not in added and name not in moved)
    if call.crossing:
        crossed, missed = request_heads.admitted(call.crossing, candidate.upstream.beta_headers)
        headers = (*headers, *(header for header in crossed if header[0] not in dict(headers)))
        lost += missed
    return Prepared(body, False, False, headers, lost, asked, request)


def _asked(call: Call, candidate: Candidate, request: exchange.Request | None) -> Asked:
    return Asked(
        target=candidate.written_for,
        request=request,
        stream=call.request.stream,
        # Not of the request id: a client may use one for a whole conversation, whose calls must not be confused.
        seed=f"{_PROCESS}{next(_REQUESTS):x}",
        now=int(call.wall()),
    )


def _check(lost: tuple[str, ...], policy: Policy) -> None:
    """Refuse what may not be lost: parameters as ``unsupportedParameters`` says, all else as ``lossy`` does."""
    of_parameters = policy.unsupported_parameters or ("Reject" if policy.lossy == "Reject" else "Drop")
    refused = [
        name
        for name in lost
        if (of_parameters if losses.FEATURES.get(name) == "parameter" else policy.lossy) == "Reject"
    ]
    if refused:
        names = losses.header(refused)
        raise UnsupportedFeatureError(
            f"The model's upstream cannot be told: {names}. The policy of this model does not allow that to be lost.",
            param=refused[0],
        )


def _allowed(crossing: Headers, head: RequestHead) -> Headers:
    """The client's headers, but for those that the account sets itself."""
    own = {name for name, _ in head.headers}
    return tuple(header for header in crossing if header[0] not in own)
