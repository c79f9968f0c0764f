"""A directory as a running source: loads it, keeps a world in step with it, and says what is wrong with it."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from trunkline_operator.watch import directory
from trunkline_operator.watch.directory import Loaded, Problem
from trunkline_operator.watch.source import Changes
from trunkline_operator.watch.world import Change, Ref, World

Told = Callable[[Loaded, tuple[Problem, ...]], None]
"""Gets each load after the first that changed something, and its problems and warnings that are new."""


class Folder:
    """Keeps a world in step with a directory. Belongs to one event loop.

    Attributes:
        loaded: What the directory held when it was last read.
    """

    def __init__(
        self,
        root: Path,
        world: World,
        changes: Changes,
        *,
        beside: Iterable[Mapping[str, Any]] = (),
        told: Told = lambda loaded, news: None,
        first: Loaded | None = None,
    ) -> None:
        """Prepare; ``run`` reads.

        Args:
            root: The directory.
            world: Where everything is recorded.
            changes: Who is told.
            beside: Objects that are there without standing in a file, such as a key made for one run.
            told: See `Told`.
            first: A load that was made already.
        """
        self.synced = asyncio.Event()
        self.why_not = "the directory has not been read"
        self.loaded = first
        self._applied: Loaded | None = None
        self._root = root
        self._world = world
        self._changes = changes
        self._beside = tuple(beside)
        self._told = told

    async def run(self) -> None:
        """Follow the directory until cancelled."""
        for each in self._beside:
            self._world.put(each, created=0.0, origin="made for this run")
        if self.loaded is not None:
            self._apply(self.loaded)
        async for _ in directory.watch(self._root):
            self._apply(await asyncio.to_thread(load, self._root, self.loaded))

    def suspect(self) -> None:
        """A directory is always seen as it is."""

    def _apply(self, loaded: Loaded) -> None:
        before = self._applied
        known = {*before.problems, *before.warnings} if before is not None else set()
        change = directory.apply(loaded, self._world, before)
        self._applied = self.loaded = loaded
        news = tuple(each for each in (*loaded.problems, *loaded.warnings) if each not in known)
        if before is not None and (news or change is not Change.NONE):
            self._told(loaded, news)
        if not self.synced.is_set():
            self.why_not = ""
            self.synced.set()
        elif change is not Change.NONE:
            for ref in _differences(before, loaded):
                self._changes.recorded(ref, change)
            self._changes.listed()  # a new order of files changes ages alone, and those decide who owns a name


def load(root: Path, previous: Loaded | None = None) -> Loaded:
    """Read the directory with this process's environment; revisions are nanoseconds, so they grow over restarts."""
    return directory.load(root, os.environ, time.time_ns, previous)


def _differences(before: Loaded | None, after: Loaded) -> list[Ref]:
    old = before.versions if before is not None else {}
    return [ref for ref in sorted(old.keys() | after.versions.keys()) if old.get(ref) != after.versions.get(ref)]
