"""From one document of a file to an object for the world, or to what is wrong with it. Pure."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from trunkline_operator.watch import yaml_lines
from trunkline_operator.watch.world import Ref
from trunkline_protocol import resources

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
DEFAULT_NAMESPACE: Final = "default"

_NOT_YET: Final = frozenset({"UsagePolicy"})
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ENTRY_NAME: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_SECRET_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData"})
_MAX_SECRET_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object as a file has it.

    Attributes:
        obj: As the API server would give it, but for what it counts itself (revision, generation, age).
        file: The path of the file.
        document: Where its fields stand.
    """

    ref: Ref
    obj: Mapping[str, Any] = field(repr=False)
    file: str
    document: yaml_lines.Document = field(repr=False)

    @property
    def line(self) -> int:
        """Where it begins."""
        return self.document.line


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something wrong with one field of a document; ``path`` as in `resources.FieldError`."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Read:
    """What became of a document.

    Attributes:
        ref: Which object it is, if that can be known.
        obj: None: it is not taken.
        faults: Why not.
        ignored: It is none of ours; ``Kind name``.
    """

    ref: Ref | None = None
    obj: Mapping[str, Any] | None = field(default=None, repr=False)
    faults: tuple[Fault, ...] = ()
    ignored: str = ""


def read(value: object, environ: Mapping[str, str]) -> Read:
    """Read a document. Fields of our own kinds are not judged here but for what names the object.

    Args:
        value: The document.
        environ: What ``${NAME}`` stands for in ``stringData`` of a Secret, and nowhere else.
    """
    if not isinstance(value, dict):
        return Read(faults=(Fault("", "a document must be an object with apiVersion, kind and metadata"),))
    api_version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        missing = "kind" if isinstance(api_version, str) else "apiVersion"
        return Read(faults=(Fault(missing, "Required value"),))
    core = api_version == "v1" and kind in ("Secret", "Namespace")
    ours = api_version.partition("/")[0] == resources.GROUP
    if not core and not ours:
        return Read(ignored=f"{kind} {_name(value)}".rstrip())
    if ours and (kind in _NOT_YET or api_version != resources.API_VERSION or kind not in resources.KINDS):
        if kind in _NOT_YET and api_version == resources.API_VERSION:
            return Read(faults=(Fault("", f"kind {kind} is not supported by this version"),))
        return Read(faults=tuple(Fault(error.path, error.message) for error in resources.validate(value)))
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return Read(faults=(Fault("metadata", "must be of type object"),))
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str) or not name:
        return Read(faults=(Fault("metadata.name", "Required value: give the object a name"),))
    if namespace is not None and not isinstance(namespace, str):
        return Read(faults=(Fault("metadata.namespace", "must be of type string"),))
    if kind == "Namespace":
        return _namespace(name, metadata)
    ref = Ref(kind, namespace or DEFAULT_NAMESPACE, name)
    return _secret(ref, value, metadata, environ) if kind == "Secret" else _resource(ref, value, metadata)


def implied_namespace(name: str) -> Read:
    """The Namespace that is there because something lives in it."""
    return _namespace(name, {"name": name})


def _resource(ref: Ref, value: Mapping[str, Any], metadata: Mapping[str, Any]) -> Read:
    own = {"name": ref.name, "namespace": ref.namespace}
    if metadata.get("labels") is not None:
        own["labels"] = metadata["labels"]
    return Read(ref, {**{key: each for key, each in value.items() if key != "status"}, "metadata": own})


def _namespace(name: str, metadata: Mapping[str, Any]) -> Read:
    ref = Ref("Namespace", "", name)
    labels = metadata.get("labels")
    if faults := tuple(_string_map("metadata.labels", labels)):
        return Read(ref, faults=faults)
    own = {"name": name, "labels": {**(labels or {}), NAMESPACE_LABEL: name}}
    return Read(ref, {"apiVersion": "v1", "kind": "Namespace", "metadata": own})


def _secret(ref: Ref, value: Mapping[str, Any], metadata: Mapping[str, Any], environ: Mapping[str, str]) -> Read:
    labels, data, text = metadata.get("labels"), value.get("data"), value.get("stringData")
    faults = [Fault(name, "unknown field") for name in value if name not in _SECRET_FIELDS]
    faults += [
        *_string_map("metadata.labels", labels),
        *_string_map("data", data, null=True),
        *_string_map("stringData", text, null=True),
    ]
    if faults:
        return Read(ref, faults=tuple(faults))
    entries: dict[str, bytes] = {}
    for name, encoded in (data or {}).items():
        try:
            entries[name] = base64.b64decode("".join((encoded or "").split()), validate=True)
        except (binascii.Error, ValueError):
            faults.append(Fault(f"data.{name}", "must be base64; plain text belongs into stringData"))
    for name, template in (text or {}).items():
        unset = [variable for variable in _VARIABLE.findall(template or "") if variable not in environ]
        faults += [
            Fault(f"stringData.{name}", f"environment variable {variable} is not set")
            for variable in dict.fromkeys(unset)
        ]
        if not unset:
            filled = _VARIABLE.sub(lambda match: environ[match[1]], template or "")
            entries[name] = filled.encode("utf-8", "surrogateescape")
    for path, names in (("data", data), ("stringData", text)):
        if any(_ENTRY_NAME.fullmatch(name) is None for name in names or ()):
            faults.append(Fault(path, "the name of an entry must consist of letters, digits, '-', '_' and '.'"))
    if sum(map(len, entries.values())) > _MAX_SECRET_BYTES:
        faults.append(Fault("data", "Too long: a Secret may hold 1 MiB"))
    if faults:
        return Read(ref, faults=tuple(faults))
    encoded_entries = {name: base64.b64encode(entry).decode() for name, entry in sorted(entries.items())}
    own = {"name": ref.name, "namespace": ref.namespace, "labels": labels or {}}
    return Read(ref, {"apiVersion": "v1", "kind": "Secret", "metadata": own, "data": encoded_entries})


def _string_map(path: str, given: object, *, null: bool = False) -> Sequence[Fault]:
    if given is None:
        return ()
    if not isinstance(given, dict):
        return (Fault(path, "must be of type object"),)
    return tuple(
        Fault(f"{path}.{name}", "must be a string: put it in quotes")
        for name, value in given.items()
        if not (isinstance(value, str) or (null and value is None))
    )


def _name(value: Mapping[str, Any]) -> str:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
