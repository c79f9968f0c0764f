"""One request that goes on into ASGI, as uvicorn does it."""

from typing import TYPE_CHECKING, Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


_CLOSE: Final = (b"connection", b"close")


class ColdRequest:
    """uvicorn's cycle, with the few words that the connection uses for a `hot.HotRequest`."""

    __slots__ = ("_flow", "app", "cycle")

    def __init__(self, cycle: "RequestResponseCycle", app: ASGI3Application, flow: FlowControl) -> None:
        self.cycle = cycle
        self.app = app
        self._flow = flow

    @property
    def keep_alive(self) -> bool:
        """Whether the connection outlives the answer."""
        return self.cycle.keep_alive

    def close_after(self) -> None:
        """End the connection with this answer, and say so in the head unless that is out."""
        cycle = self.cycle
        if cycle.keep_alive:
            cycle.keep_alive = False
            cycle.default_headers = [*cycle.default_headers, _CLOSE]  # the list is everybody's

    @property
    def started(self) -> bool:
        """Whether a status is out."""
        return self.cycle.response_started

    @property
    def complete(self) -> bool:
        """Whether the answer is out."""
        return self.cycle.response_complete

    def feed(self, data: bytes) -> None:
        """More of the body."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += data
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        cycle.message_event.set()

    def end(self) -> None:
        """The end of the body."""
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def lose(self) -> None:
        """Nobody is there to be answered."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
