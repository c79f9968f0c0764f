"""``thread``: a conversation that the provider keeps, of which a turn sends only what is new.

https://platform.claude.com/docs/en/api/beta/messages/create

It is in beta, and the tool runner of Anthropic's SDK begins one unasked. A request that goes to another provider is
refused in the words upon which the SDK sends the whole conversation (``anthropic.lib.threads``); were the member
ignored, the next turn would lack all that came before it.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from trunkline_gateway.dialects.anthropic_messages.client_json import Members
from trunkline_gateway.errors import InvalidRequestError

Details: TypeAlias = Mapping[str, str | Sequence[str]]

_UNSUPPORTED: Final[Details] = {"error_code": "thread_unsupported_request", "unsupported": ("thread",)}
_NOT_FOUND: Final[Details] = {"error_code": "thread_not_found"}


class ThreadError(InvalidRequestError):
    """There are no threads here. ``details``: what an SDK goes by."""

    def __init__(self, message: str, details: Details) -> None:
        super().__init__(f"thread: {message}", param="thread")
        self.details = details


def refuse(thread: Members | None) -> None:
    """Refuse to begin one and to go on with one.

    Raises:
        InvalidRequestError: There is one.
    """
    if thread is None:
        return
    if thread.need_text("type") == "continue":
        raise ThreadError("The model's upstream does not have this thread; send the whole conversation.", _NOT_FOUND)
    raise ThreadError("The model's upstream keeps no threads; send the whole conversation.", _UNSUPPORTED)
