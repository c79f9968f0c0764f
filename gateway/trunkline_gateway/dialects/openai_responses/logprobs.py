"""Log probabilities, to the neutral form and back.

https://platform.openai.com/docs/api-reference/responses/object#responses/object-output
"""

from collections.abc import Mapping, Sequence

from trunkline_gateway.dialects.openai_responses import reading
from trunkline_gateway.exchange import TokenLogprob


def read(value: object) -> tuple[TokenLogprob, ...]:
    """Those of a text, or of a piece of it."""
    return tuple(found for each in reading.mappings(value) if (found := _one(each)) is not None)


def write(found: Sequence[TokenLogprob]) -> Sequence[Mapping[str, object]]:
    """For a client. Bytes are wanted, and are those of the token where nobody gave them."""
    return [{**_wire(each), "top_logprobs": [_wire(top) for top in each.top]} for each in found]


def _one(value: reading.Object) -> TokenLogprob | None:
    token, logprob = value.get("token"), value.get("logprob")
    if not isinstance(token, str) or not isinstance(logprob, int | float) or isinstance(logprob, bool):
        return None
    try:
        likely = float(logprob)
    except OverflowError:
        return None
    given = value.get("bytes")
    return TokenLogprob(
        token=token,
        logprob=likely,
        bytes=tuple(each for each in map(reading.count, given) if each is not None)
        if isinstance(given, list)
        else None,
        top=tuple(found for each in reading.mappings(value.get("top_logprobs")) if (found := _one(each)) is not None),
    )


def _wire(found: TokenLogprob) -> Mapping[str, object]:
    given = tuple(found.token.encode("utf-8", "replace")) if found.bytes is None else found.bytes
    return {"token": found.token, "bytes": given, "logprob": found.logprob}
