"""What ``trunkline validate DIR`` finds: what a load refuses, and what the compiler would not serve as it stands."""

import os
from collections.abc import Mapping
from pathlib import Path

from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.watch import directory as source
from trunkline_operator.watch.directory import Problem
from trunkline_operator.watch.world import World


def check(directory: Path, environ: Mapping[str, str] | None = None) -> list[Problem]:
    """Check a directory of manifests.

    Args:
        directory: Where.
        environ: For ``${NAME}`` in ``stringData``; default: the environment of the process.

    Returns:
        What is wrong, by file and line; empty: all of it would be in force.
    """
    loaded = source.load(directory, os.environ if environ is None else environ, lambda: 1)
    world = World()
    source.apply(loaded, world)
    verdicts = compile_world(world).verdicts
    found = list(loaded.problems)
    for manifest in loaded.manifests:
        fields = source.field_problems(manifest)
        found += fields
        verdict = verdicts.get(manifest.ref)
        if verdict is None:
            continue
        found += [
            Problem(manifest.file, manifest.line, str(manifest.ref), f"{finding.reason}: {finding.message}")
            for finding in (verdict.accepted, verdict.resolved_refs)
            if not finding.ok and not (fields and finding.reason == "Invalid")
        ]
    return sorted(found)
