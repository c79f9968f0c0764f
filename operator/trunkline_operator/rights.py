"""What the operator must and may do in the cluster, and what it says where a right is missing.

The rights are asked for at the start, and again every few minutes: so all that is missing is named at once, before the
first thing fails. Everybody may ask: by SelfSubjectRulesReview, one for each namespace, and by SelfSubjectAccessReview,
one for each verb, what that does not tell. While something is missing it is asked for again sooner; if nothing works
without it, every half a minute. What may be done is tried all the same: nothing but `readiness` goes by the answers.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from trunkline_operator import kube, problems
from trunkline_operator.watch import obstacles
from trunkline_operator.watch.lists import KINDS, NAMESPACES, SECRETS

_FIRST_AGAIN_SECONDS: Final = 15.0
_NEEDED_AGAIN_SECONDS: Final = 30.0
_COMPLETE_SECONDS: Final = 300.0
_AT_ONCE: Final = 8
_WATCHING: Final = ("get", "list", "watch")


class Tell(Protocol):
    """Takes what is wrong with something, in a sentence; an empty one: nothing any more."""

    def __call__(self, topic: str, sentence: str, *, reason: str) -> None:
        """See `problems.Problems.tell`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Something that the operator does.

    Attributes:
        namespace: Empty: in the whole cluster.
        name: Of the only object that it is needed for; empty: of all.
        without_it: What does not work then; empty: nothing works.
    """

    verbs: tuple[str, ...]
    group: str
    resource: str
    namespace: str = ""
    name: str = ""
    without_it: str = ""


def needed(
    namespaces: Sequence[str],
    *,
    secret: tuple[str, str] | None = None,
    config_map: tuple[str, str] | None = None,
    lease: tuple[str, str] | None = None,
) -> Iterator[Right]:
    """All rights that an operator with these settings uses.

    Args:
        namespaces: That it watches; empty: the whole cluster.
        secret: ``--tls-secret``.
        config_map: ``--ca-configmap``.
        lease: ``--lease``.
    """
    for namespace in namespaces or ("",):
        for watched in (*KINDS, SECRETS):
            yield Right(verbs=_WATCHING, group=watched.group, resource=watched.plural, namespace=namespace)
        for watched in KINDS:
            without = f"the status of {watched.plural} is not written"
            resource = f"{watched.plural}/status"
            yield Right(
                verbs=("patch",), group=watched.group, resource=resource, namespace=namespace, without_it=without
            )
        without = "no Events are posted"
        yield Right(
            verbs=("create",), group="events.k8s.io", resource="events", namespace=namespace, without_it=without
        )
    if namespaces:
        # Each by its name, which a Role in that namespace can give.
        for namespace in namespaces:
            yield Right(
                verbs=("get",),
                group=NAMESPACES.group,
                resource=NAMESPACES.plural,
                namespace=namespace,
                name=namespace,
                without_it="selectors see the names of namespaces, not their labels",
            )
    else:
        yield Right(verbs=_WATCHING, group=NAMESPACES.group, resource=NAMESPACES.plural)
    yield Right(
        verbs=("create",),
        group="authentication.k8s.io",
        resource="tokenreviews",
        without_it="tokens of gateways are only checked against the API server's public keys",
    )
    for resource, where in (("secrets", secret), ("configmaps", config_map)):
        if where is not None:
            yield Right(verbs=("get", "patch"), group="", resource=resource, namespace=where[0], name=where[1])
    if lease is not None:
        # Nobody can be held to a name when he creates.
        for verbs, name in ((("create",), ""), (("get", "update"), lease[1])):
            yield Right(
                verbs=verbs,
                group="coordination.k8s.io",
                resource="leases",
                namespace=lease[0],
                name=name,
                without_it="no replica is elected to write statuses and Events",
            )


def sentence(user: str, right: Right, namespaces: Sequence[str] = ()) -> str:
    """Say that ``user`` has not got ``right``, and what to do.

    Args:
        user: As Kubernetes names it; empty: unknown.
        right: What is missing.
        namespaces: Where; empty: in its own namespace.
    """
    where = namespaces or ([right.namespace] if right.namespace else [])
    name = right.name if len(where) <= 1 else ""  # in several it is the name of each
    return obstacles.lacks(user, right.verbs, right.resource, right.group, where, name, right.without_it)


class Rights:
    """Asks for rights and tells of those that are missing.

    Attributes:
        missing: Of those without which nothing works, in sentences.
        asked: Whether there was an answer, or none to be had.
    """

    def __init__(self, client: kube.Kube, rights: Sequence[Right], tell: Tell) -> None:
        self._client = client
        self._rights = rights
        self._tell = tell
        self._told: dict[str, str] = {}  # topic → reason
        self._soon = asyncio.Event()
        self.missing: list[str] = []
        self.asked = False

    async def run(self) -> None:
        """Ask until cancelled."""
        pause, before = _FIRST_AGAIN_SECONDS, None
        while True:
            self._soon.clear()
            lacking = await self._ask()
            self.asked = True
            if lacking != before or lacking is None:
                pause, before = _FIRST_AGAIN_SECONDS, lacking
            else:
                pause = min(2 * pause, _COMPLETE_SECONDS)
            longest = _NEEDED_AGAIN_SECONDS if self.missing else _COMPLETE_SECONDS
            try:
                async with asyncio.timeout(_COMPLETE_SECONDS if lacking == [] else min(pause, longest)):
                    await self._soon.wait()
            except TimeoutError:
                continue

    def ask_soon(self) -> None:
        """Something looks as if rights had been given."""
        self._soon.set()

    async def _ask(self) -> list[Right] | None:
        """What is missing, a right for each; None: there was no answer."""
        try:
            user = await self._client.whoami()
        except kube.ApiError:
            user = ""  # an API server before 1.28
        except kube.UnavailableError:
            return None
        try:
            lacking = await self._lacking()
        except (kube.ApiError, kube.UnavailableError):
            return None  # it will be there when it can answer
        said = dict(self._sentences(user, lacking))
        self.missing = [each for each, reason in said.values() if reason == problems.NOT_USABLE]
        for topic, reason in self._told.items():
            if topic not in said:
                self._tell(topic, "", reason=reason)
        for topic, (each, reason) in said.items():
            self._tell(topic, each, reason=reason)
        self._told = {topic: reason for topic, (_, reason) in said.items()}
        return lacking

    async def _lacking(self) -> list[Right]:
        slots = asyncio.Semaphore(_AT_ONCE)
        namespaces = sorted({right.namespace for right in self._rights if right.namespace})
        known = dict(
            zip(namespaces, await asyncio.gather(*(self._rules(each, slots) for each in namespaces)), strict=True)
        )
        found = await asyncio.gather(*(self._lacks(right, known, slots) for right in self._rights))
        return [each for each in found if each is not None]

    async def _rules(self, namespace: str, slots: asyncio.Semaphore) -> tuple[list[dict[str, Any]], bool]:
        async with slots:
            try:
                return await self._client.rules(namespace)
            except kube.ApiError:
                return [], False

    async def _lacks(
        self, right: Right, known: Mapping[str, tuple[list[dict[str, Any]], bool]], slots: asyncio.Semaphore
    ) -> Right | None:
        """The part of ``right`` that we have not got."""
        rules, complete = known.get(right.namespace, ([], False))
        lacking = tuple(verb for verb in right.verbs if not any(allows(rule, right, verb) for rule in rules))
        if not complete:
            async with slots:
                lacking = tuple([verb for verb in lacking if not await self._client.may(attributes(right, verb))])
        return replace(right, verbs=lacking) if lacking else None

    def _sentences(self, user: str, lacking: Iterable[Right]) -> Iterator[tuple[str, tuple[str, str]]]:
        """Topics, with a sentence for each right and the reason: one for all namespaces that lack the same."""
        alike: dict[Right, list[Right]] = {}
        for right in lacking:
            own = right.namespace and right.name == right.namespace
            alike.setdefault(replace(right, namespace="", name="" if own else right.name), []).append(right)
        for what, rights in alike.items():
            # What has to be named is of one place; what has not is of all that are watched, or of the cluster.
            topic = f"right {'/'.join(what.verbs)} {what.resource}.{what.group}/{what.name}"
            namespaces = [each.namespace for each in rights if each.namespace]
            reason = problems.RIGHTS_MISSING if what.without_it else problems.NOT_USABLE
            yield topic, (sentence(user, rights[0], namespaces), reason)


def allows(rule: Mapping[str, Any], right: Right, verb: str) -> bool:
    """Whether a rule of a SelfSubjectRulesReview allows ``verb``.

    https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources
    """
    _, _, subresource = right.resource.partition("/")
    resources = {"*", right.resource, f"*/{subresource}"} if subresource else {"*", right.resource}
    names = rule.get("resourceNames") or ()
    return (
        not {"*", verb}.isdisjoint(rule.get("verbs") or ())
        and not {"*", right.group}.isdisjoint(rule.get("apiGroups") or ())
        and not resources.isdisjoint(rule.get("resources") or ())
        and (not names or (right.name != "" and right.name in names))
    )


def attributes(right: Right, verb: str) -> Mapping[str, str]:
    """What a SelfSubjectAccessReview asks for."""
    resource, _, subresource = right.resource.partition("/")
    asked = {
        "verb": verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    return {name: value for name, value in asked.items() if value}
