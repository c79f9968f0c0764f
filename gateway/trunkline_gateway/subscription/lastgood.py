"""The last known good: the applied table in ``--state-dir``, so that a restarted container serves at once.

It holds provider keys: mode 0600 in a directory of mode 0700, in a cluster an emptyDir in memory. What cannot be read,
or is not whole, counts as not there.

The file: a line with the format's version, SHA-256 of the rest, an Update with the resources, tombstones and marks.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from trunkline_gateway.subscription.store import Saved
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

_LOG: Final = logging.getLogger(__name__)

FILE: Final = "table"
_MAGIC: Final = b"trunkline table 1\n"
_DIGEST: Final = hashlib.sha256().digest_size
_SLICE: Final = 500
WRITE_SECONDS: Final = 1.0


def read(directory: Path) -> Saved | None:
    """What an earlier process has written; None, with a warning, where it cannot be used."""
    path = directory / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _LOG.warning("Cannot read the last known good table %s: %s", path, error.strerror)
        return None
    body = content[len(_MAGIC) + _DIGEST :]
    if not content.startswith(_MAGIC):
        _LOG.warning("The last known good table %s was written by another version; it is ignored", path)
        return None
    if hashlib.sha256(body).digest() != content[len(_MAGIC) : len(_MAGIC) + _DIGEST]:
        _LOG.warning("The last known good table %s is damaged; it is ignored", path)
        return None
    try:
        message = pb.Update.FromString(body)
    except DecodeError:
        _LOG.warning("The last known good table %s cannot be decoded; it is ignored", path)
        return None
    return Saved(
        message.table_version,
        tuple(message.resources),
        _revisions(message.marks),
        {Name(each.type, each.name): _revisions(each.sources) for each in message.removals},
    )


def write(directory: Path, saved: Saved) -> None:
    """Write it so that a reader sees all of it or what was there before.

    Raises:
        OSError: It cannot be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    message = pb.Update(table_version=saved.version)
    # In slices: other threads, the event loop's above all, get their turn in between.
    for start in range(0, len(saved.resources), _SLICE):
        message.resources.extend(saved.resources[start : start + _SLICE])
    message.marks.extend(_sources(saved.marks))
    for name, sources in saved.tombstones.items():
        message.removals.append(pb.Removal(type=name.type, name=name.name, sources=_sources(sources)))
    body = message.SerializeToString()
    descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=f".{FILE}.")  # mkstemp: mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).digest())
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, directory / FILE)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(directory)


class Keeper:
    """Writes what `touch` announces: a second later, on a thread, the newest only."""

    def __init__(self, directory: Path, saved: Callable[[], Saved], *, write_seconds: float = WRITE_SECONDS) -> None:
        """Make one; it writes what ``saved`` returns then."""
        self._directory = directory
        self._saved = saved
        self._write_seconds = write_seconds
        self._task: asyncio.Task[None] | None = None
        self._touched = False
        self._failing = False

    def touch(self) -> None:
        """There is something new to write."""
        self._touched = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Write what is not yet written."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._touched:
            await self._write()

    async def _run(self) -> None:
        try:
            while self._touched:
                await asyncio.sleep(self._write_seconds)
                await self._write()
        finally:
            self._task = None

    async def _write(self) -> None:
        self._touched = False
        try:
            await asyncio.to_thread(write, self._directory, self._saved())
        except OSError as error:
            if not self._failing:
                _LOG.warning("Cannot write the last known good table to %s: %s", self._directory, error.strerror)
            self._failing = True
        else:
            self._failing = False
        # A write that was cancelled half-way leaves the file as it was.


def _revisions(sources: Iterable[pb.Source]) -> Mapping[str, int]:
    return {source.ref: source.revision for source in sources}


def _sources(revisions: Mapping[str, int]) -> list[pb.Source]:
    return [pb.Source(ref=ref, revision=revision) for ref, revision in revisions.items()]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
