"""The settings of a service in compose.yaml, as a container needs them.

https://github.com/compose-spec/compose-spec/blob/main/05-services.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Service:
    """One service, with the default of each variable."""

    image: str
    user: str
    environment: Mapping[str, str]
    tmpfs: tuple[str, ...]
    volumes: Mapping[str, str]
    """Folder here, or name of a volume → folder in the container."""
    ports: tuple[str, ...]
    given: Mapping[str, Any]
    """All of it."""

    @classmethod
    def read(cls, path: Path, name: str) -> Service:
        """Read service ``name`` of the file."""
        given = yaml.safe_load(_VARIABLE.sub(lambda found: found[2] or "", path.read_text()))["services"][name]
        return cls(
            image=given["image"],
            user=given["user"],
            environment=given.get("environment", {}),
            tmpfs=tuple(given.get("tmpfs", ())),
            volumes=dict(each.split(":")[:2] for each in given["volumes"]),
            ports=tuple(given.get("ports", ())),
            given=given,
        )
