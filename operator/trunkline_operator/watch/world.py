"""The world as the operator has observed it: the one input of the compiler.

Sources (the cluster, a directory) record into it; nothing here decides. It belongs to one thread: kopf's handlers hand
over with ``loop.call_soon_threadsafe``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from trunkline_protocol import resources


class Ref(NamedTuple):
    """An object: ``kind`` as Kubernetes spells it, ``Secret`` and ``Namespace`` (with an empty namespace) included."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


Resource: TypeAlias = resources.ProviderCredential | resources.ModelGroup | resources.VirtualKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One of our own resources as last seen.

    Attributes:
        revision: resourceVersion as a number; a directory counts its own.
        created: creationTimestamp in Unix seconds; with `ref` the order of age ("older wins").
        parsed: None where it is invalid.
        errors: Why; empty where ``parsed`` is there.
        raw: ``spec`` as it stands, for what has to be known of an invalid object too.
        status: ``status`` as it stands in the cluster, so that an unchanged one is not written again.
        origin: File and line, for a directory; empty for the cluster.
    """

    ref: Ref
    uid: str
    generation: int
    revision: int
    created: float
    parsed: Resource | None
    errors: tuple[resources.FieldError, ...]
    raw: Mapping[str, object] = field(repr=False)
    status: Mapping[str, object] = field(repr=False)
    origin: str = ""


@dataclass(frozen=True, slots=True)
class SecretData:
    """A labelled Secret. Its values never reach a repr, log, status or Event."""

    revision: int
    data: Mapping[str, bytes] = field(repr=False)


@dataclass(slots=True)
class World:
    """All that was observed. Mutated by the watch stage only.

    Attributes:
        objects: Our own resources.
        secrets: Those with the label ``trunkline.dev/secret: "true"``.
        unlabelled: Secrets that exist without it: known by metadata only, never read.
        namespaces: Name → labels, and the revision of the observation.
        tombstones: Deleted objects and the revision of their deletion, kept for an hour.
        listed: Kind → revision of the last full LIST; what is absent is known to be absent as of then.
    """

    objects: dict[Ref, Observed] = field(default_factory=dict)
    secrets: dict[Ref, SecretData] = field(default_factory=dict)
    unlabelled: set[Ref] = field(default_factory=set)
    namespaces: dict[str, tuple[int, Mapping[str, str]]] = field(default_factory=dict)
    tombstones: dict[Ref, int] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)

    def revision(self, ref: Ref) -> int:
        """How new our view of ``ref`` is; 0: it was never seen."""
        if (observed := self.objects.get(ref)) is not None:
            return observed.revision
        if (secret := self.secrets.get(ref)) is not None:
            return secret.revision
        if ref.kind == "Namespace" and (namespace := self.namespaces.get(ref.name)) is not None:
            return namespace[0]
        return self.tombstones.get(ref, 0)

    def sources(self, refs: Iterable[Ref]) -> dict[str, int]:
        """The ``sources`` of a table resource that was compiled from ``refs``, absent ones included."""
        return {str(ref): revision for ref in refs if (revision := self.revision(ref))}

    def absence(self, ref: Ref) -> int:
        """As of which revision ``ref`` is known to be absent: its deletion, or the last LIST of its kind."""
        return max(self.tombstones.get(ref, 0), self.listed.get(ref.kind, 0))
