"""What the connections of one listener share."""

from trunkline_gateway.http import encode
from trunkline_gateway.ingress.asgi import Handler
from trunkline_gateway.ingress.limits import Limits, Refused
from trunkline_gateway.ingress.refusals import RefusalLog
from trunkline_gateway.ingress.serving import Load
from trunkline_gateway.outbox import Outbox
from trunkline_gateway.timers import Timers


class Wiring:
    """See the module.

    Attributes:
        handler: None: everything goes on into ASGI.
        timers: Those of the loop.
        outbox: For the answers of all of them.
        load: How busy the handler is.
        refusal_log: For the refusals of all of them.
        draining: Whether every answer is the last of its connection; looked at once for each connection.
    """

    __slots__ = (
        "_dated",
        "_preface",
        "draining",
        "handler",
        "limits",
        "load",
        "outbox",
        "refusal_log",
        "refused",
        "timers",
    )

    def __init__(self, *, limits: Limits, refused: Refused, handler: Handler | None, timers: Timers) -> None:
        self.limits = limits
        self.refused = refused
        self.handler = handler
        self.timers = timers
        self.outbox = Outbox(timers.loop)
        self.load = Load()
        self.refusal_log = RefusalLog(timers)
        self.draining = False
        self._dated: list[tuple[bytes, bytes]] | None = None
        self._preface = b""

    def preface(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Encode uvicorn's default headers, once for each list: it makes a new one each second."""
        if headers is not self._dated:
            self._preface = encode(headers)
            self._dated = headers
        return self._preface
