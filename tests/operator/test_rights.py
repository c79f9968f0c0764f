"""Which rights are missing: asked for cheaply, said once for all namespaces, and what that means for readiness."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from builders.wire_ends import until
from trunkline_operator import kube
from trunkline_operator.readiness import Readiness
from trunkline_operator.rights import Right, Rights, allows, needed

MANY = [f"team-{number:02}" for number in range(60)]
ALL = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


class Authorizer:
    """The reviews of an API server, by RBAC's rules; ``incomplete``: it cannot list what it allows."""

    def __init__(self, *, incomplete: bool = False) -> None:
        self.everywhere: list[dict[str, Any]] = []
        self.rules_of: dict[str, list[dict[str, Any]]] = {}
        self.incomplete = incomplete
        self.away = False
        self.rules_reviews = 0
        self.access_reviews = 0

    async def whoami(self) -> str:
        if self.away:
            raise kube.UnavailableError("refused")
        return "system:serviceaccount:sys:op"

    async def rules(self, namespace: str) -> tuple[list[dict[str, Any]], bool]:
        self.rules_reviews += 1
        if self.incomplete:
            return [], False
        return [*self.everywhere, *self.rules_of.get(namespace, ())], True

    async def may(self, attributes: Mapping[str, str]) -> bool:
        self.access_reviews += 1
        resource = "/".join(filter(None, (attributes["resource"], attributes.get("subresource", ""))))
        right = Right(verbs=(), group=attributes.get("group", ""), resource=resource, name=attributes.get("name", ""))
        rules = [*self.everywhere, *self.rules_of.get(attributes.get("namespace", ""), ())]
        return any(allows(each, right, attributes["verb"]) for each in rules)


class Told:
    def __init__(self) -> None:
        self.said: dict[str, tuple[str, str]] = {}
        self.count = 0

    def __call__(self, topic: str, sentence: str, *, reason: str) -> None:
        self.count += 1
        self.said.pop(topic, None)
        if sentence:
            self.said[topic] = (sentence, reason)

    def sentences(self) -> list[str]:
        return [each for each, _ in self.said.values()]


class Running:
    """Rights that are asked for while the context lasts."""

    def __init__(self, authorizer: Authorizer, rights: Sequence[Right]) -> None:
        self.told = Told()
        self.rights = Rights(authorizer, rights, self.told)  # type: ignore[arg-type]

    async def __aenter__(self) -> "Running":
        self.task = asyncio.create_task(self.rights.run())
        await until(lambda: self.rights.asked)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def rule(resource: str, *verbs: str, group: str = "", names: Sequence[str] = ()) -> dict[str, Any]:
    return {"verbs": list(verbs), "apiGroups": [group], "resources": [resource], "resourceNames": list(names)}


@pytest.mark.parametrize(
    ("given", "verb", "allowed"),
    [
        (ALL, "watch", True),
        (rule("virtualkeys/status", "patch", group="trunkline.dev"), "patch", True),
        (rule("*/status", "patch", group="trunkline.dev"), "patch", True),
        (rule("virtualkeys", "patch", group="trunkline.dev"), "patch", False),
        (rule("virtualkeys/status", "patch"), "patch", False),
        (rule("virtualkeys/status", "get", group="trunkline.dev"), "patch", False),
        (rule("virtualkeys/status", "patch", group="trunkline.dev", names=["one"]), "patch", False),
    ],
)
def test_a_rule_allows_what_rbac_says(given: dict[str, Any], verb: str, allowed: bool) -> None:
    right = Right(verbs=("patch",), group="trunkline.dev", resource="virtualkeys/status", namespace="a")
    assert allows(given, right, verb) is allowed


def test_a_rule_for_names_allows_those() -> None:
    named = rule("secrets", "get", names=["tls"])
    assert allows(named, Right(verbs=("get",), group="", resource="secrets", name="tls"), "get")
    assert not allows(named, Right(verbs=("get",), group="", resource="secrets", name="other"), "get")


async def test_sixty_namespaces_are_sixty_requests_and_one_sentence() -> None:
    authorizer = Authorizer()
    everything = list(needed(MANY))
    for namespace in MANY:
        authorizer.rules_of[namespace] = [
            rule(each.resource, *each.verbs, group=each.group)
            for each in everything
            if each.resource != "virtualkeys/status"
        ]
    authorizer.everywhere = [rule("tokenreviews", "create", group="authentication.k8s.io")]
    async with Running(authorizer, everything) as running:
        (said,) = running.told.sentences()
        assert "may not patch virtualkeys/status.trunkline.dev in namespaces team-00, team-01, " in said
        assert ", team-07 and 52 more (without it" in said
        assert running.rights.missing == []
        assert authorizer.rules_reviews == 60
        assert authorizer.access_reviews == 1  # of the cluster


