"""Logs of both planes: one line for each event, on stderr.

JSON for machines (``ts``, ``level``, ``logger``, ``msg``, then the event's own fields), text for people. Fields come by
``extra=fields(node="gateway-0")``. An exception is rendered with its traceback but without local variables, and a line
break in a message cannot start a second event.

Whoever logs is responsible for what: no secret, prompt or key belongs in a message or a field.
"""

import io
import json
import logging
import os
import select
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

Format = Literal["json", "text"]

FORMATS: Final[tuple[str, ...]] = ("json", "text")
LEVELS: Final[tuple[str, ...]] = ("debug", "info", "warning", "error")


def fields(**values: object) -> dict[str, Any]:
    """Give what ``extra=`` takes: fields of the event."""
    return {"fields": values}


def configure(*, level: str = "info", log_format: str = "json", stream: TextIO | None = None) -> None:
    """Let the root logger, and so every logger of the process, write to ``stream`` (stderr) and nowhere else."""
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(stream or sys.stderr, "text" if log_format == "text" else "json")]
    root.setLevel(level.upper())


def handler() -> "LineHandler | None":
    """Find what `configure` has installed, for who writes lines without records; None: logging is somebody else's."""
    return next((each for each in logging.getLogger().handlers if isinstance(each, LineHandler)), None)


def timestamp(seconds: float) -> str:
    """Render Unix ``seconds`` as all lines show them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_line(ts: str, level: str, logger: str, said: str) -> str:
    """Render one line for people, without its line end."""
    return f"{ts} {level:<7} {logger}: {said}".replace("\r", "\\r").replace("\n", "\\n")


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes records, and lines that others have rendered, to one stream; each line in one piece."""

    def __init__(self, stream: TextIO, log_format: Format) -> None:
        super().__init__(stream)
        self.log_format: Final = log_format
        # Not the handler's own lock: the interpreter takes that one at its end, and must not wait for a stuck stream.
        self._writing = threading.RLock()
        self.setFormatter(TextFormatter() if log_format == "text" else JSONFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``, not into the midst of `write_lines`."""
        with self._writing:
            super().emit(record)

    def write_lines(self, lines: bytes) -> None:
        """Write whole lines, in UTF-8, past the stream's own buffer; blocks while the other end does not read.

        Raises:
            OSError: It cannot be written; some of it may have been.
            ValueError: The stream is closed.
        """
        with self._writing:
            try:
                descriptor = self.stream.fileno()
            except io.UnsupportedOperation:  # a stream in memory
                self.stream.write(lines.decode())
                return
            rest = memoryview(lines)
            while rest:
                try:
                    rest = rest[os.write(descriptor, rest) :]
                except BlockingIOError:  # who shares the terminal has made it non-blocking
                    writable = select.poll()
                    writable.register(descriptor, select.POLLOUT)
                    writable.poll()


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
