"""The world as the operator has observed it: the one input of the compiler.

Sources (the cluster, a directory) record into it; nothing here decides. It belongs to one thread: kopf's handlers hand
over with ``loop.call_soon_threadsafe``.
"""

import base64
import binascii
import enum
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from trunkline_operator.shallow import shallow
from trunkline_protocol import resources

SECRET_LABEL: Final = "trunkline.dev/secret"  # noqa: S105 - the name of a label
TOMBSTONE_SECONDS: Final = 3600.0


class Ref(NamedTuple):
    """An object: ``kind`` as Kubernetes spells it, ``Secret`` and ``Namespace`` (with an empty namespace) included."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


LABELLED: Final = frozenset({"ModelGroup"})
"""Kinds of ours whose labels mean something."""

Resource: TypeAlias = resources.Resource


class Change(enum.IntEnum):
    """What recording something has changed, for the compiler; ``max`` of several is what they have changed together."""

    NONE = 0
    CHANGED = 1
    REVOKES = 2
    """It may take something away from somebody, so it does not wait."""


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
        labels: Of its metadata, for kinds that are selected by them. Kubernetes counts no generation for a change here.
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
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)


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
        listed: Kind → revision of the last full LIST; what is absent is known to be absent as of then. LISTs of single
            namespaces stand under ``kind/namespace``.
        clock: Seconds; only for the age of tombstones.
    """

    objects: dict[Ref, Observed] = field(default_factory=dict)
    secrets: dict[Ref, SecretData] = field(default_factory=dict)
    unlabelled: set[Ref] = field(default_factory=set)
    namespaces: dict[str, tuple[int, Mapping[str, str]]] = field(default_factory=dict)
    tombstones: dict[Ref, int] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _buried: dict[Ref, float] = field(default_factory=dict, repr=False)

    # ---- what it knows ----------------------------------------------------------------------------------------------

    def revision(self, ref: Ref) -> int:
        """How new our view of ``ref`` is; 0: it was never seen."""
        if (observed := self.objects.get(ref)) is not None:
            return observed.revision
        if (secret := self.secrets.get(ref)) is not None:
            return secret.revision
        if ref.kind == "Namespace" and (namespace := self.namespaces.get(ref.name)) is not None:
            return namespace[0]
        return self.tombstones.get(ref, 0)

    def seen(self, ref: Ref) -> int:
        """As of which revision ``ref`` is known to be as we have it, or to be absent; 0: nothing is known."""
        if (observed := self.objects.get(ref)) is not None:
            return observed.revision
        if ref in self.secrets or (ref.kind == "Namespace" and ref.name in self.namespaces):
            return self.revision(ref)
        return self.absence(ref)

    def sources(self, refs: Iterable[Ref]) -> dict[str, int]:
        """The ``sources`` of what was compiled from ``refs``. Absent ones count too: that was seen, as of `absence`."""
        return {str(ref): revision for ref in refs if (revision := self.seen(ref))}

    def absence(self, ref: Ref) -> int:
        """As of which revision ``ref`` is known absent: its deletion, or the last LIST that could have shown it."""
        everywhere = self.listed.get(ref.kind, 0)
        return max(self.tombstones.get(ref, 0), everywhere, self.listed.get(f"{ref.kind}/{ref.namespace}", 0))

    def missed(self, entries: Mapping[Ref, int]) -> tuple[Ref, ...]:
        """What a LIST shows that is not here, or only older: to be fetched."""
        return tuple(
            ref for ref, revision in entries.items() if revision > max(self.revision(ref), self.tombstones.get(ref, 0))
        )

    # ---- recording --------------------------------------------------------------------------------------------------

    def put(self, obj: Mapping[str, Any], *, created: float | None = None, origin: str = "") -> Change:
        """Record a whole object: one of our kinds, a Secret or a Namespace.

        A view that is older than what is known, or than the object's deletion, is ignored. Nothing of the metadata is
        kept but what `Observed` has. An update of status alone refreshes status and revision and counts as no change.

        Args:
            obj: As the API server gives it, with ``apiVersion``, ``kind`` and ``metadata.resourceVersion``.
            created: Instead of creationTimestamp, where there is none: only the order counts.
            origin: For `Observed.origin`.
        """
        kind, metadata = obj["kind"], obj["metadata"]
        namespace = "" if kind == "Namespace" else metadata.get("namespace") or ""
        ref = Ref(kind, namespace, metadata["name"])
        revision = int(metadata["resourceVersion"])
        if revision < self.revision(ref) or revision <= self.tombstones.get(ref, 0):
            return Change.NONE
        if kind == "Secret":
            change = self._put_secret(ref, revision, obj)
        elif kind == "Namespace":
            change = self._put_namespace(ref, revision, metadata.get("labels") or {})
        elif kind in resources.KINDS:
            age = created if created is not None else _seconds(metadata.get("creationTimestamp"))
            change = self._put_resource(ref, revision, obj, age, origin)
        else:
            raise ValueError(f"not a kind of ours: {kind}")
        if ref not in self.unlabelled:
            self._unbury(ref)
        return change

    def delete(self, ref: Ref, revision: int) -> Change:
        """Record that ``ref`` was gone as of ``revision``; ignored where a newer view is known."""
        if revision < self.revision(ref):
            return Change.NONE
        was_there = (
            self.objects.pop(ref, None) is not None
            or self.secrets.pop(ref, None) is not None
            or (ref.kind == "Namespace" and self.namespaces.pop(ref.name, None) is not None)
        )
        if ref in self.unlabelled:
            self.unlabelled.discard(ref)
            was_there = True
        self._bury(ref, revision)
        return Change.REVOKES if was_there else Change.NONE

    def relist(self, kind: str, namespace: str, entries: Mapping[Ref, int], revision: int) -> tuple[Ref, ...]:
        """Compare with a complete LIST: what it does not show, and what is not newer than it, is gone.

        Args:
            kind: What was listed.
            namespace: Where; empty: everywhere.
            entries: What the LIST shows → resourceVersion. `missed` says which of them to fetch.
            revision: Of the LIST itself.

        Returns:
            What was dropped, in the order of the refs.
        """
        if kind == "Namespace":
            known: Iterable[Ref] = [Ref(kind, "", name) for name in self.namespaces]
        else:
            known = [*self.secrets] if kind == "Secret" else [ref for ref in self.objects if ref.kind == kind]
        gone = sorted(
            ref
            for ref in known
            if ref not in entries and namespace in ("", ref.namespace) and self.revision(ref) <= revision
        )
        for ref in gone:
            self.delete(ref, revision)
        scope = f"{kind}/{namespace}" if namespace else kind
        self.listed[scope] = max(revision, self.listed.get(scope, 0))
        return tuple(gone)

    def forget_tombstones(self, age_seconds: float = TOMBSTONE_SECONDS) -> int:
        """Forget deletions that were recorded longer ago than this; returns how many."""
        horizon = self.clock() - age_seconds
        old = [ref for ref, buried in self._buried.items() if buried < horizon]
        for ref in old:
            self._unbury(ref)
        return len(old)

    # ---- each kind --------------------------------------------------------------------------------------------------

    def _put_resource(self, ref: Ref, revision: int, obj: Mapping[str, Any], created: float, origin: str) -> Change:
        metadata, before = obj["metadata"], self.objects.get(ref)
        uid, generation = metadata.get("uid") or "", metadata.get("generation") or 0
        status = _mapping(obj.get("status"))
        labels = _labels(metadata.get("labels")) if ref.kind in LABELLED else {}
        if before is not None and before.uid == uid and _same_spec(before, generation, obj):
            moved = before.created != created or before.labels != labels
            if moved or before.revision != revision or before.origin != origin or before.status != status:
                self.objects[ref] = replace(
                    before,
                    generation=generation,
                    revision=revision,
                    created=created,
                    status=status,
                    origin=origin,
                    labels=labels,
                )
            return Change.CHANGED if moved else Change.NONE
        given = obj.get("spec")
        spec = shallow(given) if isinstance(given, Mapping) else None
        parsed: Resource | None = None
        errors: tuple[resources.FieldError, ...] = ()
        try:
            parsed = resources.parse({**obj, "spec": spec} if spec is not None else obj)
        except resources.InvalidResourceError as invalid:
            errors = invalid.errors
        self.objects[ref] = Observed(
            ref=ref,
            uid=uid,
            generation=generation,
            revision=revision,
            created=created,
            parsed=parsed,
            errors=errors,
            raw=spec or {},
            status=status,
            origin=origin,
            labels=labels,
        )
        return Change.CHANGED if before is None else Change.REVOKES

    def _put_secret(self, ref: Ref, revision: int, obj: Mapping[str, Any]) -> Change:
        before = self.secrets.get(ref)
        if (obj["metadata"].get("labels") or {}).get(SECRET_LABEL) != "true":
            known = ref in self.unlabelled
            self.secrets.pop(ref, None)
            self.unlabelled.add(ref)
            self._bury(ref, revision)  # to us it is as good as deleted, and this is how new our view of it is
            if before is not None:
                return Change.REVOKES
            return Change.NONE if known else Change.CHANGED
        data = _decoded(obj.get("data"))
        self.unlabelled.discard(ref)
        if before is not None and before.data == data:
            if before.revision != revision:
                self.secrets[ref] = SecretData(revision, before.data)
            return Change.NONE
        self.secrets[ref] = SecretData(revision, data)
        return Change.CHANGED if before is None else Change.REVOKES

    def _put_namespace(self, ref: Ref, revision: int, labels: Mapping[str, str]) -> Change:
        before = self.namespaces.get(ref.name)
        if before is not None and before[1] == labels:
            self.namespaces[ref.name] = (revision, before[1])
            return Change.NONE
        self.namespaces[ref.name] = (revision, dict(labels))
        return Change.CHANGED if before is None else Change.REVOKES

    # ---- tombstones -------------------------------------------------------------------------------------------------

    def _bury(self, ref: Ref, revision: int) -> None:
        self.tombstones[ref] = revision
        self._buried[ref] = self.clock()

    def _unbury(self, ref: Ref) -> None:
        self.tombstones.pop(ref, None)
        self._buried.pop(ref, None)


def _same_spec(before: Observed, generation: int, obj: Mapping[str, Any]) -> bool:
    """Kubernetes counts a generation for each change of the spec; without one the specs are compared."""
    if generation and before.generation:
        return generation == before.generation
    return before.raw == obj.get("spec")


def _mapping(given: object) -> Mapping[str, object]:
    return given if isinstance(given, Mapping) else {}


def _labels(given: object) -> Mapping[str, str]:
    return {key: value for key, value in _mapping(given).items() if isinstance(value, str)}


def _seconds(timestamp: str | None) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def _decoded(data: Mapping[str, str] | None) -> dict[str, bytes]:
    """What the API server has accepted is base64; an entry that is not counts as absent."""
    decoded = {}
    for name, text in (data or {}).items():
        try:
            decoded[name] = base64.b64decode(text or "", validate=True)
        except (binascii.Error, ValueError):
            continue
    return decoded
