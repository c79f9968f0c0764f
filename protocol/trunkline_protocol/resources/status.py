"""What the operator writes into ``status``, with its bounds: models to build, dump and generate the schema from.

``dump`` makes the JSON: ``{"observedGeneration": 3, "conditions": […], "display": {…}}``.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from trunkline_protocol.resources.rules import Items, StatusBlock

MESSAGE_LENGTH: Final = 1024
"""How long the message of a condition may be, in characters."""

REASON_LENGTH: Final = 256
"""How long the reason of a key's state may be, in characters."""

Timestamp = Annotated[str, Field(max_length=35, json_schema_extra={"format": "date-time"})]
_Name = Annotated[str, Field(max_length=253)]
_Display = Annotated[str, Field(max_length=64)]
_Reason = Annotated[str, Field(max_length=REASON_LENGTH)]


class Condition(StatusBlock):
    """As ``metav1.Condition``."""

    type: Annotated[str, Field(max_length=64)] = Field(
        description="`Accepted`, `ResolvedRefs` or `Programmed`; True is good."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    observed_generation: Annotated[int, Field(ge=0)] = Field(
        0, description="The metadata.generation that the condition is about."
    )
    last_transition_time: Timestamp = Field(description="When `status` last changed.")
    reason: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Why, in one CamelCase word.")
    message: Annotated[str, Field(max_length=MESSAGE_LENGTH)] = Field("", description="Why, in a sentence.")


class Status(StatusBlock):
    """What the status of every kind has."""

    observed_generation: Annotated[int, Field(ge=0)] = Field(
        0, description="The metadata.generation that this status is about."
    )
    conditions: Annotated[tuple[Condition, ...], Items(8, key="type")] = Field(
        (), description="Whether the resource is valid, whether what it names is there, and whether gateways serve it."
    )

    def dump(self) -> dict[str, object]:
        """The JSON of this status, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class KeyStatus(StatusBlock):
    """The state of one key."""

    name: _Name = Field(description="Which of the keys.")
    state: Literal["Active", "CoolingDown", "Rejected", "Expired", "Missing", "Disabled"] = Field(
        description="`Active`: it is used. `CoolingDown`: the provider asked to wait. `Rejected`: the provider refused "
        "it. `Expired`: its time is over. `Missing`: there is no such Secret or entry. `Disabled`: by its own `state`."
    )
    reason: _Reason | None = Field(None, description="What led to this state.")
    until: Timestamp | None = Field(None, description="When it will be tried again.")


class ProviderCredentialDisplay(StatusBlock):
    """What `kubectl get` prints."""

    keys: _Display = Field("", description="How many of the keys are active, such as `1/2`.")


class ProviderCredentialStatus(Status):
    """The status of a ProviderCredential."""

    keys: Annotated[tuple[KeyStatus, ...], Items(64, key="name")] = Field((), description="The state of each key.")
    display: ProviderCredentialDisplay | None = Field(None, description="What `kubectl get` prints.")


class ModelGroupDisplay(StatusBlock):
    """What `kubectl get` prints."""

    models: _Display = Field("", description="How many public names the group owns.")
    targets: _Display = Field("", description="How many of the targets can serve, such as `2/2`.")
    policy: _Display = Field("", description="The RoutePolicy in force, or `default`.")


class ModelGroupStatus(Status):
    """The status of a ModelGroup."""

    models: Annotated[tuple[_Name, ...], Items(64)] = Field(
        (), description="The public names that the group owns; names that an older group has are not among them."
    )
    effective_policy: _Name | None = Field(
        None, description="Name of the RoutePolicy in force; absent: the defaults are."
    )
    display: ModelGroupDisplay | None = Field(None, description="What `kubectl get` prints.")


class RoutePolicyDisplay(StatusBlock):
    """What `kubectl get` prints."""

    applies: _Display = Field("", description="What it is for, such as `2 groups`, `app=search` or `default`.")
    groups: _Display = Field("", description="For how many ModelGroups it is in force, in whole or in part.")


class RoutePolicyStatus(Status):
    """The status of a RoutePolicy."""

    display: RoutePolicyDisplay | None = Field(None, description="What `kubectl get` prints.")


class VirtualKeyDisplay(StatusBlock):
    """What `kubectl get` prints."""

    expires: _Display = Field("", description="The day on which the key ends.")


class VirtualKeyStatus(Status):
    """The status of a VirtualKey."""

    display: VirtualKeyDisplay | None = Field(None, description="What `kubectl get` prints.")
