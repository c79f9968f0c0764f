"""Recording what was observed: newest view wins, deletions are remembered, LISTs find what events have missed."""

import time
from typing import Any

import pytest

from builders import world as gen
from trunkline_operator.watch.world import Change, Ref, World

KEY = Ref("VirtualKey", "team", "alice")
GROUP = Ref("ModelGroup", "team", "gpt-4o")
SECRET = Ref("Secret", "team", "upstream")
NAMESPACE = Ref("Namespace", "", "team")


def test_a_new_object_is_a_change_and_an_edited_one_may_revoke() -> None:
    world = World()
    assert world.put(gen.key(revision=1)) is Change.CHANGED
    assert world.put(gen.key(revision=2, models=["a"])) is Change.REVOKES
    assert world.objects[KEY].revision == 2


def test_no_change_is_false_and_changes_add_up_by_max() -> None:
    assert not Change.NONE
    assert max(Change.NONE, Change.REVOKES, Change.CHANGED) is Change.REVOKES


def test_an_update_of_status_alone_is_no_change_but_its_revision_and_status_are_kept() -> None:
    world = World()
    world.put(gen.key(revision=1))
    parsed = world.objects[KEY].parsed
    later = gen.resource("VirtualKey", "alice", gen.key()["spec"], revision=7, generation=1)
    assert world.put({**later, "status": {"observedGeneration": 1}}) is Change.NONE
    assert world.objects[KEY].revision == 7
    assert world.objects[KEY].status == {"observedGeneration": 1}
    assert world.objects[KEY].parsed is parsed


def test_an_object_that_was_replaced_is_read_anew_although_its_generation_is_the_same() -> None:
    world = World()
    world.put(gen.key(revision=1))
    again = gen.resource("VirtualKey", "alice", {"models": ["b"]}, revision=9, generation=1, uid="another")
    assert world.put(again) is Change.REVOKES
    assert world.objects[KEY].parsed is None


def test_an_older_view_is_ignored() -> None:
    world = World()
    world.put(gen.key(revision=5, models=["new"]))
    assert world.put(gen.key(revision=4, models=["old"])) is Change.NONE
    assert world.objects[KEY].raw["models"] == ["new"]


def test_a_view_from_before_the_deletion_is_ignored_and_a_new_object_is_not() -> None:
    world = World()
    world.put(gen.key(revision=1))
    assert world.delete(KEY, 5) is Change.REVOKES
    assert world.put(gen.key(revision=4)) is Change.NONE
    assert KEY not in world.objects
    assert world.revision(KEY) == 5
    assert world.put(gen.key(revision=6)) is Change.CHANGED
    assert KEY not in world.tombstones


def test_a_deletion_that_is_older_than_the_object_is_ignored() -> None:
    world = gen.world(gen.key(revision=5))
    assert world.delete(KEY, 4) is Change.NONE
    assert KEY in world.objects


def test_a_deletion_of_something_unknown_is_remembered_but_changes_nothing() -> None:
    world = World()
    assert world.delete(KEY, 4) is Change.NONE
    assert world.put(gen.key(revision=3)) is Change.NONE


def test_tombstones_are_forgotten_after_an_hour() -> None:
    now = 0.0
    world = World(clock=lambda: now)
    world.delete(KEY, 4)
    now = 3599.0
    world.delete(SECRET, 4)
    assert world.forget_tombstones() == 0
    now = 3601.0
    assert world.forget_tombstones() == 1
    assert set(world.tombstones) == {SECRET}


def test_an_invalid_object_is_recorded_with_its_errors() -> None:
    world = gen.world(gen.group(targets=[]))
    observed = world.objects[Ref("ModelGroup", "team", "gpt-4o")]
    assert observed.parsed is None
    assert [error.path for error in observed.errors] == ["spec.targets"]
    assert observed.raw == {"targets": []}


def test_creation_time_decides_who_is_older() -> None:
    observed = gen.world(gen.key()).objects[KEY]
    assert observed.created == 1767225600.0


