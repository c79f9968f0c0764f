"""Who is let in from which namespace: selectors are resolved here, so that gateways know names only."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from trunkline_protocol.resources import Namespaces
from trunkline_protocol.v1 import routing_pb2 as pb

Labels: TypeAlias = Mapping[str, str]
Spaces: TypeAlias = Mapping[str, Labels]
"""All namespaces that exist, by name, with their labels."""

SAME: Final = Namespaces()
"""Its own namespace: the default everywhere."""


def selects(given: Namespaces | None) -> bool:
    """Whether labels of namespaces have to be looked at."""
    return given is not None and given.selector is not None


def resolve(given: Namespaces | None, own: str, spaces: Spaces) -> pb.Namespaces:
    """The namespaces that are meant, by name."""
    chosen = given or SAME
    if chosen.selector is not None:
        selector = chosen.selector
        return pb.Namespaces(names=sorted(name for name, labels in spaces.items() if selector.matches(labels)))
    return pb.Namespaces(all=True) if chosen.from_ == "All" else pb.Namespaces(names=[own])


def admits(given: Namespaces, namespace: str, labels: Labels | None, *, own: str) -> bool:
    """Whether one namespace is meant; one that was never seen (``labels`` None) matches no selector."""
    if given.selector is not None and labels is None:
        return False
    return given.admits(namespace, labels or {}, own=own)
