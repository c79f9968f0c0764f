"""The last known good: the applied table in ``--state-dir``, so that a restarted container serves at once.

It holds provider keys: mode 0600 in a directory of mode 0700, in a cluster an emptyDir in memory. What cannot be read,
or is not whole, counts as not there.

The table's file: a line with the format's version, SHA-256 of the rest, an Update with the resources, tombstones and
marks; its nonce is the number of the first journal that counts.

Journals, ``journal.N``, hold the updates since: per entry its length in four bytes, SHA-256 of the rest, an Update. An
update is there before its ACK is sent, so that what was revoked stays revoked whatever dies. A new journal begins with
each capture of the table, and when an entry could not be written whole; those before the captured table are deleted
once it is in place. To replay an entry twice does no harm: the store refuses what is older than its marks.
"""

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from trunkline_gateway.routing.snapshot import Snapshot
from trunkline_gateway.subscription.store import Saved, Store
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

_LOG: Final = logging.getLogger(__name__)

FILE: Final = "table"
JOURNAL: Final = "journal."
_MAGIC: Final = b"trunkline table 1\n"
_DIGEST: Final = hashlib.sha256().digest_size
_LENGTH: Final = 4
_SLICE: Final = 500
WRITE_SECONDS: Final = 1.0
# Until a table is rewritten that a journal completes.
JOURNAL_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 10.0
JOURNAL_BYTES: Final = 8 << 20
_MAX_JOURNAL_BYTES: Final = 64 << 20  # reached only while the table cannot be written


class UnusableError(Exception):
    """What an earlier process has written cannot be used; why, as the end of a sentence: "is damaged"."""


def read(directory: Path) -> Saved | None:
    """What an earlier process has written; None, with a warning, where it cannot be used."""
    try:
        return _read(directory)
    except UnusableError as error:
        _LOG.warning("The last known good table %s %s; it is ignored", directory / FILE, error)
        return None


def write(directory: Path, saved: Saved, *, journal: int = 0) -> None:
    """Write it so that a reader sees all of it or what was there before; delete the journals before ``journal``.

    Raises:
        OSError: It cannot be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    message = pb.Update(table_version=saved.version, nonce=journal)
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
    for number, path in _journals(directory):
        if number < journal:
            path.unlink(missing_ok=True)


def append(directory: Path, number: int, parts: Sequence[pb.Update]) -> int:
    """Add an update to a journal; it is on the disk on return. Returns the size of its entry.

    Raises:
        OSError: It cannot be written, or not whole; nothing may be added to this journal any more.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    body = b"".join(part.SerializeToString() for part in parts)  # the parts of an update, merged
    entry = len(body).to_bytes(_LENGTH, "big") + hashlib.sha256(body).digest() + body
    path = directory / f"{JOURNAL}{number}"
    new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.write(descriptor, entry) != len(entry):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        _sync_directory(directory)
    return len(entry)


