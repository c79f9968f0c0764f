"""What an answer carries beside its dialect: how many attempts it took, and what was lost."""

from typing import Final

from trunkline_gateway.exchange import losses
from trunkline_gateway.http import Headers
from trunkline_gateway.routing import upstream_request
from trunkline_gateway.routing.call import Call
from trunkline_gateway.routing.plan import Candidate

_ONE_ATTEMPT: Final = (b"x-trunkline-attempts", b"1")


def attempts(number: int) -> tuple[bytes, bytes]:
    """How many it took."""
    return _ONE_ATTEMPT if number == 1 else (b"x-trunkline-attempts", b"%d" % number)


def lossy(lost: tuple[str, ...], call: Call, candidate: Candidate) -> Headers:
    """What was lost, by name; nothing where the policy allows it without a word."""
    if upstream_request.policy_of(call, candidate).lossy == "Allow":
        return ()
    return ((b"x-trunkline-lossy", losses.header(lost).encode("ascii")),)
