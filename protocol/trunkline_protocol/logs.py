"""Logs of both planes: one line for each event, on stderr.

JSON for machines (``ts``, ``level``, ``logger``, ``msg``, then the event's own fields), text for people. Fields come by
``extra=fields(node="gateway-0")``. An exception is rendered with its traceback but without local variables, and a line
break in a message cannot start a second event.

Whoever logs is responsible for what: no secret, prompt or key belongs in a message or a field.
"""

import json
import logging
import sys
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
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(TextFormatter() if log_format == "text" else JSONFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class JSONFormatter(logging.Formatter):
    """One JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render ``record``."""
        event: dict[str, object] = {
            "ts": _timestamp(record),
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
        line = f"{_timestamp(record)} {record.levelname.lower():<7} {record.name}: {record.getMessage()}{said}"
        line = line.replace("\r", "\\r").replace("\n", "\\n")
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + "\n".join(f"    {each}" for each in _traceback(record.exc_info[1]).splitlines())
        return line


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    given = getattr(record, "fields", None)
    return given if isinstance(given, dict) else {}


def _traceback(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format()).rstrip()
