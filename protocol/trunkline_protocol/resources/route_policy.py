"""RoutePolicy: how requests to ModelGroups are served."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from trunkline_protocol.resources.formats import DnsLabel, DnsSubdomain
from trunkline_protocol.resources.metadata import LabelValue, ObjectMeta
from trunkline_protocol.resources.rules import Block, Items, Rule


class TargetRef(Block):
    """A ModelGroup of the same namespace, or one of its targets."""

    group: Literal["trunkline.dev"] = Field(description="Group of the kind, `trunkline.dev`.")
    kind: Literal["ModelGroup"] = Field(description="Kind of the object, `ModelGroup`.")
    name: DnsSubdomain = Field(description="Name of the ModelGroup, in this namespace.")
    section_name: DnsLabel | None = Field(
        None, description="Name of a target: the policy is for that one, in place of that of the ModelGroup."
    )


class GroupSelector(Block):
    """ModelGroups of the same namespace, by their labels."""

    rules: ClassVar = (
        Rule(
            cel="size(self.matchLabels) > 0",
            check=lambda selector: bool(selector.match_labels),
            message="an empty selector would mean every ModelGroup: give labels, or say `default: true` instead",
            field=".matchLabels",
        ),
    )

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=16)] = Field(
        description="Labels that a ModelGroup has to have, with these values."
    )


class RoutePolicySpec(Block):
    """Which ModelGroups it is for, and how they are served."""

    rules: ClassVar = (
        Rule(
            cel="[has(self.targetRefs) && size(self.targetRefs) > 0, has(self.targetSelector),"
            " has(self.default) && self.default].filter(way, way).size() == 1",
            check=lambda spec: (
                [bool(spec.target_refs), spec.target_selector is not None, bool(spec.default)].count(True) == 1
            ),
            message="say which ModelGroups it is for: give either targetRefs, targetSelector or `default: true`",
        ),
    )

    target_refs: Annotated[tuple[TargetRef, ...], Items(64)] = Field(
        (),
        description="ModelGroups that it is for, by name, or single targets of them. It goes before policies that "
        "select by labels, and before defaults.",
    )
    target_selector: GroupSelector | None = Field(
        None, description="ModelGroups that it is for, by their labels. It goes before defaults."
    )
    default: bool | None = Field(
        None, description="It is for every ModelGroup of its namespace that no other policy is for."
    )
    lossy: Literal["Allow", "Warn", "Reject"] | None = Field(
        None,
        description="What becomes of a request that the upstream cannot be told in full. `Allow`: it is sent without "
        "the rest. `Warn`: the same, and the answer says what was lost. `Reject`: it is refused. Default: `Warn`.",
    )
    unsupported_parameters: Literal["Drop", "Reject"] | None = Field(
        None,
        description="What becomes of parameters that the upstream does not have. `Drop`: they are left out. `Reject`: "
        "the request is refused. Default: as `lossy` says.",
    )


class RoutePolicy(Block):
    """How requests are served: what may be lost between two dialects. One policy is in force for each ModelGroup."""

    api_version: Literal["trunkline.dev/v1alpha1"]
    kind: Literal["RoutePolicy"]
    metadata: ObjectMeta
    spec: RoutePolicySpec = Field(description="Which ModelGroups it is for, and how they are served.")
    status: Annotated[None, BeforeValidator(lambda _: None)] = Field(None, exclude=True, repr=False)
