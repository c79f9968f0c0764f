"""A directory of manifests as a source: what ``trunkline run`` serves and ``trunkline validate`` checks.

Every ``*.yaml`` and ``*.yml`` below it is read, sorted by path; names that begin with a dot are not (editors, Git, and
the ``..data`` behind which Kubernetes swaps mounted ConfigMaps). Age is the order of reading. What the API server would
refuse is a problem and not loaded, and at a reload the version before it stays; an object of our own kinds that is only
invalid is loaded as that, and the compiler judges it.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import watchfiles

from trunkline_operator.watch import manifests, yaml_lines
from trunkline_operator.watch.manifests import Manifest
from trunkline_operator.watch.world import Change, Ref, World
from trunkline_protocol import resources

MAX_BYTES: Final = 16 << 20
"""Of all files together."""

KINDS: Final = (*resources.KINDS, "Secret", "Namespace")

_SUFFIXES: Final = (".yaml", ".yml")
_LOOK_MILLISECONDS: Final = 500
_QUIET_MILLISECONDS: Final = 50
_AGE_STEP: Final = 1e-6  # so that every age is within the first second of 1970, and shown as none


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something to correct.

    Attributes:
        line: From 1; 0: it concerns the whole file.
        ref: ``Kind/namespace/name``, where that is known.
        message: With the field's path before it, where it concerns a field.
    """

    file: str
    line: int
    ref: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


