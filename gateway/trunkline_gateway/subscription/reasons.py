"""Why there is no stream from the operator, in one sentence for whoever has to mend it. Pure.

gRPC tells in the details of a status, in words of its own that hold addresses and library internals. Where they are
known, a sentence says what is wrong and where to look; what is not known is passed on, cut.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

_CUT: Final = 300
_DETAILS: Final = re.compile(r" [(\[][A-Z_]+: .*$", re.DOTALL)
_LAST_ERROR: Final = re.compile(r"^.*last error: (?:[A-Z_]+: )?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Where:
    """What a sentence may point at.

    Attributes:
        operator: ``--operator``.
        ca_file: ``--ca-file``; empty: the system's authorities.
        token_file: ``--token-file``; empty: none.
    """

    operator: str
    ca_file: str = ""
    token_file: str = ""

    @property
    def trust(self) -> str:
        """Whom the gateway trusts, in words."""
        return self.ca_file or "the system's authorities (there is no --ca-file)"


_Sentence = Callable[[Where], str]

# What gRPC says, in lower case; the first that fits wins.
_TRANSPORT: Final[tuple[tuple[str, _Sentence], ...]] = (
    ("is not in peer certificate", lambda at: f"the operator's certificate is not for the name in {at.operator}"),
    ("hostname verification", lambda at: f"the operator's certificate is not for the name in {at.operator}"),
    (
        "certificate has expired",
        lambda at: f"the certificate of the operator at {at.operator} has expired, or the clock of this machine is off",
    ),
    (
        "certificate is not yet valid",
        lambda at: f"the certificate of the operator at {at.operator} is not valid yet: compare the clocks",
    ),
    (
        "certificate_verify_failed",
        lambda at: f"the certificate of the operator at {at.operator} is not trusted: it was not signed by {at.trust}",
    ),
    ("wrong_version_number", lambda at: f"what listens at {at.operator} does not speak TLS"),
    ("failed to create security handshaker", lambda at: f"{at.trust} holds no certificate that can be read"),
    ("connection refused", lambda at: f"the connection to the operator at {at.operator} was refused: is it running?"),
    ("name resolution", lambda at: f"the name in {at.operator} cannot be resolved"),
    ("errors resolving", lambda at: f"the name in {at.operator} cannot be resolved"),
    ("dns resolution failed", lambda at: f"the name in {at.operator} cannot be resolved"),
    ("network is unreachable", lambda at: f"there is no route to the operator at {at.operator}"),
    ("no route to host", lambda at: f"there is no route to the operator at {at.operator}"),
    ("no such file or directory", lambda at: f"there is no operator at {at.operator}"),
    ("timed out", lambda at: f"the operator at {at.operator} does not answer"),
    ("timeout", lambda at: f"the operator at {at.operator} does not answer"),
    ("handshake read failed", lambda at: f"what listens at {at.operator} closes connections before anything is said"),
    ("connection reset", lambda at: f"the connection to the operator at {at.operator} is gone"),
    ("socket closed", lambda at: f"the connection to the operator at {at.operator} is gone"),
    ("goaway", lambda at: f"the operator at {at.operator} has closed the connection"),
)


def refused(code: grpc.StatusCode, details: str, where: Where) -> str:
    """Why a stream was not let in, or has broken.

    Args:
        code: The status of the call.
        details: What came with it: gRPC's own words, or the operator's.
        where: What to point at.
    """
    said = f"{code.name}: {_short(details)}"
    said = f"[{said}]" if ")" in said else f"({said})"  # never one pair of parentheses inside another
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return f"the operator does not accept the token of {where.token_file or 'this gateway (--token-file)'} {said}"
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return f"the operator does not let this gateway in {said}"
    lowered = details.lower()
    known = next((sentence(where) for needle, sentence in _TRANSPORT if needle in lowered), "")
    # What is not gRPC's own are the operator's words.
    return f"{known or f'the operator at {where.operator} has ended the stream'} {said}"


def gist(sentence: str) -> str:
    """A sentence of `refused` without gRPC's details, which may hold the address of one replica or another."""
    return _DETAILS.sub("", sentence)


def silent(where: Where, seconds: float) -> str:
    """Nobody answered within the time for connecting."""
    return f"the operator at {where.operator} has not answered within {seconds:g} s"


def unreadable_token(where: Where, why: str) -> str:
    """The token file cannot be read; ``why`` holds nothing of its content."""
    return f"the token file {where.token_file} cannot be read ({why}): is the projected ServiceAccount token mounted?"


def unreadable_ca(where: Where, why: str) -> str:
    """The CA file cannot be used."""
    return f"the CA file {where.ca_file} cannot be used ({why}): has the operator published its authority there yet?"


def _short(details: str) -> str:
    return _LAST_ERROR.sub("", details)[:_CUT]
