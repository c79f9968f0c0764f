"""What the operator must and may do in the cluster, and what it says where a right is missing.

The rights are asked for at the start, and again every few minutes, by SelfSubjectAccessReview, which everybody may
create: so all that is missing is named at once, before the first thing fails. Nothing depends on the answers.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trunkline_operator import kube
from trunkline_operator.watch import obstacles
from trunkline_operator.watch.lists import KINDS, NAMESPACES, SECRETS

_AGAIN_SECONDS: Final = 15.0
_COMPLETE_SECONDS: Final = 300.0
_AT_ONCE: Final = 8
_WATCHING: Final = ("get", "list", "watch")

Tell = Callable[[str, str], None]
"""Takes what is wrong with something, in a sentence; an empty one: nothing any more."""


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


def sentence(user: str, right: Right) -> str:
    """Say that ``user`` has not got ``right``, and what to do."""
    return obstacles.lacks(
        user, right.verbs, right.resource, right.group, right.namespace, right.name, right.without_it
    )


class Rights:
    """Asks for rights and tells of those that are missing.

    Attributes:
        missing: Of those without which nothing works, in sentences.
    """

    def __init__(self, client: kube.Kube, rights: Sequence[Right], tell: Tell) -> None:
        self._client = client
        self._rights = rights
        self._tell = tell
        self.missing: list[str] = []

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            complete = await self._ask()
            await asyncio.sleep(_COMPLETE_SECONDS if complete else _AGAIN_SECONDS)

    async def _ask(self) -> bool:
        """Whether everything is there."""
        try:
            user = await self._client.whoami()
        except kube.ApiError:
            user = ""  # an API server before 1.28
        except kube.UnavailableError:
            return False
        slots = asyncio.Semaphore(_AT_ONCE)
        try:
            missing = await asyncio.gather(*(self._lacks(right, slots) for right in self._rights))
        except (kube.ApiError, kube.UnavailableError):
            return False  # it will be there when it can answer
        self.missing = [sentence(user, each) for each in missing if each is not None and not each.without_it]
        for right, lacking in zip(self._rights, missing, strict=True):
            topic = f"right {right.namespace}/{right.resource}.{right.group}/{right.name}"
            self._tell(topic, "" if lacking is None else sentence(user, lacking))
        return not any(missing)

    async def _lacks(self, right: Right, slots: asyncio.Semaphore) -> Right | None:
        """The part of ``right`` that we have not got."""
        async with slots:
            allowed = {verb: await self._client.may(attributes(right, verb)) for verb in right.verbs}
        lacking = tuple(verb for verb in right.verbs if not allowed[verb])
        if not lacking:
            return None
        return Right(
            verbs=lacking,
            group=right.group,
            resource=right.resource,
            namespace=right.namespace,
            name=right.name,
            without_it=right.without_it,
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