def test_a_kind_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="ConfigMap"):
        World().put({"kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "1"}})


# ---- Secrets --------------------------------------------------------------------------------------------------------


def test_a_labelled_secret_is_decoded_and_never_shown() -> None:
    world = gen.world(gen.secret(primary="sk-canary"))
    assert world.secrets[SECRET].data == {"primary": b"sk-canary"}
    assert "sk-canary" not in repr(world)


def test_an_unlabelled_secret_is_only_known_to_exist() -> None:
    world = World()
    assert world.put(gen.secret(labelled=False, primary="sk-canary")) is Change.CHANGED
    assert world.unlabelled == {SECRET}
    assert world.secrets == {}
    assert world.put(gen.secret(labelled=False, revision=2, primary="sk-canary")) is Change.NONE


def test_a_secret_that_loses_its_label_is_gone_and_comes_back_with_it() -> None:
    world = gen.world(gen.secret(revision=1, a="1"))
    assert world.put(gen.secret(revision=2, labelled=False, a="1")) is Change.REVOKES
    assert SECRET not in world.secrets
    assert world.seen(SECRET) == 2
    assert world.put(gen.secret(revision=3, a="1")) is Change.CHANGED
    assert SECRET not in world.unlabelled
    assert SECRET not in world.tombstones


def test_a_rotated_secret_revokes_and_a_relabelled_one_does_not() -> None:
    world = gen.world(gen.secret(revision=1, a="1"))
    assert world.put(gen.secret(revision=2, a="1")) is Change.NONE
    assert world.secrets[SECRET].revision == 2
    assert world.put(gen.secret(revision=3, a="2")) is Change.REVOKES


def test_entries_that_are_not_base64_count_as_absent() -> None:
    broken = gen.secret(a="1")
    broken["data"]["b"] = "%%%"
    assert gen.world(broken).secrets[SECRET].data == {"a": b"1"}


# ---- Namespaces -----------------------------------------------------------------------------------------------------


def test_labels_of_a_namespace_may_revoke_and_other_updates_do_not() -> None:
    world = World()
    assert world.put(gen.namespace(revision=1, tenant="yes")) is Change.CHANGED
    assert world.put(gen.namespace(revision=2, tenant="yes")) is Change.NONE
    assert world.revision(NAMESPACE) == 2
    assert world.put(gen.namespace(revision=3)) is Change.REVOKES
    assert world.delete(NAMESPACE, 4) is Change.REVOKES
    assert world.namespaces == {}


# ---- LISTs ----------------------------------------------------------------------------------------------------------


def test_a_list_drops_what_it_does_not_show_and_what_is_not_newer() -> None:
    world = gen.world(
        gen.key("kept", revision=1),
        gen.key("phantom", revision=2),
        gen.key("newer", revision=20),
        gen.group(revision=3),
    )
    kept = Ref("VirtualKey", "team", "kept")
    gone = world.relist("VirtualKey", "", {kept: 1}, 10)
    assert gone == (Ref("VirtualKey", "team", "phantom"),)
    assert {ref.name for ref in world.objects} == {"kept", "newer", "gpt-4o"}
    assert world.absence(gone[0]) == 10
    assert world.absence(Ref("VirtualKey", "team", "never-seen")) == 10
    assert world.absence(Ref("ModelGroup", "team", "never-seen")) == 0


def test_a_list_of_one_namespace_says_nothing_about_another() -> None:
    world = gen.world(gen.key(namespace="a"), gen.key(namespace="b"))
    assert world.relist("VirtualKey", "a", {}, 10) == (Ref("VirtualKey", "a", "alice"),)
    assert world.absence(Ref("VirtualKey", "a", "x")) == 10
    assert world.absence(Ref("VirtualKey", "b", "x")) == 0


def test_a_list_shows_what_was_missed() -> None:
    world = gen.world(gen.key("same", revision=3), gen.key("older", revision=3))
    world.delete(Ref("VirtualKey", "team", "deleted"), 8)
    entries = {Ref("VirtualKey", "team", name): 5 for name in ("older", "unknown", "deleted")}
    entries[Ref("VirtualKey", "team", "same")] = 3
    assert world.missed(entries) == (Ref("VirtualKey", "team", "older"), Ref("VirtualKey", "team", "unknown"))


def test_lists_cover_secrets_and_namespaces_too() -> None:
    world = gen.world(gen.secret(a="1"), gen.namespace())
    assert world.relist("Secret", "", {}, 10) == (SECRET,)
    assert world.relist("Namespace", "", {}, 10) == (NAMESPACE,)
    assert (world.secrets, world.namespaces) == ({}, {})


def test_sources_count_what_is_absent_as_of_when_that_was_seen() -> None:
    world = gen.world(gen.key(revision=3))
    world.delete(SECRET, 7)
    world.relist("Secret", "", {}, 5)
    absent = Ref("Secret", "team", "never")
    unknown = Ref("ModelGroup", "team", "x")
    assert world.sources([KEY, SECRET, absent, unknown]) == {str(KEY): 3, str(SECRET): 7, str(absent): 5}


def test_recording_ten_thousand_updates_of_status_takes_little() -> None:
    world = World()
    keys = [gen.key(f"k{number}", revision=1) for number in range(10_000)]
    for each in keys:
        world.put(each)
    updates = [
        {**each, "metadata": {**each["metadata"], "resourceVersion": "2"}, "status": {"observedGeneration": 1}}
        for each in keys
    ]
    begun = time.perf_counter()
    for each in updates:
        world.put(each)
    assert (time.perf_counter() - begun) / len(updates) < 500e-6  # 5 µs here; the bound is for loaded machines


def relabelled(revision: int, generation: int = 1, **labels: str) -> dict[str, Any]:
    group = gen.group(revision=revision)
    group["metadata"] |= {"labels": labels, "generation": generation}
    return group


def test_labels_of_a_group_are_a_change_although_its_generation_is_the_same() -> None:
    world = World()
    world.put(relabelled(1, team="a"))
    assert world.objects[GROUP].labels == {"team": "a"}
    assert world.put(relabelled(2, team="a")) is Change.NONE
    assert world.put(relabelled(3, team="b")) is Change.CHANGED
    assert world.objects[GROUP].labels == {"team": "b"}
    assert world.put(relabelled(4)) is Change.CHANGED
    assert world.objects[GROUP].labels == {}


def test_labels_of_kinds_that_nobody_selects_are_not_kept() -> None:
    world = World()
    key = gen.key()
    key["metadata"]["labels"] = {"team": "a"}
    world.put(key)
    assert world.objects[Ref("VirtualKey", "team", "alice")].labels == {}
    key = gen.key(revision=2)
    key["metadata"] |= {"labels": {"team": "b"}, "generation": 1}
    assert world.put(key) is Change.NONE


def test_labels_that_are_none_are_passed_over() -> None:
    world = World()
    group = relabelled(1)
    group["metadata"]["labels"] = {"a": 1, "b": "c"}
    world.put(group)
    assert world.objects[GROUP].labels == {"b": "c"}
