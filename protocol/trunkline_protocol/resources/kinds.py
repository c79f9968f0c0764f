"""The kinds of `trunkline.dev/v1alpha1`: what Kubernetes has to know of each, as a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from trunkline_protocol.resources.model_group import ModelGroup
from trunkline_protocol.resources.provider_credential import ProviderCredential
from trunkline_protocol.resources.route_policy import RoutePolicy
from trunkline_protocol.resources.status import (
    ModelGroupStatus,
    ProviderCredentialStatus,
    RoutePolicyStatus,
    Status,
    VirtualKeyStatus,
)
from trunkline_protocol.resources.virtual_key import VirtualKey

GROUP: Final = "trunkline.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "trunkline"

Resource: TypeAlias = ProviderCredential | ModelGroup | RoutePolicy | VirtualKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of ``kubectl get``; kubectl prints its name in capitals."""

    name: str
    json_path: str
    type: str = "string"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of resource.

    Attributes:
        kind: As in ``kind:``.
        plural: As in the URL and in ``kubectl get``.
        short_names: What one types instead.
        model: What a whole object parses into.
        status: What its status is built from.
        columns: Of ``kubectl get``, after the name.
    """

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    model: type[Resource]
    status: type[Status]
    columns: tuple[Column, ...]

    @property
    def crd_name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def _condition(type_: str) -> Column:
    return Column(name=type_, json_path=f'.status.conditions[?(@.type=="{type_}")].status')


_CONDITIONS = (_condition("Accepted"), _condition("Programmed"))
_AGE = Column(name="Age", json_path=".metadata.creationTimestamp", type="date")

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.kind: kind
        for kind in (
            Kind(
                kind="ProviderCredential",
                plural="providercredentials",
                singular="providercredential",
                short_names=("pcred",),
                model=ProviderCredential,
                status=ProviderCredentialStatus,
                columns=(
                    Column(name="Provider", json_path=".spec.provider"),
                    Column(name="Keys", json_path=".status.display.keys"),
                    *_CONDITIONS,
                    _AGE,
                ),
            ),
            Kind(
                kind="ModelGroup",
                plural="modelgroups",
                singular="modelgroup",
                short_names=("mg",),
                model=ModelGroup,
                status=ModelGroupStatus,
                columns=(
                    Column(name="Models", json_path=".status.display.models"),
                    Column(name="Targets", json_path=".status.display.targets"),
                    Column(name="Policy", json_path=".status.display.policy"),
                    *_CONDITIONS,
                    _AGE,
                ),
            ),
            Kind(
                kind="RoutePolicy",
                plural="routepolicies",
                singular="routepolicy",
                short_names=("rpol",),
                model=RoutePolicy,
                status=RoutePolicyStatus,
                columns=(
                    Column(name="For", json_path=".status.display.applies"),
                    Column(name="Groups", json_path=".status.display.groups"),
                    Column(name="Lossy", json_path=".spec.lossy"),
                    *_CONDITIONS,
                    _AGE,
                ),
            ),
            Kind(
                kind="VirtualKey",
                plural="virtualkeys",
                singular="virtualkey",
                short_names=("vk",),
                model=VirtualKey,
                status=VirtualKeyStatus,
                columns=(
                    Column(name="Team", json_path=".spec.owner.team"),
                    Column(name="User", json_path=".spec.owner.user"),
                    *_CONDITIONS,
                    Column(name="Expires", json_path=".status.display.expires"),
                    _AGE,
                ),
            ),
        )
    }
)
"""By ``kind``."""
