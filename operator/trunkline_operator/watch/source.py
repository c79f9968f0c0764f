"""What every source of resources has in common: the cluster, a directory."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from trunkline_operator.watch.world import Change, Ref


@dataclass(frozen=True, slots=True)
class Changes:
    """What a source calls, from the loop that runs the operator.

    Attributes:
        recorded: An object was recorded anew. With ``Change.NONE`` only its status and revision are new.
        listed: Everything was looked at again: what is absent is known to be absent as of now.
    """

    recorded: Callable[[Ref, Change], None]
    listed: Callable[[], None]


class Source(Protocol):
    """Where resources come from.

    Attributes:
        synced: Set once the world is complete; nothing is compiled before.
        why_not: What is missing until then; a sentence.
    """

    synced: asyncio.Event
    why_not: str

    async def run(self) -> None:
        """Keep the world in step until cancelled."""
        ...

    def suspect(self) -> None:
        """Somebody has seen something newer than this world has: look again, soon. May be called often."""
        ...
