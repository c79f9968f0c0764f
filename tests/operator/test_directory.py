"""A directory as a source: what is read, what is refused with file and line, and what a reload changes."""

import asyncio
import itertools
import os
import shutil
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import pytest
import watchfiles

from trunkline_operator.watch import directory
from trunkline_operator.watch.directory import Loaded
from trunkline_operator.watch.world import Change, Ref, World

GROUP = """\
apiVersion: trunkline.dev/v1alpha1
kind: ModelGroup
metadata: {name: %s}
spec:
  targets: [{name: a, credentialRef: {name: a}, model: %s}]
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: %s, labels: {trunkline.dev/secret: "true"}}
stringData:
  a: "%s"
"""


def ref(name: str, kind: str = "ModelGroup", namespace: str = "default") -> Ref:
    return Ref(kind, namespace, name)


class Folder:
    """A directory that is loaded again and again into one world."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = World()
        self.environ: Mapping[str, str] = {}
        self.loaded: Loaded | None = None
        self._revisions = itertools.count(1000, 1000)

    def write(self, name: str, *texts: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("---\n".join(texts), encoding="utf-8")

    def load(self) -> Change:
        loaded = directory.load(self.path, self.environ, lambda: next(self._revisions), self.loaded)
        change = directory.apply(loaded, self.world, self.loaded)
        self.loaded = loaded
        return change

    def problems(self) -> list[str]:
        self.load()
        assert self.loaded is not None
        return [str(each).removeprefix(f"{self.path}/") for each in self.loaded.problems]

    def groups(self) -> list[str]:
        found = [each for each in self.world.objects.values() if each.ref.kind == "ModelGroup"]
        return [each.ref.name for each in sorted(found, key=lambda each: each.created)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_files_are_read_recursively_and_the_order_of_paths_is_the_order_of_age(folder: Folder) -> None:
    folder.write("b.yaml", GROUP % ("third", "m"), GROUP % ("fourth", "m"))
    folder.write("a/z.yml", GROUP % ("second", "m"))
    folder.write("a/b/c.yaml", GROUP % ("first", "m"))
    folder.write("notes.txt", "not: read")
    folder.write(".hidden.yaml", "not: [read")
    folder.write(".git/x.yaml", "not: [read")
    assert folder.problems() == []
    assert folder.groups() == ["first", "second", "third", "fourth"]
    assert folder.world.objects[ref("fourth")].origin == f"{folder.path}/b.yaml:7"


def test_a_mounted_config_map_is_read_once(folder: Folder) -> None:
    folder.write("..2026_01/a.yaml", GROUP % ("one", "m"))
    (folder.path / "..data").symlink_to("..2026_01")
    (folder.path / "a.yaml").symlink_to("..data/a.yaml")
    assert folder.problems() == []
    assert folder.groups() == ["one"]


def test_links_to_the_same_file_and_loops_of_links_are_read_once(folder: Folder) -> None:
    folder.write("a/a.yaml", GROUP % ("one", "m"))
    (folder.path / "a" / "loop").symlink_to(folder.path)
    (folder.path / "again.yaml").symlink_to("a/a.yaml")
    assert folder.problems() == []
    assert folder.groups() == ["one"]


def test_namespaces_that_are_used_exist(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("a, namespace: used", "m"))
    folder.write("b.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: declared, labels: {tier: gold}}\n")
    folder.load()
    assert {name: labels for name, (_, labels) in folder.world.namespaces.items()} == {
        "used": {"kubernetes.io/metadata.name": "used"},
        "declared": {"kubernetes.io/metadata.name": "declared", "tier": "gold"},
    }


def test_what_the_api_server_counts_itself_is_not_taken_from_files(folder: Folder) -> None:
    metadata = 'one, resourceVersion: "999999", generation: 7, uid: x, creationTimestamp: "2001-01-01T00:00:00Z"'
    folder.write("a.yaml", GROUP % (metadata, "m") + "status: {display: {models: '9'}}\n")
    folder.load()
    observed = folder.world.objects[ref("one")]
    assert (observed.revision, observed.generation, observed.uid, observed.status) == (1000, 1, "", {})
    assert observed.parsed is not None


def test_an_invalid_object_is_loaded_for_the_compiler_to_judge(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("one", "a b"))
    assert folder.problems() == []
    assert folder.world.objects[ref("one")].parsed is None
    assert folder.loaded is not None
    (problem,) = directory.field_problems(folder.loaded.manifests[0])
    assert (problem.line, problem.ref) == (5, "ModelGroup/default/one")
    assert str(problem).startswith(f"{folder.path}/a.yaml:5: spec.targets[0].model: must be")


# ---- Secrets --------------------------------------------------------------------------------------------------------


def test_string_data_wins_over_data_and_variables_are_filled_in_there_only(folder: Folder) -> None:
    folder.environ = {"KEY": "sk-env"}
    text = SECRET % ("s", "<${KEY}>") + "  b: plain\n  c: ${KEY}${KEY}\ndata: {a: bm90IHRoaXM=, d: JHtLRVl9}\n"
    folder.write("a.yaml", text, GROUP % ("one", '"${KEY}"'))
    assert folder.problems() == []
    secret = folder.world.secrets[ref("s", "Secret")]
    assert secret.data == {"a": b"<sk-env>", "b": b"plain", "c": b"sk-envsk-env", "d": b"${KEY}"}
    assert folder.world.objects[ref("one")].raw["targets"][0]["model"] == "${KEY}"  # type: ignore[index]
    assert "sk-env" not in repr(folder.loaded)


def test_an_unset_variable_is_named_with_file_and_line(folder: Folder) -> None:
    folder.write("a.yaml", "# first\n", SECRET % ("s", "x${NOT_THERE}"))
    assert folder.problems() == ["a.yaml:7: stringData.a: environment variable NOT_THERE is not set"]
    assert folder.world.secrets == {}


def test_an_unlabelled_secret_is_only_known_to_exist(folder: Folder) -> None:
    folder.write("a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: x}\n")
    folder.load()
    assert folder.world.unlabelled == {ref("s", "Secret")}
    assert folder.world.secrets == {}


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\n", "a.yaml:2: not YAML"),
        ("a: 1\na: 2\n", 'a.yaml:2: field "a" stands twice, first in line 1'),
        ("- a\n", "a.yaml:1: a document must be an object"),
        ("kind: ModelGroup\n", "a.yaml:1: apiVersion: Required value"),
        ("apiVersion: v1\n", "a.yaml:1: kind: Required value"),
        (
            "apiVersion: trunkline.dev/v1alpha1\nkind: UsagePolicy\n",
            "a.yaml:1: kind UsagePolicy is not supported by this version",
        ),
        ("apiVersion: trunkline.dev/v1alpha1\nkind: ModelGruop\n", "a.yaml:2: kind: trunkline.dev has these kinds"),
        ("apiVersion: trunkline.dev/v2\nkind: ModelGroup\n", "a.yaml:1: apiVersion: must be trunkline.dev/v1alpha1"),
        ("apiVersion: trunkline.dev/v1alpha1\nkind: ModelGroup\n", "a.yaml:1: metadata: must be of type object"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {}\n", "a.yaml:3: metadata.name: Required value"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: 1}\n", "a.yaml:3: metadata.namespace: must be"),
        (
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  labels:\n    trunkline.dev/secret: true\n",
            "a.yaml:6: metadata.labels.trunkline.dev/secret: must be a string: put it in quotes",
        ),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringdata: {}\n", "a.yaml:4: stringdata: unknown field"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  a: '%'\n", "a.yaml:5: data.a: must be base64"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n  a: 1\n", "a.yaml:5: stringData.a: must be"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: [a]\n", "a.yaml:4: data: must be of type object"),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {'a b': x}\n",
            "a.yaml:4: stringData: the name",
        ),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {a: 1}}\n", "a.yaml:3: metadata.labels.a: must"),
    ],
)
def test_what_is_refused_says_where_and_why(folder: Folder, text: str, said: str) -> None:
    folder.write("a.yaml", text)
    (problem,) = folder.problems()
    assert problem.startswith(said)
    assert folder.world.objects == {}


def test_a_second_object_of_one_name_is_refused_and_the_first_stands(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("one", "first"))
    folder.write("b.yaml", GROUP % ("one, namespace: default", "second"))
    (problem,) = folder.problems()
    assert problem.startswith("b.yaml:1: ModelGroup/default/one stands twice, first at ")
    assert problem.endswith("a.yaml:1")
    assert folder.world.objects[ref("one")].raw["targets"][0]["model"] == "first"  # type: ignore[index]


def test_other_kinds_are_named_in_a_warning(folder: Folder) -> None:
    folder.write("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")
    assert folder.problems() == []
    assert folder.loaded is not None
    (warning,) = folder.loaded.warnings
    assert str(warning).endswith("a.yaml:1: Deployment x is ignored: Trunkline has no use for it")


def test_a_file_that_is_no_utf8_is_refused_with_its_line(folder: Folder) -> None:
    (folder.path / "a.yaml").write_bytes(b"a: 1\nb: \xff\n")
    assert folder.problems() == ["a.yaml:2: must be UTF-8"]


def test_the_size_of_all_files_together_is_bounded(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("one", "m"))
    folder.write("b.yaml", "#" * (directory.MAX_BYTES - 100))
    assert folder.problems() == ["b.yaml: the files together are larger than 16 MiB"]
    assert folder.groups() == ["one"]


def test_a_directory_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    loaded = directory.load(tmp_path / "nowhere", {}, lambda: 1)
    assert [each.message for each in loaded.problems] == ["no such directory"]


# ---- reload ---------------------------------------------------------------------------------------------------------


def test_a_reload_without_changes_changes_nothing(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("one", "m"), SECRET % ("s", "x"))
    assert folder.load() is Change.CHANGED
    before = dict(folder.world.objects)
    assert folder.load() is Change.NONE
    assert all(folder.world.objects[each] is observed for each, observed in before.items())


def test_only_what_changed_gets_a_new_revision(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("one", "m"))
    folder.write("b.yaml", GROUP % ("two", "m"))
    folder.load()
    folder.write("b.yaml", "# a comment\n" + GROUP % ("two", "n"))
    assert folder.load() is Change.REVOKES
    assert folder.world.revision(ref("one")) == 1000
    changed = folder.world.objects[ref("two")]
    assert (changed.revision, changed.generation) == (2000, 2)
    assert changed.origin.endswith("b.yaml:2")


def test_a_changed_type_is_a_change_although_python_calls_it_equal(folder: Folder) -> None:
    weighted = (GROUP % ("one", "m")).replace("model: m", "model: m, weight: %s")
    folder.write("a.yaml", weighted % "1")
    folder.load()
    folder.write("a.yaml", weighted % "true")
    assert folder.load() is Change.REVOKES
    assert folder.world.objects[ref("one")].parsed is None


def test_what_is_gone_is_deleted_and_remembered(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("one", "m"), SECRET % ("s", "x"))
    folder.load()
    (folder.path / "a.yaml").unlink()
    assert folder.load() is Change.REVOKES
    assert folder.world.objects == {}
    assert folder.world.secrets == {}
    assert folder.world.absence(ref("one")) == 2000
    assert folder.world.absence(ref("never")) == 2000


def test_an_object_that_moves_to_another_file_becomes_younger_but_not_newer(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("one", "m"))
    folder.write("b.yaml", GROUP % ("two", "m"))
    folder.load()
    (folder.path / "a.yaml").rename(folder.path / "c.yaml")
    assert folder.load() is Change.CHANGED
    assert folder.groups() == ["two", "one"]
    assert folder.world.revision(ref("one")) == 1000


def test_a_file_that_breaks_keeps_what_it_had_and_takes_no_other_down(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("one", "m"), GROUP % ("two", "m"))
    folder.write("b.yaml", GROUP % ("three", "m"))
    folder.load()
    folder.write("a.yaml", "half: [a file")
    folder.write("b.yaml", GROUP % ("three", "n"))
    assert folder.load() is Change.REVOKES
    assert folder.groups() == ["one", "two", "three"]
    assert folder.world.revision(ref("three")) == 2000
    assert folder.load() is Change.NONE
    folder.write("a.yaml", GROUP % ("two", "m"))
    folder.load()
    assert folder.groups() == ["two", "three"]
    assert folder.world.revision(ref("two")) == 1000


def test_a_secret_that_would_be_refused_keeps_its_version(folder: Folder) -> None:
    folder.write("a.yaml", SECRET % ("s", "x"))
    folder.load()
    folder.write("a.yaml", SECRET % ("s", "${NOT_THERE}"))
    assert len(folder.problems()) == 1
    assert folder.world.secrets[ref("s", "Secret")].data == {"a": b"x"}


def test_an_object_that_moves_out_of_a_file_that_breaks_is_there_once(folder: Folder) -> None:
    folder.write("a.yaml", GROUP % ("one", "old"))
    folder.load()
    folder.write("a.yaml", "half: [a file")
    folder.write("b.yaml", GROUP % ("one", "new"))
    folder.load()
    assert folder.world.objects[ref("one")].raw["targets"][0]["model"] == "new"  # type: ignore[index]


def test_what_did_not_come_from_the_directory_is_left_alone(folder: Folder) -> None:
    folder.world.put(
        {
            "apiVersion": "trunkline.dev/v1alpha1",
            "kind": "VirtualKey",
            "metadata": {"name": "made", "namespace": "default", "resourceVersion": "5"},
            "spec": {"keyHash": "sha256:" + "0" * 64, "models": ["*"]},
        }
    )
    folder.write("a.yaml", GROUP % ("one", "m"))
    folder.load()
    folder.load()
    assert ref("made", "VirtualKey") in folder.world.objects


def test_revisions_only_grow_even_where_the_clock_does_not(tmp_path: Path) -> None:
    first = directory.load(tmp_path, {}, lambda: 10)
    assert directory.load(tmp_path, {}, lambda: 5, first).revision == 11


# ---- watching -------------------------------------------------------------------------------------------------------


async def changes_within_a_second(path: Path, *edits: str) -> None:
    """Make each edit and expect to hear of it."""
    async with aclosing(directory.watch(path)) as changes:
        await anext(changes)
        for edit in edits:
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.3)
            while waiting.done() and waiting.result() is None:  # the end of what came before
                waiting = asyncio.ensure_future(anext(changes))
                await asyncio.sleep(0.3)
            EDITS[edit](path)
            try:
                await asyncio.wait_for(asyncio.shield(waiting), 1.0)
            finally:
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)


def _swap(path: Path) -> None:
    fresh = path / f"..{os.urandom(4).hex()}"
    fresh.mkdir()
    (fresh / "mounted.yaml").write_text(f"# {fresh}\n")
    link = path / "..data_tmp"
    link.symlink_to(fresh.name)
    link.rename(path / "..data")


def _rename_over(path: Path) -> None:
    (path / "a.yaml~").write_text("# renamed over\n")
    (path / "a.yaml~").rename(path / "a.yaml")


def _change_behind_a_link(path: Path) -> None:
    (path.parent / "elsewhere" / "c.yaml").write_text("# changed elsewhere\n")


EDITS = {
    "write": lambda path: (path / "a.yaml").write_text("# written\n"),
    "create": lambda path: (path / "b.yaml").write_text("# new\n"),
    "delete": lambda path: (path / "b.yaml").unlink(),
    "rename": _rename_over,
    "swap": _swap,
    "link": _change_behind_a_link,
    "gone": shutil.rmtree,
    "back": lambda path: (path.mkdir(), (path / "a.yaml").write_text("# back\n")),
}


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    path = tmp_path / "watched"
    (tmp_path / "elsewhere").mkdir()
    path.mkdir()
    (tmp_path / "elsewhere" / "c.yaml").write_text("# elsewhere\n")
    (path / "linked").symlink_to(tmp_path / "elsewhere")
    (path / "a.yaml").write_text("# first\n")
    _swap(path)
    (path / "mounted.yaml").symlink_to("..data/mounted.yaml")
    return path


async def test_changes_are_seen_within_a_second(watched: Path) -> None:
    await changes_within_a_second(watched, "write", "create", "rename", "delete", "swap", "link")


async def test_changes_are_seen_where_the_kernel_does_not_tell(watched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no inotify")

    monkeypatch.setattr(watchfiles, "awatch", refuse)
    await changes_within_a_second(watched, "write", "create", "rename", "delete", "swap", "link")


async def test_a_directory_that_goes_and_comes_back_is_watched_on(watched: Path) -> None:
    await changes_within_a_second(watched, "gone", "back", "write")
