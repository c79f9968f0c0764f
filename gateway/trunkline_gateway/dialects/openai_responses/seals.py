"""Seals in the one place that this dialect has for them: ``encrypted_content`` of a reasoning item.

Clients send reasoning items back as they got them, whatever is in them, which makes them the way home for whatever the
next turn needs: Anthropic's signatures and redacted thinking, Gemini's signatures of calls and of texts. They are
written whether or not the client asked to include encrypted reasoning: who resends the output without having asked
would otherwise be refused by Anthropic or Gemini at the next turn.

A seal is stamped (`exchange.origin`). Where its maker does not tell what it seals, a dot and a letter follow, which
no base64 has; the seal of a call has the call's id behind it, so that the order of items does not matter.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

from trunkline_gateway.exchange import Maker, Seal, origin

Kind: TypeAlias = Literal["encrypted", "signature", "call", "text"]

_LETTERS: Final[dict[str, Kind]] = {"e": "encrypted", "s": "signature", "c": "call", "t": "text"}
_LETTER_OF: Final[dict[Kind, str]] = {kind: letter for letter, kind in _LETTERS.items()}


class Found(NamedTuple):
    """What a client sent back. ``call_id``: of the call that it belongs to."""

    seal: Seal
    kind: Kind
    call_id: str = ""


def write(seal: Seal, kind: Kind, call_id: str = "") -> str:
    """A seal for a client."""
    stamped = origin.stamp(seal)
    if kind == _usual(seal.maker):
        return stamped
    return f"{stamped}.{_LETTER_OF[kind]}" + (f".{call_id}" if call_id else "")


def read(text: str) -> Found | None:
    """What a client sends back; OpenAI made it where it is not stamped. None: nothing is sealed."""
    if text.startswith(origin.MARK):
        stamped, _, rest = text.partition(".")
        letter, _, call_id = rest.partition(".")
        seal = origin.read(stamped, "openai")
        if seal is None:
            return None
        if seal.value != stamped:
            return Found(seal, _LETTERS.get(letter) or _usual(seal.maker), call_id)
    return Found(Seal(maker="openai", value=text), "encrypted")


def _usual(maker: Maker) -> Kind:
    """Only Anthropic and Google sign reasoning that is shown; the others encrypt it."""
    return "signature" if maker in ("anthropic", "google") else "encrypted"
