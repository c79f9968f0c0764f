"""The fleet of the publish stage in the report stage's words."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Protocol

from trunkline_operator.publish.fleet import Programmed
from trunkline_operator.publish.publisher import Publisher
from trunkline_operator.report.status import KeyHealth, Rollout
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

_STATES: Final[Mapping[int, str]] = {
    pb.HEALTH_STATE_COOLING_DOWN: "CoolingDown",
    pb.HEALTH_STATE_REJECTED: "Rejected",
}


class Fleet(Protocol):
    """`publish.fleet.Fleet`, or with it the gateways of other replicas: `peers.whole.WholeFleet`."""

    @property
    def publisher(self) -> Publisher:
        """The table."""
        ...

    def programmed(self, names: Collection[Name]) -> Programmed:
        """How far some names have come."""
        ...

    def key_states(self, upstream: str) -> Mapping[str, pb.KeyHealth]:
        """Key name → the worst that is reported of it."""
        ...


class PublishedFleet:
    """`report.reporter.Fleet` over the gateways."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def rollout(self, names: Iterable[Name], *, held: bool) -> Rollout:
        """How far the fleet is with these table resources."""
        wanted = tuple(names)
        programmed = self._fleet.programmed(wanted)
        return Rollout(
            gateways=programmed.gateways,
            behind=tuple(node for node, _ in programmed.behind),
            rejected=programmed.rejected,
            kept=self._kept(wanted) if held else False,
        )

    def key_health(self, upstream: str) -> Mapping[str, KeyHealth]:
        """What gateways say of the keys of an Upstream."""
        return {
            name: KeyHealth(_STATES.get(health.state, "Active"), health.reason, health.until)
            for name, health in self._fleet.key_states(upstream).items()
        }

    def _kept(self, names: tuple[Name, ...]) -> bool | None:
        publisher = self._fleet.publisher
        if any((entry := publisher.entries.get(name)) is not None and entry.resource.held for name in names):
            return True
        return None if any(publisher.keeps(name) for name in names) else False
