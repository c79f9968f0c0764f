"""ModelGroup: public model names that belong together, and the targets that can serve them."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from trunkline_protocol.resources.formats import DnsLabel, DnsSubdomain, ModelGlob, Word
from trunkline_protocol.resources.metadata import Namespaces, ObjectMeta
from trunkline_protocol.resources.rules import Block, Items, Rule


class Access(Block):
    """Keys that may use the models of a group."""

    groups: Annotated[tuple[Word, ...], Items(32, at_least=1)] = Field(
        ("default",), description="Keys in one of these groups …"
    )
    namespaces: Namespaces | None = Field(
        None, description="… that live in one of these namespaces. Default: the namespace of the ModelGroup."
    )


class CredentialRef(Block):
    """A ProviderCredential."""

    name: DnsSubdomain = Field(description="Name of the ProviderCredential.")
    namespace: DnsLabel | None = Field(
        None,
        description="Its namespace, where that is another one; its `allowedNamespaces` must admit this one. Default: "
        "the namespace of the ModelGroup.",
    )


class Target(Block):
    """One upstream model at one account."""

    name: DnsLabel = Field(description="Name of the target, for status, logs, metrics and `x-trunkline-target`.")
    credential_ref: CredentialRef = Field(description="The account that serves it.")
    model: ModelGlob = Field(
        description="The provider's name of the model. A `*` in it becomes what the `*` of the public name matched."
    )
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        1, description="Its share of the requests, relative to the targets of the same priority. 0: none."
    )
    priority: Annotated[int, Field(ge=0, le=100)] = Field(
        0, description="Targets of priority 0 are tried first, then 1, and so on."
    )


class ModelGroupSpec(Block):
    """Which models, for whom, served by what."""

    rules: ClassVar = (
        Rule(
            cel="!self.targets.exists(t, t.model.contains('*'))"
            " || (has(self.models) && self.models.all(m, m.contains('*')))",
            check=lambda spec: (
                not any("*" in target.model for target in spec.targets)
                or (bool(spec.models) and all("*" in model for model in spec.models))
            ),
            message="a target's model may hold '*' only where each of models holds one to take its place: move the "
            "other names to a ModelGroup of their own",
            field=".targets",
        ),
    )

    models: Annotated[tuple[ModelGlob, ...], Items(64, at_least=1)] | None = Field(
        None,
        description="Public names of the models, as clients send them: exact, or with one `*` for any characters. "
        "Default: the name of the ModelGroup.",
    )
    display_name: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="Name of the models for people, shown where models are listed."
    )
    description: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="What the models are good for, shown where models are listed."
    )
    visibility: Literal["Public", "Internal"] = Field(
        "Public",
        description="`Public`: called by name and listed. `Internal`: used by rules and fallbacks of policies only.",
    )
    access: Annotated[tuple[Access, ...], Items(32, at_least=1)] | None = Field(
        None,
        description="Who may call the models: a key is let in by the first entry that names one of its groups and "
        "admits its namespace. Default: keys in the group `default` of the same namespace.",
    )
    targets: Annotated[tuple[Target, ...], Items(64, at_least=1, key="name")] = Field(
        description="What can serve the models. When one fails, another is tried."
    )


class ModelGroup(Block):
    """Public model names that belong together, and the targets that can serve them."""

    api_version: Literal["trunkline.dev/v1alpha1"]
    kind: Literal["ModelGroup"]
    metadata: ObjectMeta
    spec: ModelGroupSpec = Field(description="Which models, for whom, served by what.")
    status: Annotated[None, BeforeValidator(lambda _: None)] = Field(None, exclude=True, repr=False)
