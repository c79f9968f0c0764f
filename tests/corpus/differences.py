"""The honest list of what does not come out as it went in, ``differences.toml``; read here, checked by each test."""

import functools
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).resolve().parent


class Listed(NamedTuple):
    """What a list holds.

    Attributes:
        reasons: Name → its paragraph.
        entries: (case, where, what) → the reason's name. The case is a recording's id, a file, a pair.
    """

    reasons: Mapping[str, str]
    entries: Mapping[tuple[str, str, str], str]

    def of(self, case: str) -> Mapping[tuple[str, str], str]:
        """(where, what) → reason, of one case."""
        return {(where, what): reason for (name, where, what), reason in self.entries.items() if name == case}


@functools.cache
def listed(path: Path, section: str) -> Listed:
    """One table of a list: ``[section.reason]`` holds ``case = ["where: what", …]``."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    reasons = data.get("reasons", {})
    entries: dict[tuple[str, str, str], str] = {}
    for reason, cases in data.get(section, {}).items():
        for case, found in cases.items():
            for each in found:
                where, _, what = each.partition(": ")
                entries[case, where, what] = reason
    return Listed(reasons, entries)


def check(case: str, found: Mapping[tuple[str, str], str], known: Listed) -> None:
    """Fail on what is found and not listed, and on what is listed and not found."""
    expected = known.of(case)
    new = {key: detail for key, detail in found.items() if key not in expected}
    gone = [key for key in expected if key not in found]
    lines = [f"  {where}: {what}: {detail}" for (where, what), detail in sorted(new.items())]
    lines += [f"  listed and not found any more: {where}: {what}" for where, what in gone]
    assert not lines, f"{case}\n" + "\n".join(lines)


def check_list(path: Path, section: str, cases: Iterable[str]) -> None:
    """Every entry has a reason that is told, every case exists."""
    known = listed(path, section)
    assert set(known.entries.values()) <= set(known.reasons), "each reason has its paragraph"
    assert {case for case, _, _ in known.entries} <= set(cases)
