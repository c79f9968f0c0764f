"""Logs of both planes: one line for each event, on stderr.

JSON for machines (``ts``, ``level``, ``logger``, ``msg``, then the event's own fields), text for people. Fields come by
``extra=fields(node="gateway-0")``. An exception is rendered with its traceback but without local variables, and a line
break in a message cannot start a second event.

Whoever logs is responsible for what: no secret, prompt or key belongs in a message or a field.
"""

import json
import logging
import os
import select
import sys
import traceback
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from trunkline_protocol.lines import LineWriter

_logger = logging.getLogger(__name__)

Format = Literal["json", "text"]

FORMATS: Final[tuple[str, ...]] = ("json", "text")
LEVELS: Final[tuple[str, ...]] = ("debug", "info", "warning", "error")
_LAST_STANDARD_DESCRIPTOR: Final = 2


def fields(**values: object) -> dict[str, Any]:
    """Give what ``extra=`` takes: fields of the event."""
    return {"fields": values}


def configure(*, level: str = "info", log_format: str = "json", stream: TextIO | None = None) -> None:
    """Let the root logger, and so every logger of the process, write to ``stream`` (stderr) and nowhere else.

    Nobody who logs ever waits for the stream's reader, see `LineHandler`. What an earlier call had installed is closed.
    To be called before sockets are opened: a process that was started without its standard streams has them as
    ``/dev/null`` afterwards, so that no connection gets the number of one.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _reserve_standard_descriptors()
    root = logging.getLogger()
    before = handler()
    root.handlers[:] = [LineHandler(stream or sys.stderr, "text" if log_format == "text" else "json")]
    root.setLevel(level.upper())
    if before is not None:
        before.close()


def handler() -> "LineHandler | None":
    """Find what `configure` has installed, for who writes lines without records; None: logging is somebody else's."""
    return next((each for each in logging.getLogger().handlers if isinstance(each, LineHandler)), None)


def timestamp(seconds: float) -> str:
    """Render Unix ``seconds`` as all lines show them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_line(ts: str, level: str, logger: str, said: str) -> str:
    """Render one line for people, without its line end."""
    return f"{ts} {level:<7} {logger}: {said}".replace("\r", "\\r").replace("\n", "\\n")


class LineHandler(logging.Handler):
    """Writes records, and lines that others have rendered, to one stream; each line in one piece, in their order.

    A stream with a file descriptor is written to by a thread, past the stream's own buffer: nobody who logs waits for
    whoever reads (or does not), up to `lines.BOUND_BYTES`; see `lines.LineWriter` for what is beyond that. A stream in
    memory has every line at once. Nothing is done by ``flush``; `close`, which the interpreter calls at its end, writes
    what is left.

    Args:
        stream: None, as `sys.stderr` is where the process was started without one: everything is dropped.
    """

    def __init__(self, stream: TextIO | None, log_format: Format) -> None:
        super().__init__()
        self.log_format: Final = log_format
        self._stream: Final = stream
        self._lost = 0  # where there is no writer
        self._writer = LineWriter(self._write, report=self._dropped_line) if _has_descriptor(stream) else None
        self.setFormatter(TextFormatter() if log_format == "text" else JSONFormatter())

    @property
    def dropped(self) -> int:
        """How many lines were never written, because writing was too slow or failed."""
        return self._lost if self._writer is None else self._writer.dropped

    def emit(self, record: logging.LogRecord) -> None:
        """Render ``record``, to be written soon."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # whatever is wrong with it, it is a defect of who logs and must not stop them
            self.handleError(record)
        else:
            self.write_lines(_encoded(line))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name for it
        """Log that ``record`` cannot be rendered, and from where it is; not what it holds."""
        said = f"a record of {record.pathname}:{record.lineno} cannot be rendered"
        failed = logging.LogRecord(record.name, logging.ERROR, __file__, 0, said, None, sys.exc_info())
        self.write_lines(_encoded(self.format(failed)))

    def write_lines(self, lines: bytes) -> None:
        """Let whole lines, in UTF-8, be written after what was logged before. Never blocks, never raises."""
        if self._writer is None:
            self._keep(lines)
        elif not self._writer.put(lines):
            self._write_late(lines)

    def close(self) -> None:
        """Write what is left, for two seconds at most."""
        if self._writer is not None:
            self._writer.close()
        super().close()

    def _keep(self, lines: bytes) -> None:
        with self.lock or nullcontext():
            try:
                if self._stream is not None:
                    self._stream.write(lines.decode())
                    self._stream.flush()
                    return
            except ValueError:  # it is closed
                pass
            self._lost += lines.count(b"\n")

    def _write(self, lines: bytes) -> None:
        descriptor = self._descriptor()
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:  # who shares the terminal has made it non-blocking
                _is_writable(descriptor, timeout_seconds=None)

    def _write_late(self, lines: bytes) -> None:
        """Write as much as certainly does not block: the interpreter is ending, there is nobody to wait any more."""
        with suppress(OSError, ValueError):
            descriptor = self._descriptor()
            if _is_writable(descriptor, timeout_seconds=0):
                os.write(descriptor, lines[: select.PIPE_BUF])

    def _descriptor(self) -> int:
        """Ask anew each time: the number of a closed stream may already be somebody else's."""
        return -1 if self._stream is None else self._stream.fileno()

    def _dropped_line(self, dropped: int) -> bytes:
        if not _logger.isEnabledFor(logging.WARNING):
            return b""
        said = "lines of the log were dropped"
        record = logging.LogRecord(_logger.name, logging.WARNING, __file__, 0, said, None, None)
        record.__dict__.update(fields(lines=dropped))
        return _encoded(self.format(record))


def _reserve_standard_descriptors() -> None:
    """Open the numbers 0 to 2 where they are free. Libraries take what is there for a terminal; libuv aborts on it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD_DESCRIPTOR:
        pass
    os.close(descriptor)


def _has_descriptor(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() >= 0
    except (AttributeError, ValueError):  # in memory, or closed
        return False


def _is_writable(descriptor: int, *, timeout_seconds: float | None) -> bool:
    """Tell whether the descriptor takes `select.PIPE_BUF` bytes without blocking; None: wait until it does."""
    writable = select.poll()
    writable.register(descriptor, select.POLLOUT)
    return bool(writable.poll(None if timeout_seconds is None else timeout_seconds * 1000))


def _encoded(line: str) -> bytes:
    return f"{line}\n".encode("utf-8", "backslashreplace")


class JSONFormatter(logging.Formatter):
    """One JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render ``record``."""
        event: dict[str, object] = {
            "ts": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        for name, value in _fields(record).items():
            event.setdefault(name, value)
        if record.exc_info and record.exc_info[1] is not None:
            event["exception"] = _traceback(record.exc_info[1])
        return json.dumps(event, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One line for people; a traceback follows indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Render ``record``."""
        said = "".join(f" {name}={value}" for name, value in _fields(record).items())
        level = record.levelname.lower()
        line = text_line(timestamp(record.created), level, record.name, f"{record.getMessage()}{said}")
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + "\n".join(f"    {each}" for each in _traceback(record.exc_info[1]).splitlines())
        return line


def _fields(record: logging.LogRecord) -> dict[str, object]:
    given = getattr(record, "fields", None)
    return given if isinstance(given, dict) else {}


def _traceback(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format()).rstrip()
