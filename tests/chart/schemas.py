"""JSON schemas for kubeconform, made of what a real API server says of its kinds: nothing is downloaded.

They are strict: an object whose fields are known takes no others. Our own kinds come from their CRDs, as the API server
shows them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from harness.kube import ApiServer

_PREFIX = "#/components/schemas/"
_LOCATION = "{{ .ResourceKind }}{{ .KindSuffix }}.json"


def write(api: ApiServer, directory: Path, kinds: Collection[tuple[str, str]]) -> None:
    """Write a schema for each of ``kinds``, apiVersion and kind, named as kubeconform asks for it."""
    for version in {version for version, _ in kinds}:
        path = f"apis/{version}" if "/" in version else f"api/{version}"
        components = api.request("GET", f"/openapi/v3/{path}")["components"]["schemas"]
        for schema in components.values():
            for kind in schema.get("x-kubernetes-group-version-kind", []):
                if ("/".join(filter(None, (kind["group"], kind["version"]))), kind["kind"]) in kinds:
                    _write_kind(directory, kind, schema, components)


def _write_kind(
    directory: Path, kind: Mapping[str, str], schema: Mapping[str, Any], components: Mapping[str, Any]
) -> None:
    group = kind["group"].partition(".")[0]
    suffix = "-".join(part for part in (group, kind["version"]) if part)
    definitions = {name: _strict(each) for name, each in components.items()}
    # The API server fills these in.
    top = {**_strict(schema), "definitions": definitions}
    top["properties"] = {**top["properties"], "status": {}}
    text = json.dumps(top).replace(_PREFIX, "#/definitions/")
    (directory / f"{kind['kind'].lower()}-{suffix}.json").write_text(text, encoding="utf-8")


def _strict(schema: Any) -> Any:
    """``schema`` without what JSON Schema does not know, closed where its fields are named."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    kept = {
        name: ({key: _strict(each) for key, each in value.items()} if name == "properties" else _strict(value))
        for name, value in schema.items()
        if not name.startswith("x-") and name not in {"default", "description", "format", "nullable", "example"}
    }
    if (
        "properties" in kept
        and "additionalProperties" not in kept
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        kept["additionalProperties"] = False
    return kept


def kubeconform(program: Path, directory: Path, manifest: Path, *, skip: Collection[str] = ()) -> dict[str, Any]:
    """What kubeconform says of ``manifest``, with the schemas of ``directory`` and no others."""
    argv = [str(program), "-strict", "-output=json", f"-schema-location={directory}/{_LOCATION}"]
    done = subprocess.run([*argv, f"-skip={','.join(skip)}", "-summary", str(manifest)], capture_output=True, text=True)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    found.setdefault("resources", [])
    return found
