"""One log line for each request, in the format and of the place that `logs.configure` chose.

    access = AccessLog(logs.handler(), wall=wall)
    access.log(exchanges)      # encodes
    access.flush()             # hands over to the handler, which never blocks
    access.close()

Lines look like records of the logger ``trunkline_gateway.access``, whose level decides about them, but are none: making
a record of each would cost as much as serving the request does. They share the handler, and so the order, with the
records. Where somebody else has configured logging, they are records like all others.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from trunkline_gateway.exchange import losses
from trunkline_gateway.telemetry.exchange import Exchange
from trunkline_protocol import logs

logger = logging.getLogger("trunkline_gateway.access")

_PATH_CHARACTERS: Final = 512


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """A line as it is encoded, in this order; what is not known or does not apply is left out."""

    ts: str
    level: str
    logger: str
    msg: str
    request_id: str
    method: str
    path: str
    status: int
    duration_ms: float
    group: str = ""
    target: str = ""
    key: str = ""
    team: str = ""
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str = ""
    ttft_ms: float | None = None
    streamed: bool = False
    truncated: bool = False
    client_gone: bool = False
    dialect: str = ""
    upstream_dialect: str = ""
    lost: str = ""


_FIELDS: Final = _Line.__struct_fields__
_DEFAULTS: Final = dict(zip(reversed(_FIELDS), reversed(_Line.__struct_defaults__), strict=False))
_OWN_FIELDS: Final = _FIELDS[_FIELDS.index("request_id") :]
"""Without those that the line of each record has."""


class AccessLog:
    """See the module. Belongs to the event loop.

    Args:
        handler: What `logs.configure` installed; None: write by the logger.
        wall: Unix seconds.
        monotonic: The clock of `Exchange.ended_at`.
    """

    def __init__(
        self,
        handler: logs.LineHandler | None,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._as_text = handler is not None and handler.log_format == "text"
        self._handler = handler
        self._encoder = msgspec.json.Encoder()
        self._encoded: list[bytes] = []
        self._second = -1
        self._second_text = ""

    @property
    def dropped(self) -> int:
        """Lines of the whole log that were never written, because writing was too slow or failed."""
        return 0 if self._handler is None else self._handler.dropped

    def log(self, exchanges: Sequence[Exchange]) -> None:
        """Encode a line for each, if the level asks for it."""
        if not exchanges or not logger.isEnabledFor(logging.INFO):
            return
        now = self._monotonic()
        began = self._wall() - now  # when the monotonic clock was 0
        lines = [self._line(exchange, began + (exchange.ended_at or now)) for exchange in exchanges]
        if self._handler is None:
            for line in lines:
                logger.info(line.msg, extra=logs.fields(**dict(_known(line))))
        elif self._as_text:
            self._encoded += map(_text, lines)
        else:
            self._encoded.append(self._json(lines))

    def flush(self) -> None:
        """Let what is encoded be written, soon."""
        if self._encoded and self._handler is not None:
            encoded, self._encoded = self._encoded, []
            self._handler.write_lines(b"".join(encoded))

    def close(self) -> None:
        """Hand over the rest; it is written before the process ends."""
        self.flush()

    def _line(self, exchange: Exchange, ended: float) -> _Line:
        second = int(ended)
        if second != self._second:
            self._second, self._second_text = second, logs.timestamp(second)[: -len("000Z")]
        first = exchange.first_byte_seconds
        return _Line(
            f"{self._second_text}{int((ended - second) * 1000):03d}Z",
            "info",
            logger.name,
            "request",
            exchange.request_id,
            exchange.method,
            exchange.path[:_PATH_CHARACTERS],
            exchange.status,
            int(exchange.duration_seconds * 10_000 + 0.5) / 10,  # as round(…, 1), in a quarter of its time
            exchange.group,
            exchange.target,
            exchange.key,
            exchange.team,
            exchange.attempts,
            exchange.prompt_tokens,
            exchange.completion_tokens,
            exchange.error,
            None if first is None else int(first * 10_000 + 0.5) / 10,
            exchange.streamed,
            exchange.truncated,
            exchange.client_gone,
            *(_translation(exchange) if exchange.upstream_dialect != exchange.dialect or exchange.lost else ()),
        )

    def _json(self, lines: Sequence[_Line]) -> bytes:
        try:
            return self._encoder.encode_lines(lines)
        except UnicodeEncodeError:  # a lone surrogate, which no text that came over a wire has
            return self._encoder.encode_lines([_encodable(line) for line in lines])


def _translation(exchange: Exchange) -> tuple[str, str, str]:
    return exchange.dialect, exchange.upstream_dialect, losses.header(exchange.lost)


def _known(line: _Line) -> Iterator[tuple[str, object]]:
    for name in _OWN_FIELDS:
        value = getattr(line, name)
        if name not in _DEFAULTS or value != _DEFAULTS[name]:
            yield name, value


def _text(line: _Line) -> bytes:
    said = "".join(f" {name}={value}" for name, value in _known(line))
    text = logs.text_line(line.ts, line.level, line.logger, f"{line.msg}{said}")
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _encodable(line: _Line) -> _Line:
    """Say the same with nothing that UTF-8 cannot say: its escapes instead."""
    said = {name: value for name, value in msgspec.structs.asdict(line).items() if isinstance(value, str)}
    return msgspec.structs.replace(
        line, **{name: text.encode("utf-8", "backslashreplace").decode() for name, text in said.items()}
    )
