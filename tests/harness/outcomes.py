"""How requests under load ended, and the report of it: by phase, in JSON and as a table.

A result is ``ok`` or one of:

| result | what the client saw |
|---|---|
| ``told`` | a stream that ended with an explicit error event: the gateway is shutting down |
| ``error event`` | one that ended with another error event |
| ``status NNN`` | another status than 200 |
| ``refused``, ``no connection`` | no connection; nothing was sent |
| ``reset``, ``closed`` | the connection ended before the first byte of an answer, with or without a reset |
| ``truncated`` | it ended in the middle of an answer |
| ``silent`` | nothing came for long |
| ``wrong`` | an answer that is not what was asked for, or a stream that ended as if it were whole |
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Kind = Literal["whole", "stream"]

OK: Final = "ok"
TOLD: Final = "told"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request.

    Attributes:
        result: See the module; that of the last attempt.
        seconds: Until the answer was whole, or until the first word of a stream; with all attempts.
        attempts: How many there were.
        fresh: Whether the (last) connection was made for it.
        said: What else is known, for people.
    """

    kind: Kind
    result: str
    seconds: float
    attempts: int = 1
    fresh: bool = True
    said: str = ""


@dataclass(slots=True)
class Phase:
    """What ended while something was going on.

    Attributes:
        failed_first: Results of attempts that were made again.
        notes: Of the scenario: what was seen beside the traffic.
    """

    name: str
    seconds: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    failed_first: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)

    def count(self, kind: Kind | None = None, *results: str) -> int:
        """How many requests of the kind ended so."""
        return sum(
            (kind is None or each.kind == kind) and (not results or each.result in results) for each in self.outcomes
        )

    def failures(self, *, told: bool = False) -> list[Outcome]:
        """What did not end well; with ``told``, what was explicitly ended too."""
        fine = (OK,) if told else (OK, TOLD)
        return [each for each in self.outcomes if each.result not in fine]

    def latency(self, kind: Kind, share: float) -> float:
        """A percentile of what ended well, in seconds; NaN: nothing did."""
        took = sorted(each.seconds for each in self.outcomes if each.kind == kind and each.result == OK)
        return took[min(len(took) - 1, math.ceil(share * len(took)) - 1)] if took else math.nan

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "name": self.name,
            "seconds": round(self.seconds, 1),
            "requests": self.count(),
            "whole": {"ok": self.count("whole", OK), "latency_ms": self._latencies("whole")},
            "streams": {
                "finished": self.count("stream", OK),
                "told": self.count("stream", TOLD),
                "first_word_ms": self._latencies("stream"),
            },
            "failed": dict(Counter(f"{each.kind}: {each.result}" for each in self.failures())),
            "failed_first": dict(self.failed_first),
            "said": sorted({each.said for each in self.failures() if each.said})[:10],
            "notes": self.notes,
        }

    def _latencies(self, kind: Kind) -> dict[str, float | None]:
        found = {"p50": self.latency(kind, 0.5), "p99": self.latency(kind, 0.99), "max": self.latency(kind, 1.0)}
        return {name: None if math.isnan(value) else round(value * 1000, 1) for name, value in found.items()}


def write(phases: Iterable[Phase], path: Path, *, title: str, about: str = "") -> None:
    """Write ``path``.json and ``path``.md."""
    found = [phase.as_json() for phase in phases]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    lines = [
        f"# {title}",
        "",
        *([about, ""] if about else []),
        "| while | seconds | requests | failed | streams finished | ended explicitly "
        "| whole p50 / p99 / max ms | first word p50 / p99 / max ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        failed = ", ".join(f"{count} {name}" for name, count in each["failed"].items()) or "0"
        again = ", ".join(f"{count} {name}" for name, count in each["failed_first"].items())
        cells = [
            each["name"],
            str(each["seconds"]),
            str(each["requests"]),
            f"{failed} (tried again: {again})" if again else failed,
            str(each["streams"]["finished"]),
            str(each["streams"]["told"]),
            _cell(each["whole"]["latency_ms"]),
            _cell(each["streams"]["first_word_ms"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {each['name']}: {_said(each['notes'])}" for each in found if each["notes"])]
    path.with_suffix(".md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _cell(latencies: dict[str, float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.0f}" for value in latencies.values())


def _said(notes: dict[str, Any]) -> str:
    return "; ".join(f"{name} {value}" for name, value in notes.items())
