"""What stands in the operator's way is said once, and shown as an Event of its own Pod where that can be."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from builders.wire_ends import until
from trunkline_operator import kube
from trunkline_operator.problems import RIGHTS_MISSING, Pod, Problems
from trunkline_operator.rights import Right, needed, sentence
from trunkline_operator.watch.lists import KINDS, NAMESPACES, SECRETS
from trunkline_operator.watch.obstacles import Obstacles, why_no_list

POD = Pod("trunkline-system", "operator-0", "uid-1")


class Events:
    def __init__(self, error: Exception | None = None) -> None:
        self.posted: list[tuple[str, Mapping[str, Any]]] = []
        self.error = error

    async def create(self, namespace: str, event: Mapping[str, Any]) -> None:
        self.posted.append((namespace, event))
        if self.error is not None:
            raise self.error


def note(posted: tuple[str, Mapping[str, Any]]) -> str:
    said: str = posted[1]["note"]
    return said


async def stop(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def posted(problems: Problems, events: Events, count: int) -> None:
    running = asyncio.create_task(problems.run())
    await until(lambda: len(events.posted) >= count)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_each_sentence_is_logged_and_posted_once(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    problems = Problems(events.create, POD)
    for _ in range(3):
        problems.tell("a", "it is broken")
        problems.tell("b", "it is broken")
    problems.tell("a", "")
    problems.tell("a", "")
    problems.tell("a", "it is broken otherwise")
    assert caplog.messages == ["It is broken", "It is broken otherwise"]
    await posted(problems, events, 2)
    assert [(namespace, each["note"]) for namespace, each in events.posted] == [
        ("trunkline-system", "it is broken"),
        ("trunkline-system", "it is broken otherwise"),
    ]
    assert events.posted[0][1]["regarding"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "trunkline-system",
        "name": "operator-0",
        "uid": "uid-1",
    }


async def test_an_event_that_may_not_be_posted_is_tried_until_it_may() -> None:
    events = Events(kube.ApiError(403, "Forbidden", "no"))
    problems = Problems(events.create, POD, retry_seconds=0.01)
    problems.tell("a", "one")
    problems.tell("b", "two")
    running = asyncio.create_task(problems.run())
    await until(lambda: len(events.posted) >= 6)
    assert {note(each) for each in events.posted} == {"one", "two"}
    events.error = None
    events.posted.clear()
    await until(lambda: len(events.posted) == 2)
    problems.tell("c", "three")
    await until(lambda: len(events.posted) == 3)
    assert [note(each) for each in events.posted] == ["one", "two", "three"]
    await stop(running)


async def test_what_is_no_longer_true_is_not_posted() -> None:
    events = Events(kube.UnavailableError("refused"))
    problems = Problems(events.create, POD, retry_seconds=0.01)
    problems.tell("a", "one")
    running = asyncio.create_task(problems.run())
    await until(lambda: events.posted)
    problems.tell("a", "")
    problems.tell("b", "two")
    events.error = None
    events.posted.clear()
    await until(lambda: events.posted)
    await asyncio.sleep(0.03)  # in which one would have been tried again
    assert [note(each) for each in events.posted] == ["two"]
    await stop(running)


async def test_what_stays_true_is_posted_again_before_it_is_forgotten() -> None:
    events = Events()
    problems = Problems(events.create, POD, repeat_seconds=0.02)
    problems.tell("a", "one")
    running = asyncio.create_task(problems.run())
    await until(lambda: len(events.posted) >= 3)
    problems.tell("a", "")
    await asyncio.sleep(0)
    events.posted.clear()
    problems.tell("b", "two")
    await until(lambda: len(events.posted) >= 3)
    assert {note(each) for each in events.posted} == {"two"}
    await stop(running)


async def test_what_comes_and_goes_is_one_event() -> None:
    events = Events()
    problems = Problems(events.create, POD)
    running = asyncio.create_task(problems.run())
    for _ in range(20):
        problems.tell("a", "one")
        await until(lambda: events.posted)
        problems.tell("a", "")
        await asyncio.sleep(0)
    assert len(events.posted) == 1
    await stop(running)


async def test_none_of_many_sentences_is_lost() -> None:
    events = Events()
    problems = Problems(events.create, POD)
    for number in range(300):
        problems.tell(f"topic {number}", f"{number} is broken")
    await posted(problems, events, 300)
    assert len({note(each) for each in events.posted}) == 300


async def test_the_reason_tells_what_is_needed_from_what_is_only_useful() -> None:
    events = Events()
    problems = Problems(events.create, POD)
    problems.tell("a", "nothing works")
    problems.tell("b", "something does not", reason=RIGHTS_MISSING)
    await posted(problems, events, 2)
    assert [each["reason"] for _, each in events.posted] == ["ClusterNotUsable", "RightsMissing"]


async def test_outside_of_a_pod_there_are_no_events() -> None:
    assert Pod.of({"POD_NAME": "x"}) is None
    assert Pod.of({"POD_NAME": "x", "POD_NAMESPACE": "y"}) == Pod("y", "x")
    events = Events()
    problems = Problems(events.create, None)
    problems.tell("a", "one")
    assert events.posted == []


def test_a_missing_right_is_a_sentence_that_says_what_to_do() -> None:
    right = Right(verbs=("list", "watch"), group="trunkline.dev", resource="virtualkeys", namespace="team-a")
    assert sentence("system:serviceaccount:trunkline-system:trunkline-operator", right) == (
        "ServiceAccount trunkline-system/trunkline-operator may not list, watch virtualkeys.trunkline.dev in namespace "
        "team-a: install the chart's RBAC, or bind a Role that allows it"
    )
    right = Right(verbs=("create",), group="", resource="events", without_it="no Events are posted")
    assert "user jane may not create events in the whole cluster (without it no Events are posted)" in (
        sentence("jane", right)
    )


def test_what_is_needed_is_asked_for_where_it_is_needed() -> None:
    everywhere = list(needed(()))
    assert {each.namespace for each in everywhere} == {""}
    assert not next(each for each in everywhere if each.resource == "namespaces").without_it
    some = list(needed(("a", "b"), secret=("sys", "tls"), config_map=("sys", "ca")))
    assert {each.namespace for each in some if each.resource == "secrets"} == {"a", "b", "sys"}
    assert next(each for each in some if each.resource == "namespaces").without_it
    assert [(each.name, each.verbs) for each in some if each.namespace == "sys"] == [
        ("tls", ("get", "patch")),
        ("ca", ("get", "patch")),
    ]


def test_an_obstacle_names_its_cause() -> None:
    groups = next(each for each in KINDS if each.kind == "ModelGroup")
    forbidden = kube.ApiError(
        403,
        "Forbidden",
        'modelgroups is forbidden: User "system:serviceaccount:sys:op" cannot list resource "modelgroups" in API group '
        '"trunkline.dev" in the namespace "b"',
    )
    said = why_no_list(forbidden, groups, ["a", "b"])
    assert said.startswith("ServiceAccount sys/op may not get, list, watch modelgroups.trunkline.dev in namespace b: ")
    missing = kube.ApiError(404, "NotFound", "the server could not find the requested resource")
    assert "CustomResourceDefinition modelgroups.trunkline.dev is not installed" in why_no_list(missing, groups, [])
    assert "CustomResource" not in why_no_list(missing, SECRETS, [])
    assert "credentials" in why_no_list(kube.ApiError(401, "Unauthorized", ""), NAMESPACES, [])


def test_kinds_that_fail_alike_are_one_obstacle() -> None:
    obstacles = Obstacles([], lambda topic, sentence: None)
    for each in (*KINDS, SECRETS):
        obstacles.met(each, kube.UnavailableError("refused"))
    (only,) = obstacles.sentences()
    assert "the API server does not answer" in only
    for each in (*KINDS, SECRETS):
        obstacles.gone(each)
    assert obstacles.sentences() == []
