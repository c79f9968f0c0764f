"""What every resource has, and how it names and selects other objects."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from trunkline_protocol.resources.formats import DnsLabel, DnsSubdomain, SecretKey
from trunkline_protocol.resources.rules import Block, Items, Pattern, Rule

_NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"

LabelKey = Annotated[
    str,
    Field(max_length=317),
    Pattern(f"^({_PREFIX}/)?{_NAME}$", "must be the key of a label, such as team or example.com/team"),
]
LabelValue = Annotated[
    str,
    Field(max_length=63),
    Pattern(f"^({_NAME})?$", "must be the value of a label: letters, digits, '-', '_' and '.', or nothing"),
]


class ObjectMeta(BaseModel):
    """The part of an object's metadata that Trunkline reads; what else stands there is ignored.

    Attributes:
        creation_timestamp: RFC 3339; empty where the object does not come from a cluster.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", alias_generator=to_camel)

    name: DnsSubdomain
    namespace: DnsLabel | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    labels: dict[LabelKey, LabelValue] = {}


class SecretKeyRef(Block):
    """One entry of a Secret in the namespace of the resource that refers to it."""

    name: DnsSubdomain = Field(
        description='Name of the Secret, in this namespace. It must carry the label `trunkline.dev/secret: "true"`.'
    )
    key: SecretKey = Field(description="Which entry of the Secret's data.")


class LabelRequirement(Block):
    """One condition on labels."""

    rules: ClassVar = (
        Rule(
            cel="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            check=lambda it: (it.operator in ("In", "NotIn")) == bool(it.values),
            message="In and NotIn need values; Exists and DoesNotExist take none",
            field=".values",
        ),
    )

    key: LabelKey = Field(description="The label's key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="`In`: the label has one of `values`. `NotIn`: it has none of them, or is absent. `Exists`, "
        "`DoesNotExist`: whether the label is there at all."
    )
    values: Annotated[tuple[LabelValue, ...], Items(16)] = Field((), description="For `In` and `NotIn`.")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is meant."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(Block):
    """A Kubernetes label selector: everything in it has to hold."""

    rules: ClassVar = (
        Rule(
            cel="(has(self.matchLabels) && size(self.matchLabels) > 0)"
            " || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            check=lambda selector: bool(selector.match_labels or selector.match_expressions),
            message="an empty selector would mean every namespace: give matchLabels or matchExpressions, or say "
            "`from: All` without a selector",
        ),
    )

    # The keys are unbounded here as in the CRD: a schema cannot bound them, and CEL over them exceeds its cost budget.
    match_labels: Annotated[dict[str, LabelValue], Field(max_length=16)] = Field(
        {}, description="Labels that have to be there with these values."
    )
    match_expressions: Annotated[tuple[LabelRequirement, ...], Items(16)] = Field(
        (), description="Further conditions, all of which have to hold."
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is meant."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


class Namespaces(Block):
    """A set of namespaces."""

    rules: ClassVar = (
        Rule(
            cel="(self.from == 'Selector') == has(self.selector)",
            check=lambda it: (it.from_ == "Selector") == (it.selector is not None),
            message="a selector and `from: Selector` belong together: give both or neither",
            field=".selector",
        ),
    )

    from_: Literal["Same", "All", "Selector"] = Field(
        "Same",
        alias="from",
        description="`Same`: the namespace of this resource. `All`: every namespace. `Selector`: those that `selector` "
        "matches.",
    )
    selector: LabelSelector | None = Field(
        None, description="Labels of the namespaces that are meant, with `from: Selector`."
    )

    def admits(self, namespace: str, labels: Mapping[str, str], *, own: str) -> bool:
        """Whether ``namespace``, which has ``labels``, is in the set; ``own`` is that of the resource that says so."""
        if self.selector is not None:
            return self.selector.matches(labels)
        return self.from_ == "All" or namespace == own