@dataclass(frozen=True, slots=True)
class Version:
    """Since when an object is as it is.

    Attributes:
        digest: Of its content, to tell whether it has changed.
        generation: How often it has changed.
    """

    revision: int
    generation: int
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a directory holds.

    Attributes:
        manifests: What is in force, the oldest first, Namespaces that are only used included (their ``file`` is empty).
        versions: Of each of them.
        problems: What is not loaded, and why.
        warnings: What was passed over.
        revision: Of this load.
    """

    manifests: tuple[Manifest, ...]
    versions: Mapping[Ref, Version]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    revision: int


def load(
    directory: Path,
    environ: Mapping[str, str],
    revision_clock: Callable[[], int],
    previous: Loaded | None = None,
) -> Loaded:
    """Read the directory.

    Args:
        directory: Where; a single file will do.
        environ: For ``${NAME}`` in ``stringData``.
        revision_clock: Nanoseconds; what has changed since ``previous`` gets its value as revision.
        previous: The load before this one.
    """
    revision = max(revision_clock(), previous.revision + 1 if previous is not None else 1)
    reading = _Reading(environ, previous)
    for file, path in files(directory):
        reading.read_file(file, path)
    if not directory.exists():
        reading.problems.append(Problem(str(directory), 0, "", "no such directory"))
    found = reading.in_force()
    versions: dict[Ref, Version] = {}
    for manifest in found:
        digest = hashlib.sha256(json.dumps(manifest.obj, sort_keys=True).encode()).digest()
        before = previous.versions.get(manifest.ref) if previous is not None else None
        if before is not None and before.digest == digest:
            versions[manifest.ref] = before
        else:
            versions[manifest.ref] = Version(revision, before.generation + 1 if before is not None else 1, digest)
    return Loaded(found, versions, tuple(reading.problems), tuple(reading.warnings), revision)


def apply(loaded: Loaded, world: World, previous: Loaded | None = None) -> Change:
    """Bring the world in step with a load.

    Args:
        loaded: What shall be there.
        world: Where; whatever did not come from ``previous`` is left alone.
        previous: The load that was applied before.
    """
    change = Change.NONE
    for ref in sorted(previous.versions.keys() - loaded.versions.keys()) if previous is not None else ():
        change = max(change, world.delete(ref, loaded.revision))
    for position, manifest in enumerate(loaded.manifests):
        version = loaded.versions[manifest.ref]
        counted = {"resourceVersion": str(version.revision), "generation": version.generation}
        obj = {**manifest.obj, "metadata": {**manifest.obj["metadata"], **counted}}
        origin = f"{manifest.file}:{manifest.line}"
        change = max(change, world.put(obj, created=position * _AGE_STEP, origin=origin))
    for kind in KINDS:
        world.listed[kind] = loaded.revision
    return change


def field_problems(manifest: Manifest) -> list[Problem]:
    """What is wrong with an object of our own kinds, field by field."""
    if manifest.ref.kind not in resources.KINDS:
        return []
    return [
        Problem(manifest.file, manifest.document.line_of(error.path), str(manifest.ref), str(error))
        for error in resources.validate(manifest.obj)
    ]


async def watch(directory: Path) -> AsyncIterator[None]:
    """Yield once at the start, then within a second after anything in the directory may have changed; never ends.

    Whoever loads after each misses nothing. The kernel tells of most changes at once. What it does not tell of (targets
    of links, network file systems) is found by looking twice a second; so is everything, where it tells nothing.
    """
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it reports every change by itself
    before = _signature(directory)
    yield
    while True:
        with contextlib.suppress(OSError, RuntimeError):  # no inotify, no watches left, or the directory itself is gone
            told = watchfiles.awatch(
                directory,
                watch_filter=None,
                debounce=_LOOK_MILLISECONDS,
                step=_QUIET_MILLISECONDS,
                rust_timeout=_LOOK_MILLISECONDS,
                yield_on_timeout=True,
            )
            async with contextlib.aclosing(told):
                async for changes in told:
                    after = _signature(directory)
                    if changes or after != before:
                        before = after
                        yield
        await asyncio.sleep(_LOOK_MILLISECONDS / 1000)
        if (after := _signature(directory)) != before:
            before = after
            yield


def files(directory: Path) -> list[tuple[str, Path]]:
    """The files that are read, as they are shown and as they are opened, in the order of age."""
    if directory.is_file():
        return [(str(directory), directory)]
    return sorted(((str(path), path) for path in _below(directory, set(), set())), key=lambda each: each[1].parts)


def _below(directory: Path, directories: set[Path], seen: set[Path]) -> Iterator[Path]:
    try:
        real = directory.resolve(strict=True)
        children = sorted(directory.iterdir())
    except OSError:
        return
    if real in directories:
        return
    directories.add(real)
    for child in children:
        if child.name.startswith("."):
            continue
        if child.is_dir():
            yield from _below(child, directories, seen)
        elif child.suffix in _SUFFIXES and child.is_file() and (target := child.resolve()) not in seen:
            seen.add(target)
            yield child


def _signature(directory: Path) -> Sequence[tuple[str, str, int, int, int]]:
    found = []
    for file, path in files(directory):
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append((file, str(path.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return found


class _Reading:
    """One pass over the files."""

    def __init__(self, environ: Mapping[str, str], previous: Loaded | None) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._environ = environ
        self._previous = previous.manifests if previous is not None else ()
        self._found: dict[Ref, tuple[tuple[int, int], Manifest]] = {}
        self._refused: dict[Ref, tuple[int, int]] = {}
        self._broken: dict[str, int] = {}
        self._bytes = 0
        self._files = 0

    def read_file(self, file: str, path: Path) -> None:
        self._files += 1
        try:
            documents = yaml_lines.documents(self._text(path))
        except yaml_lines.YAMLLineError as error:
            self.problems.append(Problem(file, error.line, "", error.message))
            self._broken[file] = self._files
            return
        for index, document in enumerate(documents):
            if document.value is not None:
                self._read_document(file, (self._files, index), document)

    def in_force(self) -> tuple[Manifest, ...]:
        """What was read, and what stays of the load before; then the Namespaces that are used and not declared."""
        for index, before in enumerate(self._previous):
            place = self._refused.get(before.ref)
            if place is None and before.file in self._broken:
                place = (self._broken[before.file], index)
            if place is not None:
                self._found.setdefault(before.ref, (place, before))
        found = [manifest for _, manifest in sorted(self._found.values(), key=lambda each: each[0])]
        used = {manifest.ref.namespace for manifest in found if manifest.ref.namespace}
        declared = {manifest.ref.name for manifest in found if manifest.ref.kind == "Namespace"}
        nowhere = yaml_lines.Document(None, 0, {})
        for name in sorted(used - declared):
            implied = manifests.implied_namespace(name)
            if implied.ref is not None and implied.obj is not None:
                found.append(Manifest(implied.ref, implied.obj, "", nowhere))
        return tuple(found)

    def _text(self, path: Path) -> str:
        try:
            with path.open("rb") as opened:
                content = opened.read(MAX_BYTES - self._bytes + 1)
        except OSError as error:
            raise yaml_lines.YAMLLineError(0, f"cannot be read: {error.strerror}") from None
        self._bytes += len(content)
        if self._bytes > MAX_BYTES:
            self._bytes = MAX_BYTES
            raise yaml_lines.YAMLLineError(0, f"the files together are larger than {MAX_BYTES >> 20} MiB")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise yaml_lines.YAMLLineError(line, "must be UTF-8") from None

    def _read_document(self, file: str, place: tuple[int, int], document: yaml_lines.Document) -> None:
        read = manifests.read(document.value, self._environ)
        if read.ignored:
            message = f"{read.ignored} is ignored: Trunkline has no use for it"
            self.warnings.append(Problem(file, document.line, "", message))
            return
        shown = str(read.ref) if read.ref is not None else ""
        if read.ref is not None and (first := self._found.get(read.ref)) is not None:
            before = f"{first[1].file}:{first[1].line}"
            self.problems.append(Problem(file, document.line, shown, f"{shown} stands twice, first at {before}"))
            return
        for fault in read.faults:
            message = f"{fault.path}: {fault.message}" if fault.path else fault.message
            self.problems.append(Problem(file, document.line_of(fault.path), shown, message))
        if read.ref is not None and read.obj is not None:
            self._found[read.ref] = place, Manifest(read.ref, read.obj, file, document)
        elif read.ref is not None:
            self._refused.setdefault(read.ref, place)
