"""An example that is in force, and what a test does with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.system import Gateway, Reply, System, wait_for
from harness.upstream import Upstream
from manifests import asking, examples


@dataclass(slots=True)
class Applied:
    """An example that gateways serve.

    Attributes:
        objects: what it consists of, as far as it is of our kinds.
        keys: VirtualKey → what its client sends.
        environ: what its Secrets were filled in from.
    """

    objects: Sequence[Mapping[str, Any]]
    system: System
    gateway: Gateway
    upstream: Upstream
    keys: Mapping[str, str]
    environ: Mapping[str, str]

    def chat(self, model: str, *, key: str = "client", stream: bool = False, **fields: object) -> Reply:
        """Ask with the key of a VirtualKey."""
        return self.gateway.chat(model, key=self.keys[key], stream=stream, **fields)

    def embed(self, model: str, *, key: str = "client") -> Reply:
        """Ask for an embedding with the key of a VirtualKey."""
        return asking.embed(self.gateway, model, self.keys[key])

    def get(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The object as the API server has it."""
        found: dict[str, Any] = self.system.api.request("GET", examples.path_of(document, self.system.namespace))
        return found

    def wait_in_force(self, *documents: Mapping[str, Any]) -> None:
        """Return once ``documents`` (default: all of its objects) are accepted, resolved and programmed."""
        missing: list[str] = []

        def probe() -> bool:
            missing[:] = [lack for each in documents or self.objects for lack in self._lacks(each)]
            return not missing

        try:
            wait_for(probe, 30, "the example to be in force")
        except TimeoutError:
            raise TimeoutError("\n".join(missing)) from None

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """Change an object that names no namespace, and wait until that is served."""
        self.system.patch(kind, name, change)
        if kind in examples.OUR_KINDS:
            self.wait_in_force({"kind": kind, "metadata": {"name": name}})

    def _lacks(self, document: Mapping[str, Any]) -> list[str]:
        found = self.get(document)
        said = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
        lacks = []
        for name in ("Accepted", "ResolvedRefs", "Programmed"):
            condition = said.get(name, {})
            if condition.get("status") != "True" or condition["observedGeneration"] != found["metadata"]["generation"]:
                lacks.append(f"{document['kind']} {document['metadata']['name']}: {name} is not true: {condition}")
        return lacks