async def test_what_cannot_be_listed_is_asked_for_one_by_one() -> None:
    for everywhere, missing in (([ALL], 0), ([], len(list(needed(["a"]))))):
        authorizer = Authorizer(incomplete=True)
        authorizer.everywhere = everywhere
        async with Running(authorizer, list(needed(["a"]))) as running:
            assert len(running.told.said) == missing
            assert authorizer.access_reviews == sum(len(each.verbs) for each in needed(["a"]))


async def test_labels_of_several_namespaces_are_one_sentence() -> None:
    authorizer = Authorizer()
    async with Running(authorizer, list(needed(["a", "b"]))) as running:
        assert (
            len([each for each in running.told.sentences() if "may not get namespaces in namespaces a, b " in each])
            == 1
        )


async def test_what_is_missing_is_asked_for_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def timeout(seconds: float) -> asyncio.Timeout:
        pauses.append(seconds)
        return asyncio.timeout_at(0 if len(pauses) < 12 else None)

    authorizer = Authorizer()
    authorizer.everywhere = [rule("secrets", "*")]
    useful = Right(verbs=("create",), group="events.k8s.io", resource="events", namespace="a", without_it="nothing")
    needed = Right(verbs=("watch",), group="", resource="pods", namespace="a")
    for rights, expected in (
        ([useful], [15, 30, 60, 120, 240, 300, 300]),
        ([useful, needed], [15, 30, 30, 30, 30, 30, 30]),
        ([Right(verbs=("get",), group="", resource="secrets", namespace="a")], [300, 300]),
    ):
        pauses.clear()
        running = Rights(authorizer, rights, Told())  # type: ignore[arg-type]
        with monkeypatch.context() as patched:
            patched.setattr("trunkline_operator.rights.asyncio.timeout", timeout)
            task = asyncio.create_task(running.run())
            for _ in range(1000):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert pauses[: len(expected)] == expected


NEEDED = [Right(verbs=("get", "list", "watch"), group="", resource="secrets", namespace="a")]


async def test_a_replica_without_a_right_that_it_needs_is_not_ready_and_says_which() -> None:
    authorizer = Authorizer()
    authorizer.rules_of["a"] = [rule("secrets", "get", "list")]
    why: list[str] = ["the first LIST has not finished"]
    async with Running(authorizer, NEEDED) as running:
        readiness = Readiness(lambda: why, running.rights)
        assert readiness.why_not()[0] == why[0]
        assert "may not watch secrets in namespace a" in readiness.why_not()[1]
        why.clear()
        assert "may not watch secrets in namespace a" in readiness.why_not()[0]
        authorizer.rules_of["a"] = [rule("secrets", "get", "list", "watch")]
        why.append("the first LIST has not finished")
        readiness.why_not()
        why.clear()
        readiness.why_not()  # notices that listing works, and asks at once
        await until(lambda: not readiness.why_not())
        assert readiness.warnings() == []


async def test_a_replica_that_was_ready_stays_so_when_rights_are_withdrawn_and_warns() -> None:
    authorizer = Authorizer()
    authorizer.everywhere = [ALL]
    async with Running(authorizer, NEEDED) as running:
        readiness = Readiness(list, running.rights)
        assert readiness.why_not() == []
        authorizer.everywhere = []
        running.rights.ask_soon()
        await until(lambda: running.rights.missing)
        assert readiness.why_not() == []
        assert readiness.warnings() == running.rights.missing
        authorizer.away = True
        running.rights.ask_soon()
        await asyncio.sleep(0)
        assert readiness.why_not() == []


async def test_an_api_server_that_does_not_say_makes_nobody_unready() -> None:
    authorizer = Authorizer()
    authorizer.away = True
    async with Running(authorizer, NEEDED) as running:
        assert Readiness(list, running.rights).why_not() == []


async def test_what_was_said_already_is_not_said_twice() -> None:
    authorizer = Authorizer()
    async with Running(authorizer, NEEDED) as running:
        (sentence,) = running.rights.missing
        assert Readiness(lambda: [f"something; {sentence}"], running.rights).why_not() == [f"something; {sentence}"]
