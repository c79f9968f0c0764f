"""What the operator looks at in a cluster, and how it LISTs it: in full at the start, metadata only from then on."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trunkline_operator import kube
from trunkline_operator.watch.world import SECRET_LABEL, Ref
from trunkline_protocol import resources

_LOG: Final = logging.getLogger(__name__)

OURS: Final = "/apis/trunkline.dev/v1alpha1"
CORE: Final = "/api/v1"

_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A kind of object.

    Attributes:
        root: Where its API is served.
        label_selector: Evaluated by the API server: nothing else ever reaches the operator.
    """

    kind: str
    plural: str
    root: str = OURS
    namespaced: bool = True
    label_selector: str = ""

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.root.split("/")[2] if self.root.startswith("/apis/") else ""

    @property
    def version(self) -> str:
        """The version of the API group."""
        return self.root.rpartition("/")[2]

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """The path of the collection, or of an object."""
        return kube.object_path(self.root, namespace if self.namespaced else "", self.plural, name, subresource)

    def ref(self, metadata: Mapping[str, Any]) -> Ref:
        """The object that ``metadata`` is about."""
        return Ref(self.kind, metadata.get("namespace", "") if self.namespaced else "", metadata["name"])


NAMESPACES: Final = Watched(kind="Namespace", plural="namespaces", root=CORE, namespaced=False)
SECRETS: Final = Watched(kind="Secret", plural="secrets", root=CORE, label_selector=f"{SECRET_LABEL}=true")
KINDS: Final[tuple[Watched, ...]] = tuple(
    Watched(kind=kind, plural=registered.plural) for kind, registered in resources.KINDS.items()
)
BY_KIND: Final[Mapping[str, Watched]] = {each.kind: each for each in (*KINDS, SECRETS, NAMESPACES)}


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete LIST of one kind in one namespace (empty: everywhere), as of ``revision``."""

    watched: Watched
    namespace: str
    items: Sequence[Mapping[str, Any]]
    revision: int


def scopes(watched: Watched, namespaces: Sequence[str]) -> Iterator[str]:
    """The namespaces to LIST one after the other; an empty one is the whole cluster."""
    yield from namespaces if namespaces and watched.namespaced else ("",)


async def listing(client: kube.Kube, watched: Watched, namespace: str, *, metadata_only: bool) -> Listing:
    """LIST, page by page; starts again when a page token has expired.

    Raises:
        kube.ApiError, kube.UnavailableError: as ``kube.request``.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        items: list[dict[str, Any]] = []
        revision = 0
        try:
            async for page in client.pages(
                watched.path(namespace), label_selector=watched.label_selector, metadata_only=metadata_only
            ):
                # Later pages are of the same snapshot as the first.
                revision = revision or page.revision
                items += page.items
                await asyncio.sleep(0)
        except kube.ApiError as error:
            if error.status != 410 or attempt == _ATTEMPTS:
                raise
            _LOG.info("A LIST of %s took longer than its page token lives; starting again", watched.plural)
        else:
            return Listing(watched, namespace, items, revision)
    raise AssertionError("unreachable")  # pragma: no cover


async def namespaces_one_by_one(client: kube.Kube, names: Sequence[str]) -> Listing:
    """What stands in for a LIST of Namespaces where we may not list them: GET those that we watch.

    One that we may not even GET is taken to exist with the label that Kubernetes itself gives it.

    Raises:
        kube.ApiError, kube.UnavailableError: as ``kube.request``.
    """
    items: list[Mapping[str, Any]] = []
    for name in names:
        try:
            items.append(await client.get(NAMESPACES.path("", name)))
        except kube.ApiError as error:
            if error.status == 403:
                labels = {"kubernetes.io/metadata.name": name}
                items.append({"metadata": {"name": name, "labels": labels, "resourceVersion": "1"}})
            elif error.status != 404:
                raise
    return Listing(NAMESPACES, "", items, max((int(each["metadata"]["resourceVersion"]) for each in items), default=1))
