"""Where sealed reasoning comes from: a seal that travels through a client of another dialect is stamped with it.

Signatures and encrypted reasoning can be read only by the models of whoever made them, some only within one account.
A client sends them back with the next turn, and by then another target may be its turn. So what goes to a client
through the exchange bears its maker and a fingerprint of the account; what comes back is unpacked, and an encoder
leaves out what its target could not read, and says so.

A stamped seal is base64, as seals mostly are (Gemini's SDK insists on it), and begins with `MARK`.

Where reasoning or a call bears no seal and its dialect's own provider insists on one, a client gets `UNSEALED`: without
a mark, a later turn that goes to that provider would be passed on as it is, and refused.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.exchange.content import HostedStep, Maker, Part, Reasoning, Seal, Text, ToolCall
from trunkline_gateway.exchange.request import ChatRequest, Request

MARK: Final = "VEwx"
"""How every stamped seal begins: base64 of ``TL1``. A body that holds it must go through the exchange."""

UNSEALED: Final = Seal(maker="other", value="")
"""In place of a seal where there is none. What comes back of it is nothing."""

_MARK_BYTES: Final = b"TL1"
_CODES: Final[Mapping[Maker, bytes]] = {"openai": b"o", "anthropic": b"a", "google": b"g", "other": b"x"}
_MAKERS: Final[Mapping[bytes, Maker]] = {code: maker for maker, code in _CODES.items()}
_ACCOUNT_CHARACTERS: Final = 8


def fingerprint(account: str) -> str:
    """Eight characters that stand for an account's name and do not give it away."""
    return hashlib.sha256(b"seal\0" + account.encode()).hexdigest()[:_ACCOUNT_CHARACTERS]


def stamp(seal: Seal) -> str:
    """Write a seal for a client."""
    account = seal.account.ljust(_ACCOUNT_CHARACTERS, "-")[:_ACCOUNT_CHARACTERS]
    return base64.b64encode(
        _MARK_BYTES + _CODES[seal.maker] + account.encode("ascii", "replace") + seal.value.encode()
    ).decode("ascii")


def read(text: str, maker: Maker) -> Seal | None:
    """Read what a client sends back; ``maker`` made it where it is not stamped. None: nothing is sealed."""
    if text.startswith(MARK):
        try:
            raw = base64.b64decode(text, validate=True)
            head = 4 + _ACCOUNT_CHARACTERS
            if len(raw) >= head and (made := _MAKERS.get(raw[3:4])) is not None:
                account = raw[4:head].decode("ascii").rstrip("-")
                value = raw[head:].decode()
                return Seal(maker=made, account=account, value=value) if value else None
        except (binascii.Error, UnicodeDecodeError):
            pass
    return Seal(maker=maker, value=text) if text else None


def fits(seal: Seal | None, maker: Maker, account: str) -> bool:
    """Whether models of ``maker`` at ``account`` (a fingerprint) can read it: an unknown account may be the one."""
    return seal is not None and seal.maker == maker and (not seal.account or seal.account == account)


def has_seals(request: Request) -> bool:
    """Whether anything in its turns is sealed."""
    if not isinstance(request, ChatRequest):
        return False
    return any(_is_sealed(part) for turn in request.turns for part in turn.parts)


def without_seals(request: Request) -> Request:
    """The same with nothing sealed, and ``reasoning_signature`` among what is lost."""
    if not isinstance(request, ChatRequest):
        return request
    replace = msgspec.structs.replace
    turns = tuple(replace(turn, parts=tuple(_unsealed(part) for part in turn.parts)) for turn in request.turns)
    return replace(request, turns=turns, unsaid=(*request.unsaid, "reasoning_signature"))


def _is_sealed(part: Part) -> bool:
    if isinstance(part, Reasoning):
        return part.signature is not None or part.encrypted is not None
    if isinstance(part, HostedStep):
        return part.bare is not None
    return isinstance(part, Text | ToolCall) and part.seal is not None


def _unsealed(part: Part) -> Part:
    if isinstance(part, Reasoning):
        return msgspec.structs.replace(part, signature=None, encrypted=None)
    if isinstance(part, Text | ToolCall):
        return msgspec.structs.replace(part, seal=None)
    if isinstance(part, HostedStep) and part.bare is not None:
        return msgspec.structs.replace(part, value=part.bare, bare=None)
    return part
