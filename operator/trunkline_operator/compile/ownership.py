"""What only one can have goes to the oldest: public names, the prefix of ``credential:model``, hashes of keys."""

from collections.abc import Hashable, Iterable
from typing import TypeAlias, TypeVar

from trunkline_operator.watch.world import Observed, Ref

_C = TypeVar("_C", bound=Hashable)

Age: TypeAlias = tuple[float, str, str]
"""Sorts the older first: by creationTimestamp, then by namespace and name."""


def age(observed: Observed) -> Age:
    """How old an object is, for comparison with others of its kind."""
    return observed.created, observed.ref.namespace, observed.ref.name


def owners(claims: Iterable[tuple[Observed, Iterable[_C]]]) -> dict[_C, Ref]:
    """Who has what: for each thing that is claimed, the oldest of those who claim it."""
    owned: dict[_C, Observed] = {}
    for claimant, wanted in claims:
        for thing in wanted:
            holder = owned.setdefault(thing, claimant)
            if holder is not claimant and age(claimant) < age(holder):
                owned[thing] = claimant
    return {thing: holder.ref for thing, holder in owned.items()}
