"""The worked examples under ``manifests/``, made ready to answer from doubles instead of from providers."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.system import REPOSITORY
from trunkline_protocol.resources import KINDS

EXAMPLES = sorted(path for path in (REPOSITORY / "manifests").iterdir() if path.is_dir())
OUR_KINDS = tuple(KINDS)
SECRETS = "secrets"
"""Folder of an example that ``trunkline run`` reads and ``kubectl apply -f`` of the example does not."""

AUTHORITIES = "CORPORATE_CA"
"""The variable that holds certificates: ``trunkline run`` fills it in, kubectl takes the file."""

_COMMAND = "#   "
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Doubles:
    """What stands for providers: base URLs without TLS, and with a certificate of an authority of its own.

    Both end with ``/v1``; providers whose SDKs take an address without it are reached at the same server.
    """

    plain_url: str
    tls_url: str


def files(directory: Path) -> list[Path]:
    """The YAML files that ``kubectl apply -f DIRECTORY`` reads, in its order."""
    return sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml"))


def documents(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Every document of the files."""
    return [each for path in paths for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def everything(directory: Path) -> list[dict[str, Any]]:
    """Every document of an example, its Secrets too."""
    return documents([*files(directory), *secret_files(directory)])


def secret_files(directory: Path) -> list[Path]:
    """The files with what is filled in from the environment."""
    folder = directory / SECRETS
    return files(folder) if folder.is_dir() else []


def environment(directory: Path, ca: str) -> dict[str, str]:
    """A value for each variable that the example's Secrets name, never the one of whoever runs the tests."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in secret_files(directory))
    return {name: ca if name == AUTHORITIES else f"sk-of-{name.lower()}" for name in _VARIABLE.findall(text)}


def filled_in(text: str, environ: Mapping[str, str]) -> str:
    """What envsubst prints; ``KeyError`` where a variable is missing."""
    return _VARIABLE.sub(lambda match: environ[match[1]], text)


def comment(directory: Path) -> list[str]:
    """The lines of an example's first comment."""
    lines = files(directory)[0].read_text(encoding="utf-8").splitlines()
    return list(itertools.takewhile(lambda line: line.startswith("#"), lines))


def export_commands(directory: Path) -> str:
    """The comment's commands that set variables; ``…`` stands where a provider's key goes."""
    return "\n".join(
        line.removeprefix(_COMMAND) for line in comment(directory) if line.startswith(f"{_COMMAND}export ")
    )


def cluster_commands(directory: Path) -> str:
    """The comment's commands for a cluster, as one script for a shell in the repository."""
    lines = iter(comment(directory))
    if not any(line.startswith("# In a cluster") for line in lines):
        raise ValueError(f"{directory.name} does not say what to do in a cluster")
    return "\n".join(line.removeprefix(_COMMAND) for line in itertools.takewhile(_is_command, lines))


def _is_command(line: str) -> bool:
    return line.startswith(_COMMAND)


def with_doubles(directory: Path, into: Path, doubles: Doubles) -> None:
    """Copy an example, its accounts' addresses replaced, and its keys' hashes, which are nobody's.

    One without any VirtualKey gets one: `trunkline run` makes it, in a cluster its comment says how.
    """
    for path in files(directory):
        found = documents([path])
        for document in found:
            _replace(document, doubles)
        _write(into / path.name, found)
    if not any(document["kind"] == "VirtualKey" for document in documents(files(directory))):
        spec = {"models": ["*"], "keyHash": _hash(key_for("none"))}
        key = {"apiVersion": "trunkline.dev/v1alpha1", "kind": "VirtualKey", "metadata": {"name": "client"}}
        _write(into / "client.yaml", [{**key, "spec": spec}])


def client_keys(directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """VirtualKey → what its client sends, once `with_doubles` has replaced the hashes."""
    entries = {
        (each["metadata"]["name"], entry): filled_in(value, environ)
        for each in documents(secret_files(directory))
        for entry, value in each["stringData"].items()
    }
    keys = {}
    for name, spec in _specs(directory, "VirtualKey"):
        ref = spec.get("secretRef")
        keys[name] = entries[ref["name"], ref["key"]] if ref else key_for(spec["keyHash"])
    return keys or {"client": key_for("none")}


def key_for(placeholder: str) -> str:
    """The key whose hash takes the place of a hash that is nobody's."""
    return f"sk-tl-for-{placeholder[-4:]}"


def public_names(directory: Path) -> Iterator[str]:
    """A public name for each entry of each ModelGroup's ``models``."""
    for name, spec in _specs(directory, "ModelGroup"):
        for each in spec.get("models", [name]):
            yield each.replace("*", "large")


def _specs(directory: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for document in documents(files(directory)):
        if document["kind"] == kind:
            yield document["metadata"]["name"], document["spec"]


def _replace(document: dict[str, Any], doubles: Doubles) -> None:
    if document["kind"] == "ProviderCredential" and document["spec"]["provider"] != "echo":
        endpoint = document["spec"].setdefault("endpoint", {})
        url = doubles.tls_url if "caSecretRef" in endpoint else doubles.plain_url
        rootless = document["spec"]["provider"] in ("azure-openai", "anthropic", "gemini")
        endpoint["baseURL"] = url.removesuffix("/v1") if rootless else url
    if document["kind"] == "VirtualKey" and (placeholder := document["spec"].get("keyHash")):
        document["spec"]["keyHash"] = _hash(key_for(placeholder))


def _hash(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _write(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(yaml.safe_dump_all(found, sort_keys=False), encoding="utf-8")


def path_of(document: Mapping[str, Any], namespace: str) -> str:
    """Where the API server has the object; ``namespace``: for those that name none."""
    kind, metadata = document["kind"], document["metadata"]
    where = metadata.get("namespace", namespace)
    if kind not in OUR_KINDS:
        return f"/api/v1/namespaces/{where}/{kind.lower()}s/{metadata['name']}"
    return f"/apis/trunkline.dev/v1alpha1/namespaces/{where}/{KINDS[kind].plural}/{metadata['name']}"


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The process's environment with ``extra``, without what could fill in a variable or set a flag by accident."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, **extra}
