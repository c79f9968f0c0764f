"""What one report may hold. A replica is trusted to tell the truth, not to be free of errors."""

import re
from collections.abc import Iterable
from typing import Final

from trunkline_operator.publish.server import MAX_INSTANCE, NODE
from trunkline_protocol.v1 import routing_pb2 as pb

MAX_PARTS: Final = 200
MAX_BYTES: Final = 64 * 1024 * 1024
"""Of all parts of one report; a complete one of 11,000 names and 25 gateways has 400 KB."""

MAX_NAMES: Final = 500_000
MAX_GATEWAYS: Final = 10_000
MAX_KEYS: Final = 256
"""Of one Upstream."""

MAX_PEERS: Final = 16
"""Other replicas that one keeps in mind."""

MAX_ADDRESS: Final = 512

_MAX_REASON: Final = 200
_MAX_NAME: Final = 512
_MAX_VERSION: Final = 64
_IDENTITY: Final = re.compile(r"[!-~]{1,256}")
_ADDRESS: Final = re.compile(rf"[!-~]{{0,{MAX_ADDRESS}}}")


class TooLargeError(Exception):
    """A report says more than any replica could have."""


class MalformedError(Exception):
    """A report says what no replica would."""


def check(part: pb.PeerReport) -> None:
    """Check the strings of a part, and cut its reasons, in place.

    Raises:
        MalformedError: One of them cannot be meant.
    """
    _require(_IDENTITY.fullmatch(part.peer), "the replica does not say who it is")
    _require(_ADDRESS.fullmatch(part.address), "the replica's address cannot be one")
    _require(all(len(each.name) <= _MAX_NAME for each in part.table), "a name is too long")
    _require(all(len(each.version) <= _MAX_VERSION for each in part.table), "a version is too long")
    for gateway in part.gateways:
        node = gateway.node
        usable = NODE.fullmatch(node.name) and len(node.instance) <= MAX_INSTANCE
        _require(usable, "a gateway's name cannot be one")
        _cut(gateway.rejected)
    for keys in part.keys:
        _require(len(keys.upstream) <= _MAX_NAME, "the name of an Upstream is too long")
        _require(all(len(each.key) <= _MAX_NAME for each in keys.keys), "the name of a key is too long")
        _cut(keys.keys)


def _cut(given: Iterable[pb.PeerReject] | Iterable[pb.KeyHealth]) -> None:
    for each in given:
        if len(each.reason) > _MAX_REASON:
            each.reason = each.reason[:_MAX_REASON]


def _require(fulfilled: object, otherwise: str) -> None:
    if not fulfilled:
        raise MalformedError(otherwise)