class Keeper:
    """Keeps what is applied: updates in the journal, at once, the whole table a while later; both on threads.

    Attributes:
        problem: Why what an earlier process has left was not used, as a sentence; empty otherwise.
    """

    def __init__(
        self,
        directory: Path,
        saved: Callable[[], Saved],
        *,
        write_seconds: float = WRITE_SECONDS,
        journal_seconds: float = JOURNAL_SECONDS,
        journal_bytes: int = JOURNAL_BYTES,
    ) -> None:
        """Make one; the table that it writes is what ``saved`` returns then."""
        self.problem = ""
        self._directory = directory
        self._saved = saved
        self._write_seconds = write_seconds
        self._journal_seconds = journal_seconds
        self._journal_bytes = journal_bytes
        self._task: asyncio.Task[None] | None = None
        self._due: float | None = None
        self._sooner = asyncio.Event()
        self._closing = False
        self._failing = False
        # Without a table below it a journal is worth nothing, and is not written.
        self._based = False
        self._number = max((number for number, _ in _journals(directory)), default=0)
        self._size = 0

    async def restore(self, store: Store) -> Snapshot | None:
        """Give the store what an earlier process has left; None if there is nothing that can be used."""
        try:
            saved = await asyncio.to_thread(_read, self._directory)
        except UnusableError as error:
            _LOG.warning("The last known good table %s %s; it is ignored", self._directory / FILE, error)
            self.problem = f"The last known good table in {self._directory} {error} and was not used."
            return None
        if saved is None:
            return None
        self._based = True
        self._number = max(self._number, saved.first_journal) + 1
        if saved.journal:
            self.touch()
        return store.restore(saved)

    async def keep(self, parts: Sequence[pb.Update]) -> None:
        """Return when this update, which was applied just now, outlives the process; or cannot, which is warned of."""
        if not any(part.resources or part.removals or part.marks for part in parts):
            if not self._based:
                self.touch()  # an empty table is a table
            return
        if not self._based:
            # A process that dies before its first table is written leaves nothing that could be too old.
            self.touch()
            return
        self.touch(self._journal_seconds)
        try:
            if self._size > _MAX_JOURNAL_BYTES:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            self._size += await asyncio.to_thread(append, self._directory, self._number, parts)
        except OSError as error:
            self._number += 1
            self._failed(error)
            self.touch()
        else:
            if self._size > self._journal_bytes:
                self.touch()

    def touch(self, seconds: float | None = None) -> None:
        """The table is to be written so many seconds from now at the latest."""
        due = asyncio.get_running_loop().time() + (self._write_seconds if seconds is None else seconds)
        if self._due is None or due < self._due:
            self._due = due
            self._sooner.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Write what is not yet written."""
        self._closing = True
        if self._due is not None:
            self.touch(0)
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._due is not None:
                while (rest := self._due - loop.time()) > 0:
                    self._sooner.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(rest):
                            await self._sooner.wait()
                await self._write()
        finally:
            self._task = None

    async def _write(self) -> None:
        self._due = None
        # Between the new number and the capture nothing can be applied: what comes later is in the new journal.
        self._number += 1
        self._based = True
        number, size = self._number, self._size
        try:
            await asyncio.to_thread(write, self._directory, self._saved(), journal=number)
        except OSError as error:
            self._failed(error)
            if not self._closing:
                self.touch(max(RETRY_SECONDS, self._write_seconds))
        else:
            self._failing = False
            self._size -= size

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            _LOG.warning("Cannot write the last known good table to %s: %s", self._directory, error.strerror)
        self._failing = True


def _read(directory: Path) -> Saved | None:
    try:
        content = (directory / FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableError(f"cannot be read ({error.strerror})") from None
    body = content[len(_MAGIC) + _DIGEST :]
    if not content.startswith(_MAGIC):
        raise UnusableError("was written by another version or is damaged")
    if hashlib.sha256(body).digest() != content[len(_MAGIC) : len(_MAGIC) + _DIGEST]:
        raise UnusableError("is damaged")
    try:
        message = pb.Update.FromString(body)
    except DecodeError:
        raise UnusableError("cannot be decoded") from None
    journal: list[pb.Update] = []
    for number, path in _journals(directory):
        if number >= message.nonce:
            journal += _entries(path)
    return Saved(
        message.table_version,
        tuple(message.resources),
        _revisions(message.marks),
        {Name(each.type, each.name): _revisions(each.sources) for each in message.removals},
        tuple(journal),
        message.nonce,
    )


def _entries(path: Path) -> list[pb.Update]:
    """What was written whole; the last entry may be torn, and was then never acknowledged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        _LOG.warning("Cannot read %s of the last known good table: %s", path, error.strerror)
        return []
    updates: list[pb.Update] = []
    at = 0
    while at < len(content):
        start = at + _LENGTH + _DIGEST
        end = start + int.from_bytes(content[at : at + _LENGTH], "big")
        body = content[start:end]
        if end > len(content) or hashlib.sha256(body).digest() != content[at + _LENGTH : start]:
            _LOG.warning("The end of %s of the last known good table is not whole; it is ignored", path)
            break
        update = pb.Update.FromString(body)
        update.more = False
        updates.append(update)
        at = end
    return updates


def _journals(directory: Path) -> list[tuple[int, Path]]:
    """By number."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    numbers = [name.removeprefix(JOURNAL) for name in names if name.startswith(JOURNAL)]
    return sorted((int(number), directory / f"{JOURNAL}{number}") for number in numbers if number.isdecimal())


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
